"""A linear model on the words of texts, and on the other features beside them."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..predictors.sparse import SparseLinear, cross_fit, fit_sparse
from .base import Floats, State, Weights

__all__ = ["Words"]


class Words:
    """Logistic or ridge regression on sparse words; see :class:`dvrl.references.base.Reference`.

    Its penalty is the one with the least loss out of fold, chosen anew for other weights.
    """

    name: ClassVar[str] = "words"
    keeps_rows: ClassVar[bool] = False

    def __init__(self, *, n_jobs: int | None = None) -> None:
        self.n_fits = 0
        self._penalty, self._sharpness = 1.0, 1.0
        self._model: SparseLinear | None = None

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        found = cross_fit(rows, weights, folds=folds)
        self._penalty, self._sharpness = found.penalty, found.sharpness
        self.n_fits += len(found.losses) * (int(folds.max()) + 1)
        # A strong penalty leaves all probabilities near each other, however sure the words are;
        # nobody could tell the share of wrong labels by them.
        return found.sharpened_scores

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """Fit once more, on all rows."""
        self._model = fit_sparse(rows, weights, penalty=self._penalty).sharpened(self._sharpness)
        self.n_fits += 1

    def scores(self, rows: Table) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._model is not None
        return self._model.scores(rows)

    def state(self) -> State:
        """See :class:`dvrl.references.base.Reference`."""
        assert self._model is not None
        return self._model.state()

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """See :class:`dvrl.references.base.Reference`."""
        reference = cls()
        reference._model = SparseLinear.from_state(record, arrays)
        return reference
