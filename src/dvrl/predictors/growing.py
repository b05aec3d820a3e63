"""Boosted trees of a given size: LightGBM grows them, scikit-learn where it cannot be loaded.

One thread a fit, so that fits run beside each other and a busy machine does not stall them.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from ..exceptions import DataValuationWarning
from .flat_trees import FlatTrees, from_histogram, from_lightgbm

__all__ = ["BinnedRows", "Capacity", "binned", "can_use_lightgbm", "linked", "load_lightgbm"]

Floats = NDArray[np.float32]
Weights = NDArray[np.float64]

# A leaf of fewer rows would follow single wrong labels; small tables need smaller leaves, or no
# tree could split them.
LEAF_ROWS, ROWS_PER_LEAF_ROW = 20, 20
# Of classes each tree, or with few columns each split, sees half of the columns: trees that differ
# err less together, but a tree of two columns needs both. Numbers are predicted better with all.
COLUMN_SHARE, FEW_COLUMNS = 0.5, 16
# Fewer thresholds a column where rows are few, which have no more to tell, and where columns are
# many: the time grows with both.
FEW_ROWS, MANY_COLUMNS, BINS, FEW_BINS = 4_000, 200, 255, 63
TINY_WEIGHT = 1e-6


class Capacity(NamedTuple):
    """Size of an ensemble of boosted trees."""

    n_leaves: int
    n_trees: int
    learning_rate: float


def load_lightgbm() -> Any:
    """Import LightGBM, whose wheel for Linux needs the system's OpenMP library.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        In one sentence, with what to install.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImportError(
            f"LightGBM cannot be loaded ({cause}); install the system package libgomp1 (Debian, "
            "Ubuntu) or libgomp (Fedora, Alpine), or lightgbm itself where it is not installed."
        ) from error
    return lightgbm


@cache
def can_use_lightgbm() -> bool:
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


def linked(raw: NDArray[np.float64], n_outputs: int) -> NDArray[np.float64]:
    """Raw outputs (n,) or (n, k) as scores: one output is the log-odds of the second class."""
    raw = raw[:, np.newaxis] if raw.ndim == 1 else raw
    if n_outputs == 2:
        return np.hstack([expit(-raw), expit(raw)])
    return np.asarray(softmax(raw, axis=1)) if n_outputs > 2 else raw


class BinnedRows:
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


def binned(X: Floats, targets: Floats) -> BinnedRows:
    """Rows as the library that is there keeps them.

    Parameters
    ----------
    X : (n, d) float32
        May hold NaN.
    targets : (n, c) float32
        One column of numbers, or a column of 0 and 1 for each of two or more classes.
    """
    return (_LightGBM if can_use_lightgbm() else _Histogram)(X, targets)


class _LightGBM(BinnedRows):
    def __init__(self, X: Floats, targets: Floats) -> None:
        super().__init__(X, targets)
        self.library = load_lightgbm()
        self.fixed: dict[str, Any] = {
            "verbose": -1,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "max_bin": BINS if X.shape[0] >= FEW_ROWS and X.shape[1] < MANY_COLUMNS else FEW_BINS,
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
            "feature_fraction" if is_wide else "feature_fraction_bynode": _column_share(n_outputs),
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


class _Histogram(BinnedRows):
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
            max_features=_column_share(self.targets.shape[1]),
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


def _column_share(n_outputs: int) -> float:
    return 1.0 if n_outputs == 1 else COLUMN_SHARE


def _leaf_rows(n_rows: int) -> int:
    return max(1, min(LEAF_ROWS, n_rows // ROWS_PER_LEAF_ROW))
