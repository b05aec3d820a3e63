"""The command line: what it writes, what it says, and how it ends."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from dvrl.cli import app, compiled, inputs
from dvrl.cli.errors import InputError
from dvrl.cli.options import PANELS, Task
from dvrl.cli.output import PlainLines, duration
from dvrl.data.task import guess_task

QUICK = ["--outer-iterations", "5", "--ensemble-size", "1"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_sentence(result, *parts: str) -> None:
    """Exit code 2, one line on standard error with these parts, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


# --------------------------------------------------------------------- compiled code


def test_compiled_code_is_kept_in_the_users_cache_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(compiled.FOLDER, raising=False)
    for name in (compiled.SHORTEST, compiled.LOG_LEVEL):
        monkeypatch.delenv(name, raising=False)
    folder = compiled.keep_compiled_code()
    assert folder is not None
    assert folder.is_relative_to(tmp_path)
    assert os.environ[compiled.FOLDER] == str(folder)
    monkeypatch.setattr(compiled, "CPU_DESCRIPTION", tmp_path / "absent")
    monkeypatch.delenv(compiled.FOLDER)
    assert compiled.keep_compiled_code() != folder  # another processor, another folder


def test_a_folder_for_compiled_code_of_the_users_own_is_left_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(compiled.FOLDER, "")
    assert compiled.keep_compiled_code() is None
    monkeypatch.delenv(compiled.FOLDER)
    (tmp_path / "dvrl").write_text("in the way")
    assert compiled.keep_compiled_code() is None
    assert compiled.FOLDER not in os.environ


def test_the_oldest_compiled_code_goes_first(tmp_path: Path):
    for age in range(10):
        path = tmp_path / f"code-{age}"
        path.write_bytes(b"x" * 100)
        os.utime(path, (1e9 - age, 1e9 - age))
    compiled._make_room(tmp_path, most_bytes=1000)
    assert len(list(tmp_path.iterdir())) == 10
    compiled._make_room(tmp_path, most_bytes=900)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"code-{age}" for age in range(4)]


# --------------------------------------------------------------------- help, version, usage


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["value", "--help"]])
def test_help_explains_and_names_the_exit_codes(arguments):
    result = run(*arguments)
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout


def test_help_is_quick_because_nothing_heavy_is_loaded():
    code = (
        "import sys; from dvrl.cli import app; "
        "app(['value', '--help'], standalone_mode=False); "
        "print([m for m in ('jax', 'sklearn', 'pandas', 'skrub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_installed_command_prints_its_version():
    command = Path(sys.executable).with_name("dvrl")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dvrl ")


@pytest.mark.parametrize(
    "arguments",
    [["value"], ["value", "a.csv"], ["nonsense"], ["value", "a.csv", "--target", "y", "--seed=-1"]],
)
def test_wrong_usage_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


# ------------------------------------------------------------------------ options, once each

# Commands whose option differs from the others' in one of these, and why.
REASONS = {
    ("adapt", "--valid", "required"): "nothing of the source can be held out for the target domain",
    ("adapt", "--valid", "help"): "it is the target domain's, and required",
    ("adapt", "--metric", "help"): "cross-fitting knows a few metrics, each with weights of rows",
    ("score", "--target", "required"): "predictions need no labels",
    ("apply", "--target", "required"): "dropping rows needs no labels",
    ("apply", "--output", "required"): "a cleaned table gets a name on purpose",
    ("compare", "--max-seconds", "default"): "for each method, and some would run for hours",
    ("detect", "--fraction", "default"): "a list needs a length; removal chooses one",
    ("detect", "--fraction", "type"): "all rows may be listed; not all may be removed",
    ("demo", "--plant-noise", "default"): "planted labels are what it shows",
    ("train", "--save", "default"): "the file is its result",
}
RESULTS = ("--output", "--folder")  # each command's own name for its result


def _declared() -> dict[str, list[tuple[str, dict[str, object]]]]:
    """Every option: the commands that take it, and how."""
    declared: dict[str, list[tuple[str, dict[str, object]]]] = {}
    for command in app.registered_commands:
        for name, option in inspect.signature(command.callback).parameters.items():
            if name == "ctx":
                continue
            kind, info = get_args(option.annotation)
            if not isinstance(info, typer.models.OptionInfo):
                continue
            named = [] if info.default is ... else [info.default]  # the first of `Annotated`
            flags = [*named, *(info.param_decls or ())] or [f"--{name.replace('_', '-')}"]
            required = option.default is inspect.Parameter.empty
            taken = {
                "flags": flags,
                "help": info.help,
                "panel": info.rich_help_panel,
                "type": (kind if type(None) in get_args(kind) else kind | None, info.min, info.max),
                "required": required,
                "default": None if required else option.default,
            }
            declared.setdefault(flags[0], []).append((command.name, taken))
    return declared


def test_an_option_means_the_same_in_every_command():
    declared = _declared()
    assert len(declared["--seed"]) == 7
    unused = set(REASONS)
    for flag, commands in declared.items():
        for what in commands[0][1]:
            for name, taken in commands:
                key = (name, flag, what)
                others = [
                    other[what] for one, other in commands if (one, flag, what) not in REASONS
                ]
                if taken[what] != others[0] and not (flag in RESULTS and what == "default"):
                    assert key in REASONS, (key, taken[what], others[0])
                    unused.discard(key)
    assert not unused


def test_every_option_has_a_help_text_and_a_panel():
    for flag, commands in _declared().items():
        for name, taken in commands:
            assert taken["help"], (name, flag)
            assert taken["panel"] in PANELS, (name, flag)


# ------------------------------------------------------------------- bad input, before any work


def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path: Path, train_csv: Path):
    output = tmp_path / "values.parquet"
    before = sorted(tmp_path.iterdir())
    cases = [
        ([tmp_path / "absent.csv", "--target", "label", "-o", output], "no file"),
        ([train_csv, "--target", "lable", "-o", output], "'label'"),
        ([train_csv, "--target", "label", "--id", "nobody", "-o", output], "nobody"),
        ([train_csv, "--target", "label", "--id", "label", "-o", output], "two columns"),
        ([train_csv, "--target", "label", "-o", tmp_path / "values.xlsx"], "ending"),
        ([train_csv, "--target", "label", "-o", tmp_path / "no" / "v.csv"], "no folder"),
        ([train_csv, "--target", "label", "-o", tmp_path], "ending"),
        ([train_csv, "--target", "label", "-o", train_csv], "named twice"),
        ([train_csv, "--target", "label", "-o", output, "--save", output], "named twice"),
        ([train_csv, "--target", "label", "-o", output, "--figure", "a.doc"], "ending"),
        ([train_csv, "--target", "label", "-o", output, "--resume"], "--checkpoint"),
        ([train_csv, "--target", "label", "-o", output, "--predictor", "ridge"], "logistic"),
    ]
    for arguments, part in cases:
        assert_one_sentence(run("value", *arguments), part)
    assert sorted(tmp_path.iterdir()) == before


