"""Marginal contributions along random orders of the rows: what Shapley methods share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvrl.numerics.paired import rank_correlation

from .base import Deadline
from .utility import Utility

__all__ = ["RunningMeans", "contributions"]

Values = NDArray[np.float64]

# So many contributions in a row must be small before an order counts as exhausted.
TRUNCATION_RUN = 5
# A semivalue stops where the remaining sizes carry less than this share of its weight.
NEGLIGIBLE_WEIGHT = 1e-3


@dataclass
class RunningMeans:
    """Means, standard errors, and the agreement of two halves of a sample."""

    sums: NDArray[np.float64]
    squares: Values
    counts: NDArray[np.int64]

    @classmethod
    def of_size(cls, n_rows: int) -> RunningMeans:
        """Nothing seen yet."""
        return cls(np.zeros((2, n_rows)), np.zeros(n_rows), np.zeros(2, np.int64))

    def add(self, samples: Values, half: int) -> None:
        """Add samples (k, n_rows) to one half."""
        self.sums[half] += samples.sum(axis=0)
        self.squares += (samples**2).sum(axis=0)
        self.counts[half] += len(samples)

    @property
    def mean(self) -> Values:
        """Mean of all samples."""
        return np.asarray(self.sums.sum(axis=0) / max(1, self.counts.sum()))

    @property
    def standard_error(self) -> Values:
        """Of the mean."""
        n = int(self.counts.sum())
        variance = self.squares / max(1, n) - self.mean**2
        return np.sqrt(np.maximum(variance, 0.0) / max(1, n - 1))

    def agreement(self) -> float:
        """Rank correlation between the means of the two halves; 0 while one is empty."""
        if not self.counts.all():
            return 0.0
        return rank_correlation(*(self.sums / self.counts[:, None]))


def contributions(
    utility: Utility,
    orders: NDArray[np.intp],
    weights: Values,
    truncation: float,
    deadline: Deadline | None = None,
) -> Values:
    """Weighted marginal contributions (k, n_rows) along orders (k, n_rows).

    An order is cut where its utility has stayed within `truncation` of that of all rows, as a
    share of what all rows are worth (Ghorbani and Zou, "Data Shapley", ICML 2019, algorithm 1),
    and where the deadline has passed.
    """
    k, n = orders.shape
    empty, full = utility.empty(), utility.full()
    close = truncation * abs(full - empty)
    remaining = weights[::-1].cumsum()[::-1]
    last = int(np.searchsorted(-remaining, -NEGLIGIBLE_WEIGHT * remaining[0]))
    result = np.zeros((k, n))
    previous, quiet, done = np.full(k, empty), np.zeros(k, np.int64), 0
    for block in utility.prefixes(orders):
        for current in block.T:
            alive = quiet < TRUNCATION_RUN
            gained = np.where(alive, (current - previous) * weights[done], 0.0)
            result[np.arange(k), orders[:, done]] = gained
            quiet = np.where(alive & (np.abs(current - full) > close), 0, quiet + 1)
            previous, done = current, done + 1
        exhausted = done >= last or (quiet >= TRUNCATION_RUN).all()
        if exhausted or (deadline is not None and deadline.passed):
            break
    return result
