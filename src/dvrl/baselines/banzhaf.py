"""Data Banzhaf: how much better random subsets are with a row than without it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from dvrl.preparation import Prepared

from .base import Deadline, Outcome, UtilityMethod

__all__ = ["DataBanzhaf", "maximum_sample_reuse"]

Values = NDArray[np.float64]
# Subsets between two looks at convergence.
ROUND = 256


def maximum_sample_reuse(subsets: NDArray[np.bool_], utilities: Values) -> tuple[Values, Values]:
    """Banzhaf values of all rows from one sample of subsets, and their standard errors.

    Every subset speaks for every row: the mean utility of those that hold it, less the mean of
    those that do not (Wang and Jia, "Data Banzhaf", AISTATS 2023, equation 6).
    """
    inside = subsets.astype(np.float64)
    values = np.zeros(subsets.shape[1])
    variance = np.zeros(subsets.shape[1])
    for sign, member in ((1.0, inside), (-1.0, 1.0 - inside)):
        count = np.maximum(member.sum(axis=0), 1.0)
        mean = utilities @ member / count
        values += sign * mean
        variance += np.maximum(utilities**2 @ member / count - mean**2, 0.0) / count
    return values, np.sqrt(variance)


class DataBanzhaf(UtilityMethod):
    """Banzhaf value of every row, by maximum sample reuse (Wang and Jia, AISTATS 2023).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.baselines.base.UtilityMethod`.
    n_subsets : int, default=10000
        At most so many.
    convergence : float or None, default=0.9
        Stop when the ranks of two halves of the sample correlate so well.
    max_seconds : float, default=None
        Stop after this time, with what there is.

    Attributes
    ----------
    details_ : dict
        ``n_subsets``, ``agreement_of_halves``.
    """

    def __init__(
        self,
        predictor: Any = "linear",
        *,
        metric: Any = None,
        n_subsets: int = 10_000,
        convergence: float | None = 0.9,
        max_seconds: float | None = None,
        task: str = "auto",
        validation_fraction: float = 0.2,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.metric = metric
        self.n_subsets = n_subsets
        self.convergence = convergence
        self.max_seconds = max_seconds
        self.task = task
        self.validation_fraction = validation_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check(self) -> None:
        if self.n_subsets < 4:
            raise ValueError("n_subsets must be 4 or more, so that an error can be told.")

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        utility = self._utility(data, task, seed)
        rng = np.random.default_rng(seed)
        n = utility.n_rows
        subsets, utilities = np.zeros((0, n), bool), np.zeros(0)
        agreement, stopped = 0.0, False
        deadline = Deadline(self.max_seconds)
        while len(subsets) < self.n_subsets:
            size = min(utility.batch_subsets if self.max_seconds else ROUND, ROUND)
            drawn = rng.random((min(size, self.n_subsets - len(subsets)), n)) < 0.5
            subsets = np.concatenate([subsets, drawn])
            utilities = np.concatenate([utilities, utility(drawn)])
            halves = [maximum_sample_reuse(subsets[h::2], utilities[h::2])[0] for h in (0, 1)]
            agreement = float(spearmanr(*halves).statistic) if n > 1 else 0.0
            if self.convergence is not None and agreement >= self.convergence:
                break
            stopped = deadline.passed and len(subsets) < self.n_subsets
            if stopped:
                break
        values, errors = maximum_sample_reuse(subsets, utilities)
        details = {
            "n_subsets": len(subsets),
            "agreement_of_halves": agreement,
            "stopped_early": stopped,
        }
        return Outcome(values, errors, utility.n_fits, details)
