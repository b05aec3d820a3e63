"""Traceable predictors by name, and their final fit outside the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from dvrl.numerics.padding import pad, padded_size

from .base import Parameters, TraceablePredictor
from .linear import LinearPredictor
from .links import raw_scores
from .mlp import MLPPredictor

__all__ = ["FittedTraceable", "final_form", "fit_once", "fit_traceable", "named_predictor"]

NAMES = {"classification": ("linear", "logistic", "mlp"), "regression": ("linear", "ridge", "mlp")}
FINAL_EPOCHS = 50
MAX_FINAL_STEPS = 20_000
SCORED_ROWS = 65_536


def named_predictor(
    name: str, task: str, *, steps: int | None, batch_size: int, optimizer: str
) -> TraceablePredictor:
    """Predictor called `name`.

    Parameters
    ----------
    name : {"linear", "logistic", "ridge", "mlp"}
        "linear" is logistic or softmax regression, or ridge regression, by the task.
    task : {"classification", "regression"}
    steps : int or None
        Mini-batch steps; None solves to convergence.
    batch_size : int
    optimizer : {"sgd", "adam"}

    Raises
    ------
    ValueError
        If there is no such predictor for the task, or it cannot be solved to convergence.
    """
    if name not in NAMES[task]:
        raise ValueError(
            f"predictor={name!r} is unknown for {task}; use one of {', '.join(NAMES[task])}, "
            "or any object with fit and predict."
        )
    if name == "mlp":
        if steps is None:
            raise ValueError(
                "inner_iterations='converged' needs a linear predictor; give a whole number of "
                "inner iterations for predictor='mlp'."
            )
        return MLPPredictor(steps, batch_size, optimizer=optimizer)
    return LinearPredictor(steps, batch_size, optimizer)


@dataclass(frozen=True)
class FittedTraceable:
    """A fitted traceable predictor that answers in scores, like a fitted black box.

    Attributes
    ----------
    predictor : TraceablePredictor
    params : pytree of arrays
    n_columns : int
        Feature columns with padding.
    n_outputs : int
    """

    predictor: TraceablePredictor
    params: Parameters
    n_columns: int
    n_outputs: int

    def scores(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores `(k, n_outputs)` for encoded rows."""
        if isinstance(self.predictor, LinearPredictor):
            return self._linear_scores(X)
        parts = [np.empty((0, self.n_outputs), np.float32)]
        for start in range(0, len(X), SCORED_ROWS):
            block = X[start : start + SCORED_ROWS]
            padded = pad(block, padded_size(len(block)), self.n_columns)
            scored = _scores(self.predictor, self.n_outputs, self.params, padded)
            parts.append(np.asarray(scored)[: len(block)])
        return np.concatenate(parts)

    def _linear_scores(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sums in double precision: in single, a row's last digits depend on its place in `X`."""
        weight, bias = (np.asarray(self.params[name], np.float64) for name in ("weight", "bias"))
        raw = np.asarray(X, np.float64) @ weight[: X.shape[1]] + bias
        return np.asarray(raw_scores(jnp.asarray(raw, jnp.float32), self.n_outputs))


@partial(jax.jit, static_argnames=("predictor", "n_outputs"))
def _scores(
    predictor: TraceablePredictor, n_outputs: int, params: Parameters, X: jax.Array
) -> jax.Array:
    return predictor.scores(params, X, n_outputs)


@partial(jax.jit, static_argnames=("predictor",))
def fit_once(
    predictor: TraceablePredictor,
    params: Parameters,
    X: jax.Array,
    Y: jax.Array,
    weights: jax.Array,
    mask: jax.Array,
    key: jax.Array,
    hyper: dict[str, Any],
) -> Parameters:
    """Fit one predictor; `hyper` needs the learning rate of the inner steps and the penalty."""
    fitted = predictor.fit(params, X, Y, weights[None], mask, key, hyper)
    return jax.tree.map(lambda leaf: leaf[0], fitted)


def final_form(predictor: TraceablePredictor, n_rows: int) -> TraceablePredictor:
    """Predictor for a fit that is done once: solved, or trained for longer than in the loop."""
    if isinstance(predictor, LinearPredictor):
        return replace(predictor, steps=None)
    if isinstance(predictor, MLPPredictor):
        epochs = FINAL_EPOCHS * -(-padded_size(n_rows) // predictor.batch_size)
        steps = max(predictor.steps, min(MAX_FINAL_STEPS, epochs))
        return replace(predictor, steps=steps, optimizer="adam")
    return predictor


def fit_traceable(
    predictor: TraceablePredictor,
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    weights: NDArray[np.float32],
    *,
    learning_rate: float = 1e-3,
    l2: float = 1.0,
    seed: int = 0,
) -> FittedTraceable:
    """Fit a traceable predictor once, on weighted rows.

    Parameters
    ----------
    predictor : TraceablePredictor
    X, Y : (n, d), (n, c) float32
    weights : (n,) float32
    learning_rate, l2 : float
    seed : int
        Of the initial parameters and the mini-batches.

    Returns
    -------
    FittedTraceable
    """
    n_rows, n_columns = padded_size(len(X)), padded_size(X.shape[1])
    start = predictor.init(
        np.random.default_rng(seed), X.shape[1], n_columns - X.shape[1], Y.shape[1]
    )
    params = fit_once(
        predictor,
        start,
        pad(X, n_rows, n_columns),
        pad(Y, n_rows),
        pad(np.asarray(weights, np.float32), n_rows),
        pad(np.ones(len(X), np.float32), n_rows),
        jax.random.key(seed),
        {"inner_learning_rate": jnp.float32(learning_rate), "l2": jnp.float32(l2)},
    )
    return FittedTraceable(predictor, params, n_columns, Y.shape[1])
