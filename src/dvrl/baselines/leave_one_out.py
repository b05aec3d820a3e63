"""Leave-one-out: what the utility loses when a row is taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from dvrl.preparation import Prepared

from .base import Outcome, UtilityMethod

__all__ = ["LeaveOneOut"]


class LeaveOneOut(UtilityMethod):
    """Value of a row: u(all rows) - u(all rows but this one) (Cook, 1977).

    Cheap, exact, and noisy: with many rows, one of them changes little.

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.baselines.base.UtilityMethod`.
    """

    # Differences are small: both sides must be solved well beyond them.
    _tolerance = 1e-7

    def __init__(
        self,
        predictor: Any = "linear",
        *,
        metric: Any = None,
        task: str = "auto",
        validation_fraction: float = 0.2,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.metric = metric
        self.task = task
        self.validation_fraction = validation_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        utility = self._utility(data, task, seed)
        without = utility(~np.eye(utility.n_rows, dtype=bool))
        return Outcome(utility.full() - without, n_fits=utility.n_fits)
