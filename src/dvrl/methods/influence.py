"""Influence functions: what an infinitely small change of a row's weight does to the reward."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from dvrl.data.preparation import Prepared
from dvrl.learning.assembly import by_name
from dvrl.learning.settings import DEFAULT_METRICS, RunSettings
from dvrl.numerics.padding import pad
from dvrl.predictors.base import is_traced
from dvrl.predictors.rewards import make_reward
from dvrl.predictors.traced import fit_once

from .base import Outcome, ValuationMethod
from .fitters import TracedFitter

__all__ = ["InfluenceFunctions"]


@dataclass(eq=False, repr=False, kw_only=True)
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

    predictor: Any = field(default="linear", kw_only=False)
    metric: Any = None

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
        fitter = TracedFitter(predictor, data.X, data.Y, data.X_validation, settings, seed)
        m, n_outputs = data.Y_validation.shape
        Y_validation = pad(data.Y_validation, len(fitter.X_scored))
        counted = pad(np.ones(m, np.float32), len(fitter.X_scored))

        def reward_of(weights: jax.Array) -> jax.Array:
            params = fit_once(
                predictor,
                fitter.initial,
                fitter.X,
                fitter.Y,
                weights,
                fitter.mask,
                fitter.key,
                fitter.hyper,
            )
            scores = predictor.apply(params, fitter.X_scored, n_outputs)
            judged: jax.Array = reward.function(
                Y_validation, scores, counted, data.coder.center, data.coder.scale
            )
            return judged

        gradient = jax.jit(jax.grad(reward_of))(fitter.mask)
        return Outcome(np.asarray(gradient[: len(data.X)], np.float64), n_fits=1)
