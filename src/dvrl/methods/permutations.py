"""Marginal contributions along random orders of the rows: what Shapley methods share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from dvrl.data.preparation import Prepared

from .base import Deadline, Outcome, UtilityMethod
from .utility import Utility

__all__ = ["PermutationMethod", "RunningMeans", "contributions"]

Values = NDArray[np.float64]

BATCH_PERMUTATIONS = 64
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
        first, second = self.sums / self.counts[:, None]
        if np.ptp(first) == 0 or np.ptp(second) == 0:
            return 0.0
        return float(spearmanr(first, second).statistic)


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


class PermutationMethod(UtilityMethod):
    """Mean of weighted marginal contributions over random orders.

    A method implements `_weights` and declares its parameters, among them those below.
    """

    n_permutations: int
    truncation: float
    convergence: float | None
    max_seconds: float | None

    def _weights(self, n_rows: int) -> Values:
        """Weight of a contribution to a set of 0, 1, .., n - 1 rows; the mean is one."""
        raise NotImplementedError

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
