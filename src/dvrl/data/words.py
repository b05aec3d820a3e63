"""Words of text columns: sparse for linear models, and summed up for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..files.state import State, expect, joined, part

__all__ = ["Terms", "WordEncoder", "is_text"]

Floats = NDArray[np.float32]

# A text is longer than a name, a code or most addresses, and seldom the same in two rows.
_FEWEST_WORDS = 6
# Up to this many values each gets an indicator, and nothing is lost.
_MOST_CATEGORIES = 40
_CELLS_LOOKED_AT = 10_000
# More rows than these add only rare words, for minutes of work and gigabytes of pairs.
_FITTED_ROWS = 20_000
_MOST_TERMS = 50_000
# A term of a single row says nothing about other rows; small tables need every term they have.
_ROWS_FOR_COMMON_TERMS = 200
# With more, a linear model with a fixed penalty learns wrong labels by heart: of flipped labels
# of film reviews it finds AUROC .91 with 30 components, .90 with 100, .85 with 300; of clean
# ones it predicts .838, .846 and .856.
_COMPONENTS = 100
# Power iterations of the randomised SVD; scikit-learn's 5 take twice as long.
_ITERATIONS = 2
# Words of one letter count too, unlike in scikit-learn: "I", "u", a rating of 8.
_WORDS = {
    "token_pattern": r"(?u)\b\w+\b",
    "ngram_range": (1, 2),
    "sublinear_tf": True,
    "dtype": np.float32,
}
# Parts of short strings, and components of them.
_LETTERS = {"analyzer": "char_wb", "ngram_range": (3, 4)}
_LETTER_COMPONENTS = 30
# Variance of components, of all together, that is rounding noise of rows that are all alike.
_SMALLEST_VARIANCE = 1e-10


def is_text(cells: Sequence[Any]) -> bool:
    """Whether a column holds texts rather than names, codes or categories.

    A text has six words or more on average, and texts differ: there are more than 40 different
    ones or, in small tables, more than half as many as cells. Of a long column 10,000 cells,
    evenly spaced, are looked at.

    Parameters
    ----------
    cells : sequence of n objects
        Cells of the column, without gaps.

    Returns
    -------
    bool
        False where a cell is no string, or there is none.
    """
    cells = cells[:: max(1, -(-len(cells) // _CELLS_LOOKED_AT))]
    if not cells or not all(isinstance(cell, str) for cell in cells):
        return False
    if len(set(cells)) <= min(_MOST_CATEGORIES, len(cells) / 2):
        return False
    return sum(len(cell.split()) for cell in cells) >= _FEWEST_WORDS * len(cells)


@dataclass(frozen=True)
class Terms:
    """Terms of strings, weighed by TF-IDF, and components of them.

    Attributes
    ----------
    vectorizer : TfidfVectorizer
    projection : (n_terms, n_components) float32
        What sums up the weights of terms.
    scale : float
        What the sums are divided by.
    """

    vectorizer: Any
    projection: Floats
    scale: float

    @classmethod
    def of_letters(cls, cells: Sequence[str]) -> Self:
        """Learn parts of 3 and 4 letters, and up to 30 components of them."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(**_LETTERS)
        weights = vectorizer.fit_transform(cells).astype(np.float32)
        n = _LETTER_COMPONENTS
        if min(weights.shape) > n:
            svd = TruncatedSVD(n, random_state=0)
            scores, projection = svd.fit_transform(weights), svd.components_.T
        else:  # too few to sum up: the first ones as they are
            projection = np.eye(weights.shape[1], n, dtype=np.float32)[:, : weights.shape[1]]
            scores = weights @ projection
        scale = np.sqrt(np.sum(np.var(scores, axis=0)))
        is_constant = scale < 10 * np.finfo(scale.dtype).eps
        return cls(vectorizer, projection.astype(np.float32), 1.0 if is_constant else float(scale))

    @property
    def n_components(self) -> int:
        """Columns of the components."""
        return int(self.projection.shape[1])

    def weights(self, cells: Sequence[str]) -> Any:
        """Weights (n, n_terms) of terms, a sparse matrix."""
        return self.vectorizer.transform(cells).astype(np.float32)

    def components(self, weights: Any) -> Floats:
        """Components (n, n_components) of weights."""
        return np.asarray(weights @ self.projection / np.float32(self.scale), np.float32)

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        arrays = _terms(self.vectorizer) | {"projection": self.projection}
        return {"scale": self.scale}, arrays

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        vectorizer = _known(arrays, _LETTERS)
        shape = (len(vectorizer.vocabulary), None)
        return cls(vectorizer, expect(arrays, "projection", shape), float(record["scale"]))


