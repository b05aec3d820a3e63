"""Leave-one-out: what the utility loses when a row is taken away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dvrl.data.preparation import Prepared

from .base import Deadline, Outcome, UtilityMethod

__all__ = ["LeaveOneOut"]


@dataclass(eq=False, repr=False, kw_only=True)
class LeaveOneOut(UtilityMethod):
    """Value of a row: u(all rows) - u(all rows but this one) (Cook, 1977).

    Cheap, exact, and noisy: with many rows, one of them changes little.

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`. Rows that were not reached in time are NaN.
    """

    # Differences are small: both sides must be solved well beyond them.
    _tolerance = 1e-7

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        deadline = Deadline(self.max_seconds)
        utility = self._utility(data, task, seed)
        n, size = utility.n_rows, utility.batch_subsets
        values, full = np.full(n, np.nan), utility.full()
        # Mixed, so that what is reached in time is no special part; the same in every run.
        order = np.random.default_rng(0).permutation(n)
        for first in range(0, n, size):
            if deadline.passed:
                break
            rows = order[first : first + size]
            subsets = np.ones((len(rows), n), bool)
            subsets[np.arange(len(rows)), rows] = False
            values[rows] = full - utility(subsets)
        details = {"stopped_early": bool(np.isnan(values).any())}
        return Outcome(values, n_fits=utility.n_fits, details=details)
