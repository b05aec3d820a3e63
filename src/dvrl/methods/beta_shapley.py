"""Beta Shapley: contributions weighted by the size of the set that they are made to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from .data_shapley import DataShapley

__all__ = ["BetaShapley", "beta_weights"]

Values = NDArray[np.float64]


def beta_weights(n_rows: int, alpha: float, beta: float) -> Values:
    """Weight of a marginal contribution to a set of 0, 1, .., n - 1 rows.

    One everywhere for ``alpha = beta = 1``, which is the Shapley value; the mean is always one
    (Kwon and Zou, "Beta Shapley", AISTATS 2022, equation 5).
    """
    j = np.arange(1, n_rows + 1)
    log_binomial = gammaln(n_rows) - gammaln(j) - gammaln(n_rows - j + 1)
    log_share = betaln(j + beta - 1, n_rows - j + alpha) - betaln(alpha, beta)
    return np.asarray(n_rows * np.exp(log_binomial + log_share))


@dataclass(eq=False, repr=False, kw_only=True)
class BetaShapley(DataShapley):
    """Beta Shapley: contributions to small sets weigh more (Kwon and Zou, AISTATS 2022).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    alpha, beta : float, default=16, 1
        Of the Beta distribution; 1, 1 is Data Shapley.
    n_permutations, truncation, convergence
        See :class:`dvrl.methods.DataShapley`.

    Attributes
    ----------
    details_ : dict
        ``n_permutations``, ``agreement_of_halves``.
    """

    alpha: float = 16.0
    beta: float = 1.0

    def _check(self) -> None:
        super()._check()
        if self.alpha <= 0 or self.beta <= 0:
            raise ValueError("alpha and beta must be greater than 0; use 16 and 1, say.")

    def _weights(self, n_rows: int) -> Values:
        return beta_weights(n_rows, self.alpha, self.beta)
