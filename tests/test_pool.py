"""Several references as one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import check_grad

from dvrl.references import pool
from dvrl.references.pool import mean_scores, pool_scores, pool_weights


def simplex(n, c, sharpness, rng):
    raw = np.exp(sharpness * rng.normal(size=(n, c)))
    return raw / raw.sum(axis=1, keepdims=True)


def labels_of(probability, rng):
    c = probability.shape[1]
    drawn = (rng.random((len(probability), 1)) > probability.cumsum(axis=1)).sum(axis=1)
    return np.eye(c, dtype=np.float32)[np.minimum(drawn, c - 1)]


def test_a_pool_of_one_with_weight_one_is_that_one():
    probability = simplex(20, 3, 1.0, np.random.default_rng(0))
    assert_allclose(pool_scores(probability[np.newaxis], np.ones(1)), probability, atol=1e-6)
    numbers = np.arange(6.0).reshape(2, 3, 1)
    assert_allclose(mean_scores(numbers)[:, 0], [1.5, 2.5, 3.5])


def test_the_pool_trusts_the_model_that_knows():
    rng = np.random.default_rng(0)
    truth, guess = simplex(4000, 2, 1.5, rng), simplex(4000, 2, 1.5, rng)
    weights = pool_weights(np.stack([truth, guess]), labels_of(truth, rng))
    # The true probabilities deserve weight one, unrelated ones none; 4000 rows tell within .1.
    assert_allclose(weights, [1.0, 0.0], atol=0.1)


def test_the_pool_sharpens_what_is_too_flat():
    rng = np.random.default_rng(1)
    truth = simplex(4000, 3, 1.5, rng)
    flat = np.sqrt(truth) / np.sqrt(truth).sum(axis=1, keepdims=True)
    assert_allclose(pool_weights(flat[np.newaxis], labels_of(truth, rng)), [2.0], atol=0.2)


def test_few_rows_leave_equal_weights():
    rng = np.random.default_rng(0)
    scores = np.stack([simplex(1, 2, 1.0, rng) for _ in range(4)])
    assert_allclose(pool_weights(scores, np.array([[1.0, 0.0]])), 0.25, atol=0.25)


def test_the_pool_of_numbers_finds_the_right_mixture():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, 2000, 1))
    target = 0.3 * parts[0] + 0.7 * parts[1] + 0.1 * rng.normal(size=(2000, 1))
    assert_allclose(pool_weights(parts, target), [0.3, 0.7], atol=0.05)


@pytest.mark.parametrize("loss", [pool._pool_loss, pool._sum_loss])
def test_losses_have_the_gradient_that_they_say(loss):
    rng = np.random.default_rng(0)
    if loss is pool._pool_loss:
        scores = np.log(np.stack([simplex(30, 3, 1.0, rng) for _ in range(3)]))
        truth = np.eye(3)[rng.integers(0, 3, 30)]
    else:
        scores, truth = rng.normal(size=(3, 30, 1)), rng.normal(size=(30, 1))
    wrong_by = check_grad(
        lambda weights: loss(scores, weights, truth)[0],
        lambda weights: loss(scores, weights, truth)[1],
        np.array([0.2, 0.5, 0.9]),
    )
    assert wrong_by < 1e-4
