"""DVGS: rows whose gradients point where those of the validation rows point."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dvrl.data.preparation import Prepared
from dvrl.predictors.links import raw_row_losses
from dvrl.predictors.networks import RawModel
from dvrl.predictors.registry import named_predictor

from .base import Deadline, Outcome, ValuationMethod

__all__ = ["GradientSimilarity"]

# Rows whose gradients are held at once.
BLOCK_ROWS = 1024


@dataclass(eq=False, repr=False, kw_only=True)
class GradientSimilarity(ValuationMethod):
    """Cosine of each row's gradient with that of the validation rows, averaged over a training.

    The model is trained on the validation rows by plain descent; at every step each training row
    is asked which way it would go (Evans et al., "Data valuation with gradient similarity", 2024).

    Parameters
    ----------
    predictor : {"linear", "mlp"}, default="linear"
    n_steps : int, default=100
    learning_rate : float, default=0.1
    task, validation_fraction, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    predictor: str = field(default="linear", kw_only=False)
    n_steps: int = 100
    learning_rate: float = 0.1
    max_seconds: float | None = None

    def _check(self) -> None:
        if self.n_steps < 1 or self.learning_rate <= 0:
            raise ValueError("n_steps must be 1 or more and learning_rate greater than 0.")
        if not isinstance(self.predictor, str):
            raise ValueError(
                "Gradient similarity needs the gradients of a built-in predictor: use 'linear' or "
                "'mlp', or another method."
            )

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        model: Any = named_predictor(
            self.predictor, task, steps=self.n_steps, batch_size=256, optimizer="sgd"
        )
        deadline, n_done = Deadline(self.max_seconds), 0
        rng = np.random.default_rng(seed)
        params = model.init(rng, data.X.shape[1], data.Y.shape[1])
        total = np.zeros(len(data.X))
        X_validation, Y_validation = jnp.asarray(data.X_validation), jnp.asarray(data.Y_validation)
        while n_done < self.n_steps and not (n_done and deadline.passed):
            direction = _mean_gradient(model, params, X_validation, Y_validation)
            for first in range(0, len(data.X), BLOCK_ROWS):
                block = slice(first, first + BLOCK_ROWS)
                total[block] += _cosines(model, params, data.X[block], data.Y[block], direction)
            params = jax.tree.map(lambda p, g: p - self.learning_rate * g, params, direction)
            n_done += 1
        details = {"n_steps": n_done, "stopped_early": n_done < self.n_steps}
        return Outcome(total / n_done, n_fits=1, details=details)


@partial(jax.jit, static_argnames=("model",))
def _mean_gradient(model: RawModel, params: Any, X: jax.Array, Y: jax.Array) -> Any:
    return jax.grad(lambda params: jnp.mean(raw_row_losses(model.raw(params, X), Y)))(params)


@partial(jax.jit, static_argnames=("model",))
def _cosines(model: RawModel, params: Any, X: jax.Array, Y: jax.Array, direction: Any) -> jax.Array:
    """Cosines of the gradients of single rows with a direction."""

    def of_row(x: jax.Array, y: jax.Array) -> jax.Array:
        own = _mean_gradient(model, params, x[None], y[None])
        product = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, own, direction)))
        sizes = [
            jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(each)))
            for each in (own, direction)
        ]
        return product / jnp.maximum(sizes[0] * sizes[1], 1e-12)

    return jax.vmap(of_row)(X, Y)
