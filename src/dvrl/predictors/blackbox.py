"""Anything with `fit(X, y)` and `predict` as a predictor: many independent fits through joblib.

The rewards of several selections are compared with each other, so every fit of a predictor sees
the same random state and has one thread: two fits on the same rows give the same scores, in
whichever process they run.
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BlackBoxPredictor", "FittedBlackBox", "seeded_copy"]

Scorer = Callable[[Any, Any, Any], float]
# More chunks than workers evens out fits of different length; more still would send X more often.
CHUNKS_PER_WORKER = 4
# Rows of at least this weight stand for the rest where a predictor takes no weights.
SELECTED_WEIGHT = 0.5
SMALLEST_REGRESSION_FIT = 2


@dataclass(frozen=True)
class FittedBlackBox:
    """A fitted estimator that answers in scores.

    Attributes
    ----------
    estimator_ : object
        The fitted estimator.
    coder : ClassEncoder or TargetScaler
        The coder that the scores follow.
    """

    estimator_: Any
    coder: Any

    def scores(self, X: Any) -> NDArray[np.float32]:
        """Return scores `(k, n_outputs)` for rows of the kind that the estimator was fitted on."""
        return _scores(self.estimator_, X, self.coder)


class BlackBoxPredictor:
    """Fit copies of an estimator on many selections of rows, or one on weighted rows.

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
        _check_estimator(estimator)
        self.estimator = estimator
        self.coder = coder
        self.n_jobs = n_jobs
        # One number for all fits: selections differ by their rows and by nothing else.
        self.seed = int(np.random.default_rng(random_state).integers(2**31 - 1))

    def course(self) -> dict[str, Any]:
        """What decides the course of a run: see :mod:`dvrl.learning.spec`."""
        return {"estimator": self.estimator, "seed": self.seed}

    def evaluate(
        self,
        X: Any,
        y: ArrayLike,
        subsets: Sequence[NDArray[np.integer[Any]]],
        X_val: Any,
        y_val: ArrayLike,
        scorer: Scorer | None = None,
    ) -> list[NDArray[np.float32] | float | None]:
        """Fit once per subset and say how the validation rows fare.

        Parameters
        ----------
        X : array or frame of n rows
        y : array-like of n labels or targets, as the caller wrote them
        subsets : sequence of integer arrays
            Row positions of each fit.
        X_val : of the kind of `X`, m rows
        y_val : array-like of m labels or targets
        scorer : callable, optional
            `(estimator, X_val, y_val) -> float`.

        Returns
        -------
        list
            Per subset: float32 scores `(m, n_outputs)`, or the scorer's number, or None where no
            fit is possible (no rows, or a single class).

        Raises
        ------
        ValueError, TypeError, RuntimeError
            When a fit fails; the estimator's own error is the cause.
        """
        from joblib import Parallel, delayed, effective_n_jobs

        n_workers = min(effective_n_jobs(self.n_jobs), max(len(subsets), 1))
        task = _Task(
            _single_threaded(seeded_copy(self.estimator, self.seed), keep_chosen=n_workers == 1),
            self.coder,
            scorer,
        )
        y, y_val = np.asarray(y), np.asarray(y_val)
        if n_workers == 1:
            results = _evaluate_chunk(task, X, y, subsets, X_val, y_val)
        else:
            with _one_thread_per_worker():
                chunks = Parallel(n_jobs=self.n_jobs)(
                    delayed(_evaluate_chunk)(task, X, y, chunk, X_val, y_val)
                    for chunk in _chunks(subsets, n_workers * CHUNKS_PER_WORKER)
                )
            results = [result for chunk in chunks for result in chunk]
        for result in results:
            if isinstance(result, _Failure):
                raise result.as_error() from result.cause
        return results

    def fit(self, X: Any, y: ArrayLike, weights: ArrayLike) -> FittedBlackBox:
        """Fit on weighted rows.

        Where the estimator takes no weights, it is fitted on the rows of weight 0.5 and more, and
        on the heaviest row of each class that would be lost. Equal weights mean all rows alike.

        Parameters
        ----------
        X : array or frame of n rows
        y : array-like of n labels or targets
        weights : array-like of float, shape (n,)
            Finite, at least 0.

        Returns
        -------
        FittedBlackBox

        Raises
        ------
        ValueError, TypeError, RuntimeError
            For unusable weights, or when the fit fails; the estimator's own error is the cause.
        """
        y = np.asarray(y)
        weights = _checked_weights(weights, len(y))
        estimator = seeded_copy(self.estimator, self.seed)
        parameter = _weight_parameter(estimator)
        try:
            if parameter is not None:
                estimator.fit(X, y, **{parameter: weights})
            else:
                rows = _heavy_rows(weights, y, self.coder.task)
                estimator.fit(_take(X, rows), y[rows])
        except Exception as error:
            failure = _Failure.of(error, estimator, y, self.coder.task)
            raise failure.as_error() from error
        return FittedBlackBox(estimator, self.coder)


