"""Networks as traced predictors, trained by mini-batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ..numerics.axes import map_axis
from ..numerics.padding import padded_size
from .base import Parameters
from .links import affine, n_raw_outputs, raw_residuals, raw_scores

__all__ = ["MLPPredictor", "Minibatches", "RawModel", "TracedNetwork", "fit_by_minibatches"]

# Of a fit that is done once: passes over the rows, and the most steps.
FINAL_EPOCHS = 50
MAX_FINAL_STEPS = 20_000


class RawModel(Protocol):
    """A differentiable model: parameters in, raw outputs out (see :mod:`.links`)."""

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs of one set of parameters."""
        ...


@dataclass(frozen=True, kw_only=True)
class Minibatches:
    """What predictors trained by mini-batches share: so many steps, whatever the selection."""

    steps: int | None = 100
    batch_size: int = 256
    optimizer: str = "adam"

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs, see :mod:`dvrl.predictors.links`."""
        raise NotImplementedError

    def solve(
        self,
        params: Parameters,
        X: Float[Array, "rows features"],
        Y: Float[Array, "rows outputs"],
        weights: Float[Array, "selections rows"],
        mask: Float[Array, " rows"],
        key: PRNGKeyArray,
        hyper: dict[str, Float[Array, ""]],
    ) -> Parameters:
        """See :class:`dvrl.predictors.base.Traced`."""
        return fit_by_minibatches(self, params, X, Y, weights, mask, key, hyper)

    def apply(
        self, params: Parameters, X: Float[Array, "rows features"], n_outputs: int
    ) -> Float[Array, "rows outputs"]:
        """See :class:`dvrl.predictors.base.Traced`."""
        return raw_scores(self.raw(params, X), n_outputs)

    def for_one_fit(self, n_rows: int) -> Any:
        """The predictor of a fit that is done once: trained for longer than in the loop."""
        epochs = FINAL_EPOCHS * -(-padded_size(n_rows) // self.batch_size)
        steps = max(self.steps or 0, min(MAX_FINAL_STEPS, epochs))
        return replace(self, steps=steps, optimizer="adam")


@dataclass(frozen=True)
class TracedNetwork(Minibatches):
    """Any pair of functions `init` and `apply` as a predictor inside the compiled loop.

    Attributes
    ----------
    init_function : callable
        ``(key, n_features, n_outputs) -> params``, a pytree of arrays; `key` is a JAX key.
    apply_function : callable
        ``(params, X) -> raw``: X (n_rows, n_features) to raw outputs (n_rows, n_raw): one column
        for numbers (the scaled target) and for two classes (log-odds of the second), else one
        for each class (logits).
    steps, batch_size : int
        Inner iterations and rows per mini-batch.
    optimizer : {"adam", "sgd"}

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dvrl.predictors.networks import TracedNetwork
    >>> network = TracedNetwork(
    ...     init_function=lambda key, d, c: jnp.zeros((d, 1)),
    ...     apply_function=lambda params, X: jnp.tanh(X) @ params,
    ... )
    """

    init_function: Callable[[Any, int, int], Parameters]
    apply_function: Callable[[Parameters, Any], Any]

    def init(self, rng: np.random.Generator, n_features: int, n_outputs: int) -> Parameters:
        """See :class:`dvrl.predictors.base.Traced`."""
        key = jax.random.key(int(rng.integers(2**31 - 1)))
        return jax.tree.map(np.asarray, self.init_function(key, n_features, n_outputs))

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs, see :mod:`dvrl.predictors.links`."""
        return self.apply_function(params, X)


