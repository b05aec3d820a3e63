"""The command line, `explain_suspects` and `report_of` say the same about the same rows."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dvrl import DataValuationWarning, DVRLClassifier, DVRLRegressor
from dvrl.cli import app
from dvrl.diagnostics.suspects import explain_suspects
from dvrl.report import report_of

NEIGHBOURS = ["nearest_agreeing", "nearest_disagreeing"]


def _tables(task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, of which the first eight are wrong, and validation rows."""
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    score = X["a"] + 2 * X["b"] + 0.1 * rng.normal(size=120)
    wrong = np.arange(120) < 8
    if task == "classes":
        answer = pd.Series(np.where((score > 0) ^ wrong, "yes", "no"))
    else:
        answer = score + 30.0 * wrong
    table = X.assign(answer=answer).round(3).set_index("r" + X.index.astype(str))
    return table[:80].rename_axis("who"), table[80:].rename_axis("who")


def _said(page: Path) -> pd.DataFrame:
    """Reasons and neighbours of the rows of a report that have a reason, as it holds them."""
    found = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    reasons = next(column for column in data["columns"] if column["title"] == "Reason")
    texts = reasons.get("values") or [
        None if code < 0 else reasons["words"][code] for code in reasons["codes"]
    ]
    names: dict[str, list[str | None]] = {
        f"nearest_{kind}": [None if places is None else data["ids"][places[0]] for places in near]
        for kind, near in data["near"].items()
    }
    table = pd.DataFrame({**names, "reason": texts}, index=data["ids"], dtype=object)
    return table[table["reason"].notna()]


def _same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    columns = [*NEIGHBOURS, "reason"]
    one, other = (table[columns].astype(object) for table in (first, second))
    pd.testing.assert_frame_equal(
        one.where(one.notna(), None), other.where(other.notna(), None), check_names=False
    )


def _detected(folder: Path, train: pd.DataFrame, valid: pd.DataFrame) -> tuple[pd.DataFrame, Path]:
    """The table and the report that `dvrl detect` writes."""
    train.to_csv(folder / "train.csv")
    valid.to_csv(folder / "valid.csv", index=False)
    output, page = folder / "suspects.csv", folder / "report.html"
    arguments = ["detect", folder / "train.csv", "--target", "answer", "--id", "who"]
    arguments += ["--valid", folder / "valid.csv", "-o", output, "--report", page]
    arguments += ["--outer-iterations", 20, "--ensemble-size", 1]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return pd.read_csv(output, index_col="who"), page


KINDS = {"classes": DVRLClassifier, "numbers": DVRLRegressor}


@pytest.mark.parametrize("task", list(KINDS))
def test_command_line_and_python_agree(tmp_path: Path, task: str):
    train, valid = _tables(task)
    written, page = _detected(tmp_path, train, valid)
    X, y = train.drop(columns="answer"), train["answer"]
    valuer = KINDS[task](random_state=0, settings={"outer_iterations": 20, "ensemble_size": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)  # too short to be trusted
        valuer.fit(X, y, X_val=valid.drop(columns="answer"), y_val=valid["answer"])
    explained = explain_suspects(valuer, X, y)
    assert len(explained) == 8
    assert (explained.index.isin(train.index[:8])).sum() >= 6
    _same(written, explained)
    _same(_said(page), explained)
    _same(_said(report_of(valuer, X, y, tmp_path / "python.html")), explained)

    short = valuer.suspects()
    assert short.index.equals(explained.index)
    for brief, full in zip(short["reason"], explained["reason"], strict=True):
        assert full.startswith(f"{brief.removesuffix('.')}; ")

    more = explain_suspects(valuer, X, y, 0.3)
    _same(_said(report_of(valuer, X, y, tmp_path / "more.html", suspects=more)), more)
    with pytest.raises(ValueError, match="rows of lowest value"):
        report_of(valuer, X, y, tmp_path / "other.html", suspects=more[::-1])
