"""Tables of any kind of columns to a float32 matrix, and texts to words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ..files.state import Count, State, checked, expect, joined, part
from .columns import OtherColumn
from .rows import (
    column_at,
    column_names,
    is_frame,
    is_instance,
    is_polars_frame,
    listed,
    row_blocks,
)
from .table import Table
from .targets import SMALLEST_SPREAD, check_finite
from .words import WordEncoder, is_text

__all__ = ["FeatureEncoder", "encoded_once", "with_encoding"]


# Beyond this many standard deviations a value says nothing more than "far away", and a network
# fed with it would overflow.
LARGEST_FEATURE = 1e6


# Positions of columns, and numbers of each column.
POSITIONS = ("numeric_columns_", "text_columns_", "other_columns_", "gap_columns_", "gap_texts_")
STATISTICS = ("unit_", "mean_", "factor_", "gap_mean_", "gap_factor_")


@dataclass(frozen=True)
class EncoderRecord:
    """What a file says of an encoder beside its arrays."""

    n_features: Count
    names: tuple[str, ...]
    are_feature_names: bool
    columns_out: tuple[str, ...]


def _is_only_gaps(column: Any) -> bool:
    return bool(column.isna().all())


def _numbers(column: Any) -> NDArray[np.float64] | None:
    """Return a column as float64 with NaN for gaps, or None where it does not hold numbers."""
    import pandas as pd

    if pd.api.types.is_complex_dtype(column.dtype):
        raise ValueError(
            f"Complex data not supported: column {column.name!r} of X holds complex numbers; "
            "split it into a real and an imaginary column."
        )
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return np.array(column.dt.total_seconds(), dtype=np.float64)
    if column.dtype == object:
        kind = pd.api.types.infer_dtype(column, skipna=True)
        numeric = kind in {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}
        if not numeric and not column.isna().all():
            return None
        column = column.where(column.notna(), None)
        return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return np.array(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    return None


def _filled_cells(column: Any) -> list[Any] | None:
    """Cells that are no gaps, of a column that may hold strings; None for other types.

    Categories of a categorical column are what their owner says they are.
    """
    import pandas as pd

    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        return list(column.dropna())
    return None


def _texts(column: Any) -> list[str] | None:
    """Cells of a column with empty strings for gaps, or None where a cell is no string."""
    cells = ["" if is_gap else cell for cell, is_gap in zip(column, column.isna(), strict=True)]
    return cells if all(isinstance(cell, str) for cell in cells) else None


def _attempt(column: Any, method: Any, *arguments: Any) -> Any:
    """What a method makes of a column; what pandas cannot compare or convert gets a sentence."""
    try:
        return method(*arguments)
    except Exception as error:
        cause = str(error).splitlines()[-1] if str(error) else type(error).__name__
        raise ValueError(
            f"The column {column.name!r} could not be encoded ({cause}); convert it to numbers, "
            "text, categories or dates, of the same kind as in the training rows, or drop it."
        ) from error


def _float64(block: Any) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.asarray(block, dtype=np.float64)


def _check_not_text(X: Any) -> None:
    """Refuse a single column of text where a table is needed, and say what to do."""
    if isinstance(X, str | bytes):
        raise ValueError(
            f"Expected a table but X is one {type(X).__name__}; pass a frame with one text column."
        )
    if isinstance(X, list | tuple):
        text = bool(X) and all(isinstance(value, str | bytes) for value in X)
    elif is_instance(X, "pandas", "Series") or is_instance(X, "polars", "Series"):
        column = X.to_pandas() if is_instance(X, "polars", "Series") else X
        text = not _is_only_gaps(column) and _numbers(column) is None
    elif isinstance(X, np.ndarray) and X.ndim == 1:
        first = X[0] if X.dtype == object and X.size else None
        text = X.dtype.kind in "US" or isinstance(first, str | bytes)
    else:
        text = False
    if text:
        raise ValueError(
            "Expected a 2-dimensional table but X is one column of text or dates; pass a frame "
            'with one column instead, such as pandas.DataFrame({"text": X}).'
        )


class FeatureEncoder(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn arrays and frames into a standardised float32 matrix.

    Numeric arrays and numeric or boolean frame columns are standardised by the mean and standard
    deviation of the training rows. Categories, names and dates in frames (pandas or Polars) become
    numbers first, see :class:`dvrl.data.columns.OtherColumn`. Gaps in frames are filled with the
    training mean, and each column that had gaps in the training rows gets one more column that says
    where they are.

    Columns of texts, see :func:`dvrl.data.words.is_text`, become words, which `encode` returns
    beside the matrix; the matrix holds up to 100 components of the words of all text columns
    together, see :class:`dvrl.data.words.WordEncoder`. A gap is a text without words.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns; only after fitting on a frame whose column names are strings.
    columns_out_ : list of str
        Names of the columns of the encoded matrix.
    other_encoders_ : list of OtherColumn
        Encoders of the columns that are neither numeric nor text.
    text_columns_ : ndarray of int
        Positions of the text columns in the caller's frame.
    word_encoder_ : WordEncoder or None
        Encoder of the text columns.
    n_components_ : int
        Components of the words: the last columns of the encoded matrix.

    Notes
    -----
    Constant columns become zero. Standardised values are cut off at one million standard
    deviations. A category never seen in training becomes zero in each of its column's indicators
    before standardising. Columns that hold only gaps in the training rows are left out.

    The methods take ``estimator=`` so that a meta-estimator can put its own name into error
    messages and get ``n_features_in_`` and ``feature_names_in_`` set on itself.

    Examples
    --------
    >>> import numpy as np
    >>> from dvrl.data.encoder import FeatureEncoder
    >>> FeatureEncoder().fit_transform(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """

    def fit(self, X: Any, y: Any = None, *, estimator: Any = None) -> Self:
        """Learn the columns and their means and spreads.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_features)
            Training rows.
        y : None
            Not used; here for scikit-learn's pipelines.
        estimator : estimator, optional
            The meta-estimator on whose behalf `X` is checked.

        Returns
        -------
        FeatureEncoder
            This object.

        Raises
        ------
        ValueError
            If `X` is empty, not a table, holds infinities, or is an array with NaN.
        TypeError
            If `X` is sparse.
        """
        self._fit(X, estimator)
        return self

    def transform(self, X: Any, *, estimator: Any = None) -> NDArray[np.float32]:
        """Encode rows.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_features_in_)
        estimator : estimator, optional
            The meta-estimator on whose behalf `X` is checked.

        Returns
        -------
        ndarray of float32 of shape (n, n_columns_out)
            Finite and C-contiguous.

        Raises
        ------
        ValueError
            If columns are absent, added, in another order or of another kind than in training, or
            for the reasons given in `fit`.
        """
        return self.encode(X, estimator=estimator).features

    def encode(self, X: Any, *, estimator: Any = None) -> Table:
        """Encode rows, the words of text columns beside the matrix.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_features_in_)
        estimator : estimator, optional
            The meta-estimator on whose behalf `X` is checked.

        Returns
        -------
        Table
            Features as of `transform`, targets of shape (n, 0), and words (n, n_terms), None
            where there is no text column.

        Raises
        ------
        ValueError
            See `transform`.
        """
        check_is_fitted(self, "n_features_in_")
        owner = self if estimator is None else estimator
        checked = _checked_table(X, owner, reset=False)
        matrix = self._raw_matrix(checked)
        words = None
        if self.word_encoder_ is not None:
            words = self.word_encoder_.words(self._texts_of(checked))
        return self._encoded(X, matrix, words)

    def words(self, X: Any, *, estimator: Any = None) -> Any:
        """Words of the text columns.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_features_in_)
        estimator : estimator, optional
            The meta-estimator on whose behalf `X` is checked.

        Returns
        -------
        scipy.sparse.csr_array of float32 of shape (n, n_terms), or None
            None where there is no text column; see :class:`dvrl.data.words.WordEncoder`.
        """
        return self.encode(X, estimator=estimator).words

    def fit_transform(self, X: Any, y: Any = None, *, estimator: Any = None) -> NDArray[np.float32]:
        """Fit and encode the same rows, reading them once.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_features)
        y : None
            Not used.
        estimator : estimator, optional
            The meta-estimator on whose behalf `X` is checked.

        Returns
        -------
        ndarray of float32 of shape (n, n_columns_out)
        """
        return self.fit_encode(X, estimator=estimator).features

    def fit_encode(self, X: Any, *, estimator: Any = None) -> Table:
        """Fit and encode the same rows, the words of text columns beside the matrix.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_features)
        estimator : estimator, optional
            The meta-estimator on whose behalf `X` is checked.

        Returns
        -------
        Table
            See `encode`.

        Raises
        ------
        ValueError, TypeError
            See `fit`.
        """
        return self._encoded(X, *self._fit(X, estimator))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the encoded columns.

        Parameters
        ----------
        input_features : None
            Not used; here for scikit-learn's pipelines.

        Returns
        -------
        ndarray of str of shape (n_columns_out,)
        """
        check_is_fitted(self, "n_features_in_")
        return np.array(self.columns_out_, dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the result is float32 whatever came in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        record = EncoderRecord(
            n_features=self.n_features_in_,
            names=tuple(self.column_names_),
            are_feature_names=hasattr(self, "feature_names_in_"),
            columns_out=tuple(self.columns_out_),
        )
        states = {str(number): each.state() for number, each in enumerate(self.other_encoders_)}
        if self.word_encoder_ is not None:
            states["words"] = self.word_encoder_.state()
        its_record, its_arrays = joined(**states)
        arrays = {name: getattr(self, name) for name in (*POSITIONS, *STATISTICS)}
        return {"table": asdict(record), "parts": its_record}, arrays | its_arrays

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        encoder, table = cls(), checked(EncoderRecord, record["table"])
        encoder.n_features_in_, encoder.column_names_ = table.n_features, list(table.names)
        encoder.columns_out_ = list(table.columns_out)
        if table.are_feature_names:
            encoder.feature_names_in_ = np.array(table.names, dtype=object)
        n = len(expect(arrays, "unit_", (None,), low=0.0))
        n_gaps = len(expect(arrays, "gap_columns_", (None,), np.integer, low=0, high=n - 1))
        for name in POSITIONS:
            high = n - 1 if name == "gap_columns_" else table.n_features - 1
            setattr(encoder, name, expect(arrays, name, (None,), np.integer, low=0, high=high))
        for name in STATISTICS:
            shape = (n_gaps if name.startswith("gap") else n,)
            setattr(encoder, name, expect(arrays, name, shape))
        parts = record["parts"]
        encoder.other_encoders_ = [
            OtherColumn.from_state(*part(parts, arrays, str(number)))
            for number in range(len(encoder.other_columns_))
        ]
        encoder.word_encoder_, encoder.n_components_ = None, 0
        if len(encoder.text_columns_):
            encoder.word_encoder_ = WordEncoder.from_state(*part(parts, arrays, "words"))
            encoder.n_components_ = encoder.word_encoder_.n_components_
        names = [name for each in encoder.other_encoders_ for name in each.names]
        n_raw = len(encoder.numeric_columns_) + len(names) + len(encoder.gap_texts_)
        texts = np.arange(len(encoder.text_columns_))
        if not np.isin(encoder.gap_texts_, texts).all():
            raise ValueError("The saved encoder is damaged: gaps of texts that it does not have.")
        if n != n_raw or len(table.columns_out) != n + n_gaps + encoder.n_components_:
            raise ValueError("The saved encoder is damaged: its columns do not fit together.")
        encoder.raw_columns_ = encoder.columns_out_[:n]
        return encoder

    def _fit(self, X: Any, estimator: Any) -> tuple[Any, Any]:
        """Learn everything; return the raw matrix and the words of the same rows."""
        owner = self if estimator is None else estimator
        X = _checked_table(X, owner, reset=True)
        self.n_features_in_ = int(X.shape[1])
        names = getattr(owner, "feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        matrix, words = self._fit_columns(X)
        self._fit_statistics(matrix)
        self.columns_out_ += [f"words_{number}" for number in range(self.n_components_)]
        return matrix, words

    def _fit_columns(self, X: Any) -> tuple[Any, Any]:
        """Sort columns into numeric, text, other and empty ones; return raw matrix and words."""
        self.other_encoders_: list[OtherColumn] = []
        self.word_encoder_: WordEncoder | None = None
        self.n_components_ = 0
        self.other_columns_ = np.zeros(0, dtype=np.intp)
        self.text_columns_ = np.zeros(0, dtype=np.intp)
        self.gap_texts_ = np.zeros(0, dtype=np.intp)
        if not is_frame(X):
            self.column_names_ = [f"x{position}" for position in range(X.shape[1])]
            self.numeric_columns_ = np.arange(X.shape[1])
            self.raw_columns_ = list(self.column_names_)
            return X, None
        self.column_names_ = column_names(X)
        numeric, text, other, parts = [], [], [], []
        for position in range(X.shape[1]):
            column = column_at(X, position)
            if _is_only_gaps(column):
                continue
            numbers = _numbers(column)
            if numbers is not None:
                numeric.append(position)
                parts.append(numbers)
            elif is_text(_filled_cells(column) or []):
                text.append(position)
            else:
                other.append(position)
        self.numeric_columns_ = np.array(numeric, dtype=np.intp)
        self.text_columns_ = np.array(text, dtype=np.intp)
        self.other_columns_ = np.array(other, dtype=np.intp)
        self.raw_columns_ = [self.column_names_[position] for position in numeric]
        for position in other:
            column = column_at(X, position)
            encoder = _attempt(column, OtherColumn.fit, self.column_names_[position], column)
            self.other_encoders_.append(encoder)
            self.raw_columns_ += encoder.names
            parts += _attempt(column, encoder.transform, column)
        words = None
        if text:
            gaps, names = self._text_gaps(X), [self.column_names_[position] for position in text]
            self.gap_texts_ = np.flatnonzero([column.any() for column in gaps])
            self.raw_columns_ += [f"{names[number]}_missing" for number in self.gap_texts_]
            parts += [gaps[number] for number in self.gap_texts_]
            self.word_encoder_ = WordEncoder()
            words = self.word_encoder_.fit(self._texts_of(X))
            self.n_components_ = self.word_encoder_.n_components_
        if not parts and not self.n_components_:
            raise ValueError(
                "X has no column with anything in it: all of its columns hold only gaps or empty "
                "text; pass at least one column with values."
            )
        return self._stacked(parts, X.shape[0]), words

    def _raw_matrix(self, X: Any) -> Any:
        """Bring checked rows to the columns of training, gaps as NaN."""
        if not is_frame(X):
            if len(self.other_columns_) or len(self.text_columns_):
                positions = np.sort(np.concatenate([self.other_columns_, self.text_columns_]))
                others = [self.column_names_[position] for position in positions]
                raise ValueError(
                    f"X is an array without column types, but column {listed(others)} was not "
                    "numeric in the training rows; pass a frame with the columns of training."
                )
            if len(self.numeric_columns_) == X.shape[1]:
                return X
            return X[:, self.numeric_columns_]
        names = column_names(X)
        parts = []
        for position in self.numeric_columns_:
            column = column_at(X, int(position))
            numbers = _numbers(column)
            if numbers is None and _is_only_gaps(column):
                numbers = np.full(X.shape[0], np.nan)
            if numbers is None:
                raise ValueError(
                    f"Column {names[position]!r} held numbers in the training rows but holds "
                    f"something else here ({column.dtype}); convert it to numbers, with empty "
                    "cells for gaps."
                )
            parts.append(numbers)
        for position, encoder in zip(self.other_columns_, self.other_encoders_, strict=True):
            column = column_at(X, int(position))
            parts += _attempt(column, encoder.transform, column)
        if len(self.text_columns_):
            gaps = self._text_gaps(X)
            parts += [gaps[number] for number in self.gap_texts_]
        return self._stacked(parts, X.shape[0])

    def _texts_of(self, X: Any) -> list[list[str]]:
        """Cells of the text columns of a frame."""
        columns = []
        for position in self.text_columns_:
            column = column_at(X, int(position))
            texts = [""] * X.shape[0] if _is_only_gaps(column) else _texts(column)
            if texts is None:
                raise ValueError(
                    f"Column {self.column_names_[position]!r} held text in the training rows but "
                    f"holds something else here ({column.dtype}); convert it to strings, with "
                    "empty cells for gaps."
                )
            columns.append(texts)
        return columns

    def _text_gaps(self, X: Any) -> list[NDArray[np.float64]]:
        """For each text column, 1 where it has a gap."""
        return [
            column_at(X, int(position)).isna().to_numpy(dtype=np.float64)
            for position in self.text_columns_
        ]

    def _encoded(self, own: Any, matrix: Any, words: Any) -> Table:
        """Standardise a raw matrix and put the components of the words beside it."""
        features = self._standardised(matrix)
        if self.word_encoder_ is not None:
            features = np.hstack([features, self.word_encoder_.components(words)])
        targets = np.zeros((len(features), 0), dtype=np.float32)
        return Table(features, targets, words, self.n_components_, own)

    def _stacked(self, parts: list[NDArray[Any]], n: int) -> NDArray[np.float64]:
        matrix = np.empty((n, len(parts)))
        for position, numbers in enumerate(parts):
            if np.isinf(numbers).any():
                raise ValueError(
                    "Input X contains infinity or a value too large for dtype('float64') in "
                    f"column {self.raw_columns_[position]!r}; replace it by a number, or by a gap."
                )
            matrix[:, position] = numbers
        return matrix

    def _fit_statistics(self, matrix: Any) -> None:
        """Means and spreads in units of each column's largest value, so that nothing overflows."""
        n, n_columns = matrix.shape
        largest = np.zeros(n_columns)
        n_gaps = np.zeros(n_columns)
        for rows in row_blocks(n, n_columns):
            block = _float64(matrix[rows])
            gaps = np.isnan(block)
            n_gaps += gaps.sum(axis=0)
            largest = np.maximum(largest, np.where(gaps, 0.0, np.abs(block)).max(axis=0))
        self.unit_ = np.where(largest > 0, largest, 1.0)
        mean = self._sum(matrix, np.zeros(n_columns), power=1) / (n - n_gaps)
        # The first mean is off by rounding errors, which its own residuals give away.
        mean += self._sum(matrix, mean, power=1) / (n - n_gaps)
        spread = np.sqrt(self._sum(matrix, mean, power=2) / n)
        self.mean_ = mean
        self.factor_ = np.where(
            spread > SMALLEST_SPREAD, 1.0 / np.maximum(spread, SMALLEST_SPREAD), 0.0
        )
        self.gap_columns_ = np.flatnonzero(n_gaps)
        share = n_gaps[self.gap_columns_] / n
        self.gap_mean_ = share
        self.gap_factor_ = 1.0 / np.sqrt(share * (1.0 - share))
        self.columns_out_ = self.raw_columns_ + [
            f"{self.raw_columns_[position]}_missing" for position in self.gap_columns_
        ]

    def _sum(self, matrix: Any, centre: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        """Sum (x / unit - centre) ** power over the rows, leaving gaps out."""
        total = np.zeros(matrix.shape[1])
        for rows in row_blocks(*matrix.shape):
            deviations = _float64(matrix[rows]) / self.unit_ - centre
            total += np.nansum(deviations**power, axis=0)
        return total

    def _standardised(self, matrix: Any) -> NDArray[np.float32]:
        n, n_columns = matrix.shape
        encoded = np.empty((n, n_columns + len(self.gap_columns_)), dtype=np.float32)
        for rows in row_blocks(n, n_columns):
            block = _float64(matrix[rows])
            gaps = np.isnan(block)
            with np.errstate(over="ignore", under="ignore"):
                # Clipped twice: constant columns multiply by 0, and 0 times infinity is NaN.
                block = np.clip(block / self.unit_, -1e300, 1e300)
                block = (block - self.mean_) * self.factor_
            # The mean, which stands in for a gap, is 0 once standardised.
            block[gaps] = 0.0
            encoded[rows, :n_columns] = np.clip(block, -LARGEST_FEATURE, LARGEST_FEATURE)
            indicators = gaps[:, self.gap_columns_] - self.gap_mean_
            encoded[rows, n_columns:] = indicators * self.gap_factor_
        return encoded


def _checked_table(X: Any, owner: Any, *, reset: bool) -> Any:
    """Check names, shape and contents on behalf of `owner`; return a frame or a 2-d array."""
    if is_instance(X, "polars", "LazyFrame"):
        raise TypeError("X is a lazy Polars frame; call X.collect() and pass the result.")
    if is_frame(X):
        column_names(X)
        checked = validate_data(owner, X, reset=reset, skip_check_array=True)
        if 0 in X.shape:
            # scikit-learn's own words for "no rows" and "no columns".
            check_array(np.empty(X.shape), estimator=owner, input_name="X")
        return checked.to_pandas() if is_polars_frame(checked) else checked
    _check_not_text(X)
    array = validate_data(owner, X, reset=reset, ensure_all_finite=False)
    name = type(owner).__name__
    for rows in row_blocks(*array.shape):
        block = _float64(array[rows])
        if np.isnan(block).any():
            raise ValueError(
                f"Input X contains NaN.\n{name} does not accept missing values encoded as NaN in "
                "an array: pass a pandas or Polars frame, whose gaps are filled and marked, or "
                "fill them yourself."
            )
        check_finite(block, "X")
    return array


def with_encoding(predictor: Any) -> Any:
    """Make a copy of a model that takes rows as they are: frames, text, gaps.

    Parameters
    ----------
    predictor : scikit-learn estimator
        A ``Pipeline`` is taken to know what to do with the rows.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted: the pipeline's copy, or an encoder and the estimator's copy.
    """
    from sklearn.base import clone
    from sklearn.pipeline import Pipeline

    if isinstance(predictor, Pipeline):
        return clone(predictor)
    return Pipeline([("encoder", FeatureEncoder()), ("model", clone(predictor))])


def encoded_once(predictor: Any, X: Any, X_other: Any) -> tuple[Any, Any]:
    """Rows as a model takes them, encoded once for many fits.

    Parameters
    ----------
    predictor : scikit-learn estimator
        A ``Pipeline`` is shown the rows as they are.
    X : array-like or frame of shape (n_rows, n_features)
        Training rows: columns and spreads are those of all of them, without a look at labels.
    X_other : like X
        Further rows.

    Returns
    -------
    X, X_other : arrays or frames
    """
    from sklearn.pipeline import Pipeline

    if isinstance(predictor, Pipeline):
        return X, X_other
    encoder = FeatureEncoder()
    return encoder.fit_transform(X), encoder.transform(X_other)
