"""Whether the validation labels follow the rules that the training rows alone teach.

Rewards cannot show that validation labels are wrong: they are counted on the same labels. A model
of the training rows can: wrong as some training labels may be, labels of validation rows that are
thought clean should agree with it at least as well as training labels do out of sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LabelFit", "label_fit"]

# More rows would sharpen the comparison little, and a fit costs their number to the third power.
MOST_ROWS = 2_000
RIDGE_PER_ROW = (0.003, 0.03, 0.3, 3.0)
# Absolute errors beyond this quantile count as much as it: a few far targets decide nothing.
LARGEST_ERROR_QUANTILE = 0.9
FEWEST_ROWS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelFit:
    """How well labels agree with a model of the training rows; higher is better.

    For classes the mean score of the row's own label, for numbers the mean absolute error, capped
    and with a minus.

    Attributes
    ----------
    expected : float
        Of training labels, out of sample; for classes with those of the validation rows.
    found : float
        Of the validation labels.
    chance : float
        Of the validation labels, had they nothing to do with their rows.
    standard_error : float
        Of ``expected - found``.
    """

    expected: float
    found: float
    chance: float
    standard_error: float


def label_fit(
    X: ArrayLike, Y: ArrayLike, X_val: ArrayLike, Y_val: ArrayLike, *, classification: bool
) -> LabelFit | None:
    """Compare validation labels with what a ridge regression on the training rows expects.

    Its errors on the training rows are those of leaving out one row, which a ridge regression has
    in closed form; the penalty is the one with the least of them. Of more than 2,000 rows as many
    are drawn, the same on each call.

    Parameters
    ----------
    X : array-like of float, shape (n, d)
    Y : array-like of float, shape (n, c)
        One-hot rows, or one column of targets.
    X_val : array-like of float, shape (m, d)
    Y_val : array-like of float, shape (m, c)
    classification : bool

    Returns
    -------
    LabelFit or None
        None for fewer than 5 training or validation rows.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 100)[:, np.newaxis]
    >>> Y = np.hstack([X < 0, X >= 0])
    >>> swapped = label_fit(X, Y, X, 1 - Y, classification=True)
    >>> swapped.expected > 0.8, swapped.found < 0.2
    (True, True)
    """
    X, Y = _some_rows(X, Y)
    X_val, Y_val = _some_rows(X_val, Y_val)
    if min(len(X), len(X_val)) < FEWEST_ROWS:
        return None
    scores, scores_val = _ridge_scores(X, Y, X_val)
    if classification:
        return _fit_of_classes(Y, scores, Y_val, scores_val)
    return _fit_of_numbers(Y[:, 0], scores[:, 0], Y_val[:, 0], scores_val[:, 0])


def _fit_of_classes(Y: Floats, scores: Floats, Y_val: Floats, scores_val: Floats) -> LabelFit:
    """Class by class, so that other class frequencies in the validation rows change nothing."""
    own, own_val = (Y * scores).sum(axis=1), (Y_val * scores_val).sum(axis=1)
    counts = Y.sum(axis=0)
    means = np.where(counts > 0, Y.T @ own / np.maximum(counts, 1), own.mean())
    deviation = own - Y @ means
    share = Y_val.mean(axis=0)
    variance = (own_val - Y_val @ means).var() / len(own_val) + (
        share**2 / np.maximum(counts, 1) * deviation.var()
    ).sum()
    return LabelFit(
        expected=float(share @ means),
        found=float(own_val.mean()),
        chance=float(share @ scores_val.mean(axis=0)),
        standard_error=float(np.sqrt(variance)),
    )


def _fit_of_numbers(y: Floats, scores: Floats, y_val: Floats, scores_val: Floats) -> LabelFit:
    error, error_val = np.abs(y - scores), np.abs(y_val - scores_val)
    unrelated = np.abs(y_val[:, np.newaxis] - scores_val)
    cap = np.quantile(error, LARGEST_ERROR_QUANTILE)
    error, error_val, unrelated = (np.minimum(each, cap) for each in (error, error_val, unrelated))
    return LabelFit(
        expected=float(-error.mean()),
        found=float(-error_val.mean()),
        chance=float(-unrelated.mean()),
        standard_error=float(np.sqrt(error.var() / len(error) + error_val.var() / len(error_val))),
    )


def _ridge_scores(X: Floats, Y: Floats, X_val: Floats) -> tuple[Floats, Floats]:
    """Scores of the training rows, each left out, and of the validation rows."""
    center, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale == 0] = 1.0
    X, X_val = (X - center) / scale, (X_val - center) / scale
    mean = Y.mean(axis=0)
    targets = Y - mean
    n, d = X.shape
    if d <= n:
        squares, vectors = np.linalg.eigh(X.T @ X)
        squares = np.maximum(squares, 0.0)
        inner, inner_val = X @ vectors, X_val @ vectors
    else:
        squares, vectors = np.linalg.eigh(X @ X.T)
        squares = np.maximum(squares, 0.0)
        roots = np.sqrt(squares)
        inner = vectors * roots
        inner_val = X_val @ X.T @ vectors / np.maximum(roots, 1e-9 * roots.max() + 1e-12)
    projected = inner.T @ targets
    best, least = (targets, inner_val @ projected), np.inf
    for ridge in RIDGE_PER_ROW:
        shrunk = 1.0 / (squares + ridge * n)
        coefficients = shrunk[:, np.newaxis] * projected
        leverage = 1.0 / n + inner**2 @ shrunk
        left_out = (targets - inner @ coefficients) / (1.0 - leverage)[:, np.newaxis]
        if (error := float((left_out**2).mean())) < least:
            best, least = (Y - left_out, inner_val @ coefficients + mean), error
    return best


def _some_rows(X: ArrayLike, Y: ArrayLike) -> tuple[Floats, Floats]:
    rows, targets = np.asarray(X), np.asarray(Y)
    if len(rows) > MOST_ROWS:
        drawn = np.sort(np.random.default_rng(0).choice(len(rows), MOST_ROWS, replace=False))
        rows, targets = rows[drawn], targets[drawn]
    return rows.astype(np.float64), targets.astype(np.float64)