class WordEncoder:
    """Weigh words and pairs of words of text columns (TF-IDF), and sum them up in components.

    The words of a text have length 1, or 0 where none of them is known. With several text columns,
    each column's are divided by the root of the number of columns: no row is longer than 1.

    All components share one scale, at which their variances in the training rows are 1 on average,
    as those of standardised columns are. Standardising each would blow up the last ones, which
    hold more noise than signal.

    Attributes
    ----------
    vectorizers_ : list of TfidfVectorizer or None
        One for each column; None for a column without a word.
    projection_ : (n_terms_, n_components_) float32, or None
        What sums up words; None where no column has a word.
    n_terms_ : int
        Columns of the words.
    n_components_ : int
        Columns of the components.
    """

    def fit(self, texts: Sequence[Sequence[str]]) -> Any:
        """Learn the vocabularies and the components, of 20,000 rows at most.

        Parameters
        ----------
        texts : t sequences of n str
            The cells of each text column, empty strings for gaps; at least one row and column.

        Returns
        -------
        scipy.sparse.csr_array of float32, (n, n_terms_)
            The words of all rows, as `words` gives them.
        """
        n = len(texts[0])
        rows = np.arange(n)
        if n > _FITTED_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(n, _FITTED_ROWS, replace=False))
        self.vectorizers_ = [
            _vectorizer([column[row] for row in rows.tolist()]) for column in texts
        ]
        self.n_terms_ = sum(len(v.vocabulary_) for v in self.vectorizers_ if v is not None)
        words = self.words(texts)
        self._fit_components(words[rows])
        return words

    def words(self, texts: Sequence[Sequence[str]]) -> Any:
        """Weigh the words of rows.

        Parameters
        ----------
        texts : t sequences of n str

        Returns
        -------
        scipy.sparse.csr_array of float32, (n, n_terms_)
            Words that were not in the rows of `fit` are left out.
        """
        from scipy import sparse

        parts = [
            vectorizer.transform(column)
            for vectorizer, column in zip(self.vectorizers_, texts, strict=True)
            if vectorizer is not None
        ]
        if not parts:
            return sparse.csr_array((len(texts[0]), 0), dtype=np.float32)
        words = sparse.csr_array(sparse.hstack(parts, format="csr"))
        words.data *= np.float32(len(texts) ** -0.5)
        return words

    def components(self, words: Any) -> Floats:
        """Sum up the words of rows.

        Parameters
        ----------
        words : scipy.sparse.csr_array of float32, (n, n_terms_)

        Returns
        -------
        (n, n_components_) float32
        """
        if self.projection_ is None:
            return np.zeros((words.shape[0], 0), dtype=np.float32)
        components: Floats = (words @ self.projection_ - self.centre_) * self.factor_
        return components

    def _fit_components(self, words: Any) -> None:
        from sklearn.decomposition import TruncatedSVD
        from threadpoolctl import threadpool_limits

        self.projection_: Floats | None = None
        self.n_components_ = min(_COMPONENTS, *words.shape)
        if self.n_components_ == 0:
            return
        svd = TruncatedSVD(self.n_components_, n_iter=_ITERATIONS, random_state=0)
        # The order in which threads add numbers decides the last bits. Rows that are all alike have
        # no variance, of which scikit-learn would compute shares.
        with threadpool_limits(limits=1), np.errstate(divide="ignore", invalid="ignore"):
            scores = svd.fit_transform(words).astype(np.float64)
        variance = float(scores.var(axis=0).sum())
        is_constant = variance < _SMALLEST_VARIANCE
        self.projection_ = svd.components_.T
        self.centre_ = scores.mean(axis=0).astype(np.float32)
        self.factor_ = np.float32(0.0 if is_constant else (self.n_components_ / variance) ** 0.5)

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        columns: dict[str, State] = {
            str(number): ({}, {} if vectorizer is None else _terms(vectorizer))
            for number, vectorizer in enumerate(self.vectorizers_)
        }
        record, arrays = joined(**columns)
        if self.projection_ is not None:
            arrays |= {"projection": self.projection_, "centre": self.centre_}
        factor = float(self.factor_) if self.n_components_ else 0.0
        return {"columns": record, "factor": factor}, arrays

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        encoder = cls()
        columns = record["columns"]
        parts = [part(columns, arrays, str(number))[1] for number in range(len(columns))]
        encoder.vectorizers_ = [_known(each, _WORDS) if each else None for each in parts]
        encoder.n_terms_ = sum(len(v.vocabulary) for v in encoder.vectorizers_ if v is not None)
        encoder.projection_, encoder.n_components_ = None, 0
        if "projection" in arrays:
            projection = expect(arrays, "projection", (encoder.n_terms_, None))
            encoder.projection_, encoder.n_components_ = projection, projection.shape[1]
            encoder.centre_ = expect(arrays, "centre", (encoder.n_components_,))
            encoder.factor_ = np.float32(record["factor"])
        return encoder


def _vectorizer(texts: Sequence[str]) -> Any:
    """Learn one column's terms; None where there are none."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    min_df = 2 if len(texts) >= _ROWS_FOR_COMMON_TERMS else 1
    vectorizer = TfidfVectorizer(min_df=min_df, max_features=_MOST_TERMS, **_WORDS)
    try:
        return vectorizer.fit(texts)
    except ValueError:
        # All that can be wrong with a list of strings: no term is left.
        return None


def _terms(vectorizer: Any) -> dict[str, NDArray[Any]]:
    """Terms in the order of columns, and their weights."""
    return {"terms": vectorizer.get_feature_names_out(), "idf": vectorizer.idf_}


def _known(arrays: dict[str, NDArray[Any]], settings: dict[str, Any]) -> Any:
    """A vectorizer with terms and weights learned before."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    terms = expect(arrays, "terms", (None,), None).tolist()
    if not all(isinstance(term, str) for term in terms) or len(set(terms)) < len(terms):
        raise ValueError("The saved words are damaged: they are no different strings.")
    vectorizer = TfidfVectorizer(vocabulary=terms, **settings)
    vectorizer.idf_ = expect(arrays, "idf", (len(terms),))
    return vectorizer
