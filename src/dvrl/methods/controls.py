"""The two controls that every method is to be compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dvrl.data.preparation import Prepared
from dvrl.references.marginal import Marginal

from .base import Outcome, ValuationMethod

__all__ = ["MarginalOnly", "RandomValues"]


@dataclass(eq=False, repr=False, kw_only=True)
class RandomValues(ValuationMethod):
    """A random order of the rows.

    Parameters
    ----------
    task, validation_fraction, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        return Outcome(np.random.default_rng(seed).random(len(data.X)))


@dataclass(eq=False, repr=False, kw_only=True)
class MarginalOnly(ValuationMethod):
    """Probability that reference models give to the row's own label.

    What DVRL starts from, and what it has to beat.

    Parameters
    ----------
    marginal : str or estimator, default="auto"
        See :class:`dvrl.references.marginal.Marginal`.
    task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    marginal: Any = field(default="auto", kw_only=False)
    n_jobs: int | None = None

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        marginal = Marginal(self.marginal, task=task, n_jobs=self.n_jobs, random_state=seed)
        marginal.fit(data.training, data.validation)
        probability = marginal.label_probability(data.Y, marginal.train_scores_)
        return Outcome(probability.astype(np.float64), n_fits=marginal.n_fits_)
