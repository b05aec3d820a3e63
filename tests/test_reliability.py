"""Input that is wrong, scarce or odd: the right result, or one clear sentence."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from dvrl import DataValuationWarning, DVRLClassifier, DVRLRegressor
from dvrl.methods import RandomValues
from helpers import parameters

pytestmark = pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")
QUICK = {"outer_iterations": 2, "ensemble_size": 1, "random_state": 0}


def rows(n_rows, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    return X, (X[:, 0] + 0.2 * rng.normal(size=n_rows) > 0).astype(int)


X, Y = rows(60)
X_VAL, Y_VAL = rows(30, seed=1)


def refused(match, *, X=X, y=Y, X_val=X_VAL, y_val=Y_VAL, cls=DVRLClassifier, **settings):
    """One sentence or two, that name the cause, before anything is learned."""
    valuer = cls(**parameters(**QUICK, **settings))
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        valuer.fit(X, y, X_val=X_val, y_val=y_val)
    assert len(str(caught.value)) < 400
    assert not hasattr(valuer, "data_values_")


def with_entry(value):
    changed = X.copy()
    changed[3, 1] = value
    return changed


def test_features_that_cannot_be_used():
    refused("NaN", X=with_entry(np.nan))
    refused("infinity", X=with_entry(np.inf))
    refused("infinity", X_val=np.where(X_VAL > 1, np.inf, X_VAL))
    refused("2D|2 dimensions|1D", X=X[:5, 0], y=Y[:5])
    refused("features", X_val=X_VAL[:, :2])
    refused("0 sample|minimum", X=X[:0], y=Y[:0])


def test_an_absent_column_is_named():
    frame, validation = (pd.DataFrame(each, columns=["a", "b", "c"]) for each in (X, X_VAL))
    refused("c", X=frame, X_val=validation[["a", "b"]])


def test_labels_that_cannot_be_used():
    refused("[Ii]nconsistent|samples", y=Y[:-1])
    refused("NaN", y=np.where(np.arange(60) == 5, np.nan, Y))
    refused("infinity", y=np.where(np.arange(60) == 5, np.inf, Y))
    refused("one class", y=np.zeros(60, int))
    refused("label", y_val=Y_VAL + 5)
    refused("[Cc]ontinuous|regress", y=np.random.default_rng(0).normal(size=60))
    refused("mixed type", y=np.array([0, "one"] * 30, dtype=object))
    refused("NaN", cls=DVRLRegressor, y=np.where(np.arange(60) == 5, np.nan, Y))
    refused("numbers", cls=DVRLRegressor, y=np.array(["low", "high"] * 30), y_val=["low"] * 30)


def test_validation_rows_that_cannot_be_used():
    refused("[Vv]alidation|0 sample", X_val=X_VAL[:0], y_val=Y_VAL[:0])
    refused("y_val", y_val=None)
    refused("X_val", X_val=None)
    refused("[Ii]nconsistent|samples|rows", y_val=Y_VAL[:-1])
    refused("validation_fraction", X_val=None, y_val=None, validation_fraction=1.5)


def test_objects_that_are_no_predictors():
    refused("fit", predictor=object())
    refused("unknown", predictor="forest")


def test_a_black_box_that_fails_says_so_with_its_cause():
    class Broken:
        def fit(self, X, y):
            raise OSError("no disk")

        def predict(self, X):
            return np.zeros(len(X))

        def get_params(self, deep=True):
            return {}

    with pytest.raises(RuntimeError, match="no disk") as caught:
        DVRLClassifier(Broken(), **parameters(**QUICK)).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_constant_target_is_valued_or_refused_with_one_sentence():
    valuer = DVRLRegressor(**parameters(**QUICK))
    try:
        valuer.fit(X, np.full(60, 7.0), X_val=X_VAL, y_val=np.full(30, 7.0))
    except ValueError as error:
        assert "constant" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(valuer.predict(X), 7.0, atol=1e-3)


@pytest.mark.parametrize(("n_rows", "n_validation"), [(60, 1), (5, 5), (2, 1)])
def test_few_rows(n_rows, n_validation):
    X, y = rows(n_rows)
    y[:2] = [0, 1]
    valuer = DVRLClassifier(**parameters(**QUICK)).fit(
        X, y, X_val=X_VAL[:n_validation], y_val=Y_VAL[:n_validation]
    )
    assert np.isfinite(valuer.data_values_).all()
    target = DVRLRegressor(**parameters(**QUICK))
    target.fit(X, X[:, 0], X_val=X_VAL[:n_validation], y_val=X_VAL[:n_validation, 0])
    assert np.isfinite(target.data_values_).all()


def test_a_class_without_validation_rows_and_one_of_a_single_row():
    y = Y.copy()
    y[0] = 2
    valuer = DVRLClassifier(**parameters(**QUICK)).fit(X, y, X_val=X_VAL, y_val=Y_VAL)
    assert valuer.classes_.tolist() == [0, 1, 2]
    assert valuer.predict_proba(X).shape == (60, 3)


def test_columns_of_one_value_and_of_huge_numbers():
    odd = np.column_stack([X, np.full(60, 3.0), 1e30 * X[:, 0], 1e-30 * X[:, 1]])
    valuer = DVRLClassifier(**parameters(**QUICK)).fit(odd, Y, X_val=odd[:20], y_val=Y[:20])
    assert np.isfinite(valuer.data_values_).all()


def test_the_callers_arrays_stay_as_they_are():
    copies = [each.copy() for each in (X, Y, X_VAL, Y_VAL)]
    for each in (X, Y, X_VAL, Y_VAL):
        each.setflags(write=False)
    DVRLClassifier(**parameters(**QUICK)).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    for each, copy in zip((X, Y, X_VAL, Y_VAL), copies, strict=True):
        np.testing.assert_array_equal(each, copy)


def test_no_global_random_state_is_touched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    DVRLClassifier(settings={"outer_iterations": 2, "ensemble_size": 1}).fit(X, Y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_many_rows():
    X, y = rows(50_000)
    valuer = DVRLClassifier(**parameters(**QUICK, marginal="validation")).fit(
        X, y, X_val=X_VAL, y_val=Y_VAL
    )
    assert valuer.data_values_.shape == (50_000,)
    assert np.isfinite(valuer.data_values_).all()


@pytest.mark.slow
def test_a_million_rows():
    X, y = rows(1_000_000)
    valuer = DVRLClassifier(**parameters(**QUICK)).fit(X, y, X_val=X_VAL, y_val=Y_VAL)
    assert valuer.data_values_.shape == (1_000_000,)
    assert np.isfinite(valuer.data_values_).all()
    assert valuer.score(X[:1000], y[:1000]) > 0.8


# --- properties ---------------------------------------------------------------------------------

NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, np.nan, np.inf, 1e38])
LABELS = st.sampled_from([[0, 1], ["a", "b", "c"], [True, False], [1.5, 2.0], [-1, 1], [0, None]])


@st.composite
def tables(draw):
    """Tables of up to 24 rows: some are fine, some hold gaps, infinities or odd labels."""
    n_rows = draw(st.integers(0, 24))
    is_clean = draw(st.booleans())
    entries = st.floats(-100, 100, width=32) if is_clean else NUMBERS
    X = np.array(draw(st.lists(entries, min_size=3 * n_rows, max_size=3 * n_rows)), np.float64)
    names = draw(LABELS)
    y = [names[k % len(names)] for k in draw(st.permutations(range(n_rows)))]
    table = X.reshape(n_rows, 3)
    if draw(st.booleans()):
        table = pd.DataFrame(table, columns=["x", "y", "z"])
    return table, np.array(y, dtype=object) if draw(st.booleans()) else y


@pytest.mark.filterwarnings("ignore:X (does not have|has).*feature names:UserWarning")
@settings(max_examples=200, deadline=None)
@given(tables(), tables(), st.booleans())
def test_any_table_is_prepared_or_refused_with_one_sentence(training, validation, given_rows):
    """All methods prepare their rows alike; random values cost nothing more."""
    X, y = training
    copy = X.copy()
    held = {"X_val": validation[0], "y_val": validation[1]} if given_rows else {}
    try:
        fitted = RandomValues(task="classification", random_state=0).fit(X, y, **held)
    except (ValueError, TypeError) as error:
        assert 10 < len(str(error)) < 600  # noqa: PT017
    else:
        assert fitted.data_values_.shape == (len(y),)
    np.testing.assert_array_equal(np.asarray(X), np.asarray(copy))


@settings(max_examples=200, deadline=None)
@given(tables(), st.lists(NUMBERS, min_size=24, max_size=24))
def test_any_targets_are_prepared_or_refused_with_one_sentence(training, targets):
    X, y = training
    try:
        fitted = RandomValues(task="regression", random_state=0).fit(X, targets[: len(y)])
    except (ValueError, TypeError) as error:
        assert 10 < len(str(error)) < 600  # noqa: PT017
    else:
        assert fitted.data_values_.shape == (len(y),)


@pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")
def test_the_largest_targets_are_fitted_without_a_warning_of_numpy():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = 1e300 * X[:, 0]
    valuer = DVRLRegressor(random_state=0, settings={"outer_iterations": 2, "ensemble_size": 1})
    predicted = valuer.fit(X, y, X[:40], y[:40]).predict(X)
    assert np.corrcoef(predicted / 1e300, X[:, 0])[0, 1] > 0.9


class Unable(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise MemoryError("too large")


def interrupt(progress):
    raise KeyboardInterrupt


@pytest.mark.parametrize("was_fitted", [False, True])
@pytest.mark.parametrize(
    ("at", "error", "message"),
    [
        ("learning", KeyboardInterrupt, None),
        ("the final fit", RuntimeError, "too large"),
        ("the warning", DataValuationWarning, "inverted"),
    ],
)
def test_a_fit_that_ends_early_changes_nothing(was_fitted, at, error, message):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    y = (X["a"] > 0).to_numpy().astype(int)
    valuer = DVRLClassifier(random_state=0, settings={"outer_iterations": 2, "ensemble_size": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if was_fitted:
            valuer.fit(X, y, X[:30], y[:30])
    if at == "the final fit":
        valuer.set_params(final_predictor=Unable())
    before = dict(vars(valuer))
    with warnings.catch_warnings():
        warnings.simplefilter("error" if at == "the warning" else "ignore", DataValuationWarning)
        # Two columns without names, where there were three.
        rows, callback = X.to_numpy()[:, :2], interrupt if at == "learning" else None
        with pytest.raises(error, match=message):
            valuer.fit(rows, y, rows[:30], y[:30], callback=callback)
    assert vars(valuer).keys() == before.keys()
    assert all(vars(valuer)[name] is before[name] for name in before)
    if not was_fitted:
        with pytest.raises(NotFittedError):
            valuer.predict(X)
