"""Rows dealt out to folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["deal_folds"]


def deal_folds(
    targets: NDArray[np.float32], n_folds: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal rows out class by class, so that every fold has its share of each.

    Parameters
    ----------
    targets : (n, c) float32
        One-hot rows, or one column of numbers.
    n_folds : int
        Fewer where there are less than twice as many rows; two at least.
    rng : numpy.random.Generator

    Returns
    -------
    (n,) int
        The fold of each row, from 0.
    """
    n_folds = max(2, min(n_folds, len(targets) // 2))
    order = rng.permutation(len(targets))
    if targets.shape[1] > 1:
        order = order[np.argsort(targets.argmax(axis=1)[order], kind="stable")]
    folds = np.empty(len(targets), dtype=np.intp)
    folds[order] = np.arange(len(targets)) % n_folds
    return folds
