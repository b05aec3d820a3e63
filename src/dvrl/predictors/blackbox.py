"""Anything with `fit(X, y)` and `predict` as a predictor: many independent fits through joblib.

The rewards of several selections are compared with each other, so every fit of a predictor sees
the same random state and has one thread: two fits on the same rows give the same scores, in
whichever process they run.
"""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.rows import take_rows
from ..data.table import Table
from .estimators import check_estimator, copied, drawn_seed, seeded_copy, sees_own, single_threaded
from .weighted_fit import fit_weighted, weighs_rows

__all__ = ["BlackBox", "Failure", "FittedBlackBox", "can_be_fitted", "scores_of_estimator", "shown"]

Scorer = Callable[[Any, Any, Any], float]
# More chunks than workers evens out fits of different length; more still would send X more often.
CHUNKS_PER_WORKER = 4


@dataclass(frozen=True)
class FittedBlackBox:
    """Fitted estimators that answer in scores; see :class:`dvrl.predictors.base.Fitted`.

    Attributes
    ----------
    estimators : tuple
        Of the fits, one for each row of weights.
    coder : ClassEncoder or TargetScaler
        The coder that the scores follow.
    sees : {"own", "features"}
    note : str
        That rows stood for weights, which the estimator does not take; else empty.
    """

    estimators: tuple[Any, ...]
    coder: Any
    sees: str
    note: str = ""

    @property
    def estimator_(self) -> Any:
        """The estimator of the first fit."""
        return self.estimators[0]

    def scores(self, rows: Table) -> NDArray[np.float32]:
        """Scores (k, n_rows, n_outputs)."""
        X = shown(self.sees, rows)
        return np.stack([scores_of_estimator(each, X, self.coder) for each in self.estimators])


def shown(sees: str, rows: Table) -> Any:
    """Rows as a predictor wants them: the caller's own, or the (n, d) matrix."""
    return rows.own if sees == "own" else rows.features


