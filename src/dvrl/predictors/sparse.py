"""Logistic, softmax and ridge regression on the words of texts, and on other features beside them.

The fit minimises ``sum_i w_i loss_i + penalty / 2 * |coefficients|^2``, without a penalty on the
intercept, where a loss is the log-loss of a row or half its squared error. Rows of words have
length 1; the other features, which are standardised, are divided by the root of their number, so
that they have length 1 on average and one penalty fits both.

Everything runs on one thread of BLAS, which makes it the same to the bit on any machine load; the
limit holds for the whole process, so call these functions from one thread at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..data.folds import deal_folds
from ..data.table import Table
from ..files.state import State, expect

__all__ = [
    "PENALTIES",
    "CrossFit",
    "FittedOnWords",
    "SparseLinear",
    "choose_penalty",
    "cross_fit",
    "fit_on_words",
    "fit_sparse",
]

Floats = NDArray[np.float32]
Weights = NDArray[np.floating[Any]]

# Weaker penalties than the last learn wrong labels by heart, and predict clean ones no better.
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
_FOLDS = 5
# More rows than these hardly change which penalty is best.
_ROWS_FOR_PENALTY = 5_000
_TOLERANCE = 1e-5
_MOST_STEPS = 1_000
# A probability below this counts as this: one row must not decide which penalty is best.
_LOWEST_PROBABILITY = 1e-6
_SHARPNESSES = (0.05, 20.0)


class CrossFit(NamedTuple):
    """What cross-fitted models say.

    Attributes
    ----------
    penalty : float
        The one with the smallest loss.
    sharpness : float
        Power to which probabilities at that penalty are best raised (before they are brought to
        a sum of 1 again): above 1 where they are too cautious. 1 in regression.
    scores : (n, c) float32
        At that penalty: each row scored by the model that was fitted without its fold. Not raised
        to any power.
    losses : dict of float to float
        For each penalty, the weighted mean loss of such scores, each at its own best sharpness.
    """

    penalty: float
    sharpness: float
    scores: Floats
    losses: dict[float, float]

    @property
    def sharpened_scores(self) -> Floats:
        """The scores (n, c) float32, raised to the power of `sharpness`; numbers as they are."""
        if self.scores.shape[1] == 1:
            return self.scores
        from scipy.special import softmax

        logarithms = np.log(np.maximum(self.scores, _LOWEST_PROBABILITY))
        return softmax(self.sharpness * logarithms, axis=1).astype(np.float32)


@dataclass(frozen=True)
class SparseLinear:
    """A fitted linear model.

    Attributes
    ----------
    coefficients : (n_plain + v, c) float32
    intercept : (c,) float32
    seen : (c,) bool
        Classes with a row of positive weight; the others get probability 0. Of one class alone,
        each row gets probability 1. All True in regression.
    n_plain : int
        The model sees so many of the features, the first ones, and all words.
    """

    coefficients: Floats
    intercept: Floats
    seen: NDArray[np.bool_]
    n_plain: int

    def scores(self, rows: Table) -> Floats:
        """Predict rows.

        Parameters
        ----------
        rows : Table of n rows

        Returns
        -------
        (n, c) float32
            Class probabilities, or the scaled target.
        """
        sparse_rows = _rows(rows.features, rows.words, self.n_plain)
        raw = np.asarray(sparse_rows @ self.coefficients, np.float64)
        raw += self.intercept
        if len(self.intercept) == 1:
            return raw.astype(np.float32)
        from scipy.special import softmax

        raw[:, ~self.seen] = -np.inf
        return softmax(raw, axis=1).astype(np.float32)

    def sharpened(self, power: float) -> Self:
        """Return a model whose probabilities are these, raised to a power, with a sum of 1."""
        return replace(
            self,
            coefficients=self.coefficients * np.float32(power),
            intercept=self.intercept * np.float32(power),
        )

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        arrays = {"coefficients": self.coefficients, "intercept": self.intercept, "seen": self.seen}
        return {"n_plain": self.n_plain, "n_outputs": len(self.intercept)}, arrays

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        n_outputs = int(record["n_outputs"])
        return cls(
            expect(arrays, "coefficients", (None, n_outputs)),
            expect(arrays, "intercept", (n_outputs,)),
            expect(arrays, "seen", (n_outputs,), None).astype(np.bool_),
            int(record["n_plain"]),
        )


@dataclass(frozen=True)
class FittedOnWords:
    """A linear model of words as a fitted predictor: see :class:`dvrl.predictors.base.Fitted`."""

    model: SparseLinear

    def scores(self, rows: Table) -> Floats:
        """Scores (1, n_rows, n_outputs)."""
        return self.model.scores(rows)[np.newaxis]


def fit_sparse(table: Table, weights: Weights | None = None, *, penalty: float) -> SparseLinear:
    """Fit on weighted rows.

    Parameters
    ----------
    table : Table of n rows
        One-hot targets (n, c), or one column of scaled targets. Its `n_plain` features are used
        beside the words; the components of the words would say the same twice.
    weights : (n,) float, optional
        0 or more; default 1.
    penalty : float
        Positive; ``1 / C`` in scikit-learn's words.

    Returns
    -------
    SparseLinear

    Raises
    ------
    ValueError
        When all weights are 0.
    """
    rows = _rows(table.features, table.words, table.n_plain)
    return _fit_path(rows, table.targets, _checked(weights, len(table)), (penalty,), table.n_plain)[
        0
    ]


def cross_fit(
    table: Table,
    weights: Weights | None = None,
    *,
    folds: NDArray[np.intp],
    penalties: Sequence[float] = PENALTIES,
) -> CrossFit:
    """Score every row by a model fitted without it, at the penalty that does this best.

    Penalties are compared by the log-loss of probabilities that may be sharpened. Without that,
    wrong labels, which make every model too cautious, would ask for too weak a penalty: it makes
    up for some of the caution, and learns the wrong labels.

    Parameters
    ----------
    table, weights
        See `fit_sparse`; two rows or more.
    folds : (n,) int
        The fold of each row, see :func:`dvrl.data.folds.deal_folds`.
    penalties : sequence of float
        Tried in this order, each fit starting where the last one ended; the first of equals wins.

    Returns
    -------
    CrossFit

    Raises
    ------
    ValueError
        When all rows with a weight are in one fold.
    """
    weights = _checked(weights, len(table))
    rows = _rows(table.features, table.words, table.n_plain)
    scores = np.empty((len(penalties), *table.targets.shape), dtype=np.float32)
    for fold in range(folds.max() + 1):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        models = _fit_path(
            rows[inside], table.targets[inside], weights[inside], penalties, table.n_plain
        )
        judged = table.take(outside)
        for number, model in enumerate(models):
            scores[number, outside] = model.scores(judged)
    judge = _squared_error if table.targets.shape[1] == 1 else _sharpened_loss
    judged_at = [judge(out_of_fold, table.targets, weights) for out_of_fold in scores]
    losses = [loss for loss, _ in judged_at]
    best = int(np.argmin(losses))
    return CrossFit(
        penalties[best],
        judged_at[best][1],
        scores[best],
        dict(zip(penalties, losses, strict=True)),
    )


def choose_penalty(
    table: Table,
    weights: Weights | None = None,
    *,
    rng: np.random.Generator,
    penalties: Sequence[float] = PENALTIES,
) -> tuple[float, float]:
    """Return penalty and sharpness of a five-fold `cross_fit` on 5,000 of the rows at most.

    Parameters
    ----------
    table, weights, penalties
        See `cross_fit`.
    rng : numpy.random.Generator
        Draws the rows, and deals them out to folds.

    Returns
    -------
    penalty : float
        For `fit_sparse`.
    sharpness : float
        For `SparseLinear.sharpened`.
    """
    weights = _checked(weights, len(table))
    if len(table) > _ROWS_FOR_PENALTY:
        at = np.sort(rng.choice(len(table), _ROWS_FOR_PENALTY, replace=False))
        table, weights = table.take(at), weights[at]
    folds = deal_folds(table.targets, _FOLDS, rng)
    found = cross_fit(table, weights, folds=folds, penalties=penalties)
    return found.penalty, found.sharpness


def fit_on_words(table: Table, weights: Weights, seed: int) -> FittedOnWords:
    """Fit with the penalty and the sharpness that suit these rows best, see `choose_penalty`."""
    penalty, sharpness = choose_penalty(table, weights, rng=np.random.default_rng(seed))
    return FittedOnWords(fit_sparse(table, weights, penalty=penalty).sharpened(sharpness))


def _rows(features: Floats, words: Any, n_plain: int) -> Any:
    """Other features and words side by side, as one sparse matrix."""
    from scipy import sparse

    # A dense product would depend on the number of threads; a sparse one does not.
    plain = sparse.csr_array(features[:, :n_plain] * np.float32(max(n_plain, 1) ** -0.5))
    return plain if words is None else sparse.hstack([plain, words], format="csr")


def _checked(weights: Weights | None, n: int) -> NDArray[np.float64]:
    return np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)


def _squared_error(
    scores: Floats, targets: Floats, weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Half the weighted mean square of the errors; 1 stands for the sharpness."""
    errors = np.subtract(scores[:, 0], targets[:, 0], dtype=np.float64)
    return 0.5 * float(np.average(errors**2, weights=weights)), 1.0


