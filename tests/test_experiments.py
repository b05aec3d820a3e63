"""Planting errors, scoring how well values find them, and comparing ways to train."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dvrl.actions import detection_scores, discovery, robust_comparison
from dvrl.data.noise import flip_labels, replace_targets
from dvrl.predictors.weighted_fit import fit_weighted
from dvrl.report import plot_discovery, plot_history, plot_values, save_figure

# ------------------------------------------------------------------------------------ noise


@given(
    labels=st.lists(st.sampled_from("abcd"), min_size=2, max_size=60).filter(
        lambda labels: len(set(labels)) > 1
    ),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_flip_labels_changes_exactly_the_marked_rows(labels, fraction, seed):
    noisy, is_corrupted = flip_labels(labels, fraction, seed)
    assert is_corrupted.sum() == round(fraction * len(labels))
    assert np.array_equal(noisy != np.asarray(labels), is_corrupted)
    assert set(noisy) <= set(labels)


@given(
    targets=st.lists(st.integers(-3, 3), min_size=2, max_size=60).filter(
        lambda targets: len(set(targets)) > 1
    ),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_replace_targets_changes_exactly_the_marked_rows(targets, fraction, seed):
    noisy, is_corrupted = replace_targets(targets, fraction, seed)
    assert is_corrupted.sum() == round(fraction * len(targets))
    assert np.array_equal(noisy != np.asarray(targets), is_corrupted)
    assert set(noisy.tolist()) <= set(targets)


@pytest.mark.parametrize("plant", [flip_labels, replace_targets])
def test_noise_leaves_the_callers_array_alone_and_repeats_itself(plant):
    y = np.arange(50) % 7
    before = y.copy()
    first, _ = plant(y, 0.5, np.random.default_rng(3))
    second, _ = plant(y, 0.5, 3)
    assert np.array_equal(y, before)
    assert np.array_equal(first, second)
    assert first.dtype == y.dtype


def test_flip_labels_uses_every_other_class_equally_often():
    noisy, is_corrupted = flip_labels([*np.zeros(30_000, int), 1, 2, 3], 1.0, 0)
    counts = np.bincount(noisy[:30_000])
    assert is_corrupted.all()
    assert counts[0] == 0
    assert np.abs(counts[1:] - 10_000).max() < 400


def test_noise_works_on_a_series_with_an_index():
    y = pd.Series(["yes", "no"] * 10, index=range(100, 120))
    noisy, is_corrupted = flip_labels(y, 0.25, 0)
    assert is_corrupted.sum() == 5
    assert isinstance(noisy, np.ndarray)


@pytest.mark.parametrize("plant", [flip_labels, replace_targets])
@pytest.mark.parametrize(
    ("y", "fraction", "cause"),
    [
        ([1, 1, 1], 0.5, "single class|constant"),
        ([1, 2, 3], 1.5, "between 0 and 1"),
        ([1, 2, 3], float("nan"), "between 0 and 1"),
        ([[1, 2], [3, 4]], 0.5, "shape"),
    ],
)
def test_noise_says_what_is_wrong(plant, y, fraction, cause):
    with pytest.raises(ValueError, match=cause):
        plant(y, fraction, 0)


def test_no_noise_is_allowed_for_a_single_class():
    noisy, is_corrupted = flip_labels([1, 1, 1], 0.0, 0)
    assert noisy.tolist() == [1, 1, 1]
    assert not is_corrupted.any()


# -------------------------------------------------------------------------------- detection


def test_detection_scores_agree_with_scikit_learn(rng):
    values = rng.normal(size=200).round(1)  # rounded: with ties
    is_corrupted = rng.random(200) < 0.3
    scores = detection_scores(values, is_corrupted)
    assert scores["auroc"] == roc_auc_score(is_corrupted, -values)
    assert scores["average_precision"] == average_precision_score(is_corrupted, -values)


def test_discovery_without_ties_counts_rows(rng):
    values = rng.permutation(100) / 100
    is_corrupted = rng.random(100) < 0.2
    table = discovery(values, is_corrupted, [0.1, 0.25, 1.0])
    for share, found in zip(table["share"], table["found"], strict=True):
        lowest = np.argsort(values)[: round(share * 100)]
        assert found == pytest.approx(is_corrupted[lowest].sum() / is_corrupted.sum())


def test_constant_values_find_what_a_random_order_finds():
    is_corrupted = np.arange(100) < 20  # in front, where a stable sort would look first
    table = discovery(np.ones(100), is_corrupted, [0.0, 0.2, 0.5, 1.0])
    assert table["found"].tolist() == pytest.approx([0.0, 0.2, 0.5, 1.0])
    scores = detection_scores(np.ones(100), is_corrupted)
    assert scores == pytest.approx(
        {"auroc": 0.5, "average_precision": 0.2, "recall_at_noise_rate": 0.2}
    )


def test_perfect_values_reach_the_best_possible():
    is_corrupted = np.arange(100) % 5 == 0
    values = 1.0 - is_corrupted + np.linspace(0, 0.1, 100)
    table = discovery(values, is_corrupted)
    assert table["found"].tolist() == pytest.approx(table["perfect"].tolist())
    assert detection_scores(values, is_corrupted)["recall_at_noise_rate"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "is_corrupted", "cause"),
    [
        ([0.1, 0.2], [True], "shape"),
        ([0.1, np.nan], [True, False], "NaN"),
        ([0.1, 0.2], [False, False], "no row or every row"),
        ([0.1, 0.2], [True, True], "no row or every row"),
    ],
)
def test_detection_says_what_is_wrong(values, is_corrupted, cause):
    with pytest.raises(ValueError, match=cause):
        detection_scores(values, is_corrupted)
    with pytest.raises(ValueError, match=cause):
        discovery(values, is_corrupted)


# --------------------------------------------------------------------------- robust training


def _problem(rng):
    X = rng.normal(size=(300, 3))
    y = np.where(X[:, 0] > 0, "yes", "no")
    noisy, is_corrupted = flip_labels(y[:200], 0.4, rng)
    return X, y, noisy, is_corrupted


class _Valuer(SimpleNamespace):
    """Stands for a fitted estimator whose values are perfect."""

    def score(self, X, y):
        return 0.25


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_robust_comparison_trains_on_what_it_says(rng, container):
    X, y, noisy, is_corrupted = _problem(rng)
    valuer = _Valuer(data_values_=1.0 - is_corrupted, marginal_values_=np.ones(200))
    table = robust_comparison(
        valuer,
        container(X[:200]),
        noisy,
        container(X[200:240]),
        y[200:240],
        container(X[240:]),
        y[240:],
        predictor=make_pipeline(StandardScaler(), LogisticRegression()),
        is_corrupted=is_corrupted,
        prune_fraction=0.4,
    ).set_index("scheme")
    assert table["rows"].to_dict() == {
        "all rows": 200,
        "lowest 40% removed": 120,
        "values as weights": 200,
        "marginal as weights": 200,
        "validation rows alone": 40,
        "all rows and validation rows": 240,
        "values as weights, and validation rows": 240,
        "clean rows only (oracle)": 120,
        "DVRL's own predictor": 200,
    }
    scores = table["score"]
    # Perfect values remove exactly the wrong rows; equal weights change nothing.
    assert scores["lowest 40% removed"] == scores["clean rows only (oracle)"]
    assert scores["marginal as weights"] == pytest.approx(scores["all rows"])
    assert scores["values as weights"] > scores["all rows"]
    assert scores["DVRL's own predictor"] == 0.25


def test_robust_comparison_leaves_out_what_is_not_known(rng):
    X, y, noisy, _ = _problem(rng)
    table = robust_comparison(
        _Valuer(data_values_=np.linspace(0, 1, 200)),
        X[:200],
        noisy,
        X[200:240],
        y[200:240],
        X[240:],
        y[240:],
        predictor=LogisticRegression(),
        scorer=lambda estimator, X, y: 7.0,
    )
    assert not any("marginal" in name or "oracle" in name for name in table["scheme"])
    assert (table["score"] == 7.0).all()


def test_robust_comparison_refuses_other_rows(rng):
    X, y, noisy, _ = _problem(rng)
    with pytest.raises(ValueError, match="fitted on 5 rows and y has 200"):
        robust_comparison(
            _Valuer(data_values_=np.ones(5)),
            X[:200],
            noisy,
            X[200:],
            y[200:],
            X[200:],
            y[200:],
            predictor=LogisticRegression(),
        )


def test_fit_weighted_takes_the_rows_of_weight_one_half_without_sample_weight(rng):
    X, _, noisy, is_corrupted = _problem(rng)
    weights = 1.0 - is_corrupted
    fitted = fit_weighted(KNeighborsClassifier(), X[:200], noisy, weights, classes=True)
    assert fitted.n_samples_fit_ == 120


# ---------------------------------------------------------------------------------- figures


def test_figures_are_drawn_and_written(tmp_path: Path, rng):
    values = rng.random(100)
    is_corrupted = rng.random(100) < 0.2
    history = {"iteration": np.arange(100), "reward": rng.random(100)}
    axes = [
        plot_values(values),
        plot_values(values, is_corrupted),
        plot_values(np.ones(5)),
        plot_discovery({"a": values, "b": -values}, is_corrupted),
        plot_history(history),
        plot_history([{"iteration": 0, "reward": 0.5}]),
    ]
    for number, ax in enumerate(axes):
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert ax.get_title()
        path = save_figure(ax, tmp_path / f"{number}.png", dpi=50)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert save_figure(axes[0].figure, tmp_path / "a.svg").stat().st_size > 1000
    assert not list(tmp_path.glob(".*"))


def test_figures_draw_into_given_axes_and_refuse_unknown_endings(tmp_path: Path):
    ax = plot_values([0.1, 0.9])
    assert plot_history({"iteration": [0, 1], "reward": [0, 1]}, ax) is ax
    with pytest.raises(ValueError, match="ending"):
        save_figure(ax, tmp_path / "figure.doc")
