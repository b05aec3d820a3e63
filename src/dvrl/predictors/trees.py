"""Ensembles of trees as scikit-learn estimators that keep arrays only, safe to save and to load.

The models `random_forest` and `gradient_boosting` of the command line.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from dvrl.numerics.seeds import seed_of

from .flat_trees import FlatTrees, from_forest
from .growing import Capacity, binned, linked

__all__ = [
    "BoostedTreesClassifier",
    "BoostedTreesRegressor",
    "ForestClassifier",
    "ForestRegressor",
]

GAPS = "allow-nan"


class _Trees(BaseEstimator):
    """What all ensembles share: rows are checked, grown on where they have weight, and scored."""

    n_trees: int
    random_state: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _grow(self, X: Any, y: NDArray[Any], sample_weight: Any) -> None:
        """Grow trees on rows whose targets are numbers, or numbers of classes."""
        if self.n_trees < 1:
            raise ValueError(f"n_trees={self.n_trees!r} must be 1 or more.")
        X = _in_range(X)
        weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if not weights.any():  # newer versions of scikit-learn look themselves
            raise ValueError("Every sample weight is zero; give some rows a weight.")
        seed = seed_of(self.random_state)
        # A row without weight would still count as a row of its leaf.
        at = weights > 0
        relative = weights[at] / weights.max()
        self.trees_ = self._grown(X[at], y[at], relative / relative.mean(), seed)

    def _said(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, ensure_all_finite=GAPS)
        return self._said_by_trees(_in_range(X))

    def check_trees(self) -> None:
        """Raise a ValueError where trees of a file do not belong to this model."""
        trees, classes = self.trees_, getattr(self, "grown_classes_", None)
        n_outputs = 1
        if hasattr(self, "classes_"):
            n_classes = len(self.classes_)
            n_outputs = n_classes if n_classes > 2 else 1
            if isinstance(self, ForestClassifier):
                places = None if classes is None else np.asarray(classes)
                if places is None or len(np.setdiff1d(places, np.arange(n_classes))):
                    raise ValueError("The saved forest is damaged: its classes do not fit.")
                n_outputs = len(places)
            if trees is None and n_classes == 1:
                return
        if trees is None or trees.n_outputs != n_outputs:
            raise ValueError("The saved trees are damaged: they have other outputs.")

    def _grown(
        self, X: NDArray[Any], y: NDArray[Any], weights: NDArray[np.float64], seed: int
    ) -> FlatTrees | None:
        raise NotImplementedError

    def _said_by_trees(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities (n, n_classes), or numbers (n, 1)."""
        raise NotImplementedError


