"""dvrl detect, prune and train: from tables to tables, models and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner

import dvrl
from dvrl.cli import app
from dvrl.data.noise import flip_labels

QUICK = ["--outer-iterations", "20", "--ensemble-size", "1"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, Path]:
    """Training rows with 20 % wrong labels that are marked, validation and test rows."""
    folder = tmp_path_factory.mktemp("tables")
    data = load_breast_cancer(as_frame=True)
    frame = data.frame[["mean radius", "mean texture", "worst area", "worst concavity"]].assign(
        kind=np.where(data.target == 1, "benign", "malignant"),
        who=[f"case {number}" for number in range(len(data.target))],
    )
    frame = frame.sample(frac=1, random_state=0)
    train = frame.iloc[:200].copy()
    noisy, is_wrong = flip_labels(train["kind"], 0.2, 0)
    train = train.assign(kind=noisy, wrong=np.where(is_wrong, "yes", "no"))
    parts = {"train": train, "valid": frame.iloc[200:300], "test": frame.iloc[300:]}
    for name, part in parts.items():
        part.to_csv(folder / f"{name}.csv", index=False)
    return {name: folder / f"{name}.csv" for name in parts}


def rows_of(tables: dict[str, Path]) -> list[object]:
    return [tables["train"], "--target", "kind", "--valid", tables["valid"], "--id", "who"]


def test_detect_lists_the_wrong_rows_with_reasons(tmp_path: Path, tables):
    output, report = tmp_path / "suspects.csv", tmp_path / "report.html"
    result = run(
        "detect",
        *rows_of(tables),
        *("--known-errors", "wrong", "--fraction", "0.2"),
        *("-o", output, "--report", report),
        *QUICK,
    )
    assert result.exit_code == 0, result.output
    assert "Of 40 rows known to be wrong" in result.stdout
    suspects = pd.read_csv(output)
    assert len(suspects) == 40
    assert list(suspects) == [
        "who",
        "label",
        "expected_label",
        "label_probability",
        "data_value",
        "data_value_std",
        "nearest_agreeing",
        "nearest_disagreeing",
        "reason",
    ]
    assert suspects["data_value"].is_monotonic_increasing
    train = pd.read_csv(tables["train"]).set_index("who")
    assert (train.loc[suspects["who"], "wrong"] == "yes").mean() > 0.7
    labels = train.loc[suspects["who"], "kind"].to_numpy()
    agreeing = train.loc[suspects["nearest_agreeing"], "kind"].to_numpy()
    disagreeing = train.loc[suspects["nearest_disagreeing"], "kind"].to_numpy()
    assert (labels == agreeing).all()
    assert (labels != disagreeing).all()
    page = report.read_text()
    assert "Of 40 rows known to be wrong" in page
    assert suspects["who"].iloc[0] in page


def test_prune_writes_the_rest_byte_for_byte_and_says_why(tmp_path: Path, tables):
    output, report = tmp_path / "pruned.csv", tmp_path / "report.html"
    result = run(
        "prune",
        *rows_of(tables),
        *("--drop", "wrong", "--test", tables["test"]),
        *("-o", output, "--report", report),
        *QUICK,
    )
    assert result.exit_code == 0, result.output
    assert "standard error" in result.stdout
    assert "lowest first" in result.stdout
    before = tables["train"].read_text().splitlines()
    after = output.read_text().splitlines()
    assert after[0] == before[0]
    places = [before.index(line) for line in after]
    assert places == sorted(places)
    removed = pd.read_csv(tables["train"]).drop(index=np.array(places[1:]) - 1)
    assert 10 <= len(removed) <= 100
    assert (removed["wrong"] == "yes").mean() > 0.5
    assert "standard error" in report.read_text()


def test_prune_takes_a_fraction_and_rows_of_its_own_for_validation(tmp_path: Path, tables):
    output = tmp_path / "pruned.parquet"
    result = run(
        "prune",
        tables["train"],
        *("--target", "kind", "--fraction", "0.25", "-o", output, "--quiet"),
        *QUICK,
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    pruned = pd.read_parquet(output)
    assert len(pruned) == 150
    assert list(pruned) == list(pd.read_csv(tables["train"]))


def test_train_saves_another_model_than_the_predictor_and_score_uses_it(tmp_path: Path, tables):
    model, report, scored = (tmp_path / name for name in ("m.dvrl", "r.html", "scored.csv"))
    result = run(
        "train",
        *rows_of(tables),
        *("--drop", "wrong", "--test", tables["test"], "--final-predictor", "gradient_boosting"),
        *("--scheme", "pruning", "--fraction", "0.2", "--save", model, "--report", report),
        *("--final-rows", "both"),
        *QUICK,
    )
    assert result.exit_code == 0, result.output
    assert "BoostedTreesClassifier trained on 160 of 200 rows" in result.stdout
    assert "Validation rows were trained on, too." in result.stdout
    assert "lowest 20% removed" in result.stdout
    assert "values as weights" in report.read_text()
    result = run("score", model, tables["test"], "--id", "who", "-o", scored)
    assert result.exit_code == 0, result.output
    truth = pd.read_csv(tables["test"]).set_index("who")["kind"]
    predicted = pd.read_csv(scored).set_index("who")["prediction"]
    assert (predicted == truth).mean() > 0.8
    valuer = dvrl.load(model)
    assert type(valuer.predictor_.estimator_[-1]).__name__ == "BoostedTreesClassifier"


def test_train_a_regression_with_weights_and_held_out_rows(tmp_path: Path, tables):
    model = tmp_path / "m.dvrl"
    result = run(
        "train",
        tables["train"],
        *("--target", "mean radius", "--id", "who", "--drop", "wrong", "--test", tables["test"]),
        *("--save", model),
        *QUICK,
    )
    assert result.exit_code == 0, result.output
    assert "Ridge trained on 200 rows with the data values as weights" in result.stdout
    assert "validation rows alone" in result.stdout
    test = pd.read_csv(tables["test"])
    features = ["mean texture", "worst area", "worst concavity", "kind"]
    assert dvrl.load(model).score(test[features], test["mean radius"]) > 0.5


def test_bad_input_of_the_uses_is_one_sentence_and_writes_nothing(tmp_path: Path, tables):
    train, target = tables["train"], ("--target", "kind")
    no_texture = tmp_path / "no_texture.csv"
    pd.read_csv(tables["test"]).drop(columns="mean texture").to_csv(no_texture, index=False)
    before = sorted(tmp_path.iterdir())
    out = ("-o", tmp_path / "out.csv")
    cases = [
        (["detect", tmp_path / "absent.csv", *target, *out], "no file"),
        (["train", train, *target, "--final-rows", "both"], "name them with --valid"),
        (["detect", train, *target, *out, "--known-errors", "mean radius"], "true and false"),
        (["detect", train, *target, *out, "--known-errors", "nobody"], "no column 'nobody'"),
        (["detect", train, *target, *out, "--report", tmp_path / "r.pdf"], "ending"),
        (["detect", train, *target, *out, "--id", "reason"], "rename"),
        (["prune", train, *target, "-o", train], "named twice"),
        (["prune", train, *target, *out, "--drop", "wrong", "--test", no_texture], "mean texture"),
        (["prune", train, *target, *out, "--predictor", "ridge"], "logistic"),
        (["train", train, *target, "--final-predictor", "ridge"], "logistic, mlp"),
        (["train", train, *target, "--save", tmp_path / "no" / "m.dvrl"], "no folder"),
    ]
    for arguments, part in cases:
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert part in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["detect", "prune", "train"])
def test_strict_counts_for_the_uses_too(tmp_path: Path, tables, command, monkeypatch):
    import dataclasses

    from dvrl.diagnostics import judge

    diagnose = judge.diagnose

    def flagged(evidence):
        return dataclasses.replace(diagnose(evidence), messages=("Flat.",))

    monkeypatch.setattr(judge, "diagnose", flagged)
    more = ["--fraction", "0.1"] if command != "train" else []
    flag, output = "--save" if command == "train" else "-o", tmp_path / "out.csv"
    arguments = [command, *rows_of(tables), "--drop", "wrong", *more, flag, output, *QUICK]
    result = run(*arguments, "--strict")
    assert result.exit_code == 1, result.output
    assert "warning: Flat." in result.stderr
    assert output.exists()
