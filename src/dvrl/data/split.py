"""Validation rows: the caller's own, or a part of the training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import n_rows

__all__ = ["check_validation", "hold_out_validation"]


# --------------------------------------------------------------------------------------------
# Validation rows
# --------------------------------------------------------------------------------------------


def check_validation(X_val: Any, y_val: Any) -> bool:
    """Check that validation rows were given whole or not at all.

    Parameters
    ----------
    X_val : array-like or frame of shape (m, n_features), or None
    y_val : array-like of shape (m,), or None

    Returns
    -------
    bool
        Whether validation rows were given.

    Raises
    ------
    ValueError
        If only one of the two was given, if there are no rows, or if the lengths differ.
    """
    if X_val is None and y_val is None:
        return False
    if X_val is None or y_val is None:
        given, absent = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {absent}; pass both, or neither.")
    n_features_rows, n_labels = n_rows(X_val), n_rows(y_val)
    if n_features_rows == 0 or n_labels == 0:
        raise ValueError(
            "The validation set is empty; pass at least one validation row, or leave out X_val and "
            "y_val to hold out some of the training rows."
        )
    if n_features_rows != n_labels:
        raise ValueError(
            f"X_val has {n_features_rows} rows but y_val has {n_labels}; pass one label for each "
            "validation row."
        )
    return True


def hold_out_validation(
    y: ArrayLike, fraction: float, task: str, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose training rows to hold out for validation.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels or targets.
    fraction : float
        Share of the rows to hold out, between 0 and 1.
    task : {"classification", "regression"}
        For classification the shares of the classes are kept, and every class keeps at least one
        training row.
    rng : numpy.random.Generator

    Returns
    -------
    train_indices, validation_indices : ndarray of int
        Sorted positions; together every row exactly once, neither of them empty.

    Raises
    ------
    ValueError
        If there are fewer than 2 rows or the fraction is not between 0 and 1.
    """
    labels = np.asarray(y)
    n = len(labels)
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"The validation fraction must be between 0 and 1 but is {fraction}.")
    if n < 2:
        raise ValueError(
            f"Found {n} sample(s), and a minimum of 2 is required to hold out validation rows; "
            "pass more rows, or pass X_val and y_val."
        )
    total = int(np.clip(round(fraction * n), 1, n - 1))
    order = rng.permutation(n)
    if task == "classification":
        held_out = _stratified(np.unique(labels[order], return_inverse=True)[1], total)
        # Only classes of a single row each: one of them must serve, or there is no validation.
        validation = order[held_out] if len(held_out) else order[:total]
    else:
        validation = order[:total]
    mask = np.zeros(n, dtype=bool)
    mask[validation] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _stratified(codes: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """Return positions of about `total` rows, each class in proportion, none used up."""
    counts = np.bincount(codes)
    available = counts - 1
    ideal = total * counts / len(codes)
    quota = np.minimum(np.floor(ideal).astype(np.intp), available)
    # Classes without a validation row come first, then those that lost most by rounding down.
    while quota.sum() < min(total, int(available.sum())):
        need = np.where(quota == 0, 2.0, 0.0) + (ideal - quota)
        need[quota >= available] = -np.inf
        quota[int(np.argmax(need))] += 1
    chosen = [np.flatnonzero(codes == code)[: quota[code]] for code in range(len(counts))]
    return np.concatenate(chosen)
