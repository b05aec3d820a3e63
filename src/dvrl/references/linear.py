"""A linear model: all folds and the fit on all rows are weights of one batched fit."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..files.state import expect
from ..numerics.padding import pad, padded_size
from ..predictors.growing import linked
from .base import Floats, State, Weights

__all__ = ["Linear"]

# Stiff: a model that bends to single rows learns wrong labels by heart. Fewer rows than these
# weigh less against the penalty, so it falls with them.
DEFAULT_L2, ROWS_OF_DEFAULT = {True: 100.0, False: 10.0}, 1_400


class Linear:
    """Logistic, softmax or ridge regression; see :class:`dvrl.references.base.Reference`.

    Parameters
    ----------
    l2 : float, optional
        Ridge penalty, ``1 / C`` in scikit-learn's words; 100 for classes, 10 for numbers, less
        for fewer than 1,400 rows.
    """

    name: ClassVar[str] = "linear"
    keeps_rows: ClassVar[bool] = False

    def __init__(self, *, l2: float | None = None, n_jobs: int | None = None) -> None:
        self.l2 = l2
        self.n_fits = 0
        self._weight: NDArray[np.float64] | None = None
        self._bias = np.zeros(0)
        self._n_outputs = 0

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        shares = np.ones(len(rows)) if weights is None else weights
        n_folds = int(folds.max()) + 1
        batch = np.where(folds == np.arange(n_folds)[:, np.newaxis], 0.0, shares)
        weight, bias = self._fit(rows, np.vstack([batch, shares]))
        scores = np.empty((len(rows), self._n_outputs), np.float32)
        for fold in range(n_folds):
            judged = folds == fold
            scores[judged] = self._scored(rows.features[judged], weight[fold], bias[fold])
        return scores

    def fit(self, rows: Table) -> Self:
        """Fit once, on all rows."""
        self._fit(rows, np.ones((1, len(rows))))
        return self

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """See :class:`dvrl.references.base.Reference`; fitted with the folds."""

    def scores(self, rows: Table) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._weight is not None
        return self._scored(rows.features, self._weight, self._bias)

    def state(self) -> State:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._weight is not None
        return {"n_outputs": self._n_outputs}, {"weight": self._weight, "bias": self._bias}

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """See :class:`dvrl.references.base.Reference`."""
        reference = cls()
        reference._n_outputs = int(record["n_outputs"])
        n_raw = 1 if reference._n_outputs <= 2 else reference._n_outputs
        reference._weight = expect(arrays, "weight", (n_features, n_raw))
        reference._bias = expect(arrays, "bias", (n_raw,))
        return reference

    def _fit(
        self, rows: Table, batch: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fit each row of weights; keep the last one."""
        from ..predictors.linear import LinearPredictor

        n, d = rows.features.shape
        self._n_outputs = rows.targets.shape[1]
        n_rows, n_columns = padded_size(n), padded_size(d)
        predictor = LinearPredictor()
        start = predictor.init(np.random.default_rng(0), n_columns, self._n_outputs)
        l2 = self.l2
        if l2 is None:
            l2 = DEFAULT_L2[self._n_outputs > 1] * min(1.0, n / ROWS_OF_DEFAULT)
        fitted = _compiled_fit()(
            predictor,
            start,
            pad(rows.features, n_rows, n_columns),
            pad(rows.targets, n_rows),
            pad(batch.astype(np.float32), len(batch), n_rows),
            np.float32(l2),
        )
        weight, bias = (np.asarray(fitted[name], np.float64) for name in ("weight", "bias"))
        weight = weight[:, :d]
        self._weight, self._bias = weight[-1], bias[-1]
        self.n_fits += len(batch)
        return weight, bias

    def _scored(self, X: Floats, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Floats:
        """Class probabilities, or the predicted scaled target, in double precision."""
        return linked(X.astype(np.float64) @ weight + bias, self._n_outputs).astype(np.float32)


def _compiled_fit() -> Any:
    """The batched fit; compiled once for all references."""
    import jax

    global _fit_all
    if _fit_all is None:
        _fit_all = partial(jax.jit, static_argnames="predictor")(_fit_batch)
    return _fit_all


_fit_all: Any = None


def _fit_batch(predictor: Any, start: Any, X: Any, Y: Any, batch: Any, l2: Any) -> Any:
    return predictor.solve(start, X, Y, batch, None, None, {"l2": l2})