@dataclass(frozen=True, kw_only=True)
class MLPPredictor(Minibatches):
    """ReLU layers, then class probabilities or a scaled target.

    Attributes
    ----------
    steps, batch_size : int
        Inner iterations and rows per mini-batch.
    optimizer : {"adam", "sgd"}
    hidden : tuple of int
        Units of the hidden layers; 100 and 100 in the released experiments.
    """

    hidden: tuple[int, ...] = (100, 100)

    def init(self, rng: np.random.Generator, n_features: int, n_outputs: int) -> Parameters:
        """He-normal weights, zero biases."""
        widths = (n_features, *self.hidden, n_raw_outputs(n_outputs))
        return [
            {
                "weight": rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs)).astype(
                    np.float32
                ),
                "bias": np.zeros(outputs, np.float32),
            }
            for inputs, outputs in pairwise(widths)
        ]

    def widened(self, params: Parameters, n_columns: int) -> Parameters:
        """The same network with zero weights for columns of padding."""
        first, *others = params
        missing = n_columns - len(first["weight"])
        return [{**first, "weight": np.pad(first["weight"], ((0, missing), (0, 0)))}, *others]

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs, see :mod:`dvrl.predictors.links`."""
        *hidden, last = params
        for layer in hidden:
            X = jax.nn.relu(affine(X, layer["weight"], layer["bias"]))
        return affine(X, last["weight"], last["bias"])


def _shuffled_ring(
    key: PRNGKeyArray, mask: Float[Array, " rows"], window: int
) -> tuple[Array, Array]:
    """Shuffled row numbers, repeated so that any window of them can be cut without wrapping."""
    n_rows = jnp.sum(mask).astype(jnp.int32)
    padding_last = jax.random.uniform(key, mask.shape) + 2.0 * (1.0 - mask)
    order = jnp.argsort(padding_last)
    return order[jnp.arange(mask.shape[0] + window) % n_rows], n_rows


def fit_by_minibatches(
    model: Minibatches,
    params: Parameters,
    X: Float[Array, "rows features"],
    Y: Float[Array, "rows outputs"],
    weights: Float[Array, "selections rows"],
    mask: Float[Array, " rows"],
    key: PRNGKeyArray,
    hyper: dict[str, Float[Array, ""]],
) -> Parameters:
    """Take the steps of a model for every selection (Algorithm 1, inner iterations).

    The number of steps is fixed, whatever the number of selected rows, and each step divides by
    the mini-batch size: ``theta <- theta - alpha / B_p * sum_m s_m * grad``. All selections see
    the same mini-batches, so their rewards differ by the selection alone. The rows are shuffled
    once per call and each mini-batch is a random window of the shuffled ring, which costs one
    gather per call instead of one per step and still picks every row equally often.

    Parameters
    ----------
    model : Minibatches
        Its steps, rows per mini-batch and optimizer.
    params : pytree
        Start, shared by all selections.
    X, Y : (n_rows, n_features), (n_rows, n_outputs) float
    weights : (n_selections, n_rows) float
    mask : (n_rows,) float
        1 for rows, 0 for padding.
    key : PRNG key
    hyper : dict of () float
        ``inner_learning_rate``, and ``l2``, the ridge penalty of the whole batch, added per row
        as ``l2 / n_rows``.

    Returns
    -------
    pytree
        As `params`, with a leading axis of selections.
    """
    assert model.steps is not None
    batch_size, n_selections = model.batch_size, weights.shape[0]
    learning_rate, l2 = hyper["inner_learning_rate"], hyper["l2"]
    order_key, offset_key = jax.random.split(key)
    ring, n_rows = _shuffled_ring(order_key, mask, batch_size)
    offsets = jax.random.randint(offset_key, (model.steps,), 0, n_rows)
    features, targets, row_weights = X[ring], Y[ring], weights[:, ring]

    def gradient_of(params: Parameters, x: Array, y: Array, w: Array) -> Parameters:
        raw, pull_back = jax.vjp(lambda params: model.raw(params, x), params)
        (gradient,) = pull_back(w[:, None] * raw_residuals(raw, y) / batch_size)
        return jax.tree.map(lambda g, p: g + l2 / n_rows * p, gradient, params)

    # Without eps_root the square root of a zero second moment has no derivative, and the gradient
    # through the fit would be NaN wherever a parameter has not moved.
    adam = optax.scale_by_adam(eps_root=1e-12)
    transform = adam if model.optimizer == "adam" else optax.identity()

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
