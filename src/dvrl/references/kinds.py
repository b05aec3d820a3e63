"""Which references are asked: by the kind of data, as measured in docs/references.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.table import Table
from .base import Floats, Reference
from .boosting import BoostedTrees
from .forest import Forest
from .linear import Linear
from .neighbours import Neighbours
from .words import Words

__all__ = ["FAMILIES", "MARGINALS", "chosen_families", "make_references", "most_rows"]

FAMILIES: dict[str, type[Any]] = {
    family.name: family for family in (BoostedTrees, Forest, Linear, Neighbours, Words)
}
# What `marginal=` takes beside an estimator.
MARGINALS = ("none", "auto", "validation", *FAMILIES)

# Boosted trees of many classes cost rows * columns * classes; beyond this a forest is as good.
MOST_TREE_CELLS, MOST_TREE_CLASSES = 2_000_000, 30
FEW_ROWS, VERY_FEW_ROWS, FEWEST_OF_CLASS = 500, 120, 10
# Embeddings and the like: many columns, in all of which hardly two rows are alike.
DENSE_COLUMNS, LOOKED_AT_ROWS = 64, 200
# Beyond so many columns a linear model of many classes is slow, and no better.
MOST_LINEAR_COLUMNS = 320
# At most so many rows, or numbers, are fitted; all others are scored only.
FITTED_ROWS, FITTED_CELLS, LEAST_FITTED_ROWS = 60_000, 8_000_000, 2_000


def chosen_families(rows: Table, for_linear: bool = False) -> list[str]:
    """Names of the references for so many rows of such columns and targets.

    Parameters
    ----------
    rows : Table
        All that will be fitted.
    for_linear : bool, default=False
        Whether the labels are judged for a linear predictor of classes. Such a model is then one
        of them: rows that it cannot fit anyway help it less.

    Returns
    -------
    list of str
        Keys of `FAMILIES`.
    """
    names = _best_families(rows)
    is_narrow = rows.features.shape[1] <= MOST_LINEAR_COLUMNS
    if for_linear and is_narrow and rows.targets.shape[1] > 1 and "words" not in names:
        names += [] if "linear" in names else ["linear"]
    return names


def _best_families(rows: Table) -> list[str]:
    """The families that find wrong labels best."""
    (n, d), n_outputs = rows.features.shape, rows.targets.shape[1]
    if rows.words is not None and rows.words.shape[1]:
        return ["words", "trees"] if rows.n_plain else ["words"]
    is_few = n < FEW_ROWS
    if n_outputs > 2:
        too_dear = n * d * n_outputs > MOST_TREE_CELLS or n_outputs > MOST_TREE_CLASSES
        is_rare = rows.targets.sum(axis=0).min() < FEWEST_OF_CLASS
        if _is_dense(rows.features) and d <= MOST_LINEAR_COLUMNS:
            return ["linear", "neighbours"]
        if too_dear or d > MOST_LINEAR_COLUMNS:
            return ["forest", "neighbours"]
        return ["trees", "forest", "neighbours"] if is_few or is_rare else ["trees"]
    if n < VERY_FEW_ROWS:
        return ["trees", "forest", "linear", "neighbours"]
    if is_few:
        return ["trees", "neighbours"]
    if _is_dense(rows.features):
        return ["trees", "linear", "neighbours"]
    return ["trees"]


def most_rows(n_features: int) -> int:
    """Rows that references are fitted on at most."""
    return max(LEAST_FITTED_ROWS, min(FITTED_ROWS, FITTED_CELLS // max(1, n_features)))


def make_references(names: list[str], n_jobs: int | None) -> list[Reference]:
    """Unfitted references of these families."""
    return [FAMILIES[name](n_jobs=n_jobs) for name in names]


def _is_dense(X: Floats) -> bool:
    if X.shape[1] < DENSE_COLUMNS:
        return False
    some = np.sort(X[:LOOKED_AT_ROWS], axis=0)
    different = (np.diff(some, axis=0) > 0).mean(axis=0)
    return float((different > 0.5).mean()) > 0.8
