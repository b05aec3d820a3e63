"""Traced predictors outside the loop: one fit on weighted rows, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..numerics.padding import pad, padded_size
from .base import Parameters, Traced, initial_parameters
from .links import raw_scores

__all__ = ["FittedTraced", "fit_once", "fit_traced", "n_columns_of", "scores_of"]

SCORED_ROWS = 65_536


def n_columns_of(predictor: Any, n_features: int) -> int:
    """Feature columns that a predictor is given: with padding, where it can have that."""
    return padded_size(n_features) if hasattr(predictor, "widened") else n_features


@dataclass(frozen=True)
class FittedTraced:
    """A fitted traced predictor; see :class:`dvrl.predictors.base.Fitted`.

    Attributes
    ----------
    predictor : Traced
    params : pytree of arrays
    n_columns : int
        Feature columns with padding.
    n_outputs : int
    """

    predictor: Any
    params: Parameters
    n_columns: int
    n_outputs: int

    def scores(self, rows: Table) -> NDArray[np.float32]:
        """Scores (1, n_rows, n_outputs)."""
        return scores_of(self, rows.features)[np.newaxis]


def scores_of(fitted: FittedTraced, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (n_rows, n_outputs) of encoded rows."""
    if getattr(fitted.predictor, "linear_fits", False):
        return _linear_scores(fitted, X)
    parts = [np.empty((0, fitted.n_outputs), np.float32)]
    for start in range(0, len(X), SCORED_ROWS):
        block = X[start : start + SCORED_ROWS]
        padded = pad(block, padded_size(len(block)), fitted.n_columns)
        scored = _scores(fitted.predictor, fitted.n_outputs, fitted.params, padded)
        parts.append(np.asarray(scored)[: len(block)])
    return np.concatenate(parts)


def _linear_scores(fitted: FittedTraced, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums in double precision: in single, a row's last digits depend on its place in `X`."""
    weight, bias = (np.asarray(fitted.params[name], np.float64) for name in ("weight", "bias"))
    raw = np.asarray(X, np.float64) @ weight[: X.shape[1]] + bias
    return np.asarray(raw_scores(jnp.asarray(raw, jnp.float32), fitted.n_outputs))


@partial(jax.jit, static_argnames=("predictor", "n_outputs"))
def _scores(predictor: Traced, n_outputs: int, params: Parameters, X: jax.Array) -> jax.Array:
    return predictor.apply(params, X, n_outputs)


@partial(jax.jit, static_argnames=("predictor",))
def fit_once(
    predictor: Traced,
    params: Parameters,
    X: jax.Array,
    Y: jax.Array,
    weights: jax.Array,
    mask: jax.Array,
    key: jax.Array,
    hyper: dict[str, Any],
) -> Parameters:
    """Fit one predictor; `hyper` needs the learning rate of the inner steps and the penalty."""
    fitted = predictor.solve(params, X, Y, weights[None], mask, key, hyper)
    return jax.tree.map(lambda leaf: leaf[0], fitted)


def fit_traced(
    predictor: Traced,
    rows: Table,
    weights: NDArray[np.float32],
    *,
    learning_rate: float = 1e-3,
    l2: float = 1.0,
    seed: int = 0,
) -> FittedTraced:
    """Fit a traced predictor once, on weighted rows.

    Parameters
    ----------
    predictor : Traced
    rows : Table of n rows
        Features and targets are used.
    weights : (n,) float32
    learning_rate, l2 : float
    seed : int
        Of the initial parameters and the mini-batches.

    Returns
    -------
    FittedTraced
    """
    n, d = rows.features.shape
    n_outputs = rows.targets.shape[1]
    n_rows, n_columns = padded_size(n), n_columns_of(predictor, d)
    params = fit_once(
        predictor,
        initial_parameters(predictor, np.random.default_rng(seed), d, n_columns, n_outputs),
        pad(rows.features, n_rows, n_columns),
        pad(rows.targets, n_rows),
        pad(np.asarray(weights, np.float32), n_rows),
        pad(np.ones(n, np.float32), n_rows),
        jax.random.key(seed),
        {"inner_learning_rate": jnp.float32(learning_rate), "l2": jnp.float32(l2)},
    )
    return FittedTraced(predictor, params, n_columns, n_outputs)
