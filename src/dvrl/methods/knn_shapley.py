"""KNN-Shapley: exact Shapley values of a nearest-neighbour predictor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dvrl.data.preparation import Prepared

from .base import Outcome, ValuationMethod

__all__ = ["KNNShapley", "knn_shapley_classification", "knn_shapley_regression"]

Floats = NDArray[np.float32]
Values = NDArray[np.float64]
# Distances (validation rows x training rows) that are held at once.
BLOCK_DISTANCES = 1 << 24


def knn_shapley_classification(agrees: NDArray[np.bool_], k: int) -> Values:
    """Shapley values of training rows that are sorted by distance, nearest first.

    The utility of a set is the share of the `k` nearest of its rows that have the label of the
    validation row, out of `k` (Jia et al., "Efficient task-specific data valuation for nearest
    neighbor algorithms", VLDB 2019, theorem 1).

    Parameters
    ----------
    agrees : (m, n) bool
        Whether the label of each training row, in the order of the validation row, is its label.
    k : int

    Returns
    -------
    (m, n) float64
        In the same order.
    """
    n = agrees.shape[1]
    match = agrees.astype(np.float64)
    last = match[:, -1:] * min(k, n) / (n * k)
    ranks = np.arange(1, n)
    steps = (match[:, :-1] - match[:, 1:]) / k * (np.minimum(k, ranks) / ranks)
    tails = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([tails + last, last], axis=1)


def knn_shapley_regression(targets: Values, wanted: Values, k: int) -> Values:
    """Shapley values of sorted training rows for the negative squared error of the mean of `k`.

    The utility of a set is ``-(sum of the targets of its k nearest rows / k - wanted)**2``, as in
    Jia et al. (2019), theorem 6; here in the form of differences between neighbours in the order.

    Parameters
    ----------
    targets : (m, n) float64
        Targets of the training rows in the order of each validation row.
    wanted : (m,) float64
        Targets of the validation rows.
    k : int

    Returns
    -------
    (m, n) float64
        In the same order.
    """
    m, n = targets.shape
    y, t = targets / k, wanted[:, None]
    total = y.sum(axis=1)
    # The farthest row counts in sets of fewer than k others.
    sizes = np.arange(min(k, n))
    others = (total - y[:, -1]) / max(n - 1, 1)
    gains = y[:, -1:] * (y[:, -1:] + 2 * sizes * others[:, None] - 2 * t)
    last = -gains.sum(axis=1, keepdims=True) / n
    if n == 1:
        return last
    count, nearer_share, farther_share = _pair_weights(n, k)
    sums = np.cumsum(y, axis=1)
    nearer = np.concatenate([np.zeros((m, 1)), sums[:, : n - 2]], axis=1)
    from_here = np.cumsum((farther_share * y)[:, ::-1], axis=1)[:, ::-1]
    farther = np.concatenate([from_here[:, 2:], np.zeros((m, 1))], axis=1)
    pair = y[:, :-1] + y[:, 1:] - 2 * t
    expected = count * pair + 2 * (nearer_share * nearer + farther)
    steps = -(y[:, :-1] - y[:, 1:]) * expected
    tails = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([tails + last, last], axis=1)


def _pair_weights(n: int, k: int) -> tuple[Values, Values, Values]:
    """Chances that rows count when neighbours i and i + 1 in the order are compared.

    The Shapley values of the two differ by the mean of u(S + i) - u(S + i + 1) over sets S of the
    other rows, where every row is in S with a probability that is itself uniform on [0, 1]. The
    difference is zero where S has k nearer rows or more.

    Returns
    -------
    count : (n - 1,)
        Chance that S has fewer than k nearer rows.
    nearer_share : (n - 1,)
        Chance that it does, and a given nearer row is in S.
    farther_share : (n,)
        Chance that a given farther row is in S and among the k nearest; it depends on the rank of
        that row alone.
    """
    rank = np.arange(1.0, n)
    most = np.minimum(k, rank)
    nearer_share = most * (most - 1) / 2 / rank / np.maximum(rank - 1, 1)
    farther = np.maximum(np.arange(1.0, n + 1), 3)  # no row of rank 1 or 2 is farther than a pair
    terms = np.minimum(k - 1, farther - 2)
    farther_share = terms * (terms + 1) / 2 / ((farther - 2) * (farther - 1))
    return most / rank, nearer_share, farther_share


@dataclass(eq=False, repr=False, kw_only=True)
class KNNShapley(ValuationMethod):
    """Exact Shapley values for the predictor that looks at the nearest rows.

    One pass over the sorted distances, no fits (Jia et al., VLDB 2019). The predictor is always
    nearest neighbours; features are standardised.

    Parameters
    ----------
    n_neighbors : int, default=10
    task, validation_fraction, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    n_neighbors: int = field(default=10, kw_only=False)

    def _check(self) -> None:
        if self.n_neighbors < 1:
            raise ValueError(f"n_neighbors={self.n_neighbors!r} must be 1 or more.")

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        total = np.zeros(len(data.X))
        labels, wanted = data.Y.argmax(axis=1), data.Y_validation.argmax(axis=1)
        size = max(1, BLOCK_DISTANCES // len(data.X))
        for start in range(0, len(data.X_validation), size):
            block = slice(start, start + size)
            order = _sorted_rows(_distances(data.X_validation[block], data.X))
            if task == "classification":
                agrees = labels[order] == wanted[block, None]
                values = knn_shapley_classification(agrees, self.n_neighbors)
            else:
                targets = data.Y[:, 0].astype(np.float64)[order]
                own = data.Y_validation[block, 0].astype(np.float64)
                values = knn_shapley_regression(targets, own, self.n_neighbors)
            total += np.bincount(order.ravel(), weights=values.ravel(), minlength=len(total))
        return Outcome(total / len(data.X_validation))


def _distances(rows: Floats, others: Floats) -> Floats:
    """Squared distances, but for a constant of each row."""
    return np.asarray((others**2).sum(axis=1)[None] - 2 * rows @ others.T)


def _sorted_rows(distances: Floats) -> NDArray[np.intp]:
    """Row numbers by distance, equal ones in the order of the rows: a stable argsort.

    Whole numbers are sorted several times faster than an argsort takes: those of the distance in
    the upper half, bits arranged so that they sort like the number, the row in the lower half.
    """
    bits = (distances + np.float32(0)).view(np.uint32)  # there is no minus zero
    is_negative = bits >> np.uint32(31) == 1
    keys = np.where(is_negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(distances.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    return (keys & np.uint64((1 << 32) - 1)).astype(np.intp)
