"""Paired comparisons over validation rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_positive", "mean_where", "standard_error"]

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
