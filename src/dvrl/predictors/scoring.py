"""How good fitted estimators are on rows: one number, or one for every row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scorer", "default_scorer", "log_likelihood", "row_scores"]

Scorer = Callable[[Any, Any, Any], float]
"""The scorer protocol of scikit-learn: ``scorer(estimator, X, y)``, higher is better."""

# A label of probability 0 would rule a model out, however good it is elsewhere.
LOWEST_PROBABILITY = 1e-7
# Bounds of the search for a temperature: from nearly equal to nearly certain probabilities.
LOG_SHARPNESS = (-4.0, 2.0)


def default_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Score an estimator by its own measure: accuracy or R2."""
    return float(estimator.score(X, y))


def log_likelihood(estimator: Any, X: Any, y: Any) -> float:
    """Mean log-probability of the labels; a label that the model does not know counts as 1e-7.

    Parameters
    ----------
    estimator : fitted scikit-learn classifier with ``predict_proba``
    X : array-like or frame of shape (n_rows, n_features)
    y : array-like of shape (n_rows,)

    Returns
    -------
    float
        At most 0, higher is better: the negative of the log loss.
    """
    return float(_of_labels(*_log_probabilities(estimator, X, y)).mean())


def row_scores(estimator: Any, X: Any, y: NDArray[Any]) -> NDArray[np.float64] | None:
    """Score of every row, so that the mean says how good a model is.

    Log-probability of the label at the temperature that suits these rows best, where the model
    gives probabilities; else whether the label is right, or each row's part of R2. The
    temperature divides all log-probabilities alike (Guo et al., 2017): a model is judged by what
    it can tell apart and not by how sure it says it is.

    Parameters
    ----------
    estimator : fitted scikit-learn estimator
    X : array-like or frame of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)

    Returns
    -------
    ndarray of shape (n_rows,) or None
        None where the estimator is neither classifier nor regressor.
    """
    from sklearn.base import is_classifier, is_regressor

    if hasattr(estimator, "predict_proba"):
        return _tempered(*_log_probabilities(estimator, X, y))
    if is_classifier(estimator):
        return np.asarray(np.asarray(estimator.predict(X)) == y, dtype=np.float64)
    if is_regressor(estimator):
        spread = float(np.var(y)) or 1.0
        return np.asarray(1.0 - (estimator.predict(X) - y) ** 2 / spread, dtype=np.float64)
    return None


def _log_probabilities(
    estimator: Any, X: Any, y: Any
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Logarithms for every row and class, and the column of each label (-1: unknown)."""
    places = {label: place for place, label in enumerate(np.asarray(estimator.classes_).tolist())}
    known = np.array([places.get(label, -1) for label in np.asarray(y).tolist()], dtype=np.intp)
    probabilities = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    return np.log(np.maximum(probabilities, LOWEST_PROBABILITY)), known


def _of_labels(logarithms: NDArray[np.float64], known: NDArray[np.intp]) -> NDArray[np.float64]:
    found = logarithms[np.arange(len(known)), known]
    return np.where(known < 0, np.log(LOWEST_PROBABILITY), found)


def _tempered(logarithms: NDArray[np.float64], known: NDArray[np.intp]) -> NDArray[np.float64]:
    """Log-probability of each label at the best temperature."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def rows(log_sharpness: float) -> NDArray[np.float64]:
        return _of_labels(log_softmax(np.exp(log_sharpness) * logarithms, axis=1), known)

    best = minimize_scalar(lambda each: -rows(each).mean(), bounds=LOG_SHARPNESS, method="bounded")
    return rows(float(best.x))
