"""How well values find known errors, and what training gains from the values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier

from dvrl.actions.checks import one_value_a_row, values_of
from dvrl.actions.removal import choose_fraction, prune
from dvrl.data.encoder import with_encoding
from dvrl.predictors.scoring import Scorer, default_scorer
from dvrl.predictors.weighted_fit import fit_weighted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["detection_scores", "discovery", "robust_comparison"]


def discovery(
    values: ArrayLike,
    is_corrupted: ArrayLike,
    shares: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
) -> pd.DataFrame:
    """Share of the corrupted rows found among the rows of lowest value.

    Rows of equal value count by their average over all orders, so the answer does not
    depend on the order of the rows; constant values score like a random order.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values; low means suspicious.
    is_corrupted : array-like of bool, shape (n_rows,)
        Which rows carry an error.
    shares : sequence of float
        Which shares of all rows to look at.

    Returns
    -------
    pandas.DataFrame
        Columns ``share``, ``found`` (of the corrupted rows), ``random`` (expected from a
        random order) and ``perfect`` (the best possible).

    Examples
    --------
    >>> table = discovery([0.1, 0.2, 0.8, 0.9], [True, False, False, False], shares=[0.25])
    >>> float(table["found"][0])
    1.0
    """
    import pandas as pd

    values, corrupted = _checked(values, is_corrupted)
    share = np.asarray(shares, dtype=float)
    if share.size and not (share.min() >= 0.0 and share.max() <= 1.0):
        raise ValueError("shares must lie between 0 and 1.")
    return pd.DataFrame(
        {
            "share": share,
            "found": _found(values, corrupted, share),
            "random": share,
            "perfect": np.minimum(share / corrupted.mean(), 1.0),
        }
    )


def detection_scores(values: ArrayLike, is_corrupted: ArrayLike) -> dict[str, float]:
    """Summarise how well low values point at corrupted rows.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values; low means suspicious.
    is_corrupted : array-like of bool, shape (n_rows,)
        Which rows carry an error.

    Returns
    -------
    dict of str to float
        ``auroc``: probability that a corrupted row has a lower value than a clean one
        (.5 for a random order). ``average_precision``: area under precision and recall.
        ``recall_at_noise_rate``: share of the corrupted rows found when as many rows are
        looked at as are corrupted.

    Examples
    --------
    >>> detection_scores([0.1, 0.2, 0.8, 0.9], [True, False, False, False])["auroc"]
    1.0
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    values, corrupted = _checked(values, is_corrupted)
    noise_rate = np.array([corrupted.mean()])
    return {
        "auroc": float(roc_auc_score(corrupted, -values)),
        "average_precision": float(average_precision_score(corrupted, -values)),
        "recall_at_noise_rate": float(_found(values, corrupted, noise_rate)[0]),
    }


