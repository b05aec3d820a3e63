"""Fitting the models of experiments: on frames, with weights, with seeds, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MODEL_NAMES",
    "Scorer",
    "default_scorer",
    "encoded_once",
    "fit_weighted",
    "log_likelihood",
    "model_by_name",
    "row_scores",
    "seeded",
]

Scorer = Callable[[Any, Any, Any], float]
"""The scorer protocol of scikit-learn: ``scorer(estimator, X, y)``, higher is better."""

# A label of probability 0 would rule a model out, however good it is elsewhere.
LOWEST_PROBABILITY = 1e-7
# Bounds of the search for a temperature: from nearly equal to nearly certain probabilities.
LOG_SHARPNESS = (-4.0, 2.0)

MODEL_NAMES = (
    "logistic",
    "ridge",
    "mlp",
    "random_forest",
    "gradient_boosting",
)


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


def fit_weighted(
    estimator: Any, X: Any, y: NDArray[Any], weights: NDArray[np.floating] | None
) -> Any:
    """Fit a scikit-learn estimator with a weight for every row.

    The last step of a pipeline receives the weights. An estimator that takes no
    ``sample_weight`` is fitted on the rows of weight one half or more.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Fitted in place.
    X : array-like or frame of shape (n_rows, n_features)
        Features.
    y : ndarray of shape (n_rows,)
        Targets.
    weights : ndarray of shape (n_rows,) or None
        Non-negative weights; None weighs all rows the same.

    Returns
    -------
    object
        The fitted estimator.
    """
    if weights is None:
        return estimator.fit(X, y)
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        last, final = estimator.steps[-1]
        keyword = f"{last}__sample_weight"
    else:
        final, keyword = estimator, "sample_weight"
    if "sample_weight" in inspect.signature(final.fit).parameters:
        return estimator.fit(X, y, **{keyword: weights})
    from dvrl.data.rows import take_rows

    rows = np.flatnonzero(weights >= 0.5)
    return estimator.fit(take_rows(X, rows), y[rows])


def encoded_once(predictor: Any, X: Any, X_other: Any) -> tuple[Any, Any]:
    """Rows as a model takes them, encoded once for many fits.

    Parameters
    ----------
    predictor : scikit-learn estimator
        A ``Pipeline`` is shown the rows as they are.
    X : array-like or frame of shape (n_rows, n_features)
        Training rows: columns and spreads are those of all of them, without a look at labels.
    X_other : like X
        Further rows.

    Returns
    -------
    X, X_other : arrays or frames
    """
    from sklearn.pipeline import Pipeline

    from dvrl.data.encoder import FeatureEncoder

    if isinstance(predictor, Pipeline):
        return X, X_other
    encoder = FeatureEncoder()
    return encoder.fit_transform(X), encoder.transform(X_other)


def seeded(predictor: Any, seed: int) -> Any:
    """Make a copy of an estimator with all of its random states set.

    Parameters
    ----------
    predictor : scikit-learn estimator
    seed : int

    Returns
    -------
    scikit-learn estimator
        Not fitted.
    """
    from sklearn.base import clone

    copied = clone(predictor)
    names = [name for name in copied.get_params() if name.rpartition("__")[2] == "random_state"]
    return copied.set_params(**dict.fromkeys(names, seed))


def model_by_name(name: str, task: str, random_state: int = 0) -> Any:
    """Make a model with ordinary settings.

    Parameters
    ----------
    name : str
        One of `MODEL_NAMES`; "logistic" is for classes only and "ridge" for numbers only.
    task : {"classification", "regression"}
    random_state : int

    Returns
    -------
    scikit-learn estimator
        Not fitted.

    Raises
    ------
    ValueError
        For a name that is unknown or does not fit the task.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from dvrl.predictors import trees

    classes = task == "classification"
    if name not in MODEL_NAMES or name == ("ridge" if classes else "logistic"):
        fitting = [each for each in MODEL_NAMES if each != ("ridge" if classes else "logistic")]
        raise ValueError(f"There is no model {name!r} for {task}; use {', '.join(fitting)}.")
    if name == "logistic":
        return LogisticRegression(max_iter=2000)
    if name == "ridge":
        return Ridge()
    kind: Any
    if name == "mlp":
        kind = MLPClassifier if classes else MLPRegressor
        # Stops by a part of the rows that it holds back, so few iterations are no failure.
        return kind((100, 100), early_stopping=True, max_iter=1000, random_state=random_state)
    if name == "random_forest":
        kind = trees.ForestClassifier if classes else trees.ForestRegressor
    else:
        kind = trees.BoostedTreesClassifier if classes else trees.BoostedTreesRegressor
    return kind(random_state=random_state)
