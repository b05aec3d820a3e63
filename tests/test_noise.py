"""Planted errors that depend on the class or on the features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline

from dvrl.data.noise import flip_border_labels, flip_labels

SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.floats(0, 1)
LABELS = st.lists(st.sampled_from("abcd"), min_size=2, max_size=60).filter(
    lambda labels: len(set(labels)) > 1
)


def make_table(container: str, rng: np.random.Generator, n_rows: int = 30):
    """Rows without gaps: two columns of numbers and, in frames, further kinds."""
    numbers = rng.normal(size=(n_rows, 2))
    if container == "array":
        return numbers
    columns = {
        "size": numbers[:, 0],
        "count": rng.integers(0, 9, n_rows),
        "colour": rng.choice(["red", "green"], n_rows),
        "new": rng.random(n_rows) < 0.5,
    }
    return pd.DataFrame(columns) if container == "pandas" else pl.DataFrame(columns)


def as_objects(table) -> np.ndarray:
    """Cells that can be compared, gaps as None."""
    if isinstance(table, pl.DataFrame):
        return np.array(table.rows(), dtype=object)
    frame = pd.DataFrame(table).astype(object)
    return frame.where(frame.notna(), None).to_numpy()


@given(labels=LABELS, fraction=FRACTIONS, seed=SEEDS)
def test_pairs_move_each_class_to_the_next_one(labels, fraction, seed):
    noisy, is_corrupted = flip_labels(labels, fraction, seed, to="next")
    given_labels, classes = np.asarray(labels), sorted(set(labels))
    following = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    assert np.array_equal(noisy != given_labels, is_corrupted)
    for label in classes:
        rows = given_labels == label
        assert is_corrupted[rows].sum() == round(fraction * rows.sum())
        assert set(noisy[rows & is_corrupted]) <= {following[label]}


def test_pairs_leave_other_classes_alone_and_keep_the_callers_labels():
    labels = np.array([0, 1, 2] * 20)
    before = labels.copy()
    noisy, is_corrupted = flip_labels(labels, 0.5, 0, to={0: 2})
    assert np.array_equal(labels, before)
    assert is_corrupted.sum() == 10
    assert set(labels[is_corrupted]) == {0}
    assert set(noisy[is_corrupted]) == {2}


@pytest.mark.parametrize(
    ("labels", "to", "cause"),
    [
        ([1, 1, 1], "next", "single class"),
        ([1, 2, 3], "other", "'any', 'next'"),
        ([1, 2, 3], {1: 4}, "label 4"),
        ([1, 2, 3], {1: 1}, "itself"),
    ],
)
def test_pairs_say_what_is_wrong(labels, to, cause):
    with pytest.raises(ValueError, match=cause):
        flip_labels(labels, 0.5, 0, to=to)


class KnownChance(ClassifierMixin, BaseEstimator):
    """Says that class 1 has the probability that stands in the first column."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        chance = np.asarray(X)[:, 0]
        return np.column_stack([1 - chance, chance])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_border_labels_follow_the_stated_chances():
    chances = np.repeat([0.5, 0.75, 0.95], 4000)
    y = np.ones(len(chances), int)
    y[::10] = 0  # two classes, as a model needs
    _, is_corrupted = flip_border_labels(
        chances[:, None], y, 0.05, 0, model=make_pipeline(KnownChance())
    )
    ones = y == 1
    flipped = np.array(
        [is_corrupted[ones & (chances == each)].mean() for each in (0.5, 0.75, 0.95)]
    )
    # p - q is 0, .5 and .9 for these rows; few are drawn, so draws hardly change the chances.
    expected = (1 - np.array([0.0, 0.5, 0.9]) ** 2) / 2
    assert flipped / flipped[0] == pytest.approx(expected / expected[0], abs=0.12)


@given(fraction=FRACTIONS, seed=SEEDS)
def test_border_labels_change_exactly_the_marked_rows(fraction, seed):
    chances = np.linspace(0.05, 0.95, 40)
    y = (chances > 0.4).astype(int)
    noisy, is_corrupted = flip_border_labels(
        chances[:, None], y, fraction, seed, model=make_pipeline(KnownChance())
    )
    assert is_corrupted.sum() == round(fraction * 40)
    assert np.array_equal(noisy != y, is_corrupted)


@pytest.mark.parametrize("container", ["array", "pandas", "polars"])
def test_border_labels_pick_rows_near_the_border_by_default(container):
    rng = np.random.default_rng(0)
    table = make_table(container, rng, 400)
    size = table[:, 0] if container == "array" else np.asarray(table["size"])
    y = np.where(size > 0, "large", "small")
    before = as_objects(table)
    noisy, is_corrupted = flip_border_labels(table, y, 0.2, 0)
    assert np.array_equal(as_objects(table), before)
    assert np.array_equal(noisy != y, is_corrupted)
    assert np.abs(size[is_corrupted]).mean() < 0.6 * np.abs(size[~is_corrupted]).mean()


def test_border_labels_choose_the_most_likely_other_class():
    rng = np.random.default_rng(0)
    place = rng.permutation(np.repeat([0.0, 1.0, 3.0], 60))
    X = (place + 0.1 * rng.normal(size=180))[:, None]
    y = np.array(["left", "middle", "right"])[np.searchsorted([0.0, 1.0, 3.0], place)]
    noisy, is_corrupted = flip_border_labels(X, y, 0.3, 0)
    assert set(noisy[is_corrupted & (y == "left")]) == {"middle"}
    assert set(noisy[is_corrupted & (y == "right")]) == {"middle"}


def test_border_labels_need_two_rows_of_each_class():
    with pytest.raises(ValueError, match="smallest of the 2 in y has 1"):
        flip_border_labels(np.zeros((3, 1)), [0, 0, 1], 0.5, 0)
