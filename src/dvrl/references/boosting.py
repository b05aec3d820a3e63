"""Gradient-boosted trees whose capacity is chosen by their loss on rows that they did not see.

Capacity must grow with the rows and fall with the share of wrong labels: no fixed one is good
everywhere (docs/references.md). LightGBM fits the trees, scikit-learn where it cannot be loaded.
"""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..exceptions import DataValuationWarning
from ..optional import load_lightgbm
from .base import ROWS_PER_BLOCK, Floats, State, Weights, in_parallel, linked
from .flat_trees import FlatTrees, from_histogram, from_lightgbm

__all__ = ["LADDER", "BoostedTrees", "Capacity"]


class Capacity(NamedTuple):
    """Size of an ensemble of boosted trees."""

    n_leaves: int
    n_trees: int
    learning_rate: float


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
# A leaf of fewer rows would follow single wrong labels; small tables need smaller leaves, or no
# tree could split them.
LEAF_ROWS, ROWS_PER_LEAF_ROW = 20, 20
# Each tree, or with few columns each split, sees half of the columns: trees that differ err less
# together, but a tree of two columns needs both.
COLUMN_SHARE, FEW_COLUMNS = 0.5, 16
# Fewer thresholds a column where columns are many: the time grows with both.
MANY_COLUMNS, BINS, BINS_OF_MANY = 200, 255, 63
TINY_WEIGHT = 1e-6


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
        self._binned: _Binned | None = None
        self._trees: FlatTrees | None = None
        self._n_outputs = 0

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`; later calls climb on from the last rung."""
        binned = self._bins(rows)
        if len(rows) <= CLIMBED_ROWS:
            self.rung, scores = self._climb(binned, weights, folds, np.arange(len(rows)), seed)
            return scores
        if self.rung is None:
            some = np.random.default_rng(seed).choice(len(rows), CLIMBED_ROWS, replace=False)
            self.rung, _ = self._climb(binned, weights, folds % 2, np.sort(some), seed)
            if len(rows) >= 2 * CLIMBED_ROWS and self.rung < HIGHEST_UNTRIED:
                self.rung += 1
        return self._out_of_fold(binned, weights, folds, np.arange(len(rows)), self.rung, seed)

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """Fit once more, on all rows."""
        assert self.rung is not None
        binned = self._bins(rows)
        model = binned.fit(np.arange(len(rows)), weights, LADDER[self.rung], seed)
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

    def _bins(self, rows: Table) -> _Binned:
        """The rows as the library keeps them; the same for every fit."""
        if self._binned is None:
            kind = _LightGBM if _can_use_lightgbm() else _Histogram
            self._binned = kind(rows.features, rows.targets)
        return self._binned

    def _climb(
        self,
        binned: _Binned,
        weights: Weights | None,
        folds: NDArray[np.intp],
        at: NDArray[np.intp],
        seed: int,
    ) -> tuple[int, Floats]:
        """The rung with the least loss around the last one, and its scores.

        Upwards as long as the loss falls; where the first step up does not lower it, downwards.
        """
        first = self.rung
        if first is None:
            first = next(rung for n_rows, rung in FIRST_RUNGS if len(at) >= n_rows)
        targets = binned.targets[at]
        share = None if weights is None else weights[at]

        def tried(rung: int) -> tuple[float, int, Floats]:
            scores = self._out_of_fold(binned, weights, folds, at, rung, seed)
            return _loss(scores, targets, share), rung, scores

        best = tried(first)
        for rungs in (range(first + 1, len(LADDER)), range(first - 1, -1, -1)):
            for rung in rungs:
                candidate = tried(rung)
                if candidate[0] >= best[0]:
                    break
                best = candidate
            if best[1] > first:
                break
        return best[1], best[2]

    def _out_of_fold(
        self,
        binned: _Binned,
        weights: Weights | None,
        folds: NDArray[np.intp],
        at: NDArray[np.intp],
        rung: int,
        seed: int,
    ) -> Floats:
        """Scores of some rows by models of the others of them."""
        scores = np.empty((len(at), binned.targets.shape[1]), np.float32)
        names = np.unique(folds[at])

        def judge(fold: int) -> None:
            inside, outside = at[folds[at] != fold], np.flatnonzero(folds[at] == fold)
            model = binned.fit(inside, weights, LADDER[rung], seed + fold)
            scores[outside] = linked(model.raw(binned.X[at[outside]]), scores.shape[1])

        in_parallel(judge, names.tolist(), self.n_jobs)
        self.n_fits += len(names)
        return scores


def _scored_block(trees: FlatTrees, X: Floats, n_outputs: int, start: int) -> Floats:
    return linked(trees.raw(X[start : start + ROWS_PER_BLOCK]), n_outputs)


def _loss(scores: Floats, targets: Floats, weights: Weights | None) -> float:
    """Weighted mean log-loss, or squared error."""
    if targets.shape[1] == 1:
        loss = (scores[:, 0].astype(np.float64) - targets[:, 0]) ** 2
    else:
        own = (scores * targets).sum(axis=1, dtype=np.float64)
        loss = -np.log(np.maximum(own, 1e-6))
    return float(np.average(loss, weights=weights))


def _leaf_rows(n_rows: int) -> int:
    return max(1, min(LEAF_ROWS, n_rows // ROWS_PER_LEAF_ROW))


# ---------------------------------------------------------------- the libraries that grow trees


@cache
def _can_use_lightgbm() -> bool:
    """Whether LightGBM can be loaded; says once what to do where it cannot."""
    try:
        load_lightgbm()
    except ImportError as error:
        warnings.warn(
            f"{error} Until then scikit-learn's slower trees take its place.",
            DataValuationWarning,
            stacklevel=2,
        )
        return False
    return True


class _Binned:
    """Rows as a library keeps them."""

    def __init__(self, X: Floats, targets: Floats) -> None:
        self.X, self.targets = X, targets
        n_outputs = targets.shape[1]
        self.y = targets[:, 0] if n_outputs == 1 else targets.argmax(axis=1)

    def fit(
        self, at: NDArray[np.intp], weights: Weights | None, capacity: Capacity, seed: int
    ) -> Any:
        """Fit to some rows, on one thread; the result has `raw` and `flat`."""
        raise NotImplementedError


class _LightGBM(_Binned):
    def __init__(self, X: Floats, targets: Floats) -> None:
        super().__init__(X, targets)
        self.library = load_lightgbm()
        self.fixed: dict[str, Any] = {
            "verbose": -1,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "max_bin": BINS_OF_MANY if X.shape[1] >= MANY_COLUMNS else BINS,
        }
        data = self.library.Dataset(X, self.y, params=self.fixed, free_raw_data=False)
        self.data = data.construct()

    def fit(
        self, at: NDArray[np.intp], weights: Weights | None, capacity: Capacity, seed: int
    ) -> Any:
        n_outputs, is_wide = self.targets.shape[1], self.X.shape[1] >= FEW_COLUMNS
        objective = {1: "regression", 2: "binary"}.get(n_outputs, "multiclass")
        data = self.data.subset(at.tolist()).construct()
        data.set_label(self.y[at])
        if weights is not None:
            data.set_weight(weights[at])
        settings = self.fixed | {
            "objective": objective,
            "num_class": n_outputs if n_outputs > 2 else 1,
            "num_leaves": capacity.n_leaves,
            "learning_rate": capacity.learning_rate,
            "min_data_in_leaf": _leaf_rows(len(at)),
            "feature_fraction" if is_wide else "feature_fraction_bynode": COLUMN_SHARE,
            "seed": seed % 2**31,
        }
        booster = self.library.Booster(settings, data)
        for _ in range(capacity.n_trees):
            if booster.update():  # nothing left to split
                break
        return _OfLightGBM(booster)


class _OfLightGBM(NamedTuple):
    booster: Any

    def raw(self, X: Floats) -> NDArray[np.float64]:
        return np.asarray(self.booster.predict(X, raw_score=True, num_threads=1))

    def flat(self) -> FlatTrees:
        return from_lightgbm(self.booster)


class _Histogram(_Binned):
    def fit(
        self, at: NDArray[np.intp], weights: Weights | None, capacity: Capacity, seed: int
    ) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        is_regression = self.targets.shape[1] == 1
        kind: Any = (
            HistGradientBoostingRegressor if is_regression else HistGradientBoostingClassifier
        )
        model = kind(
            max_iter=capacity.n_trees,
            learning_rate=capacity.learning_rate,
            max_leaf_nodes=capacity.n_leaves,
            min_samples_leaf=_leaf_rows(len(at)),
            max_features=COLUMN_SHARE,
            early_stopping=False,
            random_state=seed % 2**31,
        )
        X, y = self.X[at], self.y[at]
        share = np.ones(len(at)) if weights is None else weights[at]
        if not is_regression:
            # One row, of hardly any weight, of each class that has none: every class keeps its
            # output.
            absent = np.setdiff1d(np.arange(self.targets.shape[1]), y)
            X = np.concatenate([X, np.zeros((len(absent), X.shape[1]), np.float32)])
            y, share = np.append(y, absent), np.append(share, np.full(len(absent), TINY_WEIGHT))
        # OpenMP counts threads for each thread that calls it.
        with threadpool_limits(limits=1):
            model.fit(X, y, sample_weight=share)
        return _Flat(from_histogram(model))


class _Flat(NamedTuple):
    trees: FlatTrees

    def raw(self, X: Floats) -> NDArray[np.float64]:
        return self.trees.raw(X)

    def flat(self) -> FlatTrees:
        return self.trees
