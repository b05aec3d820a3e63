"""The record of rows that is handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import stack_rows, take_rows

__all__ = ["Table"]

_NUMBER = "n_components"


@dataclass(frozen=True)
class Table:
    """Rows of any kind: as the caller wrote them, and encoded.

    Attributes
    ----------
    features : (n, d) float32
        What the data value estimator and the references see.
    targets : (n, c) float32
        One-hot rows, or one scaled column; (n, 0) where they are not known.
    words : (n, v) scipy.sparse.csr_array of float32, or None
        Terms of text columns, no row longer than 1; None without text.
    n_components : int
        So many of the features, the last ones, sum up the words.
    own : array-like or frame of n rows, or None
        As the caller wrote them: what pipelines and networks see.
    labels : (n,) array or None
        Labels or targets as the caller wrote them.
    weight : (n,) float32 or None
        Of reward rows; None where all weigh 1.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    words: Any = None
    n_components: int = 0
    own: Any = None
    labels: NDArray[Any] | None = None
    weight: NDArray[np.float32] | None = None

    @property
    def n_plain(self) -> int:
        """Features that do not come from words: the first ones."""
        return self.features.shape[1] - self.n_components

    def __len__(self) -> int:
        return len(self.features)

    @property
    def weights(self) -> NDArray[np.float32]:
        """Weights (n,) of the rows, ones where none were given."""
        return np.ones(len(self), np.float32) if self.weight is None else self.weight

    def encoded(self) -> Table:
        """The same rows without what the caller wrote."""
        return replace(self, own=None, labels=None)

    def take(self, at: NDArray[Any]) -> Table:
        """Some of the rows, in the order given."""
        return Table(
            **{
                name: part if name == _NUMBER or part is None else take_rows(part, at)
                for name, part in self._parts().items()
            }
        )

    def and_more(self, other: Table) -> Table:
        """These rows and others below them."""
        below = other._parts()
        return Table(
            **{
                name: part if name == _NUMBER or part is None else stack_rows(part, below[name])
                for name, part in self._parts().items()
            }
        )

    def _parts(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
