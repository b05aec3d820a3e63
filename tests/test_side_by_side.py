"""Methods side by side, from Python and from the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from typer.testing import CliRunner

import dvrl
from dvrl.actions.removal import SHARES
from dvrl.cli import app
from dvrl.cli.options import METHOD_NAMES
from dvrl.methods import KNNShapley, RandomValues
from dvrl.side_by_side import TITLES

CHEAP = ["knn_shapley", "random", "influence"]
X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def result():
    return dvrl.compare(X, Y, methods=CHEAP, plant_noise=0.2, random_state=0)


def test_one_line_per_method_with_all_that_was_measured(result):
    table = result.table.set_index("method")
    assert table.index.tolist() == ["KNN-Shapley", "random", "influence functions"]
    assert (table["state"] == "complete").all()
    assert (table["seconds"] > 0).all()
    assert table["fits"].tolist() == [0, 0, 1]
    # Iris is easy, 20 % flips of 90 rows: far from chance for a method that looks at labels.
    assert table.loc["KNN-Shapley", "auroc"] > 0.85
    assert table.loc["KNN-Shapley", "found_in_lowest_20"] > 0.6
    assert result.judged_on == "test"
    assert result.removal_metric == "accuracy"


def test_values_are_those_of_the_training_rows(result):
    values = result.values
    assert len(values) == 90  # 150 rows, a fifth to test and a fifth to validation
    assert values["is_corrupted"].sum() == 18
    right = ~values["is_corrupted"]
    np.testing.assert_array_equal(values["label"][right], Y[values.index[right]])
    assert (values["label"] != Y[values.index]).sum() == 18
    assert np.isfinite(values["KNN-Shapley"]).all()
    rescored = dvrl.actions.detection_scores(values["KNN-Shapley"], values["is_corrupted"])
    assert rescored["auroc"] == result.table["auroc"][0]


def test_removal_starts_from_all_rows_and_ends_at_half(result):
    curves = result.removal.set_index(["method", "removed_first", "share"])["score"]
    starts = curves.xs(0.0, level="share")
    assert len(starts) == 6
    assert starts.nunique() == 1
    lowest = curves["KNN-Shapley"]["lowest"]
    assert lowest.index.tolist() == list(SHARES)
    # Without the rows of highest value the predictor is worse than without those of lowest.
    assert curves["KNN-Shapley"]["highest"].mean() < lowest.mean()
    mean = result.table.set_index("method").loc["KNN-Shapley", "lowest_removed"]
    assert mean == pytest.approx(lowest.mean())


def test_agreement_is_a_rank_correlation(result):
    agreement = result.agreement
    np.testing.assert_allclose(np.diag(agreement), 1.0)
    np.testing.assert_allclose(agreement, agreement.T)
    assert abs(agreement.loc["random", "KNN-Shapley"]) < 0.4


def test_the_same_seed_gives_the_same_rows_and_values(result):
    again = dvrl.compare(X, Y, methods=CHEAP, plant_noise=0.2, random_state=0)
    pd.testing.assert_frame_equal(again.values, result.values)
    pd.testing.assert_frame_equal(again.removal, result.removal)
    other = dvrl.compare(X, Y, methods=CHEAP, plant_noise=0.2, random_state=1)
    assert not other.values.equals(result.values)


def test_what_is_written_can_be_read(result, tmp_path):
    written = result.save(tmp_path / "new")
    assert {path.name for path in written} == {
        "table.csv", "values.parquet", "removal.csv", "agreement.csv"
    }  # fmt: skip
    values = pd.read_parquet(tmp_path / "new" / "values.parquet")
    np.testing.assert_array_equal(values["KNN-Shapley"], result.values["KNN-Shapley"])
    assert len(pd.read_csv(tmp_path / "new" / "removal.csv")) == 2 * 3 * len(SHARES)


def test_a_method_that_is_not_possible_is_no_obstacle():
    X, y = load_diabetes(return_X_y=True)
    result = dvrl.compare(X, y, methods=["confident_learning", "knn_shapley"])
    first, second = result.table["state"]
    assert first.startswith("not possible: Confident learning needs classes")
    assert second == "complete"
    assert result.table["auroc"].isna().all()  # nothing was planted, nothing is known
    assert result.removal_metric == "r2"
    assert list(result.values.columns) == ["KNN-Shapley", "label"]


def test_known_errors_and_rows_of_the_callers_own():
    frame = pd.DataFrame(X, index=[f"r{number}" for number in range(150)])
    labels = Y.copy()
    wrong = np.arange(150) % 10 == 0
    labels[wrong] = (labels[wrong] + 1) % 3
    clean = np.flatnonzero(~wrong)[::3]
    result = dvrl.compare(
        frame, labels, frame.iloc[clean], Y[clean],
        methods={"near": KNNShapley(3), "chance": RandomValues(random_state=0)},
        is_corrupted=wrong, train_rows=100,
    )  # fmt: skip
    assert result.judged_on == "validation"
    assert result.table["method"].tolist() == ["near", "chance"]
    assert len(result.values) == 100
    rows = result.values.index.str[1:].astype(int)
    np.testing.assert_array_equal(result.values["is_corrupted"], wrong[rows])
    np.testing.assert_array_equal(result.values["label"], labels[rows])


def test_the_callers_arrays_are_not_touched():
    labels = Y.copy()
    dvrl.compare(X, labels, methods=["random"], plant_noise=0.3)
    np.testing.assert_array_equal(labels, Y)


def test_time_that_is_up_keeps_what_there_is():
    result = dvrl.compare(
        X, Y, methods=["leave_one_out", "data_shapley", "data_oob", "ame", "banzhaf",
                       "gradient_similarity", "dvrl"],
        max_seconds=1e-6,
    )  # fmt: skip
    assert (result.table["state"] == "time was up").all(), result.table
    assert result.table["lowest_removed"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["loo"]}, "methods holds the unknown 'loo'; choose from dvrl"),
        ({"methods": []}, "methods is empty"),
        ({"plant_noise": 1.5}, "plant_noise"),
        ({"plant_noise": 0.1, "is_corrupted": np.zeros(150, bool)}, "pass one"),
        ({"is_corrupted": np.zeros(3, bool)}, "is_corrupted"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"train_rows": 0}, "train_rows"),
        ({"valid_rows": 150}, "valid_rows"),
        ({"X_val": X, "y_val": Y, "valid_rows": 5}, "valid_rows"),
        ({"X_val": X}, "X_val was given without y_val"),
        ({"X_test": X}, "X_test and y_test together"),
    ],
)
def test_bad_options_are_refused_before_any_work(options, message):
    with pytest.raises(ValueError, match=message):
        dvrl.compare(X, Y, **{"methods": ["random"], **options}, callback=pytest.fail)


def test_the_command_line_names_all_methods():
    assert tuple(TITLES) == METHOD_NAMES


def test_the_command(train_csv, valid_csv, tmp_path):
    folder = tmp_path / "out"
    ran = CliRunner().invoke(
        app,
        ["compare", str(train_csv), "--target", "label", "--id", "name", "--drop", "colour",
         "--methods", "knn_shapley, random", "--plant-noise", "0.2", "--valid", str(valid_csv),
         "--folder", str(folder)],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "KNN-Shapley" in ran.output
    assert "AUROC" in ran.output
    assert "add --test" in ran.output
    assert (folder / "figure.png").read_bytes()[:4] == b"\x89PNG"
    values = pd.read_parquet(folder / "values.parquet")
    assert values["name"].tolist() == [f"r{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "loo"], "unknown 'loo'"),
        (["--drop", "size", "--drop", "weight"], "no column 'weight'"),
        (["--test", "absent.csv"], "no file absent.csv"),
    ],
)
def test_the_command_refuses_with_one_sentence(train_csv, tmp_path, more, message):
    ran = CliRunner().invoke(
        app,
        ["compare", str(train_csv), "--target", "label", "--folder", str(tmp_path / "o"), *more],
    )
    assert ran.exit_code == 2
    assert message in ran.output
    assert ran.output.strip().count("\n") <= 1
