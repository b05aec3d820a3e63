"""Rewards against scikit-learn's metrics."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from dvrl.predictors.rewards import REWARDS, StoredScores, make_reward


class Labels:
    """A stand-in for `dvrl.data.targets.ClassEncoder`."""

    task, center, scale = "classification", 0.0, 1.0

    def __init__(self, classes):
        self.classes_ = np.asarray(classes)
        self.n_outputs = len(classes)

    def decode(self, scores):
        return self.classes_[np.argmax(scores, axis=1)]


TARGETS = SimpleNamespace(
    task="regression", center=5.0, scale=2.0, decode=lambda scores: scores[:, 0] * 2.0 + 5.0
)


def classes_and_scores(n_rows, n_classes, seed, *, rounded=True):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n_rows)
    scores = rng.dirichlet(np.ones(n_classes), size=n_rows)
    if rounded:  # makes ties
        scores = np.round(scores * 8 + 1)
        scores /= scores.sum(axis=1, keepdims=True)
    return labels, np.eye(n_classes, dtype=np.float32)[labels], scores.astype(np.float32)


def call(name, targets, scores, mask=None, center=0.0, scale=1.0):
    task = next(task for task, rewards in REWARDS.items() if name in rewards)
    mask = np.ones(len(targets), np.float32) if mask is None else mask
    function = make_reward(name, task, targets.shape[1]).function
    result = jax.jit(function)(targets, scores, mask, center, scale)
    assert result.shape == ()
    assert result.dtype == jnp.float32
    return float(result)


def expected_auc(labels, scores):
    if scores.shape[1] == 2:
        return metrics.roc_auc_score(labels, scores[:, 1])
    ranked = [k for k in range(scores.shape[1]) if 0 < np.sum(labels == k) < len(labels)]
    return np.mean([metrics.roc_auc_score(labels == k, scores[:, k]) for k in ranked])


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_classification_rewards_are_those_of_scikit_learn(n_classes, seed):
    labels, targets, scores = classes_and_scores(150, n_classes, seed)
    everything = np.arange(n_classes)
    assert call("log_loss", targets, scores) == pytest.approx(
        -metrics.log_loss(labels, scores, labels=everything), rel=1e-5
    )
    accuracy = metrics.accuracy_score(labels, scores.argmax(axis=1))
    assert call("accuracy", targets, scores) == pytest.approx(accuracy, rel=1e-6)
    assert call("auc", targets, scores) == pytest.approx(expected_auc(labels, scores), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_regression_rewards_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(80, 1)).astype(np.float32)
    scores = (targets + rng.normal(size=(80, 1))).astype(np.float32)
    y, p = targets[:, 0], scores[:, 0]
    assert call("mse", targets, scores) == pytest.approx(-metrics.mean_squared_error(y, p), 1e-5)
    assert call("mae", targets, scores) == pytest.approx(-metrics.mean_absolute_error(y, p), 1e-5)
    assert call("r2", targets, scores) == pytest.approx(metrics.r2_score(y, p), rel=1e-4)


def test_rmspe_is_relative_in_original_units_and_leaves_zeros_out():
    y = np.array([0.0, 100.0, 200.0, -50.0, 0.0])
    predicted = np.array([7.0, 110.0, 150.0, -50.0, 1000.0])
    center, scale = 73.21, 41.7
    targets = ((y - center) / scale).astype(np.float32)[:, None]
    scores = ((predicted - center) / scale).astype(np.float32)[:, None]
    expected = -np.sqrt(np.mean([0.1**2, 0.25**2, 0.0]))
    assert call("rmspe", targets, scores, None, center, scale) == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 2**31), st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
@example(seed=0, center=1.1754943508222875e-38, scale=2.0)
@settings(max_examples=60, deadline=None)
def test_rmspe_finds_every_zero_whatever_the_scaling(seed, center, scale):
    y = np.zeros(8)
    targets = ((y - center) / scale).astype(np.float32)[:, None]
    scores = np.random.default_rng(seed).normal(size=(8, 1)).astype(np.float32)
    assert call("rmspe", targets, scores, None, center, scale) == 0.0


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans()), min_size=1, max_size=40)
)
@settings(max_examples=100, deadline=None)
def test_auc_counts_pairs(rows):
    # One shape for all examples, so that it is compiled once.
    rows = rows + [(False, 0, False)] * (40 - len(rows))
    label, level, counts = (np.array(column) for column in zip(*rows, strict=True))
    scores = np.column_stack([5 - level, level]).astype(np.float32) / 5
    positives, negatives = level[label & counts], level[~label & counts]
    wins = [(p > q) + (p == q) / 2 for p in positives for q in negatives]
    expected = np.mean(wins) if wins else 0.5
    targets = np.eye(2, dtype=np.float32)[label.astype(int)]
    assert call("auc", targets, scores, counts.astype(np.float32)) == pytest.approx(expected)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_padding_never_matters(task):
    rng = np.random.default_rng(0)
    if task == "classification":
        _, targets, scores = classes_and_scores(30, 3, 0)
    else:
        targets, scores = rng.normal(size=(2, 30, 1)).astype(np.float32)
    order = rng.permutation(50)
    mask = (np.arange(50) < 30).astype(np.float32)[order]
    for filling in (np.nan, np.inf, 0.0, 1e9):
        padding = np.full((20, targets.shape[1]), filling, np.float32)
        padded_targets = np.vstack([targets, padding])[order]
        padded_scores = np.vstack([scores, padding])[order]
        for name, reward in REWARDS[task].items():
            plain = call(name, targets, scores, center=3.0, scale=2.0)
            padded = call(name, padded_targets, padded_scores, mask, 3.0, 2.0)
            assert padded == pytest.approx(plain, rel=1e-5), name
            slope = jax.grad(reward.function, argnums=1)(
                padded_targets, padded_scores, mask, 3.0, 2.0
            )
            assert np.isfinite(slope).all(), name
            assert (np.asarray(slope)[mask == 0] == 0).all(), name


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_vmap_over_selections_is_the_loop(task):
    rng = np.random.default_rng(1)
    if task == "classification":
        _, targets, _ = classes_and_scores(40, 3, 1)
        scores = rng.dirichlet(np.ones(3), size=(5, 40)).astype(np.float32)
    else:
        targets = rng.normal(size=(40, 1)).astype(np.float32)
        scores = rng.normal(size=(5, 40, 1)).astype(np.float32)
    mask = np.ones(40, np.float32)
    for name, reward in REWARDS[task].items():
        over = jax.vmap(reward.function, in_axes=(None, 0, None, None, None))
        together = np.asarray(over(targets, scores, mask, 0.5, 2.0))
        single = [call(name, targets, s, mask, 0.5, 2.0) for s in scores]
        np.testing.assert_allclose(together, single, rtol=2e-6)


def test_degenerate_input_gives_finite_rewards():
    one_class = np.eye(2, dtype=np.float32)[np.ones(6, int)]
    scores = np.tile(np.float32([0.3, 0.7]), (6, 1))
    assert call("auc", one_class, scores) == 0.5
    constant = np.full((6, 1), 0.1, np.float32)
    assert call("r2", constant, constant) == 1.0
    assert call("r2", constant, constant + 1) == 0.0
    single = np.ones((1, 1), np.float32)
    assert call("r2", single, single * 2) == 0.0
    nothing = np.zeros(6, np.float32)
    for name in ("log_loss", "accuracy"):
        assert call(name, one_class, scores, nothing) == 0.0
    for name in ("mse", "mae", "rmspe", "r2"):
        assert np.isfinite(call(name, constant, constant, nothing))


def test_auc_leaves_out_classes_without_positive_rows():
    labels, _, scores = classes_and_scores(60, 3, 2)
    labels = np.minimum(labels, 1)
    targets = np.eye(3, dtype=np.float32)[labels]
    assert call("auc", targets, scores) == pytest.approx(expected_auc(labels, scores), abs=1e-6)


def test_hopelessly_wrong_rows_keep_a_finite_gradient():
    targets = np.float32([[1, 0], [0, 1]])
    scores = np.float32([[0, 1], [1e-30, 1]])
    reward = make_reward("log_loss", "classification", 2)
    mask = np.ones(2, np.float32)
    assert call("log_loss", targets, scores) == pytest.approx(np.log(1e-7) / 2)
    slope = np.asarray(jax.grad(reward.function, argnums=1)(targets, scores, mask, 0.0, 1.0))
    assert np.isfinite(slope).all()
    assert slope[0, 0] > 1e5


@pytest.mark.parametrize("name", ["mse", "mae", "rmspe", "r2"])
def test_perfect_regression_has_a_finite_gradient(name):
    targets = np.float32([[1.0], [2.0], [4.0]])
    function = make_reward(name, "regression", 1).function
    slope = jax.grad(function, argnums=1)(targets, targets, np.ones(3, np.float32), 0.0, 1.0)
    assert np.isfinite(slope).all()


def test_gradient_of_log_loss_is_the_textbook_one():
    _, targets, scores = classes_and_scores(20, 3, 4)
    function = make_reward("log_loss", "classification", 3).function
    slope = jax.grad(function, argnums=1)(targets, scores, np.ones(20, np.float32), 0.0, 1.0)
    np.testing.assert_allclose(slope, targets / scores / 20, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "task", "own"),
    [
        ("neg_log_loss", "classification", "log_loss"),
        ("roc_auc", "classification", "auc"),
        ("accuracy", "classification", "accuracy"),
        ("neg_mean_squared_error", "regression", "mse"),
        ("mean_absolute_error", "regression", "mae"),
        ("r2", "regression", "r2"),
    ],
)
def test_names_of_scikit_learn_mean_our_rewards(name, task, own):
    assert make_reward(name, task, 2 if task == "classification" else 1) == REWARDS[task][own]
    assert not REWARDS[task][own].on_host


def test_scorers_and_callables_run_on_the_host():
    X = np.random.default_rng(0).normal(size=(50, 3))
    y = (X[:, 0] > 0).astype(int)
    model = LogisticRegression().fit(X, y)
    by_name = make_reward("balanced_accuracy", "classification", 2)
    by_object = make_reward(metrics.get_scorer("balanced_accuracy"), "classification", 2)
    by_call = make_reward(lambda estimator, X, y: 0.25, "classification", 2)
    for reward in (by_name, by_object, by_call):
        assert reward.on_host
        assert not reward.differentiable
    expected = metrics.balanced_accuracy_score(y, model.predict(X))
    assert by_name.function(model, X, y) == by_object.function(model, X, y) == expected
    assert by_object.name == "balanced_accuracy_score"
    assert by_call.function(model, X, y) == 0.25


@pytest.mark.parametrize(
    ("metric", "task", "n_outputs", "error", "words"),
    [
        ("acuracy", "classification", 2, ValueError, ["did you mean 'accuracy'", "log_loss"]),
        ("nonsense", "regression", 1, ValueError, ["unknown", "rmspe", "neg_median_absolute"]),
        ("mse", "classification", 2, ValueError, ["is for regression, this is classif", "auc"]),
        ("roc_auc", "regression", 1, ValueError, ["is for classification", "mse"]),
        ("neg_max_error", "classification", 2, ValueError, ["is for regression"]),
        ("f1", "classification", 3, ValueError, ["f1_macro"]),
        (3, "classification", 2, TypeError, ["callable"]),
        (metrics.f1_score, "classification", 2, TypeError, ["make_scorer(f1_score)"]),
    ],
)
def test_unusable_metrics_get_one_sentence(metric, task, n_outputs, error, words):
    with pytest.raises(error) as caught:
        make_reward(metric, task, n_outputs)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_every_scorer_belongs_to_one_task():
    for name in metrics.get_scorer_names():
        tasks = []
        for task, n_outputs in (("classification", 2), ("regression", 1)):
            try:
                make_reward(name, task, n_outputs)
            except ValueError:
                continue
            tasks.append(task)
        assert len(tasks) == 1, name
        is_error = "error" in name or "deviance" in name or name in ("r2", "explained_variance")
        assert tasks == ["regression" if is_error else "classification"], name


@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]])
@pytest.mark.parametrize(
    "name", ["roc_auc_ovr", "neg_log_loss", "balanced_accuracy", "accuracy", "f1_macro"]
)
def test_stored_scores_satisfy_classification_scorers(classes, name):
    labels, targets, scores = classes_and_scores(60, len(classes), 0, rounded=False)
    y = np.asarray(classes)[labels]
    stored = StoredScores(scores, Labels(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = metrics.get_scorer(name)(stored, np.empty((60, 0)), y)
    predicted = np.asarray(classes)[scores.argmax(axis=1)]
    expected = {
        "roc_auc_ovr": expected_auc(labels, scores),
        "neg_log_loss": call("log_loss", targets, scores),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted),
        "accuracy": metrics.accuracy_score(y, predicted),
        "f1_macro": metrics.f1_score(y, predicted, average="macro"),
    }
    assert result == pytest.approx(expected[name], abs=1e-6)


def test_stored_scores_satisfy_binary_and_regression_scorers():
    labels, _, scores = classes_and_scores(60, 2, 0)
    stored = StoredScores(scores, Labels([0, 1]))
    for name in ("roc_auc", "average_precision", "neg_brier_score", "f1"):
        assert np.isfinite(metrics.get_scorer(name)(stored, np.empty((60, 0)), labels))
    y = np.random.default_rng(0).normal(size=60)
    stored = StoredScores(((y - 5) / 2)[:, None] + 0.1, TARGETS)
    assert not hasattr(stored, "predict_proba")
    assert not hasattr(stored, "classes_")
    for name in ("r2", "neg_root_mean_squared_error", "explained_variance"):
        result = metrics.get_scorer(name)(stored, np.empty((60, 0)), y)
        scorer = metrics.get_scorer(name)
        assert result == pytest.approx(scorer._sign * scorer._score_func(y, y + 0.2))
    with pytest.raises(ValueError, match="60 rows and 3 rows"):
        stored.predict(np.empty((3, 0)))


def test_many_selections_are_each_judged_right():
    """A release of JAX summed wrongly from row 257 on (jax-ml/jax issue 39103)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    targets = np.eye(2, dtype=np.float32)[labels]
    scores = rng.dirichlet([1.0, 1.0], size=(600, 400)).astype(np.float32)
    reward = make_reward("log_loss", "classification", 2).function
    mask = np.ones(400, np.float32)
    judged = jax.jit(
        lambda targets, scores, mask: jax.vmap(lambda s: reward(targets, s, mask, 0.0, 1.0))(scores)
    )(targets, scores, mask)
    expected = np.log(scores[:, np.arange(400), labels]).mean(axis=1)
    np.testing.assert_allclose(judged, expected, rtol=1e-4)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "mse", "mae"])
def test_rewards_of_rows_have_the_reward_as_their_mean(metric):
    rng = np.random.default_rng(0)
    if metric in ("log_loss", "accuracy"):
        targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 50)]
        scores = rng.dirichlet(np.ones(3), 50).astype(np.float32)
        reward = make_reward(metric, "classification", 3)
    else:
        targets, scores = (rng.normal(size=(50, 1)).astype(np.float32) for _ in range(2))
        reward = make_reward(metric, "regression", 1)
    mean = reward.function(targets, scores, np.ones(50, np.float32), 0.0, 1.0)
    assert reward.by_row(targets, scores).mean() == pytest.approx(float(mean), rel=1e-5)


def test_other_rewards_are_no_means_over_rows():
    assert make_reward("r2", "regression", 1).by_row(np.ones((3, 1)), np.ones((3, 1))) is None


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, named in REWARDS.items() for name in named]
)
def test_a_row_of_weight_two_is_two_rows(task, name):
    """Weights count like repeated rows, and only their relations count."""
    rng = np.random.default_rng(0)
    weights = np.array([2, 1, 3, 1, 2, 1, 0, 1], np.float32)
    if task == "classification":
        targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2, 0, 1]]
        scores = rng.dirichlet(np.ones(3), 8).astype(np.float32)
    else:
        targets, scores = rng.normal(size=(2, 8, 1)).astype(np.float32)
    function = REWARDS[task][name].function

    def reward(rows, mask):
        return float(function(targets[rows], scores[rows], mask, 5.0, 2.0))

    repeated = np.repeat(np.arange(8), weights.astype(int))
    wanted = reward(repeated, np.ones(len(repeated), np.float32))
    assert reward(np.arange(8), weights) == pytest.approx(wanted, rel=1e-5)
    assert reward(np.arange(8), weights / 64) == pytest.approx(wanted, rel=1e-5)
