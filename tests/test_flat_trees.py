"""Flattened ensembles predict what their libraries predict, and damaged arrays are refused."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from dvrl.predictors import flat_trees
from dvrl.predictors.flat_trees import FlatTrees, from_forest, from_histogram, from_lightgbm

QUIET = {"verbose": -1, "num_threads": 1, "min_data_in_bin": 1}
ONE_THREAD = {"n_jobs": 1, "random_state": 0}


def table(rng, n_rows, *, whole=False, gaps=0.0, n_columns=4):
    """Normal or small whole numbers, with gaps and a constant column."""
    X = rng.integers(-2, 3, (n_rows, n_columns)) * 1.0 if whole else rng.normal(size=(n_rows, 4))
    X[rng.random(X.shape) < gaps] = np.nan
    X[:, -1] = 1.0
    return X


def labels(rng, X, kind):
    signal = np.nan_to_num(X[:, 0]) - np.isnan(X[:, 1]) + 0.3 * rng.normal(size=len(X))
    if kind == "regression":
        return signal
    return (signal > 0).astype(int) + (signal > 1) * (kind == "multiclass")


def hard_rows(rng, trees: FlatTrees, X):
    """Known rows with gaps, zeros, tiny and infinite numbers, and the trees' own thresholds."""
    X = X[rng.integers(0, len(X), 150)]
    inner = np.flatnonzero(trees.feature >= 0)
    if inner.size:
        chosen = rng.choice(inner, 100)
        with np.errstate(over="ignore"):
            beside = np.nextafter(trees.threshold[chosen], rng.choice([-np.inf, np.inf], 100))
        X[np.arange(100), trees.feature[chosen]] = np.where(
            rng.random(100) < 0.5, trees.threshold[chosen], beside
        )
    odd = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 2e-35, -2e-35, 1e300, np.inf, -np.inf]
    at = rng.random(X.shape) < 0.15
    X[at] = rng.choice(odd, at.sum())
    return X


def boosted(X, y, n_rounds=8, **params):
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(X, y, params=QUIET | params)
    return lightgbm.train(QUIET | params, data, n_rounds)


def raw_of(booster, X):
    raw = booster.predict(X, raw_score=True, num_threads=1)
    return raw.reshape(len(X), -1)


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["binary", "multiclass", "regression"]),
    n_rows=st.sampled_from([3, 10, 40, 300]),
    whole=st.booleans(),
    gaps=st.sampled_from([0.0, 0.2]),
    zero_as_missing=st.booleans(),
    use_missing=st.sampled_from([True, True, False]),
    num_leaves=st.sampled_from([2, 5, 31]),
    min_data_in_leaf=st.sampled_from([1, 1, 20]),
    boosting=st.sampled_from(["gbdt", "gbdt", "dart", "rf"]),
)
def test_raw_predictions_of_lightgbm(seed, kind, n_rows, whole, gaps, **params):
    rng = np.random.default_rng(seed)
    X = table(rng, n_rows, whole=whole, gaps=gaps)
    params |= {"num_class": 3} if kind == "multiclass" else {}
    params |= {"bagging_freq": 1, "bagging_fraction": 0.7} if params["boosting"] == "rf" else {}
    booster = boosted(X, labels(rng, X, kind), objective=kind, **params)
    trees = from_lightgbm(booster)
    rows = hard_rows(rng, trees, X)
    assert_same(trees.raw(rows), raw_of(booster, rows))
    with np.errstate(over="ignore"):
        in_float32 = rows.astype(np.float32)
    assert_same(trees.raw(in_float32), raw_of(booster, in_float32))
    FlatTrees.from_state(trees.state(), n_features=X.shape[1])


@pytest.mark.parametrize("sign", [1, -1])
def test_zeros_go_with_gaps_against_the_order_of_numbers(sign):
    """At zero_as_missing, zeros may belong to the side where larger numbers go, or smaller."""
    X = np.repeat([[-2.0], [-1.0], [0.0], [1.0], [2.0]], 20, axis=0)
    y = (X[:, 0] == 0) + (sign * X[:, 0] > 1) * 1.0
    booster = boosted(X, y, objective="regression", zero_as_missing=True, num_leaves=3)
    trees = from_lightgbm(booster)
    inner = trees.feature >= 0
    assert ((trees.gaps & 1)[inner] != (trees.threshold >= 0)[inner]).any()
    rows = np.append(np.unique(X), np.nan)[:, None]
    assert_same(trees.raw(rows), raw_of(booster, rows))


