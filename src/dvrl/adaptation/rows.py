"""Rows of two domains: checked, encoded together, in the container that a predictor wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from ..data.encoder import FeatureEncoder
from ..data.rows import n_rows, stack_rows, take_rows

__all__ = ["RowEncoder", "Rows", "check_labels", "dense", "like_source"]

# Columns of the dense stand-in for a sparse matrix that the data value estimator is shown.
N_COMPONENTS = 100


@dataclass(frozen=True)
class Rows:
    """The same rows in two forms."""

    own: Any  # what predictors are fitted on
    matrix: Any  # (n, d), dense or sparse: what the other models are shown

    def take(self, indices: NDArray[np.intp]) -> Rows:
        """Some of the rows, by position."""
        own = take_rows(self.own, indices)
        return Rows(own, own if self.matrix is self.own else take_rows(self.matrix, indices))

    def __len__(self) -> int:
        return n_rows(self.own)


class RowEncoder:
    """Encode the rows of both domains; fitted on rows of both, without their labels.

    With `original`, predictors see the caller's rows (a pipeline brings its own encoding) rather
    than the encoded matrix. Sparse matrices are never encoded.
    """

    def __init__(self, original: bool) -> None:
        self.original = original

    def fit(self, X_source: Any, X_target: Any, estimator: Any) -> tuple[Rows, Rows]:
        """Learn the encoding and return the rows of both domains."""
        self.sparse = hasattr(X_source, "tocsr")
        if self.sparse:
            rows = _checked_sparse(X_source), _checked_sparse(X_target)
            estimator.n_features_in_ = rows[0].shape[1]
            return Rows(rows[0], rows[0]), Rows(rows[1], rows[1])
        self.columns = list(X_source.columns) if hasattr(X_source, "columns") else None
        self.encoder = FeatureEncoder()
        both = stack_rows(X_source, X_target)
        matrix = self.encoder.fit_transform(both, estimator=estimator)
        n = n_rows(X_source)
        return self._rows(X_source, matrix[:n]), self._rows(X_target, matrix[n:])

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
        return Rows(rows, rows)

    def _rows(self, X: Any, matrix: NDArray[np.float32]) -> Rows:
        if not self.original:
            return Rows(matrix, matrix)
        # A pipeline may go by the position of columns.
        return Rows(np.asarray(X) if self.columns is None else X[self.columns], matrix)


def dense(source: Any, target: Any, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The matrices of both domains as a network can read them; sparse ones by their components."""
    if not hasattr(source, "tocsr"):
        return source, target
    n_components = min(N_COMPONENTS, source.shape[1] - 1, source.shape[0] + target.shape[0] - 1)
    if n_components < 1:
        return source.toarray().astype(np.float32), target.toarray().astype(np.float32)
    from sklearn.decomposition import TruncatedSVD

    both = stack_rows(source, target)
    reducer = TruncatedSVD(n_components, random_state=seed).fit(both)
    # The first component gets a root mean square of 1, the others keep their proportion.
    unit = max(float(reducer.singular_values_[0]), 1e-12) / both.shape[0] ** 0.5
    reduced = (reducer.transform(both) / unit).astype(np.float32)
    return reduced[: source.shape[0]], reduced[source.shape[0] :]


def _checked_sparse(X: Any) -> Any:
    return check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])


def like_source(X_target: Any, X_source: Any) -> Any:
    """The target rows with columns in the order of the source's, where both go together."""
    for kind, attribute in (("sparse matrix", "tocsr"), ("frame", "columns")):
        if hasattr(X_source, attribute) != hasattr(X_target, attribute):
            raise ValueError(
                f"One of X_source and X_target is a {kind} and the other is not; pass both in the "
                "same form."
            )
    for name, rows in (("X_source", X_source), ("X_target", X_target)):
        if n_rows(rows) == 0:
            raise ValueError(f"{name} has no rows; adaptation needs labelled rows of both domains.")
    if hasattr(X_source, "columns"):
        missing = [str(name) for name in X_source.columns if name not in list(X_target.columns)]
        extra = [str(name) for name in X_target.columns if name not in list(X_source.columns)]
        if missing or extra:
            raise ValueError(
                f"The columns of the two domains differ: X_target lacks {missing or 'none'} and "
                f"X_source lacks {extra or 'none'}; pass the same features for both."
            )
        return X_target[list(X_source.columns)]
    shapes = [np.shape(rows) for rows in (X_source, X_target)]
    if all(len(shape) == 2 for shape in shapes) and shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"X_source has {shapes[0][1]} columns and X_target {shapes[1][1]}; pass the same "
            "features for both domains."
        )
    return X_target


def check_labels(X: Any, y: Any, name: str) -> NDArray[Any]:
    """One label for each row, as an array."""
    if y is None:
        raise ValueError(f"y_{name} is None; adaptation needs the labels of both domains.")
    check_consistent_length(X, y)
    return np.asarray(y).reshape(-1)
