"""Rows of two domains: checked, encoded once for both, in the container that a predictor wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from ..data.encoder import FeatureEncoder
from ..data.rows import n_rows, stack_rows

__all__ = ["RowEncoder", "Rows", "check_labels"]

# Columns of the dense stand-in for a sparse matrix that the data value estimator is shown.
N_COMPONENTS = 100


@dataclass(frozen=True)
class Rows:
    """The same rows in two forms.

    Attributes
    ----------
    own : array, sparse matrix or frame of shape (n, n_features)
        What predictors are fitted on.
    matrix : ndarray or sparse matrix of shape (n, d)
        What the domain classifier is fitted on.
    dense : float32 of shape (n, k)
        What the data value estimator is shown.
    """

    own: Any
    matrix: Any
    dense: NDArray[np.float32]

    def take(self, indices: NDArray[np.intp]) -> Rows:
        """Some of the rows, by position."""
        from ..data.rows import take_rows

        own = take_rows(self.own, indices)
        matrix = own if self.matrix is self.own else take_rows(self.matrix, indices)
        dense = matrix if self.dense is self.matrix else self.dense[indices]
        return Rows(own, matrix, dense)

    def __len__(self) -> int:
        return n_rows(self.own)


class RowEncoder:
    """Encode the rows of both domains; fitted on both, without their labels.

    Parameters
    ----------
    original : bool
        Whether predictors see the caller's rows (a pipeline brings its own encoding) rather than
        the encoded matrix. Sparse matrices are never encoded.
    seed : int
    """

    def __init__(self, original: bool, seed: int) -> None:
        self.original = original
        self.seed = seed

    def fit(self, X_source: Any, X_target: Any, estimator: Any) -> tuple[Rows, Rows]:
        """Learn the encoding and return the rows of both domains.

        Raises
        ------
        ValueError, TypeError
            For rows that cannot be used, or columns that differ between the domains.
        """
        self.sparse = hasattr(X_source, "tocsr")
        if self.sparse != hasattr(X_target, "tocsr"):
            raise ValueError(
                "One of X_source and X_target is a sparse matrix and the other is not; "
                "pass both in the same form."
            )
        if self.sparse:
            return self._fit_sparse(X_source, X_target, estimator)
        _check_same_columns(X_source, X_target)
        _check_some_rows(X_source, X_target)
        self.columns = list(X_source.columns) if hasattr(X_source, "columns") else None
        both = stack_rows(X_source, X_target)
        self.encoder = FeatureEncoder()
        matrix = self.encoder.fit_transform(both, estimator=estimator)
        n = n_rows(X_source)
        return self._rows(X_source, matrix[:n]), self._rows(X_target, matrix[n:])

    def _fit_sparse(self, X_source: Any, X_target: Any, estimator: Any) -> tuple[Rows, Rows]:
        from sklearn.decomposition import TruncatedSVD

        _check_some_rows(X_source, X_target)
        source, target = _checked_sparse(X_source), _checked_sparse(X_target)
        if source.shape[1] != target.shape[1]:
            raise ValueError(
                f"X_source has {source.shape[1]} columns and X_target {target.shape[1]}; "
                "encode both with the same fitted vectorizer."
            )
        estimator.n_features_in_ = source.shape[1]
        both = stack_rows(source, target)
        n_components = min(N_COMPONENTS, min(both.shape) - 1)
        self.reducer = (
            TruncatedSVD(n_components, random_state=self.seed).fit(both)
            if n_components >= 1
            else None
        )
        if self.reducer is not None:
            # The first component gets a root mean square of 1, the others keep their proportion.
            self.unit = max(float(self.reducer.singular_values_[0]), 1e-12) / both.shape[0] ** 0.5
        return self._sparse_rows(source), self._sparse_rows(target)

    def transform(self, X: Any, estimator: Any) -> Rows:
        """Encode rows that were not part of the fit."""
        if not self.sparse:
            return self._rows(X, self.encoder.transform(X, estimator=estimator))
        rows = _checked_sparse(X)
        if rows.shape[1] != estimator.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but {type(estimator).__name__} is expecting "
                f"{estimator.n_features_in_} features as input."
            )
        return self._sparse_rows(rows)

    def _rows(self, X: Any, matrix: NDArray[np.float32]) -> Rows:
        if not self.original:
            return Rows(matrix, matrix, matrix)
        if self.columns is None:
            return Rows(np.asarray(X), matrix, matrix)
        # A pipeline may go by the position of columns.
        return Rows(X[self.columns], matrix, matrix)

    def _sparse_rows(self, rows: Any) -> Rows:
        if self.reducer is None:
            dense = rows.toarray().astype(np.float32)
        else:
            reduced = self.reducer.transform(rows)
            dense = (reduced / self.unit).astype(np.float32)
        return Rows(rows, rows, dense)


def _checked_sparse(X: Any) -> Any:
    return check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])


def _check_some_rows(X_source: Any, X_target: Any) -> None:
    for name, rows in (("X_source", X_source), ("X_target", X_target)):
        if n_rows(rows) == 0:
            raise ValueError(f"{name} has no rows; adaptation needs labelled rows of both domains.")


def _check_same_columns(X_source: Any, X_target: Any) -> None:
    if hasattr(X_source, "columns") != hasattr(X_target, "columns"):
        raise ValueError(
            "One of X_source and X_target is a frame and the other is not; pass both in the same "
            "form."
        )
    if hasattr(X_source, "columns"):
        missing = [str(name) for name in X_source.columns if name not in list(X_target.columns)]
        extra = [str(name) for name in X_target.columns if name not in list(X_source.columns)]
        if missing or extra:
            raise ValueError(
                f"The columns of the two domains differ: X_target lacks {missing or 'none'} and "
                f"X_source lacks {extra or 'none'}; pass the same features for both."
            )
        return
    shapes = [np.shape(rows) for rows in (X_source, X_target)]
    if all(len(shape) == 2 for shape in shapes) and shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"X_source has {shapes[0][1]} columns and X_target {shapes[1][1]}; pass the same "
            "features for both domains."
        )


def check_labels(X: Any, y: Any, name: str) -> NDArray[Any]:
    """One label for each row, as an array."""
    if y is None:
        raise ValueError(f"y_{name} is None; adaptation needs the labels of both domains.")
    check_consistent_length(X, y)
    return np.asarray(y).reshape(-1)
