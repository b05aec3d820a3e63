"""Rows as the caller holds them: arrays, and frames of pandas and Polars."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files.archive import is_plain
from ..files.state import State, expect, joined, part

__all__ = ["index_from_state", "index_state", "n_rows", "row_index", "stack_rows", "take_rows"]

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


# --------------------------------------------------------------------------------------------
# Names of rows in files
# --------------------------------------------------------------------------------------------

# Types that pandas would not guess from the cells.
INDEX_TYPES = {
    *(f"{unsigned}Int{n}" for unsigned in ("", "U") for n in (8, 16, 32, 64)),
    *("boolean", "string", "str", "object"),
}


def index_state(index: Any) -> State:
    """The state of a pandas index; of unusual cells only their text is kept."""
    import pandas as pd

    record: dict[str, Any] = {"name": index.name if is_plain(index.name) else str(index.name)}
    if isinstance(index, pd.MultiIndex):
        levels = [index_state(index.get_level_values(n)) for n in range(index.nlevels)]
        parts, arrays = joined(**{str(number): state for number, state in enumerate(levels)})
        return {"kind": "levels", "levels": parts}, arrays
    if isinstance(index, pd.CategoricalIndex):
        parts, arrays = joined(categories=index_state(index.categories))
        record |= {"kind": "categories", "ordered": bool(index.ordered), **parts}
        return record, arrays | {"codes": np.asarray(index.codes, np.int64)}
    if isinstance(index, pd.PeriodIndex):
        return record | {"kind": "periods", "freq": index.freqstr}, {"values": index.asi8}
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        values = index.tz_convert("UTC").tz_localize(None).to_numpy()
        record |= {"kind": "zone", "zone": str(index.tz), "freq": index.freqstr}
        return record, {"values": values}
    values = np.asarray(index)
    if values.dtype == object:
        cells = [cell if is_plain(cell) and cell is not None else _cell(cell) for cell in values]
        values = np.array([*cells, None], dtype=object)[:-1]
    kind = str(index.dtype) if str(index.dtype) in INDEX_TYPES else "plain"
    if isinstance(index, pd.DatetimeIndex):
        kind, record["freq"] = "dates", index.freqstr
    return record | {"kind": kind}, {"values": values}


def index_from_state(record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """The index that `index_state` was given."""
    import pandas as pd

    kind, name = record["kind"], record.get("name")
    if kind == "levels":
        parts = [part(record["levels"], arrays, str(n)) for n in range(len(record["levels"]))]
        return pd.MultiIndex.from_arrays([index_from_state(*each) for each in parts])
    if kind == "categories":
        categories = index_from_state(*part(record, arrays, "categories"))
        codes = expect(arrays, "codes", (None,), np.integer, low=-1, high=len(categories) - 1)
        cells = pd.Categorical.from_codes(codes, categories, ordered=bool(record["ordered"]))
        return pd.CategoricalIndex(cells, name=name)
    values = expect(arrays, "values", (None,), None)
    if kind == "periods":
        periods: Any = pd.PeriodIndex  # whose stubs lack this method
        return periods.from_ordinals(values, freq=str(record["freq"]), name=name)
    if kind in ("dates", "zone"):
        dates = pd.DatetimeIndex(values, name=name)
        if kind == "zone":
            dates = dates.tz_localize("UTC").tz_convert(record["zone"])
        return pd.DatetimeIndex(dates, freq=record["freq"])
    if kind in INDEX_TYPES:
        return pd.Index(values, dtype=kind, name=name)
    return pd.Index(values, name=name)


def _cell(cell: Any) -> Any:
    """What a record can hold of a cell."""
    import pandas as pd

    return None if cell is None or cell is pd.NA or cell is pd.NaT else str(cell)
