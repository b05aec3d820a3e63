"""What removing rows by their value does to a predictor, and how many to remove."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.actions.checks import one_value_a_row
from dvrl.data.encoder import encoded_once
from dvrl.numerics.paired import standard_error
from dvrl.predictors.estimators import seeded_copy
from dvrl.predictors.scoring import Scorer, default_scorer, row_scores

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ORDERS", "FractionChoice", "Pruned", "choose_fraction", "prune", "removal_curve"]

ORDERS = ("lowest first", "highest first", "random")
# Scores this near to each other, relative to their size, differ by rounding alone.
ROUNDING = 1e-9
SHARES = tuple(np.round(np.arange(0.0, 0.501, 0.05), 2).tolist())


class Pruned(NamedTuple):
    """Rows that are left, see :func:`prune`.

    Attributes
    ----------
    X, y : like the rows that were passed
    rows : ndarray of int of shape (n_kept,)
        Their positions, ascending.
    """

    X: Any
    y: NDArray[Any]
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class FractionChoice:
    """How many rows to remove, see :func:`choose_fraction`.

    Attributes
    ----------
    fraction : float
        The share to remove, lowest values first.
    best : float
        The share with the best mean score; `fraction` is at most this.
    table : pandas.DataFrame
        Per share: ``removed``, ``score`` (mean), ``behind_best`` (mean difference from the best,
        repeat by repeat) and ``standard_error`` (of that difference).
    """

    fraction: float
    best: float
    table: pd.DataFrame


@dataclass(frozen=True)
class _Repeat:
    """One draw of training rows, of an order among equal values and of a seed."""

    rows: NDArray[np.intp]
    ties: NDArray[np.float64]
    seed: int

    @classmethod
    def draw(cls, n_rows: int, subsample: float, rng: np.random.Generator) -> _Repeat:
        n_drawn = max(1, round(subsample * n_rows))
        return cls(
            rows=np.sort(rng.choice(n_rows, size=n_drawn, replace=False)),
            ties=rng.random(n_drawn),
            seed=int(rng.integers(2**31 - 1)),
        )

    def kept(self, values: NDArray[np.float64], order: str, removed: float) -> NDArray[np.intp]:
        """Rows that are left when a share of this repeat's rows is removed."""
        n_removed = min(round(removed * len(self.rows)), len(self.rows) - 1)
        return np.sort(self.rows[leaving(values[self.rows], self.ties, order)[n_removed:]])


def leaving(values: NDArray[np.float64], ties: NDArray[Any], order: str) -> NDArray[np.intp]:
    """Rows in the order in which they leave; of equal values those of low `ties` go first."""
    keys = {"lowest first": values, "highest first": -values, "random": 0.0 * values}[order]
    return np.lexsort([ties, keys])