def test_validation_table_needs_the_same_columns(tmp_path: Path, train_csv, small_table):
    valid = tmp_path / "valid.csv"
    small_table[["size", "label"]].to_csv(valid, index=False)
    result = run(
        "value", train_csv, "--target", "label", "--valid", valid, "-o", tmp_path / "v.csv"
    )
    assert_one_sentence(result, "valid.csv", "'colour'")


def test_id_column_may_not_be_a_column_of_the_output(tmp_path: Path, small_table):
    train = tmp_path / "train.csv"
    small_table.rename(columns={"name": "rank"}).to_csv(train, index=False)
    result = run("value", train, "--target", "label", "--id", "rank", "-o", tmp_path / "v.csv")
    assert_one_sentence(result, "rename")


def test_debug_shows_the_error_itself(tmp_path: Path):
    result = run("--debug", "value", tmp_path / "absent.csv", "--target", "label")
    assert isinstance(result.exception, InputError)


def test_ctrl_c_exits_with_130_and_names_the_checkpoint(tmp_path: Path, train_csv, monkeypatch):
    checkpoint = tmp_path / "run.checkpoint"

    class Interrupted:
        def fit(self, *_, **__):
            checkpoint.write_bytes(b"state")
            raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "make_valuer", lambda *_, **__: Interrupted())
    result = run(
        "value",
        train_csv,
        "--target",
        "label",
        "-o",
        tmp_path / "v.csv",
        "--checkpoint",
        checkpoint,
    )
    assert result.exit_code == 130
    assert str(checkpoint) in result.stderr
    assert "--resume" in result.stderr
    assert not (tmp_path / "v.csv").exists()


def test_demo_refuses_a_file_as_its_folder(train_csv: Path):
    assert_one_sentence(run("demo", "--folder", train_csv), "is a file")


# ----------------------------------------------------------------------------- guessing the task


@pytest.mark.parametrize(
    ("column", "task"),
    [
        (["yes", "no"], Task.classification),
        ([True, False, True], Task.classification),
        (pd.Categorical(["a", "b"]), Task.classification),
        ([0, 1, 1, 0], Task.classification),
        ([0.0, 1.0, None, 0.0], Task.classification),
        ([1, 2, 3, 4, 5], Task.regression),
        (np.arange(1000) % 20, Task.classification),
        (np.arange(1000) % 21, Task.regression),
        (np.arange(60) % 20, Task.regression),
        (np.arange(50) % 3, Task.classification),
        ([0.5, 1.5, 0.5, 1.5], Task.regression),
    ],
)
def test_guess_task(column, task):
    assert guess_task(pd.Series(column))[0] == task.value
    assert guess_task(column)[0] == task.value