def test_trees_after_the_best_iteration_are_left_out(rng):
    lightgbm = pytest.importorskip("lightgbm")
    X = rng.normal(size=(200, 4))
    y = labels(rng, X, "regression")
    data = lightgbm.Dataset(X[:100], y[:100])
    booster = lightgbm.train(
        QUIET | {"objective": "regression", "learning_rate": 0.5},
        data,
        100,
        keep_training_booster=True,
        valid_sets=[lightgbm.Dataset(X[100:], y[100:], reference=data)],
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )
    trees = from_lightgbm(booster)
    assert len(trees.roots) == booster.best_iteration < booster.num_trees()
    assert_same(trees.raw(X), raw_of(booster, X))


def test_boosters_that_cannot_be_flattened(rng):
    lightgbm = pytest.importorskip("lightgbm")
    X, y = rng.integers(0, 5, (200, 2)) * 1.0, rng.normal(size=200)
    data = lightgbm.Dataset(X, X[:, 0] % 2, categorical_feature=[0], params=QUIET)
    with pytest.raises(ValueError, match="categorical splits"):
        from_lightgbm(lightgbm.train(QUIET | {"min_data_per_group": 1}, data, 3))
    with pytest.raises(ValueError, match="linear leaves"):
        from_lightgbm(boosted(X, y, objective="regression", linear_tree=True))
    with pytest.raises(ValueError, match="no trees"):
        from_lightgbm(lightgbm.Booster(QUIET, lightgbm.Dataset(X, y)))


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("max_leaf_nodes", [None, 4])
def test_predictions_of_forests(rng, gaps, kind, extra, max_leaf_nodes):
    X = table(rng, 120, gaps=gaps)
    names = (RandomForestRegressor, ExtraTreesRegressor)
    if kind != "regression":
        names = (RandomForestClassifier, ExtraTreesClassifier)
    forest = names[extra](12, max_leaf_nodes=max_leaf_nodes, **ONE_THREAD)
    forest.fit(X, labels(rng, X, kind))
    trees = from_forest(forest)
    # The thresholds of the flat trees lie where float64 rows round to one float32 or the next.
    rows = hard_rows(rng, trees, X)
    rows[~np.isfinite(rows) | (rows > 1e38)] = np.nan if gaps else 0.0
    predict = forest.predict if kind == "regression" else forest.predict_proba
    for each in (rows, rows.astype(np.float32)):
        means, n_votes = trees.mean(each)
        assert_same(means, predict(each).reshape(len(rows), -1))
        assert (n_votes == 12).all()
    assert_same(trees.raw(rows), 12 * trees.mean(rows)[0])
    FlatTrees.from_state(trees.state(), n_features=4)


def test_thresholds_of_rounded_rows_are_exact(rng):
    """Rows at, just below and just above each threshold, and halfway between float32 numbers."""
    low = (rng.normal(size=500) * 10.0 ** rng.integers(-44, 30, 500)).astype(np.float32)
    low[:4] = [0.0, -0.0, 1e-45, -1e-45]
    high = np.nextafter(low, np.float32(np.inf))
    inside = low + rng.random(500) * (high.astype(np.float64) - low)
    for threshold in (low.astype(np.float64), inside):
        wide = flat_trees._for_rounded_rows(threshold)
        halfway = (low.astype(np.float64) + high) / 2
        for row in (threshold, low.astype(np.float64), high.astype(np.float64), halfway, wide):
            for near in (row, np.nextafter(row, -np.inf), np.nextafter(row, np.inf)):
                expected = near.astype(np.float32).astype(np.float64) <= threshold
                np.testing.assert_array_equal(near <= wide, expected)


@pytest.mark.parametrize("min_samples_split", [2, 1000])
def test_means_over_allowed_trees_equal_a_loop(rng, min_samples_split):
    """With trees of one leaf too."""
    X = table(rng, 90, gaps=0.1)
    forest = RandomForestClassifier(15, min_samples_split=min_samples_split, **ONE_THREAD)
    forest.fit(X, labels(rng, X, "multiclass"))
    allowed = rng.random((15, 90)) < 0.4
    allowed[:, 3] = False
    means, n_votes = from_forest(forest).mean(X, allowed)
    shares = np.stack([tree.predict_proba(X) for tree in forest.estimators_])
    for row in range(90):
        spoke = shares[allowed[:, row], row]
        assert n_votes[row] == len(spoke)
        if len(spoke):
            assert_same(means[row], spoke.mean(axis=0))
        else:
            assert np.isnan(means[row]).all()


def test_out_of_bag_means_of_scikit_learn(rng):
    X = table(rng, 150)
    y = labels(rng, X, "regression")
    forest = RandomForestRegressor(40, oob_score=True, **ONE_THREAD).fit(X, y)
    allowed = np.ones((40, 150), bool)
    for tree, rows in enumerate(forest.estimators_samples_):
        allowed[tree, rows] = False
    assert_same(from_forest(forest).mean(X, allowed)[0][:, 0], forest.oob_prediction_)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "poisson"])