def removal_curve(
    values: ArrayLike,
    X: Any,
    y: ArrayLike,
    X_test: Any,
    y_test: ArrayLike,
    *,
    predictor: Any,
    shares: Sequence[float] = SHARES,
    orders: Sequence[str] = ORDERS,
    repeats: int = 5,
    subsample: float = 0.9,
    scorer: Scorer | None = None,
    n_jobs: int | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Score of a predictor while more and more rows are removed by their value.

    Values that say what a row is worth keep the score up when the lowest go first, and bring it
    down when the highest go first; a random order stands between.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values; finite.
    X, y : array-like or frame of shape (n_rows, n_features), array-like of shape (n_rows,)
        Training rows.
    X_test, y_test : like X and y
        Rows that the scores are taken on, and nothing else.
    predictor : scikit-learn estimator
        Trained afresh (cloned) for every point. A ``Pipeline`` is shown the rows as they are, any
        other estimator the encoded rows.
    shares : sequence of float
        Shares of the rows to remove, in [0, 1).
    orders : sequence of {"lowest first", "highest first", "random"}
    repeats : int
        How often the curve is drawn. Every repeat trains on its own random subset of the rows,
        with its own seed of the predictor and its own random order; all its points share them, so
        that orders and shares are compared on the same draw. The spread over repeats shows how
        much the curve owes to single rows and seeds. It is no confidence interval: the subsets
        overlap, and the test rows stay the same.
    subsample : float
        Share of the rows in each repeat, in (0, 1]. With 1 nothing but the random order, the order
        of equal values and the predictor's seed differ.
    scorer : callable, optional
        ``scorer(estimator, X, y)``, higher is better; by default the predictor's ``score``
        (accuracy or R2).
    n_jobs : int, optional
        Fits at once (joblib).
    random_state : int

    Returns
    -------
    pandas.DataFrame
        One row per point: ``order``, ``removed``, ``repeat``, ``score``.

    Raises
    ------
    ValueError
        For values, shares, orders or numbers that cannot be used.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    values, y, y_test = one_value_a_row(values, X=X, y=y), np.asarray(y), np.asarray(y_test)
    shares = _checked_shares(shares)
    unknown = [order for order in orders if order not in ORDERS]
    if unknown or not orders:
        raise ValueError(f"orders is {list(orders)}; use some of {', '.join(ORDERS)}.")
    draws = _draw_repeats(len(y), repeats, subsample, random_state)
    X, X_test = encoded_once(predictor, X, X_test)
    points = list(_points(shares, orders, repeats))
    scores = Parallel(n_jobs=n_jobs)(
        delayed(_score_of)(
            seeded_copy(predictor, draws[point.repeat].seed),
            X,
            y,
            draws[point.repeat].kept(values, point.order, point.removed),
            X_test,
            y_test,
            scorer,
        )
        for point in points
    )
    found = dict(zip(points, scores, strict=True))
    return pd.DataFrame(
        [
            (
                order,
                removed,
                repeat,
                found[_Point(order if removed else orders[0], removed, repeat)],
            )
            for order, removed, repeat in itertools.product(orders, shares, range(repeats))
        ],
        columns=["order", "removed", "repeat", "score"],
    )


def choose_fraction(
    values: ArrayLike,
    X: Any,
    y: ArrayLike,
    X_val: Any,
    y_val: ArrayLike,
    *,
    predictor: Any,
    shares: Sequence[float] = SHARES,
    repeats: int = 20,
    subsample: float = 0.9,
    scorer: Scorer | None = None,
    n_jobs: int | None = None,
    random_state: int = 0,
) -> FractionChoice:
    """Choose how many rows to remove, on validation rows alone.

    The smallest share is taken that is not worse than the best one by more than one standard
    error: rows are removed only where that visibly helps. The standard error is that of the mean
    difference from the best share. It counts what the validation rows leave to chance and what
    the repeats do, each of which trains on a random subset of the training rows, the same for all
    shares.

    The values were learned on validation rows too. Scores on the same rows flatter removal; with
    enough validation rows, choose the fraction on some that the values have not seen.

    Parameters
    ----------
    values, X, y, predictor, shares, subsample, n_jobs, random_state
        As in :func:`removal_curve`.
    scorer : callable, optional
        ``scorer(estimator, X, y)``, higher is better. By default, where the predictor gives
        probabilities, the mean log-probability of the labels at the temperature that suits the
        validation rows best: accuracy on few rows hardly tells shares apart, and without the
        temperature wrong rows would be kept because they make a model less sure of itself. Else
        accuracy or R2.
    X_val, y_val : like X and y
        Validation rows.
    repeats : int
        2 or more.

    Returns
    -------
    FractionChoice

    Raises
    ------
    ValueError
        For values, shares or numbers that cannot be used.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    values, y, y_val = one_value_a_row(values, X=X, y=y), np.asarray(y), np.asarray(y_val)
    shares = sorted(set(_checked_shares(shares)))
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a standard error needs 2 or more.")
    draws = _draw_repeats(len(y), repeats, subsample, random_state)
    samples = _bootstrap_samples(y_val, repeats, predictor, random_state)
    X, X_val = encoded_once(predictor, X, X_val)
    judged = Parallel(n_jobs=n_jobs)(
        delayed(_judged)(
            seeded_copy(predictor, draw.seed),
            X,
            y,
            draw.kept(values, "lowest first", removed),
            X_val,
            y_val,
            scorer,
            sample,
        )
        for removed in shares
        for draw, sample in zip(draws, samples, strict=True)
    )
    scores = np.reshape([each.score for each in judged], (len(shares), repeats))
    details = np.reshape([each.details for each in judged], (len(shares), repeats, -1))
    best = int(scores.mean(axis=1).argmax())
    behind = scores[best] - scores
    of_repeats = np.array([standard_error(each) for each in behind])
    of_rows = _validation_errors(details[best] - details, by_row=judged[0].by_row)
    errors = np.hypot(of_repeats, of_rows)
    rounding = ROUNDING * max(1.0, abs(float(scores[best].mean())))
    chosen = int(np.flatnonzero(behind.mean(axis=1) <= errors + rounding)[0])
    return FractionChoice(
        fraction=float(shares[chosen]),
        best=float(shares[best]),
        table=pd.DataFrame(
            {
                "removed": shares,
                "score": scores.mean(axis=1),
                "behind_best": behind.mean(axis=1),
                "standard_error": errors,
            }
        ),
    )


def prune(values: ArrayLike, X: Any, y: ArrayLike, fraction: float) -> Pruned:
    """Remove the rows of lowest value.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values; finite.
    X, y : array-like or frame of shape (n_rows, n_features), array-like of shape (n_rows,)
        The rows; not changed.
    fraction : float
        Share to remove, in [0, 1); rounded to whole rows. Of equal values, the first rows of the
        table go first.

    Returns
    -------
    Pruned
        ``X``, ``y`` and ``rows`` (positions) of what is left, in the old order.

    Raises
    ------
    ValueError
        For values or a fraction that cannot be used, and where no row would be left.

    Warns
    -----
    DataValuationWarning
        Where every row of a class is removed.

    Examples
    --------
    >>> kept = prune([0.9, 0.1, 0.8, 0.7], [[0], [1], [2], [3]], [0, 0, 1, 1], fraction=0.25)
    >>> kept.rows.tolist(), kept.y.tolist()
    ([0, 2, 3], [0, 1, 1])
    """
    from dvrl.data.rows import take_rows
    from dvrl.exceptions import DataValuationWarning

    values, y = one_value_a_row(values, X=X, y=y), np.asarray(y)
    (fraction,) = _checked_shares([fraction])
    n_removed = round(fraction * len(y))
    if n_removed >= len(y):
        raise ValueError(f"fraction is {fraction}, which leaves no row of {len(y)}; pass less.")
    rows = np.sort(np.argsort(values, kind="stable")[n_removed:])
    if y.dtype.kind in "OUSb":  # classes for certain; numbers may be a target
        lost = sorted(set(y.tolist()) - set(y[rows].tolist()), key=str)
        if lost:
            warnings.warn(
                f"Removing {fraction:.0%} of the rows removes every row labelled "
                f"{', '.join(repr(label) for label in lost)}; remove fewer.",
                DataValuationWarning,
                stacklevel=2,
            )
    return Pruned(take_rows(X, rows), y[rows], rows)


class _Point(NamedTuple):
    order: str
    removed: float
    repeat: int


def _points(shares: Sequence[float], orders: Sequence[str], repeats: int) -> Iterator[_Point]:
    """Every fit that is needed: with nothing removed, all orders are the same one."""
    for order, removed, repeat in itertools.product(orders, shares, range(repeats)):
        if removed or order == orders[0]:
            yield _Point(order, removed, repeat)


def _draw_repeats(n_rows: int, repeats: int, subsample: float, random_state: int) -> list[_Repeat]:
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; pass 1 or more.")
    if not 0.0 < subsample <= 1.0:
        raise ValueError(f"subsample is {subsample}; pass a share of the rows in (0, 1].")
    rng = np.random.default_rng(random_state)
    return [_Repeat.draw(n_rows, subsample, rng) for _ in range(repeats)]


def _bootstrap_samples(
    y_val: NDArray[Any], repeats: int, predictor: Any, random_state: int
) -> list[NDArray[np.intp]]:
    """Rows drawn with replacement; for classes within each, so that none goes missing."""
    from sklearn.base import is_classifier

    rng = np.random.default_rng([random_state, 1])  # not the stream of the training rows
    if is_classifier(predictor):
        _, codes = np.unique(y_val, return_inverse=True)
        groups = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    else:
        groups = [np.arange(len(y_val))]
    return [
        np.concatenate([rng.choice(group, size=len(group)) for group in groups])
        for _ in range(repeats)
    ]


def _score_of(
    model: Any,
    X: Any,
    y: NDArray[Any],
    rows: NDArray[np.intp],
    X_test: Any,
    y_test: NDArray[Any],
    scorer: Scorer | None,
) -> float:
    return float((scorer or default_scorer)(_fitted(model, X, y, rows), X_test, y_test))


class _Judged(NamedTuple):
    """A model's score on the validation rows, and what tells how sure it is.

    `details` are the scores of single rows; or, where the score is no mean over rows, how much
    the score on a bootstrap sample of them differs.
    """

    score: float
    details: NDArray[np.float64]
    by_row: bool


def _judged(
    model: Any,
    X: Any,
    y: NDArray[Any],
    rows: NDArray[np.intp],
    X_val: Any,
    y_val: NDArray[Any],
    scorer: Scorer | None,
    sample: NDArray[np.intp],
) -> _Judged:
    from dvrl.data.rows import take_rows

    fitted = _fitted(model, X, y, rows)
    by_row = row_scores(fitted, X_val, y_val) if scorer is None else None
    if by_row is not None:
        return _Judged(float(by_row.mean()), by_row, True)
    scorer = scorer or default_scorer
    score = float(scorer(fitted, X_val, y_val))
    drawn = float(scorer(fitted, take_rows(X_val, sample), y_val[sample]))
    return _Judged(score, np.array([drawn - score]), False)


def _validation_errors(differences: NDArray[np.float64], *, by_row: bool) -> NDArray[np.float64]:
    """Standard errors (n_shares,) of mean differences of `_Judged.details` by validation rows."""
    if by_row:
        return np.array([standard_error(rows) for rows in differences.mean(axis=1)])
    # Each repeat has a bootstrap sample of its own: their standard deviation is the standard error.
    return np.asarray(differences[:, :, 0].std(axis=1, ddof=1))


def _fitted(model: Any, X: Any, y: NDArray[Any], rows: NDArray[np.intp]) -> Any:
    from sklearn.base import is_classifier
    from sklearn.dummy import DummyClassifier

    from dvrl.data.rows import take_rows

    targets = y[rows]
    if is_classifier(model) and np.all(targets == targets[0]):
        # All that can be learned from a single class is to say it.
        model = DummyClassifier(strategy="most_frequent")
    return model.fit(take_rows(X, rows), targets)


def _checked_shares(shares: Sequence[float]) -> list[float]:
    checked = [float(share) for share in shares]
    if not checked or not all(0.0 <= share < 1.0 for share in checked):
        raise ValueError(f"The shares to remove are {checked}; pass numbers from 0 to below 1.")
    return checked
