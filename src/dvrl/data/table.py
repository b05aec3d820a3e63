"""The record of rows that is handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """Encoded rows and their targets.

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
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    words: Any = None
    n_components: int = 0

    @property
    def n_plain(self) -> int:
        """Features that do not come from words: the first ones."""
        return self.features.shape[1] - self.n_components

    def __len__(self) -> int:
        return len(self.features)

    def take(self, at: NDArray[np.intp]) -> Table:
        """Some of the rows, in the order given."""
        return Table(
            self.features[at],
            self.targets[at],
            None if self.words is None else self.words[at],
            self.n_components,
        )

    def and_more(self, other: Table) -> Table:
        """These rows and others below them."""
        words = None
        if self.words is not None:
            from scipy import sparse

            words = sparse.vstack([self.words, other.words], format="csr")
        return Table(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.targets, other.targets]),
            words,
            self.n_components,
        )
