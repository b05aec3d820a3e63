"""The data value estimator: the network that gives every row its log-odds of being selected."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["DataValueEstimator", "policy_logits"]

HIDDEN_UNITS = (100, 100, 100, 10)
HEAD_UNITS = 10


class Dense(eqx.Module):
    """A fully connected layer for a matrix of rows."""

    weight: Float[Array | np.ndarray, "inputs outputs"]
    bias: Float[Array | np.ndarray, " outputs"]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, n_inputs: int, n_outputs: int, *, padded: int = 0
    ) -> Dense:
        """Glorot-uniform weights and zero biases; rows for `padded` unused inputs stay zero."""
        limit = np.sqrt(6.0 / (n_inputs + n_outputs))
        weight = np.zeros((n_inputs + padded, n_outputs), np.float32)
        weight[:n_inputs] = rng.uniform(-limit, limit, (n_inputs, n_outputs))
        return cls(weight, np.zeros(n_outputs, np.float32))

    def __call__(self, rows: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        return rows @ self.weight + self.bias


class DataValueEstimator(eqx.Module):
    """The network of the released code: features and label in, one log-odds per row out.

    Features and targets go through ReLU layers of 100, 100, 100 and 10 units; the differences of
    the marginal join there and go through 10 more units to the output. No differences (marginal
    ``"none"``) simply means zero columns.

    Attributes
    ----------
    hidden : tuple of Dense
    head, output : Dense
    bound : float or None
        The log-odds stay within plus and minus this.
    """

    hidden: tuple[Dense, ...]
    head: Dense
    output: Dense
    bound: float | None = eqx.field(static=True)

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        *,
        n_features: int,
        n_padded: int,
        n_outputs: int,
        n_differences: int,
        zero_output: bool,
        bound: float | None,
    ) -> DataValueEstimator:
        """Draw a network.

        Parameters
        ----------
        rng : numpy.random.Generator
            Drawing on the host spares every run the compilation of the draw, and keeps the
            network the same however the columns are padded.
        n_features, n_padded : int
            Feature columns, and columns of padding behind them.
        n_outputs, n_differences : int
            Columns of the targets and of the marginal's differences.
        zero_output : bool
            Start the output layer at zero: the policy then starts exactly at its prior.
        bound : float or None
            Largest log-odds, either way.
        """
        inputs = n_outputs + n_features
        hidden: list[Dense] = []
        for units in HIDDEN_UNITS:
            padded = 0 if hidden else n_padded
            hidden.append(Dense.draw(rng, inputs, units, padded=padded))
            inputs = units
        head = Dense.draw(rng, inputs + n_differences, HEAD_UNITS)
        output = Dense.draw(rng, HEAD_UNITS, 1)
        if zero_output:
            output = Dense(np.zeros_like(output.weight), output.bias)
        return cls(tuple(hidden), head, output, bound)

    def __call__(
        self,
        features: Float[Array, "batch features"],
        targets: Float[Array, "batch outputs"],
        differences: Float[Array, "batch differences"],
    ) -> Float[Array, " batch"]:
        """Log-odds of each row, without its prior."""
        rows = jnp.concatenate([targets, features], axis=1)  # padding comes last
        for layer in self.hidden:
            rows = jax.nn.relu(layer(rows))
        rows = jax.nn.relu(self.head(jnp.concatenate([rows, differences], axis=1)))
        log_odds = self.output(rows)[:, 0]
        return log_odds if self.bound is None else self.bound * jnp.tanh(log_odds / self.bound)


def policy_logits(
    estimator: DataValueEstimator,
    features: Float[Array, "batch features"],
    targets: Float[Array, "batch outputs"],
    differences: Float[Array, "batch differences"],
    prior_logits: Float[Array, " batch"],
) -> Float[Array, " batch"]:
    """Log-odds of selecting each row: the prior's plus the residual that the network learns."""
    return prior_logits + estimator(features, targets, differences)
