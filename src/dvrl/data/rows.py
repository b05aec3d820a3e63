"""Rows as the caller holds them: arrays, and frames of pandas and Polars."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["n_rows", "row_index", "stack_rows", "take_rows"]

BLOCK_ELEMENTS = 1 << 20
NAMES_IN_MESSAGES = 5


# --------------------------------------------------------------------------------------------
# Kinds of containers
# --------------------------------------------------------------------------------------------


def is_instance(value: Any, module: str, *names: str) -> bool:
    """Whether `value` is of a class of a module that may not even be imported yet."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return False
    return isinstance(value, tuple(getattr(loaded, name) for name in names))


def is_pandas_frame(X: Any) -> bool:
    return is_instance(X, "pandas", "DataFrame")


def is_polars_frame(X: Any) -> bool:
    return is_instance(X, "polars", "DataFrame")


def is_frame(X: Any) -> bool:
    """Whether `X` is a frame whose columns have types of their own.

    A pandas frame of sparse columns only is not: scikit-learn refuses it like a sparse matrix.
    """
    if is_polars_frame(X):
        return True
    if not is_pandas_frame(X):
        return False
    import pandas as pd

    sparse = [isinstance(dtype, pd.SparseDtype) for dtype in X.dtypes]
    return not (sparse and all(sparse))


def row_index(X: Any) -> Any:
    """Return the caller's row labels.

    Parameters
    ----------
    X : array-like or frame
        Features as the caller gave them.

    Returns
    -------
    pandas.Index or None
        The index of a pandas frame or series; None for everything else.
    """
    return X.index if is_instance(X, "pandas", "DataFrame", "Series") else None


def n_rows(X: Any) -> int:
    """Return the number of rows of an array, a list or a frame.

    Parameters
    ----------
    X : array-like or frame

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `X` has no rows, such as a number.
    """
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple) and shape:
        return int(shape[0])
    try:
        return len(X)
    except TypeError:
        raise TypeError(
            f"Expected rows but got {type(X).__name__}; pass an array, a list or a frame."
        ) from None


def take_rows(X: Any, indices: ArrayLike) -> Any:
    """Return some rows by position, in the caller's own container.

    Parameters
    ----------
    X : array-like or frame
    indices : array-like of int of shape (k,)
        Positions, not labels of an index.

    Returns
    -------
    array or frame
        `k` rows; a NumPy array where a list was given. Never shares memory that the caller owns
        in a way that could be written through a frame.
    """
    positions = np.asarray(indices, dtype=np.intp)
    if is_instance(X, "pandas", "DataFrame", "Series"):
        return X.iloc[positions]
    if is_instance(X, "polars", "DataFrame", "Series"):
        return X[positions]
    if hasattr(X, "tocsr"):
        return X.tocsr()[positions]
    return np.asarray(X)[positions]


def stack_rows(first: Any, second: Any) -> Any:
    """Put the rows of two tables of the same kind under each other.

    Parameters
    ----------
    first : array-like, sparse matrix or frame
    second : like first
        The columns of a frame may come in another order.

    Returns
    -------
    array, sparse matrix or frame
        Columns in the order of the first.
    """
    if hasattr(first, "tocsr"):
        from scipy.sparse import vstack

        return vstack([first, second], format="csr")
    if is_instance(first, "pandas", "DataFrame"):
        import pandas as pd

        if not hasattr(second, "columns"):
            second = pd.DataFrame(np.asarray(second), columns=first.columns)
        return pd.concat([first, second[list(first.columns)]], ignore_index=True)
    if is_instance(first, "polars", "DataFrame"):
        return first.vstack(second.select(first.columns))
    return np.concatenate([np.asarray(first), np.asarray(second)])


# --------------------------------------------------------------------------------------------
# Columns of frames
# --------------------------------------------------------------------------------------------


def column_at(X: Any, position: int) -> Any:
    return X.iloc[:, position] if is_pandas_frame(X) else X.to_series(position)


def column_names(X: Any) -> list[str]:
    names = [str(name) for name in X.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"X has more than one column named {listed(repeated)}; give every column its own name."
        )
    return names


def listed(names: Sequence[Any]) -> str:
    """Write out a few names, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:NAMES_IN_MESSAGES])
    more = len(names) - NAMES_IN_MESSAGES
    return f"{shown} and {more} more" if more > 0 else shown


def row_blocks(n: int, n_columns: int) -> Iterator[slice]:
    """Cut rows into blocks, so that float64 copies of a large matrix stay small."""
    step = max(1, BLOCK_ELEMENTS // max(1, n_columns))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))
