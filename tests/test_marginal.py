"""What a reference model says about labels."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import (
    ExtraTreesClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dvrl.encoding import ClassEncoder, FeatureEncoder, TargetScaler
from dvrl.marginal import Marginal

KINDS = ["none", "validation", "cross_fit", "out_of_bag", "stacked"]
FITTED = KINDS[1:]
REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DVRL_DATA", REPOSITORY.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the real data sets are not at {DATA}; set DVRL_DATA"
)


def classes(n=120, m=60, c=3, share=0.2, seed=0):
    """Make well separated classes, and swap a share of the training labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n + m)
    X = rng.normal(size=(n + m, 4))
    X[:, 0] += 4.0 * labels
    corrupted = rng.random(n) < share
    noisy = labels[:n].copy()
    noisy[corrupted] = (noisy[corrupted] + rng.integers(1, c, corrupted.sum())) % c
    one_hot = np.eye(c, dtype=np.float32)
    return X[:n], one_hot[noisy], X[n:], one_hot[labels[n:]], corrupted


def targets(n=200, m=80, share=0.2, seed=0):
    """Make an easy regression, and give a share of the rows the target of another row."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + m, 3))
    y = 3.0 * X[:, 0] + np.abs(X[:, 1]) + 0.1 * rng.normal(size=n + m)
    corrupted = rng.random(n) < share
    noisy = y[:n].copy()
    noisy[corrupted] = y[rng.integers(0, n, corrupted.sum())]
    scaler = TargetScaler().fit(noisy)
    return X[:n], scaler.encode(noisy), X[n:], scaler.encode(y[n:]), corrupted


def make(kind, task, **settings):
    return Marginal(kind, task=task, **{"n_trees": 30, "random_state": 0, **settings})


@pytest.mark.parametrize("kind", FITTED)
def test_finds_swapped_labels(kind):
    X, Y, X_val, Y_val, corrupted = classes()
    marginal = make(kind, "classification").fit(X, Y, X_val, Y_val)
    assert marginal.train_scores_.shape == (120, 3)
    assert marginal.validation_scores_.shape == (60, 3)
    assert marginal.train_scores_.dtype == np.float32
    assert_allclose(marginal.train_scores_.sum(axis=1), 1.0, atol=1e-5)
    assert_allclose(marginal.scores(X_val).sum(axis=1), 1.0, atol=1e-5)
    probability = marginal.label_probability(Y, marginal.train_scores_)
    assert probability.shape == (120,)
    assert probability.min() >= np.float32(0.01)
    assert probability.max() <= np.float32(0.99)
    assert roc_auc_score(corrupted, -probability) > 0.95
    differences = marginal.differences(Y, marginal.train_scores_)
    assert_array_equal(differences, np.abs(Y - marginal.train_scores_))


@pytest.mark.parametrize("kind", FITTED)
def test_finds_swapped_targets(kind):
    X, Y, X_val, Y_val, corrupted = targets()
    marginal = make(kind, "regression").fit(X, Y, X_val, Y_val)
    assert marginal.train_scores_.shape == (200, 1)
    probability = marginal.label_probability(Y, marginal.train_scores_)
    assert probability.shape == (200,)
    assert roc_auc_score(corrupted, -probability) > 0.85
    # The model knows how many rows were given another's target, and is not too sure of either.
    assert 0.6 < marginal.mixing_weight_ < 0.95
    assert abs(probability.mean() - 0.8) < 0.12
    assert probability[~corrupted].mean() > 0.8
    assert probability[corrupted].mean() < 0.5


def test_target_probability_is_the_posterior_of_the_mixture():
    X, Y, X_val, Y_val, _ = targets()
    marginal = make("validation", "regression").fit(X, Y, X_val, Y_val)
    # The pool is a density: it adds up to one over the whole line.
    line = np.linspace(-4000.0, 4000.0, 2_000_001)
    _, pool = marginal._log_densities(line, np.zeros_like(line))
    assert np.trapezoid(np.exp(pool), line) == pytest.approx(1.0, abs=0.01)
    spread = marginal.residual_spread_
    target, score = np.array([[0.5]]), np.array([[0.4]])
    own = np.exp(-0.5 * (0.1 / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    pooled = float(np.exp(marginal._log_densities(target[:, 0], score[:, 0])[1])[0])
    weight = marginal.mixing_weight_
    expected = weight * own / (weight * own + (1 - weight) * pooled)
    assert marginal.label_probability(target, score)[0] == pytest.approx(
        0.5 * (np.clip(expected, 0.02, 0.98) + expected), rel=1e-5
    )
    extreme = marginal.label_probability([[1e15], [-1e15], [0.0]], [[0.0], [0.0], [1e15]])
    assert_allclose(extreme, 0.01)


def test_none_has_no_opinion():
    X, Y, X_val, Y_val, _ = classes()
    marginal = make("none", "classification").fit(X, Y, X_val, Y_val)
    assert marginal.differences(Y, marginal.train_scores_).shape == (120, 0)
    assert_array_equal(marginal.label_probability(Y, marginal.train_scores_), 0.5)
    assert_allclose(marginal.scores(X[:2]), np.tile(np.vstack([Y, Y_val]).mean(axis=0), (2, 1)))
    assert marginal.train_scores_.shape == (120, 3)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_for_any_number_of_threads(kind, task, monkeypatch):
    monkeypatch.setattr("dvrl.reference._ROWS_PER_BLOCK", 64)
    X, Y, X_val, Y_val, _ = classes() if task == "classification" else targets()
    results = []
    for n_jobs in (1, 3):
        marginal = make(kind, task, n_jobs=n_jobs).fit(X, Y, X_val, Y_val)
        results.append((marginal.train_scores_, marginal.validation_scores_, marginal.scores(X)))
    for one, three in zip(*results, strict=True):
        assert_array_equal(one, three)


def test_blocks_of_rows_change_nothing(monkeypatch):
    X, Y, X_val, Y_val, _ = classes()
    whole = make("out_of_bag", "classification").fit(X, Y, X_val, Y_val)
    monkeypatch.setattr("dvrl.reference._ROWS_PER_BLOCK", 16)
    parts = make("out_of_bag", "classification").fit(X, Y, X_val, Y_val)
    assert_array_equal(whole.train_scores_, parts.train_scores_)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_out_of_bag_scores_are_those_of_scikit_learn(task):
    X, Y, X_val, Y_val, _ = classes() if task == "classification" else targets()
    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    forest = kind(n_estimators=40, random_state=3, oob_score=True)
    every_X = np.vstack([X, X_val]).astype(np.float32)
    every_Y = np.vstack([Y, Y_val])
    forest.fit(every_X, every_Y.argmax(axis=1) if task == "classification" else every_Y[:, 0])
    marginal = make("out_of_bag", task, model=forest).fit(X, Y, X_val, Y_val)
    scores = np.vstack([marginal.train_scores_, marginal.validation_scores_])
    if task == "classification":
        assert_allclose(scores, forest.oob_decision_function_, atol=1e-6)
        assert_allclose(marginal.scores(X), forest.predict_proba(X), atol=1e-6)
    else:
        assert_allclose(scores[:, 0], forest.oob_prediction_, atol=1e-6)
        assert_allclose(marginal.scores(X)[:, 0], forest.predict(X), atol=1e-6)


def test_rows_without_votes_get_the_shares_of_the_classes():
    X, Y, X_val, Y_val, _ = classes()
    marginal = make("out_of_bag", "classification", n_trees=1).fit(X, Y, X_val, Y_val)
    rows = np.unique(marginal.models_[0].estimators_samples_[0])
    rows = rows[rows < 120]
    shares = np.vstack([Y, Y_val]).mean(axis=0)
    assert_allclose(marginal.train_scores_[rows], np.tile(shares, (len(rows), 1)), atol=1e-6)


def test_cross_fitted_scores_are_out_of_sample():
    X, Y, X_val, Y_val, _ = classes(share=0.4)
    nearest = KNeighborsClassifier(1)
    inside = make("validation", "classification", model=nearest).fit(X, Y, X_val, Y_val)
    assert_array_equal(inside.validation_scores_, Y_val)
    outside = make("cross_fit", "classification", model=nearest).fit(X, Y, X_val, Y_val)
    assert (outside.train_scores_ != Y).any(axis=1).mean() > 0.3
    assert len(outside.models_) == 5
    mean = np.mean([model.predict_proba(X_val) for model in outside.models_], axis=0)
    assert_allclose(outside.scores(X_val), mean, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 4, 7])
def test_few_rows(kind, n):
    X = np.arange(2.0 * (n + 2)).reshape(-1, 2)
    Y = np.eye(3, dtype=np.float32)[np.arange(n + 2) % 3]
    marginal = make(kind, "classification").fit(X[:n], Y[:n], X[n:], Y[n:])
    assert marginal.train_scores_.shape == (n, 3)
    assert_allclose(marginal.scores(X).sum(axis=1), 1.0, atol=1e-5)
    column = Y[:, :1] + X[:, :1].astype(np.float32)
    marginal = make(kind, "regression").fit(X[:n], column[:n], X[n:], column[n:])
    assert np.isfinite(marginal.label_probability(column[:n], marginal.train_scores_)).all()


def test_classes_a_model_never_saw_score_zero():
    X, Y, X_val, Y_val, _ = classes()
    few = Y_val[:, 2] == 0
    marginal = make("validation", "classification").fit(X, Y, X_val[few], Y_val[few])
    assert_array_equal(marginal.train_scores_[:, 2], 0.0)
    one = Y_val[:, 1] == 1
    marginal = make("validation", "classification").fit(X, Y, X_val[one], Y_val[one])
    assert_array_equal(marginal.train_scores_, np.tile([0.0, 1.0, 0.0], (120, 1)))
    rare = np.delete(Y, np.flatnonzero(Y[:, 2])[1:], axis=0)
    rare_X = np.delete(X, np.flatnonzero(Y[:, 2])[1:], axis=0)
    for kind in ("cross_fit", "out_of_bag"):
        marginal = make(kind, "classification").fit(rare_X, rare, X_val[few], Y_val[few])
        assert_allclose(marginal.train_scores_.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("kind", FITTED)
def test_constant_target(kind):
    X, Y, X_val, Y_val, _ = targets()
    marginal = make(kind, "regression").fit(X, 0 * Y, X_val, 0 * Y_val)
    probability = marginal.label_probability(0 * Y, marginal.train_scores_)
    assert np.isfinite(probability).all()
    assert probability.min() > 0.9


def test_many_rows_are_capped(monkeypatch):
    monkeypatch.setattr("dvrl.reference._MOST_FITTED_ROWS", 50)
    monkeypatch.setattr("dvrl.reference._MANY_ROWS", 100)
    monkeypatch.setattr("dvrl.reference._FEWEST_TREES", 4)
    X, Y, X_val, Y_val, corrupted = classes()
    marginal = make("out_of_bag", "classification").fit(X, Y, X_val, Y_val)
    forest = marginal.models_[0]
    assert len(forest.estimators_) == 16
    assert {len(rows) for rows in forest.estimators_samples_} == {50}
    probability = marginal.label_probability(Y, marginal.train_scores_)
    assert roc_auc_score(corrupted, -probability) > 0.9


def test_the_callers_model_is_cloned_and_seeded():
    X, Y, X_val, Y_val, _ = classes()
    forest = ExtraTreesClassifier(20, bootstrap=True)
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(5))
    for kind, model in (("out_of_bag", forest), ("cross_fit", pipeline), ("validation", pipeline)):
        first, second = (
            make(kind, "classification", model=model).fit(X, Y, X_val, Y_val) for _ in range(2)
        )
        assert_array_equal(first.train_scores_, second.train_scores_)
        assert not hasattr(model, "classes_")
    assert forest.random_state is None
    assert pipeline[-1].random_state is None
    other = make("out_of_bag", "classification", model=forest, random_state=1)
    assert (other.fit(X, Y, X_val, Y_val).train_scores_ != first.train_scores_).any()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("knn", {}, "kind of a marginal must be one of none, validation"),
        ("none", {"task": "ranking"}, "task of a marginal must be one of"),
        ("out_of_bag", {"model": LogisticRegression()}, "has no out-of-bag rows; pass a Random"),
        ("out_of_bag", {"model": RandomForestClassifier(bootstrap=False)}, "no out-of-bag rows"),
        ("out_of_bag", {"model": RandomForestRegressor()}, "no out-of-bag rows"),
        ("cross_fit", {"model": RidgeClassifier()}, "cannot give class probabilities"),
        ("cross_fit", {"n_folds": 1}, "n_folds must be at least 2"),
        ("out_of_bag", {"n_trees": 0}, "n_trees must be at least 1"),
    ],
)
def test_bad_settings(kind, settings, message):
    X, Y, X_val, Y_val, _ = classes()
    marginal = make(kind, **{"task": "classification", **settings})
    with pytest.raises(ValueError, match=message):
        marginal.fit(X, Y, X_val, Y_val)


@pytest.mark.parametrize("kind", ["validation", "cross_fit"])
def test_default_models_do_not_complain(kind):
    # Perfectly separated and badly scaled: hard to converge on.
    X, Y, X_val, Y_val, _ = classes(share=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(kind, "classification").fit(1e4 * X, Y, 1e4 * X_val, Y_val)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", KINDS)
def test_restored_from_its_state(kind, task):
    skops_io = pytest.importorskip("skops.io")
    X, Y, X_val, Y_val, _ = classes() if task == "classification" else targets()
    marginal = make(kind, task, n_trees=5).fit(X, Y, X_val, Y_val)
    metadata, objects, arrays = marginal.state()
    for name, model in objects.items():
        content = skops_io.dumps(model)
        trusted = skops_io.get_untrusted_types(data=content)
        objects[name] = skops_io.loads(content, trusted=trusted)
    restored = Marginal.from_state(json.loads(json.dumps(metadata)), objects, arrays, n_jobs=2)
    scores = marginal.scores(X)
    assert_array_equal(restored.scores(X), scores)
    assert_array_equal(restored.label_probability(Y, scores), marginal.label_probability(Y, scores))
    assert_array_equal(restored.differences(Y, scores), marginal.differences(Y, scores))
    assert all(array.dtype != object for array in arrays.values())
    content = skops_io.dumps(marginal)
    whole = skops_io.loads(content, trusted=skops_io.get_untrusted_types(data=content))
    assert_array_equal(whole.scores(X), scores)


def test_inputs_are_left_alone():
    parts = [np.asarray(part, dtype=np.float32) for part in classes()[:4]]
    copies = [part.copy() for part in parts]
    make("out_of_bag", "classification").fit(*parts)
    for part, copy in zip(parts, copies, strict=True):
        assert_array_equal(part, copy)


@needs_data
def test_finds_flipped_labels_of_adult():
    table = pd.read_parquet(DATA / "adult.parquet").drop(columns="uci_file")
    figures = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        rows = table.iloc[rng.permutation(len(table))[:1400]]
        X, y = rows.drop(columns="income"), rows["income"]
        encoder, coder = FeatureEncoder().fit(X[:1000]), ClassEncoder().fit(y[:1000])
        Y = coder.encode(y)
        flipped = rng.random(1000) < 0.2
        Y[:1000][flipped] = 1.0 - Y[:1000][flipped]
        marginal = Marginal("out_of_bag", task="classification", n_trees=100, random_state=seed)
        marginal.fit(encoder.transform(X[:1000]), Y[:1000], encoder.transform(X[1000:]), Y[1000:])
        probability = marginal.label_probability(Y[:1000], marginal.train_scores_)
        figures.append(roc_auc_score(flipped, -probability))
    assert np.mean(figures) > 0.91


@needs_data
def test_finds_foreign_targets_of_fried():
    table = pd.read_parquet(DATA / "fried.parquet")
    rng = np.random.default_rng(0)
    rows = table.iloc[rng.permutation(len(table))[:1400]]
    X, y = rows.drop(columns="target"), rows["target"].to_numpy(copy=True)
    foreign = rng.random(1000) < 0.2
    y[:1000][foreign] = y[rng.integers(0, 1000, foreign.sum())]
    encoder, scaler = FeatureEncoder().fit(X[:1000]), TargetScaler().fit(y[:1000])
    Y = scaler.encode(y)
    marginal = Marginal("out_of_bag", task="regression", n_trees=150, random_state=0)
    marginal.fit(encoder.transform(X[:1000]), Y[:1000], encoder.transform(X[1000:]), Y[1000:])
    probability = marginal.label_probability(Y[:1000], marginal.train_scores_)
    # Even the true function behind these data only reaches .90: foreign targets can be close.
    assert roc_auc_score(foreign, -probability) > 0.79
