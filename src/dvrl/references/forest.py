"""A forest that judges every row by the trees that did not see it."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..files.state import expect
from ..predictors.flat_trees import FlatTrees, from_forest
from .base import ROWS_PER_BLOCK, Floats, State, Weights, in_parallel

__all__ = ["Forest"]

N_TREES = 200
# Leaves of five rows do not learn single wrong labels by heart; small tables need finer leaves.
LEAF_ROWS, ROWS_PER_LEAF_ROW = 5, 50
# The leaves of a tree hold a number for each class: of many classes fewer trees are grown.
MANY_CLASSES, LEAST_TREES = 50, 20
# No tree is grown on more rows.
TREE_ROWS = 20_000


class Forest:
    """A random forest; see :class:`dvrl.references.base.Reference`.

    Parameters
    ----------
    n_jobs : int or None
        Trees at once; None for all processors. Results do not depend on it.
    """

    name: ClassVar[str] = "forest"
    keeps_rows: ClassVar[bool] = False

    def __init__(self, *, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self.n_fits = 0
        self._trees: FlatTrees | None = None
        self._classes = np.arange(1)
        self._n_outputs = 0

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`; out of bag, so without folds."""
        forest = _unfitted(len(rows), rows.targets.shape[1], seed)
        forest.set_params(n_jobs=-1 if self.n_jobs is None else self.n_jobs)
        y = rows.targets[:, 0] if rows.targets.shape[1] == 1 else rows.targets.argmax(axis=1)
        forest.fit(rows.features, y, sample_weight=weights)
        self.n_fits += 1
        self._n_outputs = rows.targets.shape[1]
        self._classes = getattr(forest, "classes_", np.arange(1))
        self._trees = from_forest(forest)
        allowed = np.ones((len(forest.estimators_), len(rows)), dtype=bool)
        for number, drawn in enumerate(forest.estimators_samples_):
            allowed[number, drawn] = False
        # A row that every tree has seen: nothing is known of it but what all targets look like.
        return self._mean(rows.features, allowed, rows.targets.mean(axis=0, dtype=np.float64))

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """See :class:`dvrl.references.base.Reference`; all trees together know all rows."""

    def scores(self, rows: Table) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        return self._mean(rows.features, None, np.zeros(self._n_outputs))

    def state(self) -> State:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._trees is not None
        arrays = self._trees.state() | {"classes": np.asarray(self._classes, np.int32)}
        return {"n_outputs": self._n_outputs}, arrays

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """See :class:`dvrl.references.base.Reference`."""
        reference = cls()
        reference._n_outputs = n_outputs = int(record["n_outputs"])
        trees = {name: array for name, array in arrays.items() if name != "classes"}
        reference._trees = FlatTrees.from_state(trees, n_features)
        of_trees = (reference._trees.n_outputs,)
        classes = expect(arrays, "classes", of_trees, np.integer, low=0, high=n_outputs - 1)
        if len(np.unique(classes)) < len(classes):
            raise ValueError("The saved forest is damaged: two of its classes are the same.")
        reference._classes = classes
        return reference

    def _mean(
        self, X: Floats, allowed: NDArray[np.bool_] | None, unknown: NDArray[np.float64]
    ) -> Floats:
        assert self._trees is not None
        judge = partial(self._block, X, allowed, unknown)
        blocks = in_parallel(judge, range(0, len(X), ROWS_PER_BLOCK), self.n_jobs)
        return np.concatenate([np.zeros((0, self._n_outputs), np.float32), *blocks])

    def _block(
        self,
        X: Floats,
        allowed: NDArray[np.bool_] | None,
        unknown: NDArray[np.float64],
        start: int,
    ) -> Floats:
        assert self._trees is not None
        block = slice(start, start + ROWS_PER_BLOCK)
        means, n_votes = self._trees.mean(X[block], None if allowed is None else allowed[:, block])
        scores = np.zeros((len(means), self._n_outputs))
        scores[:, self._classes] = means
        scores[n_votes == 0] = unknown
        return scores.astype(np.float32)


def _unfitted(n_rows: int, n_outputs: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    settings: dict[str, Any] = {
        "n_estimators": max(LEAST_TREES, N_TREES * MANY_CLASSES // max(MANY_CLASSES, n_outputs)),
        "max_samples": None if n_rows <= TREE_ROWS else TREE_ROWS,
        "random_state": seed % 2**31,
    }
    if n_outputs == 1:
        return RandomForestRegressor(min_samples_leaf=3, max_features=0.5, **settings)
    leaf = max(1, min(LEAF_ROWS, n_rows // ROWS_PER_LEAF_ROW))
    return RandomForestClassifier(min_samples_leaf=leaf, **settings)
