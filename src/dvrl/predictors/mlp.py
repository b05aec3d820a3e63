"""A multi-layer perceptron, trained by mini-batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .base import Parameters, fit_by_minibatches
from .links import affine, n_raw_outputs, raw_scores

__all__ = ["MLPPredictor"]


@dataclass(frozen=True)
class MLPPredictor:
    """ReLU layers, then class probabilities or a scaled target.

    Attributes
    ----------
    steps, batch_size : int
        Inner iterations and rows per mini-batch.
    hidden : tuple of int
        Units of the hidden layers; 100 and 100 in the released experiments.
    optimizer : {"adam", "sgd"}
    """

    steps: int = 100
    batch_size: int = 256
    hidden: tuple[int, ...] = (100, 100)
    optimizer: str = "adam"

    def init(
        self, rng: np.random.Generator, n_features: int, n_padded: int, n_outputs: int
    ) -> Parameters:
        """He-normal weights, zero biases."""
        widths = (n_features, *self.hidden, n_raw_outputs(n_outputs))
        layers: list[dict[str, np.ndarray]] = []
        for inputs, outputs in pairwise(widths):
            weight = rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs))
            if not layers:
                weight = np.concatenate([weight, np.zeros((n_padded, outputs))])
            layers.append(
                {"weight": weight.astype(np.float32), "bias": np.zeros(outputs, np.float32)}
            )
        return layers

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs, see :mod:`dvrl.predictors.links`."""
        *hidden, last = params
        for layer in hidden:
            X = jax.nn.relu(affine(X, layer["weight"], layer["bias"]))
        return affine(X, last["weight"], last["bias"])

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
        """See :class:`dvrl.predictors.base.TraceablePredictor`."""
        return fit_by_minibatches(
            self,
            params,
            X,
            Y,
            weights,
            mask,
            key,
            steps=self.steps,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=hyper["inner_learning_rate"],
            l2=hyper["l2"],
        )

    def scores(
        self, params: Parameters, X: Float[Array, "rows features"], n_outputs: int
    ) -> Float[Array, "rows outputs"]:
        """See :class:`dvrl.predictors.base.TraceablePredictor`."""
        return raw_scores(self.raw(params, X), n_outputs)
