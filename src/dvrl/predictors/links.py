"""From a model's raw outputs to scores and per-row losses.

Two classes use one raw output, the log-odds of the second class; more classes one per class;
regression one, the scaled target itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = [
    "affine",
    "n_raw_outputs",
    "raw_curvature",
    "raw_residuals",
    "raw_row_losses",
    "raw_scores",
]


def n_raw_outputs(n_outputs: int) -> int:
    """Columns that a model needs for targets of `n_outputs` columns."""
    return 1 if n_outputs <= 2 else n_outputs


def affine(
    X: Float[Array, "rows inputs"],
    weight: Float[Array, "inputs outputs"],
    bias: Float[Array, " outputs"],
) -> Float[Array, "rows outputs"]:
    """Linear map with a bias; a single output is a matrix-vector product, which is faster."""
    if weight.shape[1] == 1:
        return (X @ weight[:, 0] + bias[0])[:, None]
    return X @ weight + bias


def _kind(targets_columns: int) -> str:
    return {1: "identity", 2: "logistic"}.get(targets_columns, "softmax")


def raw_scores(raw: Float[Array, "rows raw"], n_outputs: int) -> Float[Array, "rows outputs"]:
    """Class probabilities, or the predicted scaled target."""
    kind = _kind(n_outputs)
    if kind == "identity":
        return raw
    if kind == "logistic":
        return jax.nn.sigmoid(jnp.concatenate([-raw, raw], axis=-1))
    return jax.nn.softmax(raw, axis=-1)


def raw_row_losses(
    raw: Float[Array, "rows raw"], targets: Float[Array, "rows outputs"]
) -> Float[Array, " rows"]:
    """Log-loss in nats, or half the squared error; one number per row, not reduced."""
    kind = _kind(targets.shape[-1])
    if kind == "identity":
        return 0.5 * jnp.square(raw[..., 0] - targets[..., 0])
    if kind == "logistic":
        sign = targets[..., 1] - targets[..., 0]
        return jax.nn.softplus(-sign * raw[..., 0])
    return -jnp.sum(targets * jax.nn.log_softmax(raw, axis=-1), axis=-1)


def raw_residuals(
    raw: Float[Array, "rows raw"], targets: Float[Array, "rows outputs"]
) -> Float[Array, "rows raw"]:
    """Derivative of the row losses by the raw outputs."""
    kind = _kind(targets.shape[-1])
    if kind == "identity":
        return raw - targets
    if kind == "logistic":
        return jax.nn.sigmoid(raw) - targets[..., 1:]
    return jax.nn.softmax(raw, axis=-1) - targets


def raw_curvature(
    raw: Float[Array, "rows raw"], direction: Float[Array, "rows raw"], n_outputs: int
) -> Float[Array, "rows raw"]:
    """Second derivative of the row losses by the raw outputs, applied to `direction`."""
    kind = _kind(n_outputs)
    if kind == "identity":
        return direction
    if kind == "logistic":
        probability = jax.nn.sigmoid(raw)
        return probability * (1 - probability) * direction
    probability = jax.nn.softmax(raw, axis=-1)
    weighted = probability * direction
    return weighted - probability * jnp.sum(weighted, axis=-1, keepdims=True)
