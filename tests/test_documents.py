"""Code and commands of the README and the pages: Python is run, commands are read by `dvrl`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import typer

from dvrl import DVRLClassifier
from dvrl.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"`(?:dvrl [^`]*)?(--[a-z][a-z-]*)[^`]*`")
COMMANDS = typer.main.get_command(app)
ROWS = 120


def blocks(page, language):
    return [code for name, code in BLOCK.findall(page.read_text()) if name == language]


def with_blocks(language, slow=()):
    return [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in slow else [])
        for page in PAGES
        if blocks(page, language)
    ]


def census(rng, n_rows):
    """Rows with a number, a category and a gap, whose class hangs on the number."""
    age = rng.uniform(18, 80, n_rows)
    frame = pd.DataFrame({"age": age, "workclass": rng.choice(["private", "state"], n_rows)})
    frame.loc[0, "age"] = np.nan
    income = np.where(age + 10 * rng.normal(size=n_rows) > 50, ">50K", "<=50K")
    return frame, pd.Series(income, name="income")


@pytest.fixture(scope="module")
def valued():
    """What a page takes for granted: rows, and an estimator that is fitted on them."""
    rng = np.random.default_rng(0)
    given = {"pixels": rng.integers(0, 256, size=(ROWS, 8, 8), dtype=np.uint8)}
    for suffix, n_rows in (("", ROWS), ("_val", 60), ("_test", 60)):
        given[f"X{suffix}"], given[f"y{suffix}"] = census(rng, n_rows)
    given["is_corrupted"] = rng.random(ROWS) < 0.2
    for suffix, n_rows in (("_source", 80), ("_target", 40), ("_new", 5)):
        X = rng.normal(size=(n_rows, 3))
        given[f"X{suffix}"], given[f"y{suffix}"] = X, 10.0 + X[:, 0]
    valuer = DVRLClassifier(settings={"outer_iterations": 2, "ensemble_size": 1}, random_state=0)
    given["valuer"] = valuer.fit(given["X"], given["y"], X_val=given["X_val"], y_val=given["y_val"])
    return given


@pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")
@pytest.mark.filterwarnings("ignore:.*FigureCanvasAgg is non-interactive:UserWarning")
@pytest.mark.parametrize("page", with_blocks("python", slow=["adaptation.md"]))
def test_python_of_a_page_runs(page, valued, tmp_path, monkeypatch, capsys):
    """All blocks of a page, one after another, in one namespace and an empty folder."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page", **valued}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec", dont_inherit=True), names)
    plt.close("all")


def commands(page):
    """Lines of a page's blocks that call `dvrl`; [--option value] stands for an option."""
    text = "\n".join(blocks(page, "")).replace("\\\n", " ")
    for line in text.splitlines():
        for call in line.split("&&"):
            if call.split()[:1] == ["dvrl"]:
                yield shlex.split(call.translate({ord("["): None, ord("]"): None}))[1:]


@pytest.mark.parametrize("page", with_blocks(""))
def test_commands_of_a_page_are_understood(page):
    """Commands, options and their choices are those of the application; nothing is run."""
    start = COMMANDS.make_context("dvrl", ["value"])
    for name, *arguments in commands(page):
        if "..." not in arguments and name != "COMMAND":
            _, command, _ = COMMANDS.resolve_command(start, [name])
            command.make_context(name, arguments, parent=start)


def test_options_that_pages_name_exist():
    known = {
        option
        for command in [COMMANDS, *COMMANDS.commands.values()]
        for parameter in command.params
        for option in [*parameter.opts, *parameter.secondary_opts]
    }
    known |= {"--help", "--trust"}
    for name in (
        "README.md",
        "docs/cli.md",
        "docs/uses.md",
        "docs/report.md",
        "docs/adaptation.md",
    ):
        named = OPTION.findall((ROOT / name).read_text())
        assert named, name
        assert not set(named) - known, name
