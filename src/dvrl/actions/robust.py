"""Training any model with the help of data values, soft or hard."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier

from dvrl.actions.checks import values_of
from dvrl.actions.removal import choose_fraction, prune
from dvrl.data.encoder import with_encoding
from dvrl.learning.settings import FINAL_ROWS
from dvrl.predictors.scoring import Scorer
from dvrl.predictors.weighted_fit import fit_weighted

__all__ = ["SCHEMES", "train_robust", "with_predictor"]

SCHEMES = ("weights", "pruning")


def train_robust(
    valuer: Any,
    X: Any,
    y: ArrayLike,
    final_model: Any,
    *,
    scheme: str = "weights",
    fraction: float | None = None,
    final_rows: str = "training",
    X_val: Any = None,
    y_val: ArrayLike | None = None,
    scorer: Scorer | None = None,
    random_state: int = 0,
) -> Any:
    """Train a model on rows that have been valued.

    Parameters
    ----------
    valuer : DVRLClassifier or DVRLRegressor
        Fitted on `X` and `y`; any object with ``data_values_`` in [0, 1] will do.
    X, y : array-like or frame of shape (n_rows, n_features), array-like of shape (n_rows,)
        The training rows as they were valued.
    final_model : scikit-learn estimator
        Any model, also another than the predictor that the values were learned with. Not changed:
        a copy is fitted. A ``Pipeline`` is shown the rows as they are; any other estimator gets an
        encoder in front.
    scheme : {"weights", "pruning"}
        The values as weights of the rows (soft; a model without ``sample_weight`` is trained on
        the rows of value one half and more), or without the rows of lowest value (hard).
    fraction : float, optional
        Share of the rows that pruning removes; by default chosen on the validation rows, see
        :func:`choose_fraction`.
    final_rows : {"training", "both"}
        ``"both"``: train on the validation rows, too, with weight 1. The better model where they
        are clean, but no score on them says anything any more.
    X_val, y_val : like X and y, optional
        Validation rows, where the fraction is to be chosen or where they are trained on.
    scorer : callable, optional
        What the fraction is chosen by, ``scorer(estimator, X, y)``.
    random_state : int
        Of that choice.

    Returns
    -------
    sklearn.pipeline.Pipeline
        The fitted model; takes rows as they are.

    Raises
    ------
    ValueError
        For an unknown scheme, rows other than those that were valued, or where validation rows
        are needed and missing.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = [[0.0], [0.1], [0.9], [1.0]], np.array(["no", "yes", "yes", "yes"])
    >>> valued = SimpleNamespace(data_values_=np.array([0.9, 0.01, 0.9, 0.9]))
    >>> model = train_robust(valued, X, y, LogisticRegression(), scheme="pruning", fraction=0.25)
    >>> str(model.predict([[0.2]])[0])
    'no'
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme is {scheme!r}; use one of {', '.join(SCHEMES)}.")
    if final_rows not in FINAL_ROWS:
        raise ValueError(f"final_rows is {final_rows!r}; use 'training' or 'both'.")
    if final_rows == "both" and (X_val is None or y_val is None):
        raise ValueError("final_rows='both' trains on validation rows; pass X_val and y_val.")
    y = np.asarray(y)
    values = values_of(valuer, y)
    model = with_encoding(final_model)
    weights: NDArray[np.float64] | None = values
    if scheme == "pruning":
        if fraction is None:
            if X_val is None or y_val is None:
                raise ValueError(
                    "Without validation rows no fraction can be chosen; pass X_val and y_val, or a "
                    "fraction to remove."
                )
            fraction = choose_fraction(
                values,
                X,
                y,
                X_val,
                y_val,
                predictor=final_model,
                scorer=scorer,
                random_state=random_state,
            ).fraction
        kept = prune(values, X, y, fraction)
        X, y, weights = kept.X, kept.y, None
    if final_rows == "both":
        from dvrl.data.rows import stack_rows

        X, y = stack_rows(X, X_val), np.concatenate([y, np.asarray(y_val)])
        weights = None if weights is None else np.append(weights, np.ones(len(y) - len(weights)))
    return fit_weighted(model, X, y, weights, classes=is_classifier(final_model))


def with_predictor(valuer: Any, model: Any) -> Any:
    """Make a copy of a fitted valuer whose ``predict`` is that of another fitted model.

    It can be saved without pickle, and values and predicts new rows.

    Parameters
    ----------
    valuer : DVRLClassifier or DVRLRegressor
        Fitted; not changed.
    model : scikit-learn estimator
        Fitted on rows as the valuer was given them, such as by :func:`train_robust`.

    Returns
    -------
    DVRLClassifier or DVRLRegressor
    """
    from sklearn.base import clone

    from dvrl.predictors.blackbox import FittedBlackBox

    other = copy.copy(valuer)
    other.final_predictor = clone(model)
    other.predictor_ = FittedBlackBox((model,), valuer.coder_, "own")
    return other