class _Boosted(_Trees):
    """Settings of boosted trees, and how they are grown."""

    def __init__(
        self,
        *,
        n_leaves: int = 31,
        n_trees: int = 100,
        learning_rate: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.n_leaves = n_leaves
        self.n_trees = n_trees
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _boosted(
        self,
        X: NDArray[Any],
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        seed: int,
    ) -> FlatTrees:
        rows = binned(X.astype(np.float32), targets.astype(np.float32))
        capacity = Capacity(self.n_leaves, self.n_trees, self.learning_rate)
        trees: FlatTrees = rows.fit(np.arange(len(X)), weights, capacity, seed).flat()
        return trees


class _Classifier(ClassifierMixin, _Trees):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the trees.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Numbers; gaps are NaN.
        y : array-like of shape (n_rows,)
        sample_weight : array-like of shape (n_rows,), optional
            0 or more.

        Returns
        -------
        self
        """
        X, y = validate_data(self, X, y, ensure_all_finite=GAPS)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self._grow(X, numbers, sample_weight)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities (n_rows, n_classes) of the classes in the order of `classes_`."""
        return self._said(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class (n_rows,) of each row."""
        likeliest = self._said(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])


class _Regressor(RegressorMixin, _Trees):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the trees.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Numbers; gaps are NaN.
        y : array-like of shape (n_rows,)
            Numbers.
        sample_weight : array-like of shape (n_rows,), optional
            0 or more.

        Returns
        -------
        self
        """
        X, y = validate_data(self, X, y, ensure_all_finite=GAPS, y_numeric=True)
        y = y.astype(np.float64)
        # Trees are grown in float32, so that the targets are brought to their size; the first
        # step keeps the squares of the largest and the smallest ones in range.
        self.unit_ = np.abs(y).max() or 1.0
        scaled = y / self.unit_
        self.middle_, self.spread_ = scaled.mean(), scaled.std() or 1.0
        self._grow(X, (scaled - self.middle_) / self.spread_, sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The expected number (n_rows,) of each row."""
        said = self._said(X)[:, 0]
        # No farther than the largest target, whose next number may be infinity.
        return np.asarray(np.clip(self.middle_ + self.spread_ * said, -1.0, 1.0) * self.unit_)


class BoostedTreesClassifier(_Classifier, _Boosted):
    """Gradient-boosted trees that predict classes; LightGBM grows them on one thread.

    Where LightGBM cannot be loaded, scikit-learn's histogram trees take its place.

    Parameters
    ----------
    n_leaves : int
        Leaves of a tree, at most.
    n_trees : int
        Rounds; more than two classes have a tree each in every round.
    learning_rate : float
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : (n_classes,) ndarray
    trees_ : FlatTrees
        All trees as arrays.

    Examples
    --------
    >>> from dvrl.predictors.trees import BoostedTreesClassifier
    >>> X = [[float(number)] for number in range(40)]
    >>> y = ["low"] * 20 + ["high"] * 20
    >>> BoostedTreesClassifier().fit(X, y).predict([[3.0], [33.0]]).tolist()
    ['low', 'high']
    """

    def _grown(
        self, X: NDArray[Any], y: NDArray[Any], weights: NDArray[np.float64], seed: int
    ) -> FlatTrees | None:
        if len(self.classes_) == 1:  # nothing to learn
            return None
        return self._boosted(X, y[:, None] == np.arange(len(self.classes_)), weights, seed)

    def _said_by_trees(self, X: NDArray[Any]) -> NDArray[np.float64]:
        if self.trees_ is None:
            return np.ones((len(X), 1))
        return linked(self.trees_.raw(X.astype(np.float32)), len(self.classes_))


class BoostedTreesRegressor(_Regressor, _Boosted):
    """Gradient-boosted trees that predict numbers; LightGBM grows them on one thread.

    Where LightGBM cannot be loaded, scikit-learn's histogram trees take its place.

    Parameters
    ----------
    n_leaves : int
        Leaves of a tree, at most.
    n_trees : int
    learning_rate : float
    random_state : int, RandomState or None

    Attributes
    ----------
    trees_ : FlatTrees
        All trees as arrays.
    """

    def _grown(
        self, X: NDArray[Any], y: NDArray[Any], weights: NDArray[np.float64], seed: int
    ) -> FlatTrees | None:
        return self._boosted(X, y[:, None], weights, seed)

    def _said_by_trees(self, X: NDArray[Any]) -> NDArray[np.float64]:
        assert self.trees_ is not None
        return self.trees_.raw(X.astype(np.float32))


class ForestClassifier(_Classifier):
    """scikit-learn's random forest of classes, kept as arrays.

    Parameters
    ----------
    n_trees : int
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : (n_classes,) ndarray
    trees_ : FlatTrees
        All trees as arrays.
    """

    def __init__(self, *, n_trees: int = 100, random_state: Any = None) -> None:
        self.n_trees = n_trees
        self.random_state = random_state

    def _grown(
        self, X: NDArray[Any], y: NDArray[Any], weights: NDArray[np.float64], seed: int
    ) -> FlatTrees | None:
        forest = RandomForestClassifier(self.n_trees, random_state=seed)
        forest.fit(X, y, sample_weight=weights)
        self.grown_classes_ = forest.classes_
        return from_forest(forest)

    def _said_by_trees(self, X: NDArray[Any]) -> NDArray[np.float64]:
        assert self.trees_ is not None
        shares = np.zeros((len(X), len(self.classes_)))
        # Classes of weightless rows alone were not seen by the forest.
        shares[:, self.grown_classes_] = self.trees_.mean(X)[0]
        return shares


class ForestRegressor(_Regressor):
    """scikit-learn's random forest of numbers, kept as arrays.

    Parameters
    ----------
    n_trees : int
    random_state : int, RandomState or None

    Attributes
    ----------
    trees_ : FlatTrees
        All trees as arrays.
    """

    def __init__(self, *, n_trees: int = 100, random_state: Any = None) -> None:
        self.n_trees = n_trees
        self.random_state = random_state

    def _grown(
        self, X: NDArray[Any], y: NDArray[Any], weights: NDArray[np.float64], seed: int
    ) -> FlatTrees | None:
        forest = RandomForestRegressor(self.n_trees, random_state=seed)
        return from_forest(forest.fit(X, y, sample_weight=weights))

    def _said_by_trees(self, X: NDArray[Any]) -> NDArray[np.float64]:
        assert self.trees_ is not None
        return self.trees_.mean(X)[0]


def _in_range(X: NDArray[Any]) -> NDArray[Any]:
    """The rows, numbers beyond float32 brought to its ends; gaps stay."""
    ends = np.finfo(np.float32)
    return np.clip(X, ends.min, ends.max)
