"""States: what a part of the package keeps in a file, and how it is looked at when it is read.

A state is a record (JSON-like values) and arrays. Parts return theirs from ``state()`` and take
it back in ``from_state(record, arrays)``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Count", "Finite", "Share", "State", "checked", "expect", "joined", "part"]

State = tuple[dict[str, Any], dict[str, NDArray[Any]]]

# Types of the fields of records. Bounds also keep NaN out.
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]

Record = TypeVar("Record")


def joined(**states: State) -> State:
    """Several states as one; `part` takes them apart again."""
    record = {name: record for name, (record, _) in states.items()}
    arrays = {
        f"{name}/{each}": array
        for name, (_, those) in states.items()
        for each, array in those.items()
    }
    return record, arrays


def part(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], name: str) -> State:
    """One of the states that were joined.

    Raises
    ------
    ValueError
        If it is not there.
    """
    if not isinstance(record.get(name), dict):
        raise ValueError(f"The saved file is damaged: it has no part {name!r}.")
    prefix = f"{name}/"
    its = {each.removeprefix(prefix): a for each, a in arrays.items() if each.startswith(prefix)}
    return record[name], its


def checked(kind: type[Record], record: Mapping[str, Any]) -> Record:
    """A record as an object of a frozen dataclass, once its types and ranges are looked at.

    Raises
    ------
    ValueError
        If a field is missing, or is of another type or out of its range.
    """
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"The saved file is damaged: {error}.") from error


def expect(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    shape: tuple[int | None, ...],
    dtype: Any = np.floating,
    *,
    low: float = -np.inf,
    high: float = np.inf,
) -> NDArray[Any]:
    """Take an array of a file after looking at it.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    name : str
    shape : tuple of int or None
        None where any length will do.
    dtype : type or None
        The kind of numbers, such as ``numpy.floating``; None where anything will do.
    low, high : float
        Bounds of the numbers, themselves included. All must be finite.

    Raises
    ------
    ValueError
        If the array is not there, or another one than that.
    """
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"The saved file is damaged: it has no array {name!r}.")
    fits = array.ndim == len(shape) and all(
        wanted in (None, n) for n, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"The saved file is damaged: {name!r} has the shape {array.shape}.")
    if dtype is None:
        return array
    if not np.issubdtype(array.dtype, dtype):
        raise ValueError(f"The saved file is damaged: {name!r} holds {array.dtype}.")
    if not (np.isfinite(array).all() and (array >= low).all() and (array <= high).all()):
        raise ValueError(f"The saved file is damaged: {name!r} holds numbers that cannot be.")
    return array