@pytest.mark.parametrize("whole", [False, True])
def test_raw_predictions_of_histogram_trees(rng, gaps, kind, whole):
    X = table(rng, 150, gaps=gaps, whole=whole)
    settings = {"max_iter": 8, "min_samples_leaf": 3, "random_state": 0}
    if kind in ("binary", "multiclass"):
        model = HistGradientBoostingClassifier(**settings).fit(X, labels(rng, X, kind))
    else:
        loss = "poisson" if kind == "poisson" else "squared_error"
        y = labels(rng, X, "regression")
        model = HistGradientBoostingRegressor(loss, **settings).fit(X, y - y.min())
    trees = from_histogram(model)
    rows = hard_rows(rng, trees, X)
    assert_same(trees.raw(rows), model._raw_predict(rows))
    if kind == "regression":
        assert_same(trees.raw(rows)[:, 0], model.predict(rows))
    FlatTrees.from_state(trees.state(), n_features=4)


def test_histogram_trees_that_split_off_the_gaps_alone(rng):
    """Scikit-learn's threshold is then infinite; saved thresholds are not."""
    X = rng.integers(0, 2, (100, 1)) * 1.0
    X[::2] = np.nan
    model = HistGradientBoostingRegressor(max_iter=2).fit(X, np.isnan(X[:, 0]) * 1.0)
    assert np.isinf(model._predictors[0][0].nodes["num_threshold"]).any()
    trees = from_histogram(model)
    rows = np.array([[np.nan], [0.0], [np.inf], [-np.inf]])
    assert_same(trees.raw(rows), model._raw_predict(rows))
    FlatTrees.from_state(trees.state(), n_features=1)


def test_scikit_learn_models_that_cannot_be_flattened(rng):
    X = rng.integers(0, 5, (60, 2)) * 1.0
    model = HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="categorical features"):
        from_histogram(model)
    with pytest.raises(ValueError, match="several outputs"):
        from_forest(RandomForestRegressor(2, **ONE_THREAD).fit(X, X))


@pytest.fixture(scope="module")
def forest():
    rng = np.random.default_rng(0)
    X = table(rng, 60)
    fitted = RandomForestClassifier(5, **ONE_THREAD).fit(X, labels(rng, X, "multiclass"))
    return from_forest(fitted)


@pytest.fixture(scope="module")
def boosting():
    rng = np.random.default_rng(0)
    X = table(rng, 60)
    model = HistGradientBoostingClassifier(max_iter=4, random_state=0)
    return from_histogram(model.fit(X, labels(rng, X, "multiclass")))


def test_predictions_do_not_depend_on_blocks(rng, forest, boosting, monkeypatch):
    X = table(rng, 50, gaps=0.1)
    allowed = rng.random((5, 50)) < 0.5
    raw, means = boosting.raw(X), forest.mean(X, allowed)[0]
    np.testing.assert_array_equal(np.concatenate([boosting.raw(row[None]) for row in X]), raw)
    monkeypatch.setattr(flat_trees, "PAIRS", 35)
    np.testing.assert_array_equal(boosting.raw(X), raw)
    np.testing.assert_array_equal(forest.mean(X, allowed)[0], means)
    monkeypatch.setattr(flat_trees, "CELLS", 1)
    np.testing.assert_array_equal(boosting.raw(np.asfortranarray(X)), raw)
    assert boosting.raw(X[:0]).shape == (0, boosting.n_outputs) == (0, 3)


