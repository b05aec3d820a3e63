"""Data Shapley: the mean contribution of a row over all orders of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .permutations import PermutationMethod

__all__ = ["DataShapley"]

Values = NDArray[np.float64]


class DataShapley(PermutationMethod):
    """Shapley value of every row: its mean contribution over all orders of the rows.

    Truncated Monte Carlo over permutations (Ghorbani and Zou, "Data Shapley", ICML 2019).

    Parameters
    ----------
    predictor, metric, task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
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
