"""What the training loop asks of a traceable predictor, and training by mini-batches."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from dvrl.numerics.axes import map_axis

from .links import raw_residuals

__all__ = ["Parameters", "TraceableModel", "TraceablePredictor", "fit_by_minibatches"]

Parameters = Any
"""A pytree of arrays."""


class TraceableModel(Protocol):
    """A differentiable model: parameters in, raw outputs out (see :mod:`.links`)."""

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs of one set of parameters."""
        ...


@runtime_checkable
class TraceablePredictor(Protocol):
    """A predictor whose fits run inside the compiled loop.

    Implementations are frozen, hashable dataclasses: they are compile-time constants, while
    parameters and numeric settings (`hyper`) travel as arrays.
    """

    def init(
        self, rng: np.random.Generator, n_features: int, n_padded: int, n_outputs: int
    ) -> Parameters:
        """Parameters of an unfitted predictor, for `n_padded` unused columns behind the real."""
        ...

    def fit(
        self,
        params: Parameters,
        X: Float[Array, "rows features"],
        Y: Float[Array, "rows outputs"],
        weights: Float[Array, "selections rows"],
        mask: Float[Array, " rows"],
        key: PRNGKeyArray,
        hyper: dict[str, Float[Array, ""]],
    ) -> Parameters:
        """Fit one predictor per row of `weights`, all from the same start and mini-batches.

        Returns parameters with a leading axis of selections, differentiable in `weights`.
        """
        ...

    def scores(
        self, params: Parameters, X: Float[Array, "rows features"], n_outputs: int
    ) -> Float[Array, "rows outputs"]:
        """Class probabilities or scaled targets of one set of parameters."""
        ...


def _shuffled_ring(
    key: PRNGKeyArray, mask: Float[Array, " rows"], window: int
) -> tuple[Array, Array]:
    """Shuffled row numbers, repeated so that any window of them can be cut without wrapping."""
    n_rows = jnp.sum(mask).astype(jnp.int32)
    padding_last = jax.random.uniform(key, mask.shape) + 2.0 * (1.0 - mask)
    order = jnp.argsort(padding_last)
    return order[jnp.arange(mask.shape[0] + window) % n_rows], n_rows


def fit_by_minibatches(
    model: TraceableModel,
    params: Parameters,
    X: Float[Array, "rows features"],
    Y: Float[Array, "rows outputs"],
    weights: Float[Array, "selections rows"],
    mask: Float[Array, " rows"],
    key: PRNGKeyArray,
    *,
    steps: int,
    batch_size: int,
    optimizer: str,
    learning_rate: Float[Array, ""],
    l2: Float[Array, ""],
) -> Parameters:
    """Take `steps` mini-batch steps for every selection (Algorithm 1, inner iterations).

    The number of steps is fixed, whatever the number of selected rows, and each step divides by
    the mini-batch size: ``theta <- theta - alpha / B_p * sum_m s_m * grad``. All selections see
    the same mini-batches, so their rewards differ by the selection alone. The rows are shuffled
    once per call and each mini-batch is a random window of the shuffled ring, which costs one
    gather per call instead of one per step and still picks every row equally often.

    Parameters
    ----------
    model : TraceableModel
    params : pytree
        Start, shared by all selections.
    X, Y : (n_rows, n_features), (n_rows, n_outputs) float
    weights : (n_selections, n_rows) float
    mask : (n_rows,) float
        1 for rows, 0 for padding.
    key : PRNG key
    steps, batch_size : int
    optimizer : {"sgd", "adam"}
    learning_rate, l2 : () float
        `l2` is the ridge penalty of the whole batch, added per row as ``l2 / n_rows``.

    Returns
    -------
    pytree
        As `params`, with a leading axis of selections.
    """
    n_selections = weights.shape[0]
    order_key, offset_key = jax.random.split(key)
    ring, n_rows = _shuffled_ring(order_key, mask, batch_size)
    offsets = jax.random.randint(offset_key, (steps,), 0, n_rows)
    features, targets, row_weights = X[ring], Y[ring], weights[:, ring]

    def gradient_of(params: Parameters, x: Array, y: Array, w: Array) -> Parameters:
        raw, pull_back = jax.vjp(lambda params: model.raw(params, x), params)
        (gradient,) = pull_back(w[:, None] * raw_residuals(raw, y) / batch_size)
        return jax.tree.map(lambda g, p: g + l2 / n_rows * p, gradient, params)

    # Without eps_root the square root of a zero second moment has no derivative, and the gradient
    # through the fit would be NaN wherever a parameter has not moved.
    adam = optax.scale_by_adam(eps_root=1e-12)
    transform = adam if optimizer == "adam" else optax.identity()

    def step(carry: tuple[Parameters, Any], offset: Array) -> tuple[tuple[Parameters, Any], None]:
        params, state = carry
        x = jax.lax.dynamic_slice_in_dim(features, offset, batch_size, allow_negative_indices=False)
        y = jax.lax.dynamic_slice_in_dim(targets, offset, batch_size)
        w = jax.lax.dynamic_slice_in_dim(row_weights, offset, batch_size, axis=1)
        gradient = map_axis(gradient_of, in_axes=(0, None, None, 0))(params, x, y, w)
        update, state = transform.update(gradient, state, params)
        params = jax.tree.map(lambda p, u: p - learning_rate * u, params, update)
        return (params, state), None

    start = jax.tree.map(lambda p: jnp.broadcast_to(p, (n_selections, *p.shape)), params)
    (fitted, _), _ = jax.lax.scan(step, (start, transform.init(start)), offsets)
    return fitted
