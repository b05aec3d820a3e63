"""The caller's own transformer as an encoder of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..files.state import State, joined, part
from .encoder import FeatureEncoder
from .rows import n_rows
from .table import Table

__all__ = ["TransformerEncoder", "encoder_from_state", "encoder_state", "make_encoder"]

# A sparse matrix with more entries than these is not made dense.
MOST_DENSE = 1 << 28
# Name of the transformer among the models of a file.
ENCODER = "encoder"


class TransformerEncoder(TransformerMixin, BaseEstimator):
    """Encode rows by any scikit-learn transformer; its numbers are then standardised.

    Parameters
    ----------
    transformer : transformer
        Cloned; sees the caller's rows. Its output may be sparse where it fits into memory dense.

    Attributes
    ----------
    transformer_ : transformer
        Fitted.
    scaler_ : FeatureEncoder
        Means and spreads of the transformer's columns.
    columns_out_ : list of str
    n_features_in_ : int
        Columns of the rows; 1 where they have none, such as texts.
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    @property
    def columns_out_(self) -> list[str]:
        """Names of the encoded columns."""
        columns: list[str] = self.scaler_.columns_out_
        return columns

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the transformer and the spreads of its columns."""
        self.fit_encode(X)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode rows: (n, n_columns_out) float32."""
        return self.encode(X).features

    def fit_encode(self, X: Any, *, estimator: Any = None) -> Table:
        """Fit and encode the same rows.

        Parameters
        ----------
        X : rows of any kind that the transformer takes
        estimator : estimator, optional
            Not used.

        Returns
        -------
        Table
        """
        from sklearn.base import clone

        shape: tuple[int, ...] = getattr(X, "shape", ())
        self.n_features_in_ = int(shape[1]) if len(shape) > 1 else 1
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.array([str(name) for name in X.columns], dtype=object)
        self.transformer_ = clone(self.transformer)
        self.scaler_ = FeatureEncoder()
        return self._table(X, self.scaler_.fit_encode(_dense(self.transformer_.fit_transform(X))))

    def encode(self, X: Any, *, estimator: Any = None) -> Table:
        """Encode rows of the same kind.

        Parameters
        ----------
        X : rows of the kind of the training rows
        estimator : estimator, optional
            Not used.

        Returns
        -------
        Table
        """
        check_is_fitted(self, "transformer_")
        return self._table(X, self.scaler_.encode(_dense(self.transformer_.transform(X))))

    def _table(self, X: Any, encoded: Table) -> Table:
        if len(encoded) != n_rows(X):
            raise ValueError(
                f"encoder={self.transformer!r} made {len(encoded)} rows of {n_rows(X)}; pass a "
                "transformer that keeps every row."
            )
        return Table(encoded.features, encoded.targets, own=X)


def encoder_state(encoder: Any) -> tuple[State, dict[str, object]]:
    """The state of an encoder, and the caller's transformer, which is kept beside it."""
    if not isinstance(encoder, TransformerEncoder):
        return encoder.state(), {}
    names = getattr(encoder, "feature_names_in_", None)
    own = {"n_columns": encoder.n_features_in_, "names": None if names is None else names.tolist()}
    record, arrays = joined(scaler=encoder.scaler_.state())
    return (record | own, arrays), {ENCODER: encoder.transformer_}


def encoder_from_state(
    record: dict[str, Any], arrays: dict[str, NDArray[Any]], models: Mapping[str, Any]
) -> FeatureEncoder | TransformerEncoder:
    """The encoder that `encoder_state` was given."""
    if "scaler" not in record:
        return FeatureEncoder.from_state(record, arrays)
    encoder = TransformerEncoder(models[ENCODER])
    encoder.transformer_ = models[ENCODER]
    encoder.scaler_ = FeatureEncoder.from_state(*part(record, arrays, "scaler"))
    encoder.n_features_in_ = int(record["n_columns"])
    if record["names"] is not None:
        encoder.feature_names_in_ = np.array(record["names"], dtype=object)
    return encoder


def _dense(matrix: Any) -> Any:
    if not hasattr(matrix, "toarray"):
        return matrix
    if matrix.shape[0] * matrix.shape[1] > MOST_DENSE:
        raise ValueError(
            f"The encoder gives a sparse matrix of {matrix.shape[0]:,} x {matrix.shape[1]:,}; "
            "put TruncatedSVD(100) behind it in a Pipeline."
        )
    return matrix.toarray()


def make_encoder(encoder: Any) -> FeatureEncoder | TransformerEncoder:
    """Encoder of a run: ours, or the caller's transformer as one.

    Raises
    ------
    TypeError
        If `encoder` is no transformer.
    """
    if encoder is None:
        return FeatureEncoder()
    if isinstance(encoder, type) or not (hasattr(encoder, "fit") and hasattr(encoder, "transform")):
        raise TypeError(
            f"encoder={encoder!r} is no transformer; pass an object with fit and transform."
        )
    return TransformerEncoder(encoder)
