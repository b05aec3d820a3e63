"""Gradient-boosted trees whose capacity is chosen by their loss on rows that they did not see.

Capacity must grow with the rows and fall with the share of wrong labels: no fixed one is good
everywhere (docs/references.md). LightGBM fits the trees, scikit-learn where it cannot be loaded.
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..predictors.flat_trees import FlatTrees
from ..predictors.growing import BinnedRows, Capacity, binned, linked
from .base import ROWS_PER_BLOCK, Floats, State, Weights, in_parallel

__all__ = ["LADDER", "BoostedTrees"]

LADDER = (
    Capacity(3, 50, 0.1),
    Capacity(3, 100, 0.1),
    Capacity(7, 100, 0.1),
    Capacity(15, 100, 0.1),
    Capacity(31, 100, 0.1),
    Capacity(63, 200, 0.05),
)
# Where the climb begins: (rows, rung of the ladder).
FIRST_RUNGS = ((20_000, 4), (4_000, 2), (0, 1))
# With more rows the climb looks at so many of them, by halves, and only the chosen rung at all.
# Of many more rows a rung higher learns more, which is not tried above this one.
CLIMBED_ROWS, HIGHEST_UNTRIED = 20_000, 4


class BoostedTrees:
    """Boosted trees; see :class:`dvrl.references.base.Reference`.

    Parameters
    ----------
    n_jobs : int or None
        Fits at once, each on one thread; None for all processors. Results do not depend on it.
    """

    name: ClassVar[str] = "trees"
    keeps_rows: ClassVar[bool] = False

    def __init__(self, *, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self.n_fits = 0
        self.rung: int | None = None
        self._binned: BinnedRows | None = None
        self._trees: FlatTrees | None = None
        self._n_outputs = 0

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`; later calls climb on from the last rung."""
        kept = self._bins(rows)
        if len(rows) <= CLIMBED_ROWS:
            self.rung, scores = self._climb(kept, weights, folds, np.arange(len(rows)), seed)
            return scores
        if self.rung is None:
            some = np.random.default_rng(seed).choice(len(rows), CLIMBED_ROWS, replace=False)
            self.rung, _ = self._climb(kept, weights, folds % 2, np.sort(some), seed)
            if len(rows) >= 2 * CLIMBED_ROWS and self.rung < HIGHEST_UNTRIED:
                self.rung += 1
        return self._out_of_fold(kept, weights, folds, np.arange(len(rows)), self.rung, seed)

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """Fit once more, on all rows."""
        assert self.rung is not None
        kept = self._bins(rows)
        model = kept.fit(np.arange(len(rows)), weights, LADDER[self.rung], seed)
        self.n_fits += 1
        self._trees, self._n_outputs = model.flat(), rows.targets.shape[1]
        # The rows are needed no more.
        self._binned = None

    def scores(self, rows: Table) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._trees is not None
        starts = range(0, len(rows), ROWS_PER_BLOCK)
        score = partial(_scored_block, self._trees, rows.features, self._n_outputs)
        blocks = in_parallel(score, starts, self.n_jobs)
        return np.concatenate([np.zeros((0, self._n_outputs), np.float32), *blocks])

    def state(self) -> State:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._trees is not None
        return {"n_outputs": self._n_outputs}, self._trees.state()

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """See :class:`dvrl.references.base.Reference`."""
        reference = cls()
        reference._n_outputs = int(record["n_outputs"])
        reference._trees = FlatTrees.from_state(arrays, n_features)
        wanted = 1 if reference._n_outputs <= 2 else reference._n_outputs
        if reference._trees.n_outputs != wanted:
            raise ValueError(
                f"The saved trees are damaged: they have {reference._trees.n_outputs} outputs, "
                f"not {wanted}."
            )
        return reference

    def _bins(self, rows: Table) -> BinnedRows:
        """The rows as the library keeps them; the same for every fit."""
        if self._binned is None:
            self._binned = binned(rows.features, rows.targets)
        return self._binned

    def _climb(
        self,
        kept: BinnedRows,
        weights: Weights | None,
        folds: NDArray[np.intp],
        at: NDArray[np.intp],
        seed: int,
    ) -> tuple[int, Floats]:
        """The rung with the least loss, and its scores.

        Upwards as long as the loss falls; the first time also downwards, where the first step up
        does not lower it. Later fits weigh wrong labels less, which asks for no less capacity.
        """
        if self.rung is not None:
            first, ways = self.rung, [1]
        else:
            first, ways = next(rung for n, rung in FIRST_RUNGS if len(at) >= n), [1, -1]
        targets = kept.targets[at]
        share = None if weights is None else weights[at]

        def tried(rung: int) -> tuple[float, int, Floats]:
            scores = self._out_of_fold(kept, weights, folds, at, rung, seed)
            return _loss(scores, targets, share), rung, scores

        best = tried(first)
        for way in ways:
            rung = first + way
            while best[1] == rung - way and 0 <= rung < len(LADDER):
                best = min(best, tried(rung), key=itemgetter(0))
                rung += way
            if best[1] > first:
                break
        return best[1], best[2]

    def _out_of_fold(
        self,
        kept: BinnedRows,
        weights: Weights | None,
        folds: NDArray[np.intp],
        at: NDArray[np.intp],
        rung: int,
        seed: int,
    ) -> Floats:
        """Scores of some rows by models of the others of them."""
        scores = np.empty((len(at), kept.targets.shape[1]), np.float32)
        names = np.unique(folds[at])

        def judge(fold: int) -> None:
            inside, outside = at[folds[at] != fold], np.flatnonzero(folds[at] == fold)
            model = kept.fit(inside, weights, LADDER[rung], seed + fold)
            scores[outside] = linked(model.raw(kept.X[at[outside]]), scores.shape[1])

        in_parallel(judge, names.tolist(), self.n_jobs)
        self.n_fits += len(names)
        return scores


def _scored_block(trees: FlatTrees, X: Floats, n_outputs: int, start: int) -> Floats:
    return linked(trees.raw(X[start : start + ROWS_PER_BLOCK]), n_outputs).astype(np.float32)


def _loss(scores: Floats, targets: Floats, weights: Weights | None) -> float:
    """Weighted mean log-loss, or squared error."""
    if targets.shape[1] == 1:
        loss = (scores[:, 0].astype(np.float64) - targets[:, 0]) ** 2
    else:
        own = (scores * targets).sum(axis=1, dtype=np.float64)
        loss = -np.log(np.maximum(own, 1e-6))
    return float(np.average(loss, weights=weights))