def robust_comparison(
    valuer: Any,
    X: Any,
    y: ArrayLike,
    X_val: Any,
    y_val: ArrayLike,
    X_test: Any,
    y_test: ArrayLike,
    *,
    predictor: Any,
    is_corrupted: ArrayLike | None = None,
    prune_fraction: float | Literal["auto"] = 0.2,
    scorer: Scorer | None = None,
) -> pd.DataFrame:
    """Test score of one predictor trained in different ways.

    Nothing is chosen on the test rows: every scheme is fixed beforehand and scored once.

    Parameters
    ----------
    valuer : DVRLClassifier or DVRLRegressor
        Fitted on ``X``, ``y`` (with their errors) and ``X_val``, ``y_val``.
    X, y : array-like or frame of shape (n_rows, n_features), array-like of shape (n_rows,)
        The training rows as they were valued.
    X_val, y_val : array-like or frame, array-like
        The validation rows.
    X_test, y_test : array-like or frame, array-like
        Clean rows used for the scores and nothing else.
    predictor : scikit-learn estimator
        Any model, trained afresh (cloned) for every scheme. A ``Pipeline`` is shown the rows as
        they are; any other estimator gets an encoder in front.
    is_corrupted : array-like of bool, shape (n_rows,), optional
        Which training rows carry an error; adds the scheme that knows them.
    prune_fraction : float or "auto"
        Share of the rows, lowest values first, that pruning removes; "auto" chooses it on the
        validation rows (:func:`~dvrl.actions.removal.choose_fraction`).
    scorer : callable, optional
        ``scorer(estimator, X, y)``, higher is better; by default the predictor's ``score``
        (accuracy or R2).

    Returns
    -------
    pandas.DataFrame
        Columns ``scheme``, ``rows`` (training rows used) and ``score``.
    """
    import pandas as pd
    from sklearn.base import clone

    if prune_fraction != "auto" and not 0.0 <= prune_fraction < 1.0:
        raise ValueError(f"prune_fraction is {prune_fraction}; pass a share in [0, 1), or 'auto'.")
    score = scorer or default_scorer
    y = np.asarray(y)
    values = values_of(valuer, y)
    if prune_fraction == "auto":
        prune_fraction = choose_fraction(
            values, X, y, X_val, y_val, predictor=predictor, scorer=scorer
        ).fraction
    schemes = _schemes(valuer, values, X, y, X_val, y_val, is_corrupted, prune_fraction)
    model = with_encoding(predictor)
    table = []
    for scheme, X_fit, y_fit, weights in schemes:
        fitted = fit_weighted(clone(model), X_fit, y_fit, weights, classes=is_classifier(predictor))
        table.append((scheme, len(y_fit), float(score(fitted, X_test, y_test))))
    table.append(("DVRL's own predictor", len(y), float(score(valuer, X_test, y_test))))
    return pd.DataFrame(table, columns=["scheme", "rows", "score"])


def _schemes(
    valuer: Any,
    values: NDArray[np.float64],
    X: Any,
    y: NDArray[Any],
    X_val: Any,
    y_val: ArrayLike,
    is_corrupted: ArrayLike | None,
    prune_fraction: float,
) -> Iterator[tuple[str, Any, NDArray[Any], NDArray[np.floating] | None]]:
    """Yield the name, rows, targets and weights of every way to train."""
    from dvrl.data.rows import stack_rows, take_rows

    y_val = np.asarray(y_val)
    marginal = getattr(valuer, "marginal_values_", None)

    yield "all rows", X, y, None
    kept = prune(values, X, y, prune_fraction)
    yield f"lowest {prune_fraction:.0%} removed", kept.X, kept.y, None
    yield "values as weights", X, y, values
    if marginal is not None:
        yield "marginal as weights", X, y, np.asarray(marginal)
    yield "validation rows alone", X_val, y_val, None
    both = stack_rows(X, X_val), np.concatenate([y, y_val])
    yield "all rows and validation rows", *both, None
    yield "values as weights, and validation rows", *both, np.append(values, np.ones(len(y_val)))
    if is_corrupted is not None:
        clean = np.flatnonzero(~np.asarray(is_corrupted, dtype=bool))
        yield "clean rows only (oracle)", take_rows(X, clean), y[clean], None


def _checked(
    values: ArrayLike, is_corrupted: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = one_value_a_row(values, is_corrupted=is_corrupted)
    corrupted = np.asarray(is_corrupted, dtype=bool)
    if not corrupted.any() or corrupted.all():
        raise ValueError(
            "is_corrupted marks no row or every row; detection needs rows of both kinds."
        )
    return values, corrupted


def _found(
    values: NDArray[np.float64], corrupted: NDArray[np.bool_], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the corrupted rows among the lowest, averaged over the order of ties."""
    _, block, counts = np.unique(values, return_inverse=True, return_counts=True)
    looked_at = np.concatenate([[0], np.cumsum(counts)])
    found = np.concatenate([[0], np.cumsum(np.bincount(block, weights=corrupted))])
    # A straight line through a block of equal values is the mean over its random orders.
    result = np.interp(shares * len(values), looked_at, found) / found[-1]
    return np.asarray(result, dtype=np.float64)
