"""Plant errors whose place is known.

Both functions return copies: the caller's arrays are never changed. Corrupt the
training rows only; validation rows stay clean unless noisy validation is what an
experiment is about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["flip_labels", "replace_targets"]


def flip_labels(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Give a share of the rows the label of another class.

    The rows and the new labels are drawn uniformly; a new label always differs from
    the old one.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of two or more classes.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the labels with errors.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Examples
    --------
    >>> noisy, is_corrupted = flip_labels(["a", "b", "a", "b"], fraction=0.5, rng=0)
    >>> int(is_corrupted.sum())
    2
    """
    noisy, generator, rows = _prepare(y, fraction, rng)
    classes, codes = np.unique(noisy, return_inverse=True)
    if len(rows) and len(classes) < 2:
        raise ValueError("y has a single class, so no label can be flipped; pass two or more.")
    if len(rows):
        # A step of 1 .. c-1 around the ring of classes never ends on the class it left.
        steps = generator.integers(1, len(classes), size=len(rows))
        noisy[rows] = classes[(codes[rows] + steps) % len(classes)]
    return noisy, _mask(len(noisy), rows)


def replace_targets(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Give a share of the rows the target of another row.

    The targets stay in their own distribution, so the errors cannot be seen in the
    targets alone. A new target always differs from the old one.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Numeric targets with two or more different values.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the targets with errors.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Examples
    --------
    >>> noisy, is_corrupted = replace_targets([1.0, 2.0, 3.0, 4.0], fraction=0.25, rng=0)
    >>> int(is_corrupted.sum())
    1
    """
    noisy, generator, rows = _prepare(y, fraction, rng)
    if len(rows):
        ordered = np.sort(noisy)
        first = np.searchsorted(ordered, noisy[rows], side="left")
        after = np.searchsorted(ordered, noisy[rows], side="right")
        n_same = after - first
        if n_same[0] == len(ordered):
            raise ValueError("y is constant, so no target can be replaced; pass one that varies.")
        # Draw among the rows with another target by stepping over the block of equal ones.
        donors = generator.integers(0, len(ordered) - n_same)
        donors = np.where(donors < first, donors, donors + n_same)
        noisy[rows] = ordered[donors]
    return noisy, _mask(len(noisy), rows)


def _prepare(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], np.random.Generator, NDArray[np.intp]]:
    """Copy the targets and draw the rows to corrupt."""
    copied = np.array(y)
    if copied.ndim != 1:
        raise ValueError(f"y has shape {copied.shape}; pass one label per row, shape (n_rows,).")
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}; pass a share of the rows between 0 and 1.")
    generator = np.random.default_rng(rng)
    n_corrupted = round(fraction * len(copied))
    rows = generator.choice(len(copied), size=n_corrupted, replace=False)
    return copied, generator, rows


def _mask(n_rows: int, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask
