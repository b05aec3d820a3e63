"""Influence functions: what an infinitely small change of a row's weight does to the reward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dvrl.data.preparation import Prepared
from dvrl.learning.assembly import by_name, inner_learning_rate
from dvrl.learning.settings import DEFAULT_METRICS, RunSettings
from dvrl.numerics.padding import pad, padded_size
from dvrl.predictors.base import initial_parameters, is_traced
from dvrl.predictors.rewards import make_reward
from dvrl.predictors.traced import n_columns_of

from .base import Outcome, ValuationMethod

__all__ = ["InfluenceFunctions"]


class InfluenceFunctions(ValuationMethod):
    """Derivative of the validation reward by the weight of every row, at equal weights.

    Exact for linear predictors, whose fits are solved (Koh and Liang, "Understanding black-box
    predictions via influence functions", ICML 2017); through all steps of the training for
    ``"mlp"``. One fit in all.

    Parameters
    ----------
    predictor : {"linear", "logistic", "ridge", "mlp"}, default="linear"
    metric : str, default=None
        A differentiable metric; the log-likelihood, or the negative squared error.
    task, validation_fraction, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    def __init__(
        self,
        predictor: Any = "linear",
        *,
        metric: Any = None,
        task: str = "auto",
        validation_fraction: float = 0.2,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.metric = metric
        self.task = task
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        settings = RunSettings()
        predictor = by_name(self.predictor, task, settings)
        if not is_traced(predictor):
            raise ValueError(
                "Influence functions differentiate through the fit, which needs a built-in "
                "predictor: use 'linear' or 'mlp', or another method."
            )
        if getattr(predictor, "linear_fits", False):
            predictor = replace(predictor, tolerance=1e-7)
        metric = DEFAULT_METRICS[task] if self.metric is None else self.metric
        reward = make_reward(metric, task, data.coder.n_outputs)
        if not reward.differentiable:
            raise ValueError(
                f"metric={metric!r} has no derivative; use {DEFAULT_METRICS[task]!r}, say."
            )
        n, d = data.X.shape
        m, n_outputs = data.Y_validation.shape
        n_rows, n_columns, n_validation = padded_size(n), n_columns_of(predictor, d), padded_size(m)
        start = initial_parameters(predictor, np.random.default_rng(seed), d, n_columns, n_outputs)
        X, Y = jnp.asarray(pad(data.X, n_rows, n_columns)), jnp.asarray(pad(data.Y, n_rows))
        X_validation = jnp.asarray(pad(data.X_validation, n_validation, n_columns))
        Y_validation = jnp.asarray(pad(data.Y_validation, n_validation))
        mask = jnp.asarray(pad(np.ones(n, np.float32), n_rows))
        counted = jnp.asarray(pad(np.ones(m, np.float32), n_validation))
        hyper = {
            "inner_learning_rate": jnp.float32(inner_learning_rate(predictor, settings)),
            "l2": jnp.float32(settings.l2),
        }

        def reward_of(weights: jax.Array) -> jax.Array:
            fitted = predictor.solve(start, X, Y, weights[None], mask, jax.random.key(seed), hyper)
            params = jax.tree.map(lambda leaf: leaf[0], fitted)
            scores = predictor.apply(params, X_validation, n_outputs)
            judged: jax.Array = reward.function(
                Y_validation, scores, counted, data.coder.center, data.coder.scale
            )
            return judged

        gradient = jax.jit(jax.grad(reward_of))(mask)
        return Outcome(np.asarray(gradient[:n], np.float64), n_fits=1)