def test_shapes_that_do_not_fit(rng, forest, boosting):
    X = table(rng, 10)
    with pytest.raises(ValueError, match="columns"):
        forest.raw(X[:, :1])
    with pytest.raises(ValueError, match="columns"):
        forest.raw(X[0])
    with pytest.raises(ValueError, match=r"bool of shape \(5, 10\)"):
        forest.mean(X, np.ones((10, 5), bool))
    with pytest.raises(ValueError, match="no mean"):
        boosting.mean(X)


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_state_round_trip_is_exact(name, request, rng):
    trees = request.getfixturevalue(name)
    file = io.BytesIO()
    np.savez(file, **trees.state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        read = FlatTrees.from_state(dict(arrays), n_features=4)
    for field, array in trees.state().items():
        assert read.state()[field].dtype == array.dtype
        np.testing.assert_array_equal(read.state()[field], array)
    X = table(rng, 20, gaps=0.1)
    np.testing.assert_array_equal(read.raw(X), trees.raw(X))


def test_leaves_may_be_narrowed(rng, forest):
    narrow = replace(forest, leaf=forest.leaf.astype(np.float32))
    X = table(rng, 20)
    read = FlatTrees.from_state(narrow.state(), n_features=4)
    np.testing.assert_allclose(read.raw(X), forest.raw(X), rtol=1e-6, atol=1e-6)


def at_split(trees, **numbers):
    """Overwrite numbers of the first split, where one tree has split."""
    split = int(np.flatnonzero(trees.feature >= 0)[0])
    return {name: changed(getattr(trees, name), split, number) for name, number in numbers.items()}


def changed(array, at, value):
    array = array.copy()
    array[at] = value
    return array


DAMAGE = {
    "other column": ("columns", lambda t: at_split(t, feature=4)),
    "negative column": ("columns", lambda t: at_split(t, feature=-2)),
    "child is its parent": ("after its parent", lambda t: at_split(t, left=0)),
    "child before its parent": ("after its parent", lambda t: at_split(t, right=-1)),
    "child outside": ("after its parent", lambda t: at_split(t, left=len(t.feature))),
    "child far outside": ("after its parent", lambda t: at_split(t, right=2**31 - 1)),
    "shared child": ("to several", lambda t: at_split(t, left=t.right[t.feature >= 0][0])),
    "leaf with child": (
        "leaf has children",
        lambda t: {"left": np.where(t.feature < 0, np.int32(0), t.left)},
    ),
    "unknown gaps": ("gaps", lambda t: at_split(t, gaps=4)),
    "negative gaps": ("gaps", lambda t: at_split(t, gaps=-1)),
    "nan threshold": ("finite", lambda t: at_split(t, threshold=np.nan)),
    "infinite threshold": ("finite", lambda t: at_split(t, threshold=np.inf)),
    "nan leaf": ("finite", lambda t: {"leaf": changed(t.leaf, -1, np.nan)}),
    "infinite leaf": ("finite", lambda t: {"leaf": changed(t.leaf, -1, np.inf)}),
    "root outside": ("root", lambda t: {"roots": changed(t.roots, 0, len(t.feature))}),
    "negative root": ("root", lambda t: {"roots": changed(t.roots, 0, -1)}),
    "root twice": ("to several", lambda t: {"roots": changed(t.roots, 0, t.roots[1])}),
    "fewer trees": (
        "belongs to no tree",
        lambda t: {"roots": t.roots[:-3], "output": t.output[:-3]},
    ),
    "negative output": ("outputs", lambda t: {"output": changed(t.output, 0, -1)}),
    "missing output": ("outputs", lambda t: {"output": t.output + np.int32(1)}),
    "huge output": ("outputs|output has", lambda t: {"output": changed(t.output, 0, 2**31 - 1)}),
    "fewer outputs": ("lengths", lambda t: {"output": t.output[1:]}),
    "fewer thresholds": ("lengths", lambda t: {"threshold": t.threshold[1:]}),
    "fewer leaves": ("lengths", lambda t: {"leaf": t.leaf[1:]}),
    "leaves without values": ("lengths", lambda t: {"leaf": t.leaf[:, :0]}),
    "no trees": ("lengths", lambda t: {"roots": t.roots[:0], "output": t.output[:0]}),
    "nothing": ("lengths", lambda t: {name: array[:0] for name, array in t.state().items()}),
    "flat leaves": ("dimensions", lambda t: {"leaf": t.leaf[:, 0]}),
    "deep thresholds": ("dimensions", lambda t: {"threshold": t.threshold[:, None]}),
    "wide features": ("dtype", lambda t: {"feature": t.feature.astype(np.int64)}),
    "float children": ("dtype", lambda t: {"left": t.left.astype(float)}),
    "other byte order": ("dtype", lambda t: {"threshold": t.threshold.astype(">f8")}),
    "objects": ("dtype", lambda t: {"leaf": t.leaf.astype(object)}),
    "a list": ("dtype", lambda t: {"roots": t.roots.tolist()}),
    "an unknown array": ("arrays", lambda t: {"code": t.roots}),
}


@pytest.mark.parametrize("name", ["forest", "boosting"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays_are_refused(name, damage, request):
    trees = request.getfixturevalue(name)
    message, damaged = DAMAGE[damage]
    with pytest.raises(ValueError, match=f"saved trees are damaged: .*({message})"):
        FlatTrees.from_state(trees.state() | damaged(trees), n_features=4)


@pytest.mark.parametrize("name", [*flat_trees.DTYPES])
def test_missing_arrays_are_refused(name, forest):
    arrays = forest.state()
    del arrays[name]
    with pytest.raises(ValueError, match="hold the arrays"):
        FlatTrees.from_state(arrays, n_features=4)


def test_class_shares_start_at_the_first_output(forest):
    arrays = forest.state() | {"output": np.arange(5, dtype=np.int32)}
    with pytest.raises(ValueError, match="several values"):
        FlatTrees.from_state(arrays, n_features=4)