def _sharpened_loss(
    scores: Floats, targets: Floats, weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Weighted mean log-loss at the best sharpness, and that sharpness."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logarithms = np.log(np.maximum(scores, _LOWEST_PROBABILITY, dtype=np.float64))

    def loss(log_sharpness: float) -> float:
        own = (log_softmax(np.exp(log_sharpness) * logarithms, axis=1) * targets).sum(axis=1)
        return -float(np.average(own, weights=weights))

    found = minimize_scalar(loss, bounds=np.log(_SHARPNESSES), method="bounded")
    return float(found.fun), float(np.exp(found.x))


def _fit_path(
    rows: Any,
    targets: Floats,
    weights: NDArray[np.float64],
    penalties: Sequence[float],
    n_plain: int,
) -> list[SparseLinear]:
    """Fit at each penalty; a fit starts where the last one ended."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    heavy = np.flatnonzero(weights > 0)
    if len(heavy) == 0:
        raise ValueError("All weights are 0; give at least one row a positive weight.")
    rows, targets, weights = rows[heavy].astype(np.float64), targets[heavy], weights[heavy]
    fit = _ridge if targets.shape[1] == 1 else _logistic
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A fit that was stopped early is still a usable model.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(rows, targets, weights, penalties, n_plain)


def _ridge(
    rows: Any,
    targets: Floats,
    weights: NDArray[np.float64],
    penalties: Sequence[float],
    n_plain: int,
) -> list[SparseLinear]:
    from sklearn.linear_model import Ridge

    models = []
    for penalty in penalties:
        ridge = Ridge(alpha=penalty, solver="sparse_cg", tol=_TOLERANCE)
        ridge.fit(rows, targets[:, 0].astype(np.float64), sample_weight=weights)
        models.append(
            SparseLinear(
                np.asarray(ridge.coef_, np.float32)[:, np.newaxis],
                np.array([ridge.intercept_], dtype=np.float32),
                np.ones(1, dtype=bool),
                n_plain,
            )
        )
    return models


def _logistic(
    rows: Any,
    targets: Floats,
    weights: NDArray[np.float64],
    penalties: Sequence[float],
    n_plain: int,
) -> list[SparseLinear]:
    from sklearn.linear_model import LogisticRegression

    classes = targets.argmax(axis=1)
    seen = np.bincount(classes, minlength=targets.shape[1]) > 0
    model = LogisticRegression(tol=_TOLERANCE, max_iter=_MOST_STEPS, warm_start=True)
    models = []
    for penalty in penalties:
        coefficients = np.zeros((rows.shape[1], len(seen)), dtype=np.float32)
        intercept = np.zeros(len(seen), dtype=np.float32)
        if seen.sum() > 1:
            model.set_params(C=1.0 / penalty).fit(rows, classes, sample_weight=weights)
            # Two classes share one set of coefficients: the log-odds of the second.
            columns = np.flatnonzero(seen)[-len(model.coef_) :]
            coefficients[:, columns] = model.coef_.T
            intercept[columns] = model.intercept_
        models.append(SparseLinear(coefficients, intercept, seen, n_plain))
    return models
