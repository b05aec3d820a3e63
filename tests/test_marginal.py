"""What the references together say about labels."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from dvrl.data.encoder import FeatureEncoder
from dvrl.data.table import Table
from dvrl.data.targets import ClassEncoder, TargetScaler
from dvrl.references import marginal as module
from dvrl.references.marginal import Marginal
from dvrl.references.noise import Mixture, NoiseMatrix

DATA = Path(os.environ.get("DVRL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the real data sets are not at {DATA}; set DVRL_DATA"
)
QUICK = ["validation", "linear", "neighbours"]


def classes(n=200, m=80, c=3, share=0.2, seed=0):
    """Make well separated classes, and swap a share of the training labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n + m)
    X = rng.normal(size=(n + m, 4)).astype(np.float32)
    X[:, 0] += 4.0 * (labels - (c - 1) / 2)
    wrong = rng.random(n) < share
    given = labels.copy()
    given[:n][wrong] = (given[:n][wrong] + rng.integers(1, c, wrong.sum())) % c
    one_hot = np.eye(c, dtype=np.float32)
    return Table(X[:n], one_hot[given[:n]]), Table(X[n:], one_hot[labels[n:]]), wrong


def numbers(n=300, m=100, share=0.2, seed=0):
    """Make an easy regression, and give a share of the rows the target of another row."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + m, 3)).astype(np.float32)
    y = 3.0 * X[:, 0] + np.abs(X[:, 1]) + 0.1 * rng.normal(size=n + m)
    wrong = rng.random(n) < share
    given = y[:n].copy()
    given[wrong] = y[rng.integers(0, n, wrong.sum())]
    scaler = TargetScaler().fit(given)
    return Table(X[:n], scaler.encode(given)), Table(X[n:], scaler.encode(y[n:])), wrong


def make(kind="auto", task="classification", **settings):
    return Marginal(kind, task=task, **{"random_state": 0, **settings})


@pytest.mark.parametrize("kind", ["auto", *QUICK, LogisticRegression()])
def test_finds_swapped_labels(kind):
    train, validation, wrong = classes()
    marginal = make(kind).fit(train, validation)
    assert marginal.train_scores_.shape == (200, 3)
    assert marginal.validation_scores_.shape == (80, 3)
    assert_allclose(marginal.train_scores_.sum(axis=1), 1.0, atol=1e-5)
    probability = marginal.label_probability(train.targets, marginal.train_scores_)
    assert probability.min() >= np.float32(0.01)
    assert probability.max() <= np.float32(0.99)
    # Classes are four standard deviations apart in one of four columns.
    assert roc_auc_score(wrong, -probability) > 0.93
    differences = marginal.differences(train.targets, marginal.train_scores_)
    assert_array_equal(differences, np.abs(train.targets - marginal.train_scores_))
    assert marginal.n_fits_ > 0 or kind == "neighbours"


@pytest.mark.parametrize("kind", ["auto", "validation", "linear"])
def test_finds_swapped_targets(kind):
    train, validation, wrong = numbers()
    marginal = make(kind, "regression").fit(train, validation)
    probability = marginal.label_probability(train.targets, marginal.train_scores_)
    assert roc_auc_score(wrong, -probability) > 0.8
    # It knows how many rows were given another's target, and is not too sure of either.
    assert isinstance(marginal.noise_, Mixture)
    assert 0.6 < marginal.noise_.mixing_weight < 0.95
    assert abs(probability.mean() - 0.8) < 0.15
    assert probability[~wrong].mean() > probability[wrong].mean() + 0.3
    assert marginal.noise_rate(train.targets, marginal.train_scores_) is None


def test_later_passes_weigh_wrong_labels_down():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 6)).astype(np.float32)
    labels = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
    wrong = rng.random(800) < 0.4
    given = np.where(wrong, 1 - labels[:800], labels[:800])
    one_hot = np.eye(2, dtype=np.float32)
    marginal = make().fit(Table(X[:800], one_hot[given]), Table(X[800:], one_hot[labels[800:]]))
    own = marginal.label_probability(one_hot[given], marginal.train_scores_)
    assert np.median(own[wrong]) < 0.4 < 0.6 < np.median(own[~wrong])
    rate = marginal.noise_rate(one_hot[given], marginal.train_scores_)
    assert rate == pytest.approx(0.4, abs=0.12)


def test_none_has_no_opinion():
    train, validation, _ = classes()
    marginal = make("none").fit(train, validation)
    assert marginal.differences(train.targets, marginal.train_scores_).shape == (200, 0)
    assert_array_equal(marginal.label_probability(train.targets, marginal.train_scores_), 0.5)
    mean = np.vstack([train.targets, validation.targets]).mean(axis=0)
    assert_allclose(marginal.scores(train.take(np.arange(2))), np.tile(mean, (2, 1)), atol=1e-6)


def test_the_validation_kind_sees_no_training_label():
    train, validation, _ = classes()
    swapped = Table(train.features, train.targets[:, ::-1].copy())
    first, second = (make("validation").fit(each, validation) for each in (train, swapped))
    assert_array_equal(first.train_scores_, second.train_scores_)


@pytest.mark.parametrize("kind", ["none", "auto", "validation"])
@pytest.mark.parametrize("n", [3, 4, 7])
def test_few_rows(kind, n):
    X = np.arange(2.0 * (n + 2), dtype=np.float32).reshape(-1, 2)
    Y = np.eye(3, dtype=np.float32)[np.arange(n + 2) % 3]
    train, validation = Table(X[:n], Y[:n]), Table(X[n:], Y[n:])
    marginal = make(kind).fit(train, validation)
    assert marginal.train_scores_.shape == (n, 3)
    assert_allclose(marginal.scores(train).sum(axis=1), 1.0, atol=1e-5)
    column = Y[:, :1] + X[:, :1]
    train, validation = Table(X[:n], column[:n]), Table(X[n:], column[n:])
    marginal = make(kind, "regression").fit(train, validation)
    probability = marginal.label_probability(train.targets, marginal.train_scores_)
    assert np.isfinite(probability).all()


@pytest.mark.parametrize("case", ["rare class", "constant columns", "one column", "many classes"])
def test_odd_tables_get_finite_probabilities(case):
    rng = np.random.default_rng(0)
    n, d = 600, 1 if case == "one column" else 5
    X = rng.normal(size=(n, d)).astype(np.float32)
    if case == "constant columns":
        X[:] = 0.0
    c = 200 if case == "many classes" else 3
    labels = rng.integers(0, 2, n) if case == "rare class" else rng.integers(0, c, n)
    labels[:1] = c - 1
    Y = np.eye(c, dtype=np.float32)[labels]
    marginal = make().fit(Table(X[:500], Y[:500]), Table(X[500:], Y[500:]))
    probability = marginal.label_probability(Y[:500], marginal.train_scores_)
    assert np.isfinite(probability).all()
    assert np.isfinite(marginal.scores(Table(X, Y))).all()


@pytest.mark.parametrize("kind", ["auto", "validation"])
def test_constant_target(kind):
    train, validation, _ = numbers()
    train, validation = (Table(each.features, 0 * each.targets) for each in (train, validation))
    marginal = make(kind, "regression").fit(train, validation)
    assert marginal.label_probability(train.targets, marginal.train_scores_).min() > 0.9


def test_many_rows_are_fitted_in_part_and_scored_all(monkeypatch):
    monkeypatch.setattr(module, "most_rows", lambda n_features: 240)
    train, validation, wrong = classes(n=600, m=90)
    marginal = make("linear").fit(train, validation)
    assert np.isfinite(marginal.train_scores_).all()
    probability = marginal.label_probability(train.targets, marginal.train_scores_)
    assert roc_auc_score(wrong, -probability) > 0.93
    # Rows beyond the bound are judged by the models that judge new rows.
    unseen = marginal.scores(train)
    same = (unseen == marginal.train_scores_).all(axis=1)
    assert 0.5 < same.mean() < 0.9


class Broken(ClassifierMixin, BaseEstimator):
    """A model that says something else than probabilities."""

    def __init__(self, said=0.0):
        self.said = said

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X):
        said = np.asarray(self.said)
        return said if said.ndim else np.full((len(X), len(self.classes_)), said)


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        ("stacked", "classification", "marginal='stacked' is unknown; use one of none, auto"),
        (RidgeClassifier(), "classification", "cannot give class probabilities"),
        (3, "regression", "is no estimator"),
        (LogisticRegression, "classification", r"is a class; pass an object, such as Logistic"),
        (Broken(np.nan), "classification", "Broken.*predicts NaN or infinite numbers"),
        (Broken(-3.0), "classification", r"gives probabilities outside of \[0, 1\]"),
        (Broken(np.zeros((1, 1))), "classification", r"predictions of shape \(1, 1\) where"),
    ],
)
def test_bad_settings(kind, task, message):
    train, validation, _ = classes() if task == "classification" else numbers()
    with pytest.raises(ValueError, match=message):
        make(kind, task).fit(train, validation)


def test_own_models_without_weights_are_asked_once():
    train, validation, wrong = classes()
    marginal = make(KNeighborsClassifier(9)).fit(train, validation)
    assert marginal.n_fits_ == 6  # five folds, and all rows
    probability = marginal.label_probability(train.targets, marginal.train_scores_)
    assert roc_auc_score(wrong, -probability) > 0.9


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", ["none", "auto", "validation"])
def test_restored_from_its_state(kind, task):
    train, validation, _ = classes() if task == "classification" else numbers()
    marginal = make(kind, task).fit(train, validation)
    record, arrays, objects = marginal.state(with_rows=True)
    assert not objects
    restored = Marginal.from_state(
        json.loads(json.dumps(record)), arrays, objects, n_features=train.features.shape[1]
    )
    scores = marginal.scores(train)
    assert_array_equal(restored.scores(train), scores)
    for name in ("label_probability", "differences"):
        assert_array_equal(
            getattr(restored, name)(train.targets, scores),
            getattr(marginal, name)(train.targets, scores),
        )


@pytest.mark.parametrize("kind", ["linear", "neighbours", "forest", "trees"])
def test_damaged_states_are_refused(kind):
    train, validation, _ = classes()
    record, arrays, _ = make(kind).fit(train, validation).state(with_rows=True)
    damaged = [
        {name: array for name, array in arrays.items() if name != left_out} for left_out in arrays
    ]
    for name, array in arrays.items():
        damaged += [arrays | {name: array[np.newaxis]}, arrays | {name: array.astype(complex)}]
        damaged += [arrays | {name: array.ravel()[0]}, arrays | {name: array.astype(str)}]
        if array.dtype.kind == "f":
            damaged.append(arrays | {name: np.full_like(array, np.nan)})
    for each in damaged:
        with pytest.raises(ValueError, match="damaged"):
            Marginal.from_state(record, each, {}, n_features=train.features.shape[1])
    record["parts"]["0"]["n_outputs"] = 10**9
    with pytest.raises(ValueError, match="damaged"):
        Marginal.from_state(record, arrays, {}, n_features=train.features.shape[1])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", ["auto", "trees", "forest", "linear", "neighbours", "none"])
def test_without_features_every_row_is_like_the_others(kind, task):
    train, validation, _ = classes() if task == "classification" else numbers()
    train, validation = (Table(each.features[:, :0], each.targets) for each in (train, validation))
    marginal = make(kind, task).fit(train, validation)
    assert np.ptp(marginal.train_scores_, axis=0).max() == 0
    assert np.isfinite(marginal.label_probability(train.targets, marginal.train_scores_)).all()
    record, arrays, _ = marginal.state()
    restored = Marginal.from_state(record, arrays, {}, n_features=0)
    assert_array_equal(restored.scores(train), marginal.scores(train))


def test_training_rows_are_kept_on_request_only():
    train, validation, _ = classes()
    marginal = make().fit(train, validation)
    assert "neighbours" in [each.name for each in marginal.references_]
    record, arrays, _ = marginal.state()
    assert "neighbours" not in record["references"]
    # No array of the file holds a training row.
    rows = train.features / np.linalg.norm(train.features, axis=1, keepdims=True)
    for array in arrays.values():
        assert array.ndim < 2 or array.shape[1] != 4 or not np.isclose(array[0], rows).all(1).any()
    restored = Marginal.from_state(record, arrays, {}, n_features=4)
    right = restored.scores(validation).argmax(axis=1) == validation.targets.argmax(axis=1)
    assert right.mean() > 0.85
    with pytest.raises(ValueError, match="save with with_rows=True"):
        make("neighbours").fit(train, validation).state()


def test_inputs_are_left_alone():
    train, validation, _ = classes()
    copies = [each.copy() for each in (train.features, train.targets, validation.features)]
    make().fit(train, validation)
    for part, copy in zip(
        (train.features, train.targets, validation.features), copies, strict=True
    ):
        assert_array_equal(part, copy)


def test_target_probability_is_the_posterior_of_the_mixture():
    train, validation, _ = numbers()
    marginal = make("validation", "regression").fit(train, validation)
    mixture = marginal.noise_
    assert isinstance(mixture, Mixture)
    # The pool is a density: it adds up to one over the whole line.
    line = np.linspace(-4000.0, 4000.0, 2_000_001)
    _, pool = mixture._log_densities(line, np.zeros_like(line))
    assert np.trapezoid(np.exp(pool), line) == pytest.approx(1.0, abs=0.01)
    spread = mixture.residual_spread
    target, score = np.array([[0.5]]), np.array([[0.4]])
    own = np.exp(-0.5 * (0.1 / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    pooled = float(np.exp(mixture._log_densities(target[:, 0], score[:, 0])[1])[0])
    weight = mixture.mixing_weight
    expected = weight * own / (weight * own + (1 - weight) * pooled)
    assert marginal.label_probability(target, score)[0] == pytest.approx(
        0.5 * (np.clip(expected, 0.02, 0.98) + expected), rel=1e-5
    )
    extreme = marginal.label_probability([[1e15], [-1e15], [0.0]], [[0.0], [0.0], [1e15]])
    assert_allclose(extreme, 0.01)


def simplex(n, c, sharpness, rng):
    raw = np.exp(sharpness * rng.normal(size=(n, c)))
    return raw / raw.sum(axis=1, keepdims=True)


def labels_of(probability, rng):
    c = probability.shape[1]
    drawn = (rng.random((len(probability), 1)) > probability.cumsum(axis=1)).sum(axis=1)
    return np.eye(c, dtype=np.float32)[np.minimum(drawn, c - 1)]


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_the_share_of_wrong_labels_is_found(rate):
    rng = np.random.default_rng(0)
    n, c = 4000, 3
    scores = simplex(n, c, 3.0, rng)
    true = labels_of(scores, rng).argmax(axis=1)
    wrong = rng.random(n) < rate
    labels = np.eye(c)[np.where(wrong, (true + rng.integers(1, c, n)) % c, true)]
    noise = NoiseMatrix.fit(labels, scores)
    assert_allclose(noise.matrix.sum(axis=1), 1.0)
    # Standard error of the share among 4000 rows: .008, and the labels are not certain.
    assert 1 - noise.own_probability(labels, scores).mean() == pytest.approx(rate, abs=0.03)


def test_noise_that_goes_one_way_is_seen():
    rng = np.random.default_rng(0)
    scores = simplex(6000, 2, 4.0, rng)
    true = labels_of(scores, rng).argmax(axis=1)
    given = np.where((true == 1) & (rng.random(6000) < 0.3), 0, true)
    matrix = NoiseMatrix.fit(np.eye(2)[given], scores).matrix
    assert matrix[1, 0] == pytest.approx(0.3, abs=0.06)
    assert matrix[0, 1] < 0.05


@needs_data
def test_finds_flipped_labels_of_adult():
    frame = pd.read_parquet(DATA / "adult.parquet").drop(columns="uci_file")
    figures = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        rows = frame.iloc[rng.permutation(len(frame))[:1400]]
        X, y = rows.drop(columns="income"), rows["income"]
        encoder, coder = FeatureEncoder().fit(X[:1000]), ClassEncoder().fit(y[:1000])
        matrix, Y = encoder.transform(X), coder.encode(y)
        flipped = rng.random(1000) < 0.2
        Y[:1000][flipped] = 1.0 - Y[:1000][flipped]
        marginal = make(random_state=seed)
        marginal.fit(Table(matrix[:1000], Y[:1000]), Table(matrix[1000:], Y[1000:]))
        probability = marginal.label_probability(Y[:1000], marginal.train_scores_)
        figures.append(roc_auc_score(flipped, -probability))
    # .93 in the mean of many splits, which spread by .009.
    assert np.mean(figures) > 0.905


@needs_data
def test_finds_foreign_targets_of_fried():
    frame = pd.read_parquet(DATA / "fried.parquet")
    rng = np.random.default_rng(0)
    rows = frame.iloc[rng.permutation(len(frame))[:1400]]
    X, y = rows.drop(columns="target"), rows["target"].to_numpy(copy=True)
    foreign = rng.random(1000) < 0.2
    y[:1000][foreign] = y[rng.integers(0, 1000, foreign.sum())]
    encoder, scaler = FeatureEncoder().fit(X[:1000]), TargetScaler().fit(y[:1000])
    matrix, Y = encoder.transform(X), scaler.encode(y)
    marginal = make(task="regression")
    marginal.fit(Table(matrix[:1000], Y[:1000]), Table(matrix[1000:], Y[1000:]))
    probability = marginal.label_probability(Y[:1000], marginal.train_scores_)
    # Even the true function behind these data only reaches .90: foreign targets can be close.
    assert roc_auc_score(foreign, -probability) > 0.78
