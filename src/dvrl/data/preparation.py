"""The caller's rows, checked, split and encoded: the first step of every valuation method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length

from ..numerics.compilation import make_room
from .encoder import FeatureEncoder
from .rows import row_index, stack_rows, take_rows
from .split import check_validation, hold_out_validation
from .table import Table
from .targets import ClassEncoder, TargetScaler

__all__ = ["Prepared", "WeightedRows", "all_or_nothing", "prepare", "shown"]

Floats = NDArray[np.float32]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Estimator = TypeVar("Estimator")


def all_or_nothing(
    fit: Callable[Concatenate[Estimator, Arguments], Result],
) -> Callable[Concatenate[Estimator, Arguments], Result]:
    """Decorate `fit`: if it fails or is interrupted, the estimator is what it was before."""

    @wraps(fit)
    def whole(self: Estimator, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return whole


@dataclass(frozen=True)
class Prepared:
    """Encoded rows, and the caller's own beside them.

    Attributes
    ----------
    encoder : FeatureEncoder
    coder : ClassEncoder or TargetScaler
    every : Table
        All rows that the caller passed for training.
    labels : (n_rows,) array
        Their labels, as the caller wrote them.
    index : pandas.Index
        Their names.
    train : (n,) int
        The rows of `every` that are trained on: all of them, or those not held out.
    held : (m,) int or None
        The rows held out for validation.
    training, validation : Table
        Of n and m rows.
    own_X, own_y, own_X_validation, own_y_validation
        The same rows as the caller wrote them.
    """

    encoder: FeatureEncoder
    coder: Any
    every: Table
    labels: NDArray[Any]
    index: Any
    train: NDArray[np.intp]
    held: NDArray[np.intp] | None
    training: Table
    validation: Table
    own_X: Any
    own_y: NDArray[Any]
    own_X_validation: Any
    own_y_validation: NDArray[Any]

    @property
    def X(self) -> Floats:
        """Features (n, d) of the training rows."""
        return self.training.features

    @property
    def Y(self) -> Floats:
        """Targets (n, c) of the training rows."""
        return self.training.targets

    @property
    def X_validation(self) -> Floats:
        """Features (m, d) of the validation rows."""
        return self.validation.features

    @property
    def Y_validation(self) -> Floats:
        """Targets (m, c) of the validation rows."""
        return self.validation.targets

    @property
    def own_rows(self) -> tuple[Any, NDArray[Any], Any, NDArray[Any]]:
        """The caller's training rows and labels, and validation rows and labels."""
        return self.own_X, self.own_y, self.own_X_validation, self.own_y_validation


@dataclass(frozen=True)
class WeightedRows:
    """Rows for a final fit.

    Attributes
    ----------
    X : array-like or frame
        As the caller wrote them.
    y : (n,) array
    table : Table
        The same rows encoded.
    weights : (n,) float32
    """

    X: Any
    y: NDArray[Any]
    table: Table
    weights: Floats

    def and_more(self, other: WeightedRows) -> WeightedRows:
        """These rows and others below them."""
        return WeightedRows(
            stack_rows(self.X, other.X),
            np.concatenate([self.y, other.y]),
            self.table.and_more(other.table),
            np.concatenate([self.weights, other.weights]),
        )


def shown(sees: str, own: Any, table: Table) -> Any:
    """Rows as a predictor wants them.

    Parameters
    ----------
    sees : {"own", "features", "words"}
    own : array-like or frame
        As the caller wrote them.
    table : Table
        The same rows encoded.

    Returns
    -------
    array-like, frame or Table
        The caller's rows, the (n, d) matrix, or the whole table.
    """
    return {"own": own, "features": table.features, "words": table}[sees]


def prepare(
    estimator: Any,
    X: Any,
    y: Any,
    X_val: Any,
    y_val: Any,
    *,
    task: str,
    validation_fraction: float,
    seed: int,
) -> Prepared:
    """Check and encode training and validation rows.

    Parameters
    ----------
    estimator : object
        Named in messages; its ``n_features_in_`` and ``feature_names_in_`` are set.
    X, y : training rows and labels or targets
    X_val, y_val : validation rows and theirs, or None for both
    task : {"classification", "regression"}
    validation_fraction : float
        Share of the rows held out (stratified by class) where no validation rows are given.
    seed : int
        Of that split.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError, TypeError
        For rows that cannot be used.
    """
    make_room()  # every method compiles for what comes out of here
    given = check_validation(X_val, y_val)
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    encoder = FeatureEncoder()
    encoded = encoder.fit_encode(X, estimator=estimator)
    check_consistent_length(X, y)
    coder = (ClassEncoder() if task == "classification" else TargetScaler()).fit(y)
    labels = np.asarray(y)
    if labels.ndim == 2:  # a single column, which the coder has accepted with a warning
        y = labels = labels.reshape(-1)
    every = replace(encoded, targets=coder.encode(y))
    held: NDArray[np.intp] | None = None
    train = np.arange(len(every))
    if given:
        own_X, own_X_validation = X, X_val
        own_y_validation = np.asarray(y_val).reshape(-1)
        validation = encoder.encode(X_val, estimator=estimator)
        validation = replace(validation, targets=coder.encode(y_val, name="y_val"))
    else:
        rng = np.random.default_rng(seed)
        train, held = hold_out_validation(labels, validation_fraction, task, rng)
        own_X = take_rows(X, train)
        own_X_validation, own_y_validation = take_rows(X, held), labels[held]
        validation = every.take(held)
    return Prepared(
        encoder=encoder,
        coder=coder,
        every=every,
        labels=labels,
        index=row_index(X),
        train=train,
        held=held,
        training=every.take(train),
        validation=validation,
        own_X=own_X,
        own_y=labels[train],
        own_X_validation=own_X_validation,
        own_y_validation=own_y_validation,
    )
