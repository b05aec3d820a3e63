"""Paired comparisons over validation rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_positive", "mean_where", "rank_correlation", "standard_error"]

Floats = NDArray[np.float64]


def is_positive(differences: Floats, standard_errors: float) -> bool:
    """Whether the mean is above 0 by more than so many of its standard errors.

    Parameters
    ----------
    differences : (m,) float64
        One for each row.
    standard_errors : float
    """
    return bool(differences.mean() > standard_errors * standard_error(differences))


def standard_error(numbers: Floats) -> float:
    """Standard error of the mean; 0 for fewer than two numbers."""
    if numbers.size < 2:
        return 0.0
    return float(numbers.std(ddof=1) / np.sqrt(numbers.size))


def mean_where(numbers: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Column means over the places of the mask.

    Parameters
    ----------
    numbers : (k, m) float64
    mask : (k, m) bool

    Returns
    -------
    (m,) float64
        NaN where a column has no such place.
    """
    counts = mask.sum(axis=0)
    means = np.where(mask, numbers, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's; 0 where one side is constant, which has no order to agree with."""
    from scipy.stats import rankdata

    ranks_a, ranks_b = rankdata(a), rankdata(b)
    centred_a, centred_b = ranks_a - ranks_a.mean(), ranks_b - ranks_b.mean()
    size = float(np.linalg.norm(centred_a) * np.linalg.norm(centred_b))
    return float(np.clip(centred_a @ centred_b / size, -1.0, 1.0)) if size > 0 else 0.0