# --- one fit per subset, perhaps in another process --------------------------------------------


@dataclass(frozen=True)
class _Task:
    """What all fits of one call share."""

    estimator: Any
    coder: Any
    scorer: Scorer | None


@dataclass(frozen=True)
class _Failure:
    """An error that travels as a result: joblib would replace the cause of a raised one."""

    message: str
    cause: Exception

    @classmethod
    def of(cls, error: Exception, estimator: Any, y: NDArray[Any], task: str) -> _Failure:
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
) -> NDArray[np.float32] | float | _Failure | None:
    targets = y[rows] if rows.size else y[:0]
    if not _can_be_fitted(targets, task.coder.task):
        return None
    estimator = _copy(task.estimator)
    try:
        estimator.fit(_take(X, rows), targets)
        if task.scorer is None:
            return _scores(estimator, X_val, task.coder)
        return _finite_score(task.scorer(estimator, X_val, y_val), task.scorer)
    except Exception as error:
        return _Failure.of(error, estimator, targets, task.coder.task)


def _can_be_fitted(targets: NDArray[Any], task: str) -> bool:
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


# --- estimators -------------------------------------------------------------------------------


def _check_estimator(estimator: Any) -> None:
    if isinstance(estimator, type):
        raise TypeError(
            f"The predictor is the class {estimator.__name__}; pass an object:"
            f" {estimator.__name__}()."
        )
    if not hasattr(estimator, "fit") or not (
        hasattr(estimator, "predict") or hasattr(estimator, "predict_proba")
    ):
        raise TypeError(
            f"The predictor {estimator!r} needs the methods fit(X, y) and predict or predict_proba."
        )


def _copy(estimator: Any) -> Any:
    """Copy without what was learned; objects that scikit-learn cannot clone are copied whole."""
    from sklearn.base import clone

    if hasattr(estimator, "get_params"):
        return clone(estimator)
    return copy.deepcopy(estimator)


def seeded_copy(estimator: Any, seed: int) -> Any:
    """Copy an estimator and fill its random states."""
    estimator = _copy(estimator)
    # An integer was chosen by the caller and is as deterministic as ours.
    changes = {
        name: seed
        for name, value in _parameters(estimator).items()
        if _last_part(name) == "random_state" and not isinstance(value, int | np.integer)
    }
    return estimator.set_params(**changes) if changes else estimator


def _single_threaded(estimator: Any, *, keep_chosen: bool) -> Any:
    """Take an estimator's threads away; a number that the caller chose may stay."""
    parameters = _parameters(estimator)
    changes: dict[str, int | None] = {}
    for name, value in parameters.items():
        if _last_part(name) != "n_jobs" or (keep_chosen and value is not None):
            continue
        owner = parameters.get(name.removesuffix("n_jobs").removesuffix("__"), estimator)
        # None is one job in scikit-learn, which warns of a number where it has no effect;
        # elsewhere (LightGBM, XGBoost) None is all cores.
        changes[name] = None if _is_of_scikit_learn(owner) else 1
    return estimator.set_params(**changes) if changes else estimator


def _is_of_scikit_learn(estimator: Any) -> bool:
    """Whether the estimator or an ancestor of it is scikit-learn's; its base classes do not count.

    LightGBM and many others inherit from `sklearn.base` and nothing else of scikit-learn.
    """
    modules = {ancestor.__module__ for ancestor in type(estimator).__mro__}
    return any(
        m.startswith("sklearn.") and m.split(".")[1] not in ("base", "utils") for m in modules
    )


def _parameters(estimator: Any) -> dict[str, Any]:
    if not (hasattr(estimator, "get_params") and hasattr(estimator, "set_params")):
        return {}
    return dict(estimator.get_params(deep=True))


def _last_part(name: str) -> str:
    return name.rpartition("__")[2]


def _take(X: Any, rows: NDArray[np.integer[Any]]) -> Any:
    """Take rows of an array or frame; the container stays of its kind."""
    from sklearn.utils import _safe_indexing

    return _safe_indexing(X, rows)


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


def _weight_parameter(estimator: Any) -> str | None:
    """Name of the argument of `fit` that takes weights; None if there is none."""
    import sklearn
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    if not isinstance(estimator, Pipeline):
        return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None
    # With routing switched on, the steps themselves must ask for weights.
    if sklearn.get_config()["enable_metadata_routing"]:
        return None
    name, step = estimator.steps[-1]
    parameter = None if step in (None, "passthrough") else _weight_parameter(step)
    return None if parameter is None else f"{name}__{parameter}"


def _heavy_rows(
    weights: NDArray[np.float64], y: NDArray[Any], task: str
) -> NDArray[np.integer[Any]]:
    """Positions of the rows that stand for the weights, in their order."""
    if task != "classification":
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


# --- predictions to scores ----------------------------------------------------------------------


def _scores(estimator: Any, X: Any, coder: Any) -> NDArray[np.float32]:
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
