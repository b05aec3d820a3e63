"""One weighted fit for estimators of any kind: by weights where they are taken, else by rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.rows import take_rows
from .estimators import nested_estimators

__all__ = ["fit_weighted", "takes_weights", "weighs_rows"]

# Rows of at least this weight stand for the rest where an estimator takes no weights.
SELECTED_WEIGHT = 0.5
SMALLEST_REGRESSION_FIT = 2


def takes_weights(estimator: Any) -> bool:
    """Whether all that learns inside an estimator takes weights of rows."""
    return _way(estimator) is not None


def fit_weighted(
    estimator: Any, X: Any, y: NDArray[Any], weights: ArrayLike | None, *, classes: bool
) -> Any:
    """Fit an estimator with a weight for every row.

    Weights go to whatever learns inside pipelines and meta-estimators (Stacking, Voting, a grid
    search, ...). Where a part of it takes none, all of it is fitted on the rows of weight one
    half or more, and on the heaviest row of each class that would be lost.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Fitted in place.
    X : array-like or frame of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
    weights : array-like of shape (n_rows,) or None
        Finite, at least 0; None weighs all rows the same.
    classes : bool
        Whether `y` holds labels of classes.

    Returns
    -------
    object
        The fitted estimator.

    Raises
    ------
    ValueError
        For weights that cannot be used.
    """
    if weights is None:
        return estimator.fit(X, y)
    checked = _checked_weights(weights, len(y))
    way = _way(estimator)
    if way is None:
        rows = _heavy_rows(checked, y, classes)
        return estimator.fit(take_rows(X, rows), y[rows])
    if way != "routed":
        return estimator.fit(X, y, **{way: checked})
    return _fit_routed(estimator, X, y, checked)


def weighs_rows(estimator: Any, y: NDArray[Any], weights: ArrayLike, *, classes: bool) -> str:
    """Say how many rows stood for the weights; empty where the estimator takes weights."""
    checked = _checked_weights(weights, len(y))
    if takes_weights(estimator) or np.all(checked == 1.0):
        return ""
    n_rows = len(_heavy_rows(checked, y, classes))
    return (
        f"{type(estimator).__name__} takes no weights: it was trained on the {n_rows:,} of "
        f"{len(y):,} rows that weigh {SELECTED_WEIGHT} or more."
    )


def _checked_weights(weights: ArrayLike, n_rows: int) -> NDArray[np.float64]:
    checked: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
    if checked.shape != (n_rows,):
        raise ValueError(
            f"weights has shape {checked.shape} for {n_rows} rows; pass one number per row."
        )
    if not np.all(np.isfinite(checked)) or np.any(checked < 0):
        raise ValueError("weights has negative or non-finite numbers; pass numbers from 0 up.")
    if n_rows and np.all(checked == checked[0]):
        return np.ones(n_rows)
    return checked


def _way(estimator: Any) -> str | None:
    """Keyword under which `fit` takes weights, "routed" for parts of a whole, None for none."""
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    learners = [each for each in nested_estimators(estimator) if hasattr(each, "predict")]
    if not learners:
        return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None
    leaves = [each for each in learners if not _has_learners(each)]
    if not all(has_fit_parameter(each, "sample_weight") for each in leaves):
        return None
    if isinstance(estimator, Pipeline) and not _has_learners(estimator.steps[-1][1]):
        return f"{estimator.steps[-1][0]}__sample_weight"
    # An estimator that is not scikit-learn's may not know of routing.
    return "routed" if hasattr(estimator, "get_metadata_routing") else None


def _has_learners(estimator: Any) -> bool:
    return any(hasattr(each, "predict") for each in nested_estimators(estimator))


def _fit_routed(estimator: Any, X: Any, y: NDArray[Any], weights: NDArray[np.float64]) -> Any:
    """Let scikit-learn's metadata routing bring the weights to whatever learns inside."""
    from sklearn import config_context
    from sklearn.utils.validation import has_fit_parameter

    with config_context(enable_metadata_routing=True):
        for each in (estimator, *nested_estimators(estimator)):
            if hasattr(each, "set_fit_request") and has_fit_parameter(each, "sample_weight"):
                each.set_fit_request(sample_weight=hasattr(each, "predict"))
            if hasattr(each, "set_score_request"):
                each.set_score_request(sample_weight=True)
        return estimator.fit(X, y, sample_weight=weights)


def _heavy_rows(
    weights: NDArray[np.float64], y: NDArray[Any], classes: bool
) -> NDArray[np.integer[Any]]:
    """Positions of the rows that stand for the weights, in their order."""
    if not classes:
        # Fewer rows than this tell a regressor nothing; the heaviest ones then.
        heaviest = np.argsort(-weights, kind="stable")[:SMALLEST_REGRESSION_FIT]
        selected = np.flatnonzero(weights >= SELECTED_WEIGHT)
        return np.sort(heaviest) if selected.size < SMALLEST_REGRESSION_FIT else selected
    chosen = weights >= SELECTED_WEIGHT
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        if not chosen[members].any():
            chosen[members[np.argmax(weights[members])]] = True
    return np.flatnonzero(chosen)