def test_guess_task_refuses_dates():
    with pytest.raises(ValueError, match="dates"):
        guess_task(pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])))


# ------------------------------------------------------------------------------------- progress


def test_plain_progress_lines_come_now_and_then(capsys):
    lines = PlainLines("Valuing rows")
    for iteration in range(1, 101):
        lines(
            SimpleNamespace(
                iteration=iteration,
                total=100,
                reward=-0.25,
                seconds_elapsed=iteration / 100,
                seconds_left=90.0 if iteration < 100 else None,
            )
        )
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) in (10, 11)
    assert printed[0] == "Valuing rows: 1 of 100, reward -0.2500, 1 min 30 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.14, "3.1 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


# ----------------------------------------------------------------------------------- end to end


def test_value_then_score(tmp_path: Path, train_csv: Path, valid_csv: Path):
    output, model, figure = (tmp_path / name for name in ("v.parquet", "m.dvrl", "f.png"))
    result = run(
        "value",
        train_csv,
        "--target",
        "label",
        "--id",
        "name",
        "--valid",
        valid_csv,
        "-o",
        output,
        "--save",
        model,
        "--figure",
        figure,
        "--report",
        tmp_path / "report.html",
        *QUICK,
    )
    assert result.exit_code == 0, result.output
    assert "Task: classification" in result.stdout
    assert "reward" in result.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "r39" in (tmp_path / "report.html").read_text()
    values = pd.read_parquet(output)
    assert values["name"].tolist() == [f"r{number}" for number in range(40)]
    assert values["data_value"].between(0, 1).all()

    scored_csv = tmp_path / "scored.csv"
    result = run("score", model, valid_csv, "--target", "label", "--id", "name", "-o", scored_csv)
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(scored_csv)
    assert list(scored) == ["name", "data_value", "prediction", "probability"]
    assert set(scored["prediction"]) <= {"yes", "no"}

    result = run("score", model, valid_csv, "-o", scored_csv)
    assert result.exit_code == 0, result.output
    assert list(pd.read_csv(scored_csv)) == ["row", "prediction", "probability"]


def test_value_of_a_regression_table_without_validation_rows(tmp_path: Path, small_table):
    train, output = tmp_path / "train.parquet", tmp_path / "values.csv"
    small_table.drop(columns="name").to_parquet(train)
    result = run("value", train, "--target", "size", "-o", output, *QUICK)
    assert result.exit_code == 0, result.output
    assert "Task: regression" in result.stdout
    assert "held out" in result.stdout
    assert pd.read_csv(output)["row"].tolist() == list(range(60))


def test_the_same_seed_writes_the_same_values_and_quiet_is_quiet(tmp_path: Path, train_csv):
    written = []
    for name in ("a.csv", "b.csv"):
        result = run(
            "value", train_csv, "--target", "label", "-o", tmp_path / name, "--quiet", *QUICK
        )
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_strict_turns_a_warning_into_exit_code_1(tmp_path: Path, train_csv, monkeypatch):
    make = inputs.make_valuer

    def flagged(*arguments, **settings):
        valuer = make(*arguments, **settings)
        fit = valuer.fit

        def fit_and_flag(*rows, **more):
            import dataclasses

            fit(*rows, **more)
            valuer.diagnostics_ = dataclasses.replace(valuer.diagnostics_, messages=("Flat.",))
            return valuer

        valuer.fit = fit_and_flag
        return valuer

    monkeypatch.setattr(inputs, "make_valuer", flagged)
    arguments = ["value", train_csv, "--target", "label", "-o", tmp_path / "v.csv", *QUICK]
    result = run(*arguments, "--strict")
    assert result.exit_code == 1
    assert "warning: Flat." in result.stderr
    assert (tmp_path / "v.csv").exists()
    assert run(*arguments).exit_code == 0


def test_demo_writes_what_it_says(tmp_path: Path):
    folder = tmp_path / "demo"
    result = run("demo", "--quick", "--folder", folder, "--report", tmp_path / "demo.html")
    assert result.exit_code == 0, result.output
    assert "AUROC" in result.stdout
    assert "oracle" in result.stdout
    values = pd.read_parquet(folder / "values.parquet")
    assert values["is_flipped"].sum() == 60
    assert ((values["label"] != values["correct_label"]) == values["is_flipped"]).all()
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "of the 60 flipped labels" in (tmp_path / "demo.html").read_text()


@pytest.mark.slow
def test_demo_finds_the_flipped_rows(tmp_path: Path):
    result = run("demo", "--folder", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    values = pd.read_parquet(tmp_path / "demo" / "values.parquet")
    lowest = values.nsmallest(200, "data_value")
    assert lowest["is_flipped"].mean() > 0.8
