"""Data Banzhaf: how much better random subsets are with a row than without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvrl.data.preparation import Prepared
from dvrl.numerics.paired import rank_correlation

from .base import Deadline, Outcome, UtilityMethod

__all__ = ["DataBanzhaf", "SampleReuse"]

Values = NDArray[np.float64]
# Subsets between two looks at convergence.
ROUND = 256


class SampleReuse:
    """Banzhaf values of all rows from one growing sample of subsets.

    Every subset speaks for every row: the mean utility of those that hold it, less the mean of
    those that do not (maximum sample reuse; Wang and Jia, "Data Banzhaf", AISTATS 2023, equation
    6). Only sums are kept, so that a look at the values costs the same at any size of the sample.

    Parameters
    ----------
    n_rows : int

    Attributes
    ----------
    n_subsets : int
    """

    def __init__(self, n_rows: int) -> None:
        self.n_subsets = 0
        # Halves of the sample; without and with the row; number, sum, sum of squares; rows.
        self._sums = np.zeros((2, 2, 3, n_rows))

    def add(self, subsets: NDArray[np.bool_], utilities: Values) -> None:
        """Add subsets (k, n_rows) and their utilities (k,), in turn to the one half and the other.

        Sums of squares are of the utilities as they are: they must not be many orders of magnitude
        larger than their spread.
        """
        powers = np.stack([np.ones_like(utilities), utilities, utilities**2])
        for half in (0, 1):
            mine = slice((half - self.n_subsets) % 2, None, 2)
            inside = powers[:, mine] @ subsets[mine].astype(np.float64)
            self._sums[half, 1] += inside
            self._sums[half, 0] += powers[:, mine].sum(axis=1, keepdims=True) - inside
        self.n_subsets += len(subsets)

    @property
    def values(self) -> Values:
        """Banzhaf values (n_rows,); 0 where a row was in every subset or in none."""
        return _difference(self._sums.sum(axis=0))

    @property
    def standard_error(self) -> Values:
        """Of the values."""
        number, total, squares = np.moveaxis(self._sums.sum(axis=0), 1, 0)
        number = np.maximum(number, 1.0)
        variance = np.maximum(squares / number - (total / number) ** 2, 0.0) / number
        return np.sqrt(variance.sum(axis=0))

    def agreement(self) -> float:
        """Rank correlation between the values of the two halves."""
        return rank_correlation(*map(_difference, self._sums))


def _difference(sums: Values) -> Values:
    """Mean with each row less mean without it."""
    without, inside = sums[:, 1] / np.maximum(sums[:, 0], 1.0)
    return np.where((sums[:, 0] > 0).all(axis=0), inside - without, 0.0)


@dataclass(eq=False, repr=False, kw_only=True)
class DataBanzhaf(UtilityMethod):
    """Banzhaf value of every row, by maximum sample reuse (Wang and Jia, AISTATS 2023).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    n_subsets : int, default=10000
        At most so many.
    convergence : float or None, default=0.9
        Stop when the ranks of two halves of the sample correlate so well.

    Attributes
    ----------
    details_ : dict
        ``n_subsets``, ``agreement_of_halves``.
    """

    n_subsets: int = 10_000
    convergence: float | None = 0.9

    def _check(self) -> None:
        if self.n_subsets < 4:
            raise ValueError("n_subsets must be 4 or more, so that an error can be told.")

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        utility = self._utility(data, task, seed)
        rng = np.random.default_rng(seed)
        n = utility.n_rows
        sample, stopped = SampleReuse(n), False
        deadline = Deadline(self.max_seconds)
        while sample.n_subsets < self.n_subsets:
            size = min(utility.batch_subsets if self.max_seconds else ROUND, ROUND)
            size = min(size, self.n_subsets - sample.n_subsets)
            drawn = rng.random((size, n)) < 0.5
            sample.add(drawn, utility(drawn))
            if self.convergence is not None and sample.agreement() >= self.convergence:
                break
            stopped = deadline.passed and sample.n_subsets < self.n_subsets
            if stopped:
                break
        details = {
            "n_subsets": sample.n_subsets,
            "agreement_of_halves": sample.agreement(),
            "stopped_early": stopped,
        }
        return Outcome(sample.values, sample.standard_error, utility.n_fits, details)