class BlackBox:
    """Fit copies of an estimator on many selections of rows, or on weighted rows.

    Parameters
    ----------
    estimator : object
        Has `fit(X, y)` and `predict` or `predict_proba`. Never fitted itself, only its copies.
    coder : ClassEncoder or TargetScaler
        Fitted on the targets; turns predictions into scores.
    n_jobs : int, optional
        Fits of `evaluate` that run at once, as in joblib; None is 1 outside
        `joblib.parallel_config`. Each of these fits has one thread; only with `n_jobs=1` does a
        number of jobs that the estimator was given stay.
    random_state : int or numpy.random.Generator, optional
        Fills each `random_state` of the estimator that holds no integer, for all fits alike.

    Attributes
    ----------
    sees : {"own", "features"}
        A pipeline is shown the caller's own rows, any other estimator the encoded matrix.

    Raises
    ------
    TypeError
        When the estimator cannot be used.
    """

    def __init__(
        self,
        estimator: Any,
        coder: Any,
        *,
        n_jobs: int | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        check_estimator(estimator)
        self.estimator = estimator
        self.coder = coder
        self.n_jobs = n_jobs
        self.sees = "own" if sees_own(estimator) else "features"
        # One number for all fits: selections differ by their rows and by nothing else.
        self.seed = drawn_seed(random_state)

    def course(self) -> dict[str, Any]:
        """What decides the course of a run: see :mod:`dvrl.learning.spec`."""
        return {"estimator": self.estimator, "seed": self.seed}

    def evaluate(
        self,
        rows: Table,
        subsets: Sequence[NDArray[np.integer[Any]]],
        scored: Table,
        scorer: Scorer | None = None,
    ) -> list[Any]:
        """Fit once per subset and say how other rows fare.

        Parameters
        ----------
        rows : Table of n rows
        subsets : sequence of integer arrays
            Row positions of each fit.
        scored : Table of m rows
        scorer : callable, optional
            `(estimator, X, y) -> float`.

        Returns
        -------
        list
            Per subset: float32 scores `(m, n_outputs)`, or the scorer's number, or None where no
            fit is possible (no rows, or a single class), or a Failure.
        """
        from joblib import Parallel, delayed, effective_n_jobs

        n_workers = min(effective_n_jobs(self.n_jobs), max(len(subsets), 1))
        task = _Task(
            single_threaded(seeded_copy(self.estimator, self.seed), keep_chosen=n_workers == 1),
            self.coder,
            scorer,
        )
        arguments = (shown(self.sees, rows), np.asarray(rows.labels))
        judged_on = (shown(self.sees, scored), np.asarray(scored.labels))
        if n_workers == 1:
            return _evaluate_chunk(task, *arguments, subsets, *judged_on)
        with _one_thread_per_worker():
            chunks = Parallel(n_jobs=self.n_jobs)(
                delayed(_evaluate_chunk)(task, *arguments, chunk, *judged_on)
                for chunk in _chunks(subsets, n_workers * CHUNKS_PER_WORKER)
            )
        return [result for chunk in chunks for result in chunk]

    def fit(
        self, rows: Table, weights: NDArray[np.floating[Any]], *, seed: int | None = None
    ) -> FittedBlackBox:
        """Fit on weighted rows: see :func:`dvrl.predictors.weighted_fit.fit_weighted`.

        Parameters
        ----------
        rows : Table of n rows
        weights : (k, n) float
            Finite, at least 0, for each of k fits.
        seed : int, optional
            Not used: all fits have the random state of this object.

        Returns
        -------
        FittedBlackBox

        Raises
        ------
        ValueError, TypeError, RuntimeError
            For unusable weights, or when the fit fails; the estimator's own error is the cause.
        """
        X, y = shown(self.sees, rows), np.asarray(rows.labels)
        classes = self.coder.task == "classification"
        estimators = []
        for each in weights:
            estimator = seeded_copy(self.estimator, self.seed)
            try:
                fit_weighted(estimator, X, y, each, classes=classes)
            except Exception as error:
                failure = Failure.of(error, estimator, y, self.coder.task)
                raise failure.as_error() from error
            estimators.append(estimator)
        note = weighs_rows(self.estimator, y, weights[0], classes=classes)
        return FittedBlackBox(tuple(estimators), self.coder, self.sees, note)


# --- one fit per subset, perhaps in another process --------------------------------------------


@dataclass(frozen=True)
class _Task:
    """What all fits of one call share."""

    estimator: Any
    coder: Any
    scorer: Scorer | None


@dataclass(frozen=True)
class Failure:
    """An error that travels as a result: joblib would replace the cause of a raised one."""

    message: str
    cause: Exception

    @classmethod
    def of(cls, error: Exception, estimator: Any, y: NDArray[Any], task: str) -> Failure:
        """What happened to an estimator, on which rows."""
        description = f"{len(y)} rows"
        if task == "classification":
            labels, counts = np.unique(y, return_counts=True)
            pairs = zip(labels.tolist(), counts.tolist(), strict=True)
            description += f" (class counts {', '.join(f'{k!r}: {n}' for k, n in pairs)})"
        message = (
            f"{type(estimator).__name__} failed on {description}: {type(error).__name__}: {error}"
        )
        return cls(message, _picklable(error))

    def as_error(self) -> Exception:
        """An error of the cause's kind, with the message."""
        kinds = (ValueError, TypeError)
        kind = next((k for k in kinds if isinstance(self.cause, k)), RuntimeError)
        return kind(self.message)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _evaluate_chunk(
    task: _Task,
    X: Any,
    y: NDArray[Any],
    subsets: Sequence[NDArray[np.integer[Any]]],
    X_val: Any,
    y_val: NDArray[Any],
) -> list[Any]:
    """Evaluate some subsets one after the other, with one BLAS and OpenMP thread.

    The order in which threads add numbers decides the last bits of the scores. Small fits gain
    nothing from threads either, and lose tenfold where other work keeps the cores busy.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return [_evaluate_subset(task, X, y, np.asarray(rows), X_val, y_val) for rows in subsets]


def _evaluate_subset(
    task: _Task,
    X: Any,
    y: NDArray[Any],
    rows: NDArray[np.integer[Any]],
    X_val: Any,
    y_val: NDArray[Any],
) -> NDArray[np.float32] | float | Failure | None:
    targets = y[rows] if rows.size else y[:0]
    if not can_be_fitted(targets, task.coder.task):
        return None
    estimator = copied(task.estimator)
    try:
        estimator.fit(take_rows(X, rows), targets)
        if task.scorer is None:
            return scores_of_estimator(estimator, X_val, task.coder)
        return _finite_score(task.scorer(estimator, X_val, y_val), task.scorer)
    except Exception as error:
        return Failure.of(error, estimator, targets, task.coder.task)


def can_be_fitted(targets: NDArray[Any], task: str) -> bool:
    """Whether there is anything to learn: rows, and of classes more than one."""
    if task == "classification":
        return bool(len(targets) and np.any(targets != targets[0]))
    return len(targets) > 0


def _finite_score(score: Any, scorer: Scorer) -> float:
    number = float(score)
    if not math.isfinite(number):
        raise ValueError(
            f"the scorer {scorer!r} returned {number}; use a metric that is defined on these"
            " validation rows, or other validation rows"
        )
    return number


def _chunks(items: Sequence[Any], n_chunks: int) -> list[Sequence[Any]]:
    bounds = np.linspace(0, len(items), min(n_chunks, len(items)) + 1).astype(int)
    return [items[a:b] for a, b in itertools.pairwise(bounds)]


def _one_thread_per_worker() -> AbstractContextManager[Any]:
    """Keep joblib's own processes from starting one OpenMP thread per core each."""
    from joblib import parallel_config
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    # A backend that the caller chose (threads, Dask, Ray) is left alone.
    if type(backend).__name__ != "LokyBackend":
        return nullcontext()
    context: AbstractContextManager[Any] = parallel_config(backend="loky", inner_max_num_threads=1)
    return context


# --- predictions to scores ----------------------------------------------------------------------


def scores_of_estimator(estimator: Any, X: Any, coder: Any) -> NDArray[np.float32]:
    """Class probabilities or scaled targets (n_rows, n_outputs) that an estimator predicts."""
    if coder.task == "classification":
        scores = _class_scores(estimator, X, np.asarray(coder.classes_))
    else:
        prediction = np.asarray(estimator.predict(X), dtype=np.float64)
        scores = (prediction.reshape(len(prediction), -1)[:, :1] - coder.center) / coder.scale
    if not np.all(np.isfinite(scores)):
        raise ValueError(
            "its predictions hold NaN or infinite numbers; check the predictor's settings and the"
            " scale of the features"
        )
    return scores.astype(np.float32)


def _class_scores(estimator: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities with one column per class of the coder; 0 for classes not seen in the fit."""
    columns = {label: column for column, label in enumerate(classes.tolist())}
    seen = np.asarray(getattr(estimator, "classes_", classes)).tolist()
    probability = _probability(estimator, X, len(seen))
    if probability is None:
        return _one_hot(np.asarray(estimator.predict(X)).ravel().tolist(), columns)
    scores = np.zeros((probability.shape[0], len(columns)))
    scores[:, [columns[label] for label in seen]] = probability
    return scores


def _probability(estimator: Any, X: Any, n_classes: int) -> NDArray[np.float64] | None:
    """Probabilities of the classes that the estimator knows; None if it has only labels to give."""
    if hasattr(estimator, "predict_proba"):
        probability = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        if probability.ndim != 2 or probability.shape[1] != n_classes:
            raise ValueError(
                f"predict_proba returned shape {probability.shape} for {n_classes} classes; it must"
                " have one column for each"
            )
        return probability
    if hasattr(estimator, "decision_function"):
        decision = np.asarray(estimator.decision_function(X), dtype=np.float64)
        if decision.ndim == 1 and n_classes == 2:
            # The softmax of (0, z) is the sigmoid of z.
            decision = np.column_stack([np.zeros_like(decision), decision])
        # Another shape: one column per pair of classes, which says less than the labels.
        if decision.ndim == 2 and decision.shape[1] == n_classes:
            exponential = np.exp(decision - decision.max(axis=1, keepdims=True))
            softmax: NDArray[np.float64] = exponential / exponential.sum(axis=1, keepdims=True)
            return softmax
    return None


def _one_hot(labels: list[Any], columns: dict[Any, int]) -> NDArray[np.float64]:
    scores = np.zeros((len(labels), len(columns)))
    scores[np.arange(len(labels)), [columns[label] for label in labels]] = 1.0
    return scores
