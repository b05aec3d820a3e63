"""Marginal contributions along random orders of the rows: Data Shapley and Beta Shapley."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln
from scipy.stats import spearmanr

from dvrl.preparation import Prepared

from .base import Deadline, Outcome, UtilityMethod
from .utility import Utility

__all__ = ["BetaShapley", "DataShapley", "RunningMeans", "beta_weights"]

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


def beta_weights(n_rows: int, alpha: float, beta: float) -> Values:
    """Weight of a marginal contribution to a set of 0, 1, .., n - 1 rows.

    One everywhere for ``alpha = beta = 1``, which is the Shapley value; the mean is always one
    (Kwon and Zou, "Beta Shapley", AISTATS 2022, equation 5).
    """
    j = np.arange(1, n_rows + 1)
    log_binomial = gammaln(n_rows) - gammaln(j) - gammaln(n_rows - j + 1)
    log_share = betaln(j + beta - 1, n_rows - j + alpha) - betaln(alpha, beta)
    return np.asarray(n_rows * np.exp(log_binomial + log_share))


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


class _PermutationMethod(UtilityMethod):
    """Mean of weighted marginal contributions over random orders."""

    n_permutations: int
    truncation: float
    convergence: float | None
    max_seconds: float | None

    def _weights(self, n_rows: int) -> Values:
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


class DataShapley(_PermutationMethod):
    """Shapley value of every row: its mean contribution over all orders of the rows.

    Truncated Monte Carlo over permutations (Ghorbani and Zou, "Data Shapley", ICML 2019).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.baselines.base.UtilityMethod`.
    n_permutations : int, default=1000
        At most so many.
    truncation : float, default=0.01
        An order ends where its utility is this near to that of all rows, as a share of what all
        rows are worth; 0 for none.
    convergence : float or None, default=0.9
        Stop when the ranks of two halves of the sample correlate so well.
    max_seconds : float, default=None
        Stop after this time, with what there is.

    Attributes
    ----------
    details_ : dict
        ``n_permutations``, ``agreement_of_halves``.
    """

    def __init__(
        self,
        predictor: Any = "linear",
        *,
        metric: Any = None,
        n_permutations: int = 1000,
        truncation: float = 0.01,
        convergence: float | None = 0.9,
        max_seconds: float | None = None,
        task: str = "auto",
        validation_fraction: float = 0.2,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.metric = metric
        self.n_permutations = n_permutations
        self.truncation = truncation
        self.convergence = convergence
        self.max_seconds = max_seconds
        self.task = task
        self.validation_fraction = validation_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _weights(self, n_rows: int) -> Values:
        return np.ones(n_rows)


class BetaShapley(_PermutationMethod):
    """Beta Shapley: contributions to small sets weigh more (Kwon and Zou, AISTATS 2022).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.baselines.base.UtilityMethod`.
    alpha, beta : float, default=16, 1
        Of the Beta distribution; 1, 1 is Data Shapley.
    n_permutations, truncation, convergence, max_seconds
        See :class:`DataShapley`.

    Attributes
    ----------
    details_ : dict
        ``n_permutations``, ``agreement_of_halves``.
    """

    def __init__(
        self,
        predictor: Any = "linear",
        *,
        alpha: float = 16.0,
        beta: float = 1.0,
        metric: Any = None,
        n_permutations: int = 1000,
        truncation: float = 0.01,
        convergence: float | None = 0.9,
        max_seconds: float | None = None,
        task: str = "auto",
        validation_fraction: float = 0.2,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.alpha = alpha
        self.beta = beta
        self.metric = metric
        self.n_permutations = n_permutations
        self.truncation = truncation
        self.convergence = convergence
        self.max_seconds = max_seconds
        self.task = task
        self.validation_fraction = validation_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check(self) -> None:
        super()._check()
        if self.alpha <= 0 or self.beta <= 0:
            raise ValueError("alpha and beta must be greater than 0; use 16 and 1, say.")

    def _weights(self, n_rows: int) -> Values:
        return beta_weights(n_rows, self.alpha, self.beta)
