"""Data Shapley: the mean contribution of a row over all orders of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvrl.data.preparation import Prepared

from .base import Deadline, Outcome, UtilityMethod
from .permutations import RunningMeans, contributions

__all__ = ["DataShapley"]

Values = NDArray[np.float64]

BATCH_PERMUTATIONS = 64


@dataclass(eq=False, repr=False, kw_only=True)
class DataShapley(UtilityMethod):
    """Shapley value of every row: its mean contribution over all orders of the rows.

    Truncated Monte Carlo over permutations (Ghorbani and Zou, "Data Shapley", ICML 2019).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    n_permutations : int, default=1000
        At most so many.
    truncation : float, default=0.01
        An order ends where its utility is this near to that of all rows, as a share of what all
        rows are worth; 0 for none.
    convergence : float or None, default=0.9
        Stop when the ranks of two halves of the sample correlate so well.

    Attributes
    ----------
    details_ : dict
        ``n_permutations``, ``agreement_of_halves``.
    """

    n_permutations: int = 1000
    truncation: float = 0.01
    convergence: float | None = 0.9

    def _weights(self, n_rows: int) -> Values:
        """Weight of a contribution to a set of 0, 1, .., n - 1 rows; the mean is one."""
        return np.ones(n_rows)

    def _check(self) -> None:
        if self.n_permutations < 2:
            raise ValueError("n_permutations must be 2 or more, so that an error can be told.")
        if not 0 <= self.truncation < 1:
            raise ValueError(f"truncation={self.truncation!r} must lie in [0, 1).")

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        utility = self._utility(data, task, seed)
        rng = np.random.default_rng(seed)
        n = utility.n_rows
        means, weights = RunningMeans.of_size(n), self._weights(n)
        size = min(BATCH_PERMUTATIONS, self.n_permutations)
        deadline, stopped = Deadline(self.max_seconds), False
        half = 0
        while means.counts.sum() < self.n_permutations:
            orders = np.stack([rng.permutation(n) for _ in range(size)])
            wanted = self.n_permutations - int(means.counts.sum())
            samples = contributions(utility, orders, weights, self.truncation, deadline)[:wanted]
            stopped = deadline.passed and wanted > len(samples)
            if stopped and means.counts.any():
                break  # these orders were cut short; the others were not
            means.add(samples[::2], half)
            means.add(samples[1::2], 1 - half)
            if self.convergence is not None and means.agreement() >= self.convergence:
                break
            if stopped:
                break
        details = {
            "n_permutations": int(means.counts.sum()),
            "agreement_of_halves": means.agreement(),
            "stopped_early": stopped,
        }
        return Outcome(means.mean, means.standard_error, utility.n_fits, details)
