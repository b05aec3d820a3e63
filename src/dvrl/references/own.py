"""The caller's own model as a reference."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..predictors.estimators import seeded_copy
from ..predictors.weighted_fit import fit_weighted, takes_weights
from .base import ROWS_PER_BLOCK, Floats, State, Weights, in_parallel

__all__ = ["OwnModel"]


class OwnModel:
    """A scikit-learn classifier or regressor; see :class:`dvrl.references.base.Reference`.

    Parameters
    ----------
    model : estimator
        Cloned for each fit. Sees the encoded features, and the numbers of classes or the scaled
        target. Rows are weighed where its ``fit`` takes ``sample_weight``.
    n_jobs : int or None
        Fits at once; None for one, as in scikit-learn.
    """

    name: ClassVar[str] = "own"
    keeps_rows: ClassVar[bool] = False

    def __init__(self, model: Any, *, n_jobs: int | None = None) -> None:
        self.model = model
        self.n_jobs = 1 if n_jobs is None else n_jobs
        self.n_fits = 0
        self.fitted: Any = None
        self._n_outputs = 0

    @property
    def takes_weights(self) -> bool:
        """Whether the model takes weights of rows."""
        return takes_weights(self.model)

    def check(self, is_classification: bool) -> None:
        """Raise where the model cannot judge labels."""
        if isinstance(self.model, type):
            raise ValueError(
                f"marginal={self.model.__name__} is a class; pass an object, such as "
                f"{self.model.__name__}()."
            )
        if is_classification and not hasattr(self.model, "predict_proba"):
            raise ValueError(
                f"marginal={self.model!r} cannot give class probabilities; pass a model with "
                "predict_proba, for instance wrapped in CalibratedClassifierCV."
            )
        if not hasattr(self.model, "fit") or not hasattr(self.model, "predict"):
            raise ValueError(
                f"marginal={self.model!r} is no estimator; pass a name, or an object with fit and "
                "predict or predict_proba."
            )

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        self._n_outputs = rows.targets.shape[1]
        scores = np.empty((len(rows), self._n_outputs), np.float32)

        def judge(fold: int) -> None:
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            model = self._fit(rows, inside, weights, seed + fold)
            scores[outside] = self._scored(model, rows.features[outside])

        names = range(int(folds.max()) + 1)
        in_parallel(judge, names, self.n_jobs)
        self.n_fits += len(names)
        return scores

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """Fit once more, on all rows."""
        self.fitted = self._fit(rows, np.arange(len(rows)), weights, seed)
        self.n_fits += 1

    def scores(self, rows: Table) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        return self._scored(self.fitted, rows.features)

    def state(self) -> State:
        """See :class:`dvrl.references.base.Reference`; the fitted model is kept beside it."""
        return {"n_outputs": self._n_outputs}, {}

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """See :class:`dvrl.references.base.Reference`; without the fitted model."""
        reference = cls(None)
        reference._n_outputs = int(record["n_outputs"])
        return reference

    def _fit(self, rows: Table, at: NDArray[np.intp], weights: Weights | None, seed: int) -> Any:
        """Fit one clone; where there is only one class or one row, a constant."""
        from sklearn.dummy import DummyClassifier, DummyRegressor

        is_regression = rows.targets.shape[1] == 1
        y = rows.targets[at, 0] if is_regression else rows.targets[at].argmax(axis=1)
        if is_regression and len(at) < 2:
            return DummyRegressor().fit(rows.features[at], y)
        if not is_regression and len(np.unique(y)) < 2:
            return DummyClassifier().fit(rows.features[at], y)
        model = seeded_copy(self.model, seed)
        used = weights[at] if weights is not None and self.takes_weights else None
        return fit_weighted(model, rows.features[at], y, used, classes=not is_regression)

    def _scored(self, model: Any, X: Floats) -> Floats:
        """Scores block by block; classes that the model never saw get 0."""
        scores = np.zeros((len(X), self._n_outputs), np.float32)
        for start in range(0, len(X), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            if self._n_outputs == 1:
                scores[block, :1] = self._checked(model.predict(X[block]), (X[block].shape[0],))
            else:
                said = model.predict_proba(X[block])
                classes = np.asarray(model.classes_, np.intp)
                scores[block, classes] = self._checked(said, (X[block].shape[0], len(classes)))
        return scores

    def _checked(self, said: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """What the caller's model said, after a look at it."""
        found = np.asarray(said, np.float64)
        if found.size == shape[0] and len(shape) == 1:
            found = found.reshape(shape)
        cause = ""
        if found.shape != shape:
            cause = f"gives predictions of shape {found.shape} where {shape} is meant"
        elif not np.isfinite(found).all():
            cause = "predicts NaN or infinite numbers"
        elif len(shape) == 2 and (found.min() < 0 or found.max() > 1 + 1e-6):
            cause = "gives probabilities outside of [0, 1]"
        if cause:
            raise ValueError(f"marginal={self.model!r} {cause}; pass another model.")
        return found if len(shape) == 2 else found[:, np.newaxis]
