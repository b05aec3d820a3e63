"""LAVA: how much a row adds to the transport distance between training and validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvrl.data.preparation import Prepared

from .base import Outcome, ValuationMethod

__all__ = ["LAVA"]

Values = NDArray[np.float64]


@dataclass(eq=False, repr=False, kw_only=True)
class LAVA(ValuationMethod):
    """Sensitivity of the optimal-transport distance to the weight of each row, with its sign.

    Rows are compared by features and by label: the distance of two labels is the transport
    distance of their rows. The calibrated dual variables of the transport problem say what more
    weight on a row would do (Just et al., "LAVA", ICLR 2023). No model is trained. Needs POT
    (``pip install "dvrl[transport]"``).

    Parameters
    ----------
    label_weight : float, default=1.0
        Of the distance between labels, next to that between features.
    n_label_rows : int, default=300
        Rows of a class that stand for it in distances between labels.
    task, validation_fraction, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    label_weight: float = 1.0
    n_label_rows: int = 300

    def _check(self) -> None:
        if self.label_weight < 0 or self.n_label_rows < 1:
            raise ValueError("label_weight must be 0 or more and n_label_rows 1 or more.")
        _transport()

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        ot = _transport()
        costs = _squared(data.X, data.X_validation)
        if task == "classification":
            labels, own = data.Y.argmax(axis=1), data.Y_validation.argmax(axis=1)
            between = self._label_distances(data, labels, own, np.random.default_rng(seed))
            costs += self.label_weight * between[labels][:, own]
        else:
            costs += self.label_weight * _squared(data.Y, data.Y_validation)
        n, m = costs.shape
        _, log = ot.emd2(
            np.full(n, 1 / n), np.full(m, 1 / m), costs, log=True, return_matrix=True,
            numItermax=10_000_000,
        )  # fmt: skip
        dual = np.asarray(log["u"], dtype=np.float64)
        # Weight moved to a row comes from all others alike.
        others = (dual.sum() - dual) / max(n - 1, 1)
        return Outcome(others - dual)

    def _label_distances(
        self,
        data: Prepared,
        labels: NDArray[np.intp],
        own: NDArray[np.intp],
        rng: np.random.Generator,
    ) -> Values:
        """Transport distances between the training rows of a class and validation rows of one."""
        ot = _transport()
        n_classes = data.Y.shape[1]

        def rows(X: Any, mask: NDArray[np.bool_]) -> Any:
            chosen = np.flatnonzero(mask)
            size = min(len(chosen), self.n_label_rows)
            return X[rng.choice(chosen, size, replace=False)] if size else X[:0]

        sources = [rows(data.X, labels == label) for label in range(n_classes)]
        targets = [rows(data.X_validation, own == label) for label in range(n_classes)]
        between = np.full((n_classes, n_classes), np.nan)
        for i, source in enumerate(sources):
            for j, target in enumerate(targets):
                if len(source) and len(target):
                    between[i, j] = ot.emd2([], [], _squared(source, target))
        # A class without rows is as far from the others as the farthest pair.
        return np.nan_to_num(between, nan=float(np.nanmax(between)))


def _squared(rows: Any, others: Any) -> Values:
    from scipy.spatial.distance import cdist

    # Unlike a matrix product, the same bits wherever the arrays lie in memory.
    return np.asarray(cdist(rows, others, metric="sqeuclidean"))


def _transport() -> Any:
    try:
        import ot
    except ImportError:
        raise ImportError('LAVA needs POT: pip install "dvrl[transport]".') from None
    return ot
