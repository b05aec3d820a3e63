"""AME: average marginal effects, by a sparse regression on random subsets."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvrl.data.preparation import Prepared

from .base import Deadline, Outcome, UtilityMethod

__all__ = ["AME", "average_marginal_effects"]

Values = NDArray[np.float64]

INCLUSION = (0.2, 0.4, 0.6, 0.8)
# The regression is cross-validated.
MIN_SUBSETS = 10


def average_marginal_effects(
    subsets: NDArray[np.bool_], chance: Values, utilities: Values, *, n_jobs: int | None = None
) -> Values:
    """Effects of all rows on the utility, by a lasso on their standardised presence.

    Parameters
    ----------
    subsets : (k, n_rows) bool
    chance : (k, 1) float64
        With which each subset's rows were drawn.
    utilities : (k,) float64
    n_jobs : int, optional

    Returns
    -------
    (n_rows,) float64
        With many subsets, the mean over the chances of what a row adds to a random set of the
        others.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV

    # Each indicator has mean zero and covariance one with the row's presence.
    indicators = np.where(subsets, 1 / chance, -1 / (1 - chance))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        lasso = LassoCV(cv=5, n_jobs=n_jobs).fit(indicators, utilities)
    mean_square = float(np.mean([1 / (p * (1 - p)) for p in INCLUSION]))
    return np.asarray(lasso.coef_ * mean_square)


@dataclass(eq=False, repr=False, kw_only=True)
class AME(UtilityMethod):
    """Average marginal effect of every row on the utility of random subsets.

    Rows enter a subset with a probability that is itself drawn; the effects are the coefficients
    of a lasso on the standardised indicators (Lin et al., "Measuring the effect of training data
    on deep learning predictions via randomized experiments", ICML 2022).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    n_subsets : int, default=1000
    """

    n_subsets: int = 1000

    def _check(self) -> None:
        if self.n_subsets < MIN_SUBSETS:
            raise ValueError(
                f"n_subsets must be {MIN_SUBSETS} or more: the regression is cross-validated."
            )

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        deadline = Deadline(self.max_seconds)
        utility = self._utility(data, task, seed)
        rng = np.random.default_rng(seed)
        chance = rng.choice(INCLUSION, size=self.n_subsets)[:, None]
        subsets = rng.random((self.n_subsets, utility.n_rows)) < chance
        utilities = np.zeros(0)
        while len(utilities) < self.n_subsets:
            if deadline.passed and len(utilities) >= MIN_SUBSETS:
                break
            next_ones = subsets[len(utilities) :][: utility.batch_subsets]
            utilities = np.concatenate([utilities, utility(next_ones)])
        subsets, chance = subsets[: len(utilities)], chance[: len(utilities)]
        values = average_marginal_effects(subsets, chance, utilities, n_jobs=self.n_jobs)
        details = {
            "n_subsets": len(utilities),
            "stopped_early": len(utilities) < self.n_subsets,
        }
        return Outcome(values, n_fits=utility.n_fits, details=details)
