"""Plant errors whose place is known.

Every function returns copies: the caller's arrays and frames are never changed. Corrupt
the training rows only; validation rows stay clean unless noisy validation is what an
experiment is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "add_feature_noise",
    "blank_features",
    "flip_border_labels",
    "flip_label_pairs",
    "flip_labels",
    "replace_targets",
]


def flip_labels(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Give a share of the rows the label of another class.

    The rows and the new labels are drawn uniformly; a new label always differs from
    the old one.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of two or more classes.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the labels with errors.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Examples
    --------
    >>> noisy, is_corrupted = flip_labels(["a", "b", "a", "b"], fraction=0.5, rng=0)
    >>> int(is_corrupted.sum())
    2
    """
    noisy, generator, rows = _prepare(y, fraction, rng)
    classes, codes = np.unique(noisy, return_inverse=True)
    if len(rows) and len(classes) < 2:
        raise ValueError("y has a single class, so no label can be flipped; pass two or more.")
    if len(rows):
        # A step of 1 .. c-1 around the ring of classes never ends on the class it left.
        steps = generator.integers(1, len(classes), size=len(rows))
        noisy[rows] = classes[(codes[rows] + steps) % len(classes)]
    return noisy, _mask(len(noisy), rows)


def replace_targets(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Give a share of the rows the target of another row.

    The targets stay in their own distribution, so the errors cannot be seen in the
    targets alone. A new target always differs from the old one.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Numeric targets with two or more different values.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the targets with errors.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Examples
    --------
    >>> noisy, is_corrupted = replace_targets([1.0, 2.0, 3.0, 4.0], fraction=0.25, rng=0)
    >>> int(is_corrupted.sum())
    1
    """
    noisy, generator, rows = _prepare(y, fraction, rng)
    if len(rows):
        ordered = np.sort(noisy)
        first = np.searchsorted(ordered, noisy[rows], side="left")
        after = np.searchsorted(ordered, noisy[rows], side="right")
        n_same = after - first
        if n_same[0] == len(ordered):
            raise ValueError("y is constant, so no target can be replaced; pass one that varies.")
        # Draw among the rows with another target by stepping over the block of equal ones.
        donors = generator.integers(0, len(ordered) - n_same)
        donors = np.where(donors < first, donors, donors + n_same)
        noisy[rows] = ordered[donors]
    return noisy, _mask(len(noisy), rows)


def flip_label_pairs(
    y: ArrayLike,
    fraction: float,
    rng: np.random.Generator | int,
    *,
    pairs: Mapping[Any, Any] | None = None,
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Give a share of the rows the label that their class is mistaken for.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of two or more classes.
    fraction : float
        Share of the rows *of each class that is in* `pairs` to corrupt, in [0, 1]; rounded to
        whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.
    pairs : mapping of label to label, optional
        Which class is mistaken for which. By default each class for the next one in sorted
        order, and the last for the first: the pair flipping of Han et al., Co-teaching (2018).

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the labels with errors.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Raises
    ------
    ValueError
        For a fraction outside [0, 1], a class that is mistaken for itself, or a label that no
        row has.

    Examples
    --------
    >>> labels = ["cat"] * 4 + ["dog"] * 4
    >>> noisy, is_corrupted = flip_label_pairs(labels, 0.5, rng=0, pairs={"cat": "dog"})
    >>> [str(label) for label in noisy[4:]], int(is_corrupted.sum())
    (['dog', 'dog', 'dog', 'dog'], 2)
    """
    noisy, generator, _ = _prepare(y, 0.0, rng)
    _check_fraction(fraction)
    classes, codes = np.unique(noisy, return_inverse=True)
    partners = _partners(classes, pairs)
    corrupted = np.zeros(len(noisy), dtype=bool)
    for code, partner in partners.items():
        members = np.flatnonzero(codes == code)
        rows = generator.choice(members, size=round(fraction * len(members)), replace=False)
        noisy[rows] = classes[partner]
        corrupted[rows] = True
    return noisy, corrupted


def flip_border_labels(
    X: Any,
    y: ArrayLike,
    fraction: float,
    rng: np.random.Generator | int,
    *,
    model: Any = None,
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Give a share of the rows a wrong label, more often where the classes are hard to tell apart.

    A reference model says how likely each class is for each row, cross-fitted in five parts so
    that no row is judged by a model that has seen it. With p the probability of the row's own
    label and q that of the most likely other class, a row is drawn in proportion to

        (1 - (p - q)**2) / 2,

    and gets that other class. This is the first kind of *polynomial margin diminishing* noise of
    Zhang et al., Learning with feature-dependent label noise (ICLR 2021); as in the bounded
    noise of Cheng et al. (ICML 2020) no row is flipped with more than even odds before the share
    of rows is set. The noise depends on the features, which uniform and class-pair noise do not.

    Parameters
    ----------
    X : array-like or frame of shape (n_rows, n_features)
        Features; only read.
    y : array-like of shape (n_rows,)
        Labels of two or more classes, each with two or more rows.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.
    model : scikit-learn classifier, optional
        With ``predict_proba``; by default logistic regression. A ``Pipeline`` is shown `X`
        itself, any other model the encoded rows.

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the labels with errors.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Raises
    ------
    ValueError
        For a fraction outside [0, 1], a single class, or a class of a single row.
    """
    noisy, generator, _ = _prepare(y, 0.0, rng)
    _check_fraction(fraction)
    n_flipped = round(fraction * len(noisy))
    if not n_flipped:
        return noisy, _mask(len(noisy), np.empty(0, dtype=np.intp))
    classes, codes, counts = np.unique(noisy, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise ValueError(
            "Noise at the border needs two or more classes of two or more rows each; "
            f"the smallest of the {len(classes)} in y has {counts.min()}."
        )
    probabilities = _cross_fitted(X, codes, min(5, int(counts.min())), model, generator)
    own = np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0]
    np.put_along_axis(probabilities, codes[:, None], -1.0, axis=1)
    other = probabilities.argmax(axis=1)
    chance = (1.0 - (own - probabilities.max(axis=1)) ** 2) / 2.0
    rows = _drawn_in_proportion(chance, n_flipped, generator)
    noisy[rows] = classes[other[rows]]
    return noisy, _mask(len(noisy), rows)


def add_feature_noise(
    X: Any,
    fraction: float,
    rng: np.random.Generator | int,
    *,
    scale: float = 1.0,
    columns: Sequence[Any] | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Add Gaussian noise to the numbers of a share of the rows.

    Parameters
    ----------
    X : array-like or frame (pandas or Polars) of shape (n_rows, n_features)
        Features.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.
    scale : float
        Standard deviation of the noise, in standard deviations of the column; above 0.
    columns : sequence of column names (of positions, for an array), optional
        Columns to change; by default all that hold numbers. Gaps stay gaps.

    Returns
    -------
    noisy : of the kind of `X`
        A copy; changed columns hold floating-point numbers.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Raises
    ------
    ValueError
        For a fraction or scale out of range, or where there are no such columns of numbers.

    Examples
    --------
    >>> noisy, is_corrupted = add_feature_noise(np.eye(4), fraction=0.25, rng=0)
    >>> np.array_equal((noisy != np.eye(4)).any(axis=1), is_corrupted)
    True
    """
    if not (np.isfinite(scale) and scale > 0.0):
        raise ValueError(f"scale is {scale}; pass a number of standard deviations above 0.")
    table = _Table(X)
    chosen = [place for place in table.places(columns) if table.is_numeric(place)]
    if not chosen:
        raise ValueError("X has no column of numbers among those to change; name others.")
    generator, rows = _draw_rows(table.n_rows, fraction, rng)
    for place in chosen:
        numbers = table.numbers(place)
        known = numbers[np.isfinite(numbers)]
        spread = float(known.std()) if len(known) else 0.0
        # A constant column has no spread of its own; in units of one it still becomes noisy.
        numbers[rows] += (spread or 1.0) * scale * generator.standard_normal(len(rows))
        table.replace(place, numbers)
    return table.content(), _mask(table.n_rows, rows)


def blank_features(
    X: Any,
    fraction: float,
    rng: np.random.Generator | int,
    *,
    share: float = 0.5,
    columns: Sequence[Any] | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Take away features of a share of the rows.

    In each drawn row, a random `share` of the columns becomes a gap. In arrays, which cannot
    hold gaps here, it becomes the mean of the column: a value that says nothing.

    Parameters
    ----------
    X : array-like or frame (pandas or Polars) of shape (n_rows, n_features)
        Features.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.
    share : float
        Share of the columns to blank in such a row, in (0, 1]; at least one column.
    columns : sequence of column names (of positions, for an array), optional
        Columns to choose from; by default all.

    Returns
    -------
    blanked : of the kind of `X`
        A copy.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were drawn.

    Raises
    ------
    ValueError
        For a fraction or share out of range, or columns that are not there.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": [31, 47], "city": ["Rome", "Oslo"]})
    >>> blanked, is_corrupted = blank_features(frame, fraction=1.0, rng=0, share=1.0)
    >>> bool(blanked.isna().all(axis=None))
    True
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share is {share}; pass a share of the columns above 0 and at most 1.")
    table = _Table(X)
    places = table.places(columns)
    generator, rows = _draw_rows(table.n_rows, fraction, rng)
    n_blanked = max(1, round(share * len(places)))
    # The first places of a random order of the columns, one order for each row.
    orders = generator.random((len(rows), len(places))).argsort(axis=1)
    for number, place in enumerate(places):
        table.blank(place, rows[(orders[:, :n_blanked] == number).any(axis=1)])
    return table.content(), _mask(table.n_rows, rows)


class _Table:
    """A copy of an array or frame whose columns can be replaced."""

    def __init__(self, X: Any) -> None:
        from dvrl.data.rows import n_rows

        self.n_rows = n_rows(X)
        if hasattr(X, "iloc"):
            self.kind, self.data = "pandas", X.copy()
        elif hasattr(X, "columns"):
            self.kind, self.data = "polars", X  # immutable: every change makes a new frame
        else:
            array = np.array(X)
            if array.ndim != 2 or array.dtype.kind not in "biuf":
                raise ValueError(
                    f"X has shape {array.shape} and type {array.dtype}; pass a table of numbers, "
                    "or a frame."
                )
            whole = array.dtype.kind != "f"
            self.kind, self.data = "array", array.astype(np.float64) if whole else array

    def content(self) -> Any:
        return self.data

    def places(self, columns: Sequence[Any] | None) -> list[int]:
        """Positions of columns."""
        n_columns = self.data.shape[1]
        if columns is None:
            return list(range(n_columns))
        known = list(range(n_columns)) if self.kind == "array" else list(self.data.columns)
        missing = [name for name in columns if name not in known]
        if missing or not len(columns):
            raise ValueError(f"columns names {missing or 'nothing'}; name columns that X has.")
        return [known.index(name) for name in columns]

    def is_numeric(self, place: int) -> bool:
        if self.kind == "array":
            return True
        if self.kind == "polars":
            return bool(self.data.to_series(place).dtype.is_numeric())
        from pandas.api import types

        dtype = self.data.dtypes.iloc[place]
        return types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype)

    def numbers(self, place: int) -> NDArray[np.float64]:
        """A column as floating-point numbers, gaps as NaN."""
        if self.kind == "array":
            return np.array(self.data[:, place], dtype=np.float64)
        if self.kind == "polars":
            import polars as pl

            column = self.data.to_series(place).cast(pl.Float64).fill_null(float("nan"))
            return np.array(column.to_numpy(), dtype=np.float64)
        return np.array(self.data.iloc[:, place].to_numpy(dtype=np.float64, na_value=np.nan))

    def replace(self, place: int, numbers: NDArray[np.float64]) -> None:
        if self.kind == "array":
            self.data[:, place] = numbers
        elif self.kind == "polars":
            import polars as pl

            name = self.data.columns[place]
            self.data = self.data.with_columns(pl.Series(name, numbers).fill_nan(None))
        else:
            self.data.isetitem(place, numbers)

    def blank(self, place: int, rows: NDArray[np.intp]) -> None:
        if self.kind == "array":
            self.data[rows, place] = self.data[:, place].mean()
            return
        gaps = _mask(self.n_rows, rows)
        if self.kind == "polars":
            import polars as pl

            name = self.data.columns[place]
            empty = pl.when(pl.Series(gaps)).then(None).otherwise(pl.col(name))
            self.data = self.data.with_columns(empty.alias(name))
            return
        column = self.data.iloc[:, place]
        if column.dtype == bool:  # would become a column of objects
            column = column.astype("boolean")
        self.data.isetitem(place, column.mask(gaps))


def _partners(classes: NDArray[Any], pairs: Mapping[Any, Any] | None) -> dict[int, int]:
    """Class positions and the positions of what they are mistaken for."""
    if len(classes) < 2:
        raise ValueError("y has a single class, so no label can be flipped; pass two or more.")
    if pairs is None:
        return {code: (code + 1) % len(classes) for code in range(len(classes))}
    places = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in (*pairs, *pairs.values()) if label not in places]
    if unknown:
        raise ValueError(f"pairs names the label {unknown[0]!r}, which no row of y has.")
    partners = {places[label]: places[other] for label, other in pairs.items()}
    if any(code == partner for code, partner in partners.items()):
        raise ValueError("pairs maps a label to itself; map it to another, or leave it out.")
    return partners


def _cross_fitted(
    X: Any,
    codes: NDArray[np.intp],
    n_folds: int,
    model: Any,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Class probabilities (n_rows, n_classes) by models that have not seen the row."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    from dvrl.data.encoder import with_encoding

    chosen = LogisticRegression(max_iter=2000) if model is None else clone(model)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=int(generator.integers(2**31)))
    probabilities = cross_val_predict(
        with_encoding(chosen), X, codes, cv=folds, method="predict_proba"
    )
    return np.array(probabilities, dtype=np.float64)


def _drawn_in_proportion(
    chance: NDArray[np.float64], n_drawn: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Rows drawn one after the other, each in proportion to its chance among those left.

    By exponential clocks (Efraimidis and Spirakis 2006), which also allow chances of zero.
    """
    clocks = generator.exponential(size=len(chance)) / np.maximum(chance, 1e-12)
    return np.argsort(clocks, kind="stable")[:n_drawn]


def _check_fraction(fraction: float) -> None:
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}; pass a share of the rows between 0 and 1.")


def _draw_rows(
    n_rows: int, fraction: float, rng: np.random.Generator | int
) -> tuple[np.random.Generator, NDArray[np.intp]]:
    _check_fraction(fraction)
    generator = np.random.default_rng(rng)
    return generator, generator.choice(n_rows, size=round(fraction * n_rows), replace=False)


def _prepare(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], np.random.Generator, NDArray[np.intp]]:
    """Copy the targets and draw the rows to corrupt."""
    copied = np.array(y)
    if copied.ndim != 1:
        raise ValueError(f"y has shape {copied.shape}; pass one label per row, shape (n_rows,).")
    generator, rows = _draw_rows(len(copied), fraction, rng)
    return copied, generator, rows


def _mask(n_rows: int, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask
