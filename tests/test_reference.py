"""Reference models, their combination, and the share of wrong labels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from dvrl import reference
from dvrl.marginal import Marginal, _noise_matrix, _own_label_posterior
from dvrl.reference import CrossFitted, pool_scores, pool_weights, standard_references


def simplex(n, c, sharpness, rng):
    raw = sharpness * rng.normal(size=(n, c))
    probability = np.exp(raw)
    return probability / probability.sum(axis=1, keepdims=True)


def labels_of(probability, rng):
    c = probability.shape[1]
    drawn = (rng.random((len(probability), 1)) > probability.cumsum(axis=1)).sum(axis=1)
    return np.eye(c, dtype=np.float32)[np.minimum(drawn, c - 1)]


def test_a_pool_of_one_with_weight_one_is_that_one():
    probability = simplex(20, 3, 1.0, np.random.default_rng(0))
    assert_allclose(
        pool_scores(probability[np.newaxis], np.ones(1), "classification"), probability, atol=1e-6
    )
    numbers = np.arange(6.0).reshape(2, 3, 1)
    assert_allclose(pool_scores(numbers, np.array([0.5, 0.5]), "regression")[:, 0], [1.5, 2.5, 3.5])


def test_the_pool_trusts_the_model_that_knows():
    rng = np.random.default_rng(0)
    truth = simplex(4000, 2, 1.5, rng)
    guess = simplex(4000, 2, 1.5, rng)
    weights = pool_weights(np.stack([truth, guess]), labels_of(truth, rng), "classification")
    # The true probabilities deserve weight one, unrelated ones none; 4000 rows tell within .1.
    assert_allclose(weights, [1.0, 0.0], atol=0.1)


def test_the_pool_sharpens_what_is_too_flat():
    rng = np.random.default_rng(1)
    truth = simplex(4000, 3, 1.5, rng)
    flat = np.sqrt(truth) / np.sqrt(truth).sum(axis=1, keepdims=True)
    weights = pool_weights(flat[np.newaxis], labels_of(truth, rng), "classification")
    assert_allclose(weights, [2.0], atol=0.2)


def test_few_rows_leave_equal_weights():
    rng = np.random.default_rng(0)
    scores = np.stack([simplex(1, 2, 1.0, rng) for _ in range(4)])
    weights = pool_weights(scores, np.array([[1.0, 0.0]]), "classification")
    assert_allclose(weights, 0.25, atol=0.25)


def test_the_pool_of_numbers_finds_the_right_mixture():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, 2000, 1))
    target = 0.3 * parts[0] + 0.7 * parts[1] + 0.1 * rng.normal(size=(2000, 1))
    assert_allclose(pool_weights(parts, target, "regression"), [0.3, 0.7], atol=0.05)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pool_losses_have_the_gradient_that_they_say(task):
    rng = np.random.default_rng(0)
    if task == "classification":
        scores = np.log(np.stack([simplex(30, 3, 1.0, rng) for _ in range(3)]))
        truth, loss = np.eye(3)[rng.integers(0, 3, 30)], reference._pool_loss
    else:
        scores = rng.normal(size=(3, 30, 1))
        truth, loss = rng.normal(size=(30, 1)), reference._sum_loss
    weights = np.array([0.2, 0.5, 0.9])
    _, gradient = loss(scores, weights, truth)
    steps = 1e-5 * np.eye(3)
    numeric = [
        (loss(scores, weights + step, truth)[0] - loss(scores, weights - step, truth)[0]) / 2e-5
        for step in steps
    ]
    assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_the_share_of_wrong_labels_is_found(rate):
    rng = np.random.default_rng(0)
    n, c = 4000, 3
    scores = simplex(n, c, 3.0, rng)
    true = labels_of(scores, rng).argmax(axis=1)
    wrong = rng.random(n) < rate
    given = np.where(wrong, (true + rng.integers(1, c, n)) % c, true)
    labels = np.eye(c)[given]
    matrix = _noise_matrix(labels, scores)
    assert_allclose(matrix.sum(axis=1), 1.0)
    posterior = _own_label_posterior(labels, scores, matrix)
    # Standard error of the share among 4000 rows: .008, and the labels are not certain.
    assert 1 - posterior.mean() == pytest.approx(rate, abs=0.03)


def test_noise_that_goes_one_way_is_seen():
    rng = np.random.default_rng(0)
    n = 6000
    scores = simplex(n, 2, 4.0, rng)
    true = labels_of(scores, rng).argmax(axis=1)
    given = np.where((true == 1) & (rng.random(n) < 0.3), 0, true)
    matrix = _noise_matrix(np.eye(2)[given], scores)
    assert matrix[1, 0] == pytest.approx(0.3, abs=0.06)
    assert matrix[0, 1] < 0.05


def test_cross_fitted_scores_are_those_of_models_that_did_not_see_the_row():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    Y = np.eye(2, dtype=np.float32)[(X[:, 0] > 0).astype(int)]
    fitted = CrossFitted(
        lambda n: LogisticRegression(),
        task="classification",
        n_outputs=2,
        n_folds=4,
        n_jobs=None,
    )
    scores = fitted.fit(X, Y, None, np.random.default_rng(1))
    changed = Y.copy()
    changed[7] = 1 - changed[7]
    again = fitted.fit(X, changed, None, np.random.default_rng(1))
    # The folds depend on the classes, so only the number of models is the same for sure.
    assert len(fitted.models) == 4
    assert scores.shape == again.shape == (40, 2)
    assert_allclose(scores.sum(axis=1), 1.0, atol=1e-6)
    # A row's own label does not enter its score: the model of its fold is fitted without it.
    folds = reference._folds(Y.argmax(axis=1), 40, 4, np.random.default_rng(1))
    own = np.flatnonzero(folds == folds[7])
    others = np.flatnonzero(folds != folds[7])
    model = LogisticRegression().fit(X[others], Y[others].argmax(axis=1))
    assert_allclose(scores[own], model.predict_proba(X[own]), atol=1e-6)


def test_rows_of_no_weight_are_not_learned_from():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    labels = (X[:, 0] > 0).astype(int)
    bad = rng.random(300) < 0.45
    noisy = np.where(bad, 1 - labels, labels)
    weights = np.where(bad, 1e-6, 1.0)
    for each in standard_references(
        300, 4, task="classification", n_outputs=2, n_folds=3, n_jobs=None
    ):
        Y = np.eye(2, dtype=np.float32)[noisy]
        blind = each.fit(X, Y, None, np.random.default_rng(0))
        told = each.fit(X, Y, weights, np.random.default_rng(0))
        right, right_blind = (scores.argmax(axis=1) == labels for scores in (told, blind))
        assert right.mean() > right_blind.mean() + 0.08


def test_boosted_trees_are_left_out_where_they_would_take_too_long():
    few = standard_references(1000, 50, task="classification", n_outputs=2, n_folds=5, n_jobs=None)
    many = standard_references(
        20_000, 300, task="classification", n_outputs=10, n_folds=5, n_jobs=None
    )
    assert len(few) == len(many) + 1


def test_the_stacked_marginal_beats_its_first_half_at_heavy_noise():
    """Wrong labels are weighed down in the second fit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 6)).astype(np.float32)
    labels = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
    wrong = rng.random(600) < 0.4
    noisy = np.where(wrong, 1 - labels[:600], labels[:600])
    one_hot = np.eye(2, dtype=np.float32)
    marginal = Marginal("stacked", task="classification", random_state=0)
    marginal.fit(X[:600], one_hot[noisy], X[600:], one_hot[labels[600:]])
    own = marginal.label_probability(one_hot[noisy], marginal.train_scores_)
    assert np.median(own[wrong]) < 0.4 < 0.6 < np.median(own[~wrong])
    assert_array_equal(marginal.pool_weights_ >= 0, True)
