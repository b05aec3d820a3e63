"""The interface that every valuation method shares with DVRL."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from dvrl.data.preparation import Prepared, prepare
from dvrl.data.task import resolve_task
from dvrl.learning.settings import DEFAULT_METRICS
from dvrl.numerics.compilation import make_room
from dvrl.numerics.seeds import seed_of

from .utility import Utility

__all__ = ["Deadline", "Outcome", "UtilityMethod", "ValuationMethod"]

Values = NDArray[np.float64]


class Deadline:
    """The end of a time budget in seconds from now; None for no end."""

    def __init__(self, max_seconds: float | None) -> None:
        self.end = None if max_seconds is None else time.perf_counter() + max_seconds

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.end is not None and time.perf_counter() > self.end


class Outcome(NamedTuple):
    """What a method says.

    Attributes
    ----------
    values : (n,) float64
        Of the rows that are trained on; low means suspicious.
    spread : (n,) float64 or None
        Standard error of sampled values.
    n_fits : int
        Predictors fitted.
    details : dict
        Numbers about the run, such as a convergence statistic; ``stopped_early`` where the time
        was up.
    """

    values: Values
    spread: Values | None = None
    n_fits: int = 0
    details: dict[str, Any] = {}  # noqa: RUF012


@dataclass(eq=False, repr=False, kw_only=True)
class ValuationMethod(BaseEstimator):
    """Base of all methods: preparation before, attributes after.

    A method is a dataclass of its parameters and implements `_value`.

    Parameters
    ----------
    task : {"auto", "classification", "regression"}, default="auto"
    validation_fraction : float, default=0.2
        Share of the rows that is held out where `fit` gets no validation rows.
    random_state : int, RandomState or None

    Attributes
    ----------
    data_values_ : ndarray of shape (n_rows,)
        Low means suspicious; the unit depends on the method. NaN for rows that were held out for
        validation.
    data_values_std_ : ndarray of shape (n_rows,)
        Standard error of sampled values, NaN where nothing is sampled.
    validation_indices_ : ndarray of int or None
        Rows held out for validation when `fit` got none.
    n_fits_ : int
        Predictors fitted.
    seconds_ : float
    details_ : dict
        Numbers about the run.
    """

    task: str = "auto"
    validation_fraction: float = 0.2
    random_state: Any = None

    def fit(self, X: Any, y: Any, X_val: Any = None, y_val: Any = None) -> Self:
        """Value the training rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
        X_val : like X, optional
            Clean validation rows. Without them, `validation_fraction` of the rows is held out.
        y_val : array-like, optional

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For input or settings that cannot be used; the message says what to do.
        """
        started = time.perf_counter()
        task = resolve_task(self.task, y)
        self._check_all()
        seed, share = seed_of(self.random_state), self.validation_fraction
        data = prepare(self, X, y, X_val, y_val, task=task, validation_fraction=share, seed=seed)
        return self._fit(data, task, seed, started)

    def fit_prepared(self, data: Prepared, task: str) -> Self:
        """Value rows that are encoded already, such as by a comparison of several methods.

        Parameters
        ----------
        data : Prepared
            With validation rows of the caller's.
        task : {"classification", "regression"}
            That the rows were prepared for.

        Returns
        -------
        self
        """
        started = time.perf_counter()
        self._check_all()
        make_room()
        return self._fit(data, task, seed_of(self.random_state), started)

    def _check_all(self) -> None:
        budget = getattr(self, "max_seconds", None)
        if budget is not None and not budget > 0:
            raise ValueError(f"max_seconds={budget!r} must be greater than 0, or None.")
        self._check()

    def _fit(self, data: Prepared, task: str, seed: int, started: float) -> Self:
        outcome = self._value(data, task, seed)
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = data.encoder.n_features_in_
        if hasattr(data.encoder, "feature_names_in_"):
            self.feature_names_in_ = data.encoder.feature_names_in_
        self.task_, self.validation_indices_, self._index = task, data.held, data.index
        self.data_values_ = np.full(len(data.labels), np.nan)
        self.data_values_[data.train] = outcome.values
        self.data_values_std_ = np.full(len(data.labels), np.nan)
        if outcome.spread is not None:
            self.data_values_std_[data.train] = outcome.spread
        self.n_fits_, self.details_ = outcome.n_fits, outcome.details
        self.seconds_ = time.perf_counter() - started
        return self

    def to_frame(self) -> Any:
        """Return values as a table with the caller's index, like that of DVRL."""
        import pandas as pd

        check_is_fitted(self)
        frame = pd.DataFrame(
            {"data_value": self.data_values_, "data_value_std": self.data_values_std_},
            index=self._index,
        )
        frame["rank"] = frame["data_value"].rank(method="first")
        return frame

    def _check(self) -> None:
        """Check the method's own parameters, before any work."""

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        raise NotImplementedError


@dataclass(eq=False, repr=False, kw_only=True)
class UtilityMethod(ValuationMethod):
    """Base of the methods that ask for the utility of subsets.

    Parameters
    ----------
    predictor : str or object, default="linear"
        As for :class:`dvrl.DVRLClassifier`: ``"linear"``, ``"mlp"``, or any estimator.
    metric : str or callable, default=None
        Utility on the validation rows; the log-likelihood, or the negative squared error.
    n_jobs : int, default=None
        Fits of a black box at once.
    max_seconds : float, default=None
        Stop after this time, with what there is; ``details_`` then has ``stopped_early``.
    task, validation_fraction, random_state
        See :class:`dvrl.methods.base.ValuationMethod`.
    """

    predictor: Any = field(default="linear", kw_only=False)
    metric: Any = None
    n_jobs: int | None = None
    max_seconds: float | None = None
    _tolerance: ClassVar[float | None] = None

    def _utility(self, data: Prepared, task: str, seed: int) -> Utility:
        return Utility(
            data,
            task=task,
            predictor=self.predictor,
            metric=DEFAULT_METRICS[task] if self.metric is None else self.metric,
            n_jobs=self.n_jobs,
            seed=seed,
            tolerance=self._tolerance,
        )
