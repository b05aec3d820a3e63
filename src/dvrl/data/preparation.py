"""The caller's rows, checked, split and encoded: the first step of every valuation method."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length

from ..numerics.compilation import make_room
from .encoder import FeatureEncoder
from .rows import row_index
from .split import check_validation, hold_out_validation
from .table import Table
from .targets import ClassEncoder, TargetScaler
from .transformer import TransformerEncoder, make_encoder

__all__ = ["Prepared", "all_or_nothing", "prepare"]

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
    encoder : FeatureEncoder or TransformerEncoder
    coder : ClassEncoder or TargetScaler
    every : Table
        All rows that the caller passed for training.
    index : pandas.Index
        Their names.
    train : (n,) int
        The rows of `every` that are trained on: all of them, or those not held out.
    held : (m,) int or None
        The rows held out for validation.
    training, validation : Table
        Of n and m rows.
    """

    encoder: FeatureEncoder | TransformerEncoder
    coder: Any
    every: Table
    index: Any
    train: NDArray[np.intp]
    held: NDArray[np.intp] | None
    training: Table
    validation: Table

    @property
    def labels(self) -> NDArray[Any]:
        """Labels of all rows, as the caller wrote them."""
        assert self.every.labels is not None
        return self.every.labels

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
    encoder: Any = None,
) -> Prepared:
    """Check and encode training and validation rows.

    Parameters
    ----------
    estimator : object
        Its class is named in messages; it is not changed.
    X, y : training rows and labels or targets
    X_val, y_val : validation rows and theirs, or None for both
    task : {"classification", "regression"}
    validation_fraction : float
        Share of the rows held out (stratified by class) where no validation rows are given.
    seed : int
        Of that split.
    encoder : transformer, optional
        The caller's own, in place of ours.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError, TypeError
        For rows that cannot be used.
    """
    make_room()  # every method compiles for what comes out of here
    estimator = copy(estimator)  # which scikit-learn notes the columns on
    given = check_validation(X_val, y_val)
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    rows_encoder = make_encoder(encoder)
    encoded = rows_encoder.fit_encode(X, estimator=estimator)
    check_consistent_length(X, y)
    coder = (ClassEncoder() if task == "classification" else TargetScaler()).fit(y)
    labels = np.asarray(y)
    if labels.ndim == 2:  # a single column, which the coder has accepted with a warning
        y = labels = labels.reshape(-1)
    every = replace(encoded, targets=coder.encode(y), labels=labels)
    held: NDArray[np.intp] | None = None
    train = np.arange(len(every))
    training = every
    if given:
        validation = replace(
            rows_encoder.encode(X_val, estimator=estimator),
            targets=coder.encode(y_val, name="y_val"),
            labels=np.asarray(y_val).reshape(-1),
        )
    else:
        rng = np.random.default_rng(seed)
        train, held = hold_out_validation(labels, validation_fraction, task, rng)
        training, validation = every.take(train), every.take(held)
    return Prepared(
        encoder=rows_encoder,
        coder=coder,
        every=every,
        index=row_index(X),
        train=train,
        held=held,
        training=training,
        validation=validation,
    )
