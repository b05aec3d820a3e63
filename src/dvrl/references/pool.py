"""Several references as one, calibrated on rows whose labels are trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .base import Floats

__all__ = ["mean_scores", "pool_scores", "pool_weights"]

# Log-probabilities below this say no more than "impossible".
LOWEST_PROBABILITY = 1e-3
# The pool's weights are drawn to equal ones by as much as one validation row counts.
PENALTY = 1.0


def pool_scores(scores: NDArray[np.floating], weights: NDArray[np.float64]) -> Floats:
    """Combine references: a logarithmic pool of probabilities, or a sum of predictions.

    Parameters
    ----------
    scores : (n_references, n, c) float
    weights : (n_references,) float
        0 or more; they need not add to one, so that a pool can be surer than its members.

    Returns
    -------
    (n, c) float32
    """
    if scores.shape[2] == 1:
        return np.tensordot(weights, scores, 1).astype(np.float32)
    return np.exp(_log_pool(_logarithms(scores), weights)).astype(np.float32)


def mean_scores(scores: NDArray[np.floating]) -> Floats:
    """Equal weights, which add to one; see `pool_scores`."""
    return pool_scores(scores, np.full(len(scores), 1.0 / len(scores)))


def pool_weights(
    scores: NDArray[np.floating], targets: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Weights of the pool, 0 or more, that fit trusted rows best.

    The log-likelihood (or, for numbers, minus half the squared error in units of its variance) of
    the rows, less a penalty on leaving equal weights, is maximised.

    Parameters
    ----------
    scores : (n_references, m, c) float
        Out-of-sample scores of the trusted rows.
    targets : (m, c) float
        One-hot labels or scaled targets.

    Returns
    -------
    (n_references,) float64
    """
    from scipy.optimize import minimize

    n_references = len(scores)
    equal = np.full(n_references, 1.0 / n_references)
    truth = np.asarray(targets, np.float64)
    is_regression = truth.shape[1] == 1
    loss = _sum_loss if is_regression else _pool_loss
    inputs = np.asarray(scores, np.float64) if is_regression else _logarithms(scores)

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = loss(inputs, weights, truth)
        away = weights - equal
        return value + PENALTY * away @ away, gradient + 2.0 * PENALTY * away

    found = minimize(
        objective, equal, jac=True, bounds=[(0.0, None)] * n_references, method="L-BFGS-B"
    )
    weights: NDArray[np.float64] = found.x
    return weights if weights.sum() > 0 else equal


def _logarithms(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.log(np.clip(np.asarray(scores, np.float64), LOWEST_PROBABILITY, 1.0))


def _log_pool(logarithms: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the pool's probabilities."""
    raw: NDArray[np.float64] = np.tensordot(weights, logarithms, 1)
    return raw - logsumexp(raw, axis=1, keepdims=True)


def _pool_loss(
    logarithms: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    pooled = _log_pool(logarithms, weights)
    gradient = np.tensordot(logarithms, np.exp(pooled) - truth, axes=([1, 2], [0, 1]))
    return -float((truth * pooled).sum()), gradient


def _sum_loss(
    scores: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    error = np.tensordot(weights, scores, 1) - truth
    best = float(((scores - truth) ** 2).mean(axis=(1, 2)).min())
    variance = max(best, 1e-6 * float(np.var(truth)), 1e-12)
    gradient = np.tensordot(scores, error, axes=([1, 2], [0, 1])) / variance
    return 0.5 * float((error**2).sum()) / variance, gradient
