"""A record and arrays in one safetensors file, written atomically, read without running anything.

The record is JSON in the file's header, arrays are its tensors. safetensors checks sizes and
offsets; a digest finds changed bytes. Text, dates and plain cells, which safetensors does not know,
are kept as JSON or whole numbers in tensors of their own.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atomic import write_atomically

__all__ = ["Archive", "is_plain", "read_archive", "write_archive"]

FORMAT_VERSION = 2
# safetensors orders the entries of its header by chance; a single one gives the same bytes.
ENTRY = "dvrl"
# What JSON lacks: objects with one of these keys alone stand for NaN and infinities, tuples, times.
FLOAT, TUPLE, TIME = MARKS = ("$float", "$tuple", "$time")
TEXT, CELLS = "text", "cells"
# An array of text takes as much memory for each cell as its longest one.
MOST_TEXT_BYTES = 2**33


@dataclass(frozen=True)
class Archive:
    """The content of a file written by `write_archive`.

    Attributes
    ----------
    record : dict
        JSON-like values: None, bool, int, float, str, lists, tuples, and dicts with text keys.
    arrays : dict of str to ndarray
    """

    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def write_archive(
    path: str | os.PathLike[str], record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write an archive; an existing file is replaced in one step or left as it is.

    Parameters
    ----------
    path : path-like
        The file. Its directory must exist.
    record : dict
        None, booleans, numbers (NumPy's too; NaN and infinities survive), text, times, and lists,
        tuples and dicts (with text keys) of these.
    arrays : dict of str to ndarray
        Numbers, booleans, dates and spans of time of any shape; text and objects that a record
        could hold in one dimension.

    Raises
    ------
    TypeError
        For a record or arrays of a kind that cannot be stored; nothing has been written then.
    OSError
        When the file cannot be written.
    """
    from safetensors.numpy import save

    tensors, kinds = {}, {}
    for name, array in arrays.items():
        if not isinstance(name, str) or not name or name.startswith("__"):
            raise TypeError(f"The name of an array is text without leading __, not {name!r}.")
        tensors[name], kinds[name] = _to_tensor(name, np.asarray(array))
    content = json.dumps({"arrays": kinds, "record": _to_json(record, "record")}, allow_nan=False)
    file = save(tensors, {ENTRY: f"{FORMAT_VERSION} {_digest(content, tensors)} {content}"})
    write_atomically(path, lambda stream: stream.write(file))


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Read a file written by `write_archive`; runs no code from the file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged, foreign, or of another version.
    """
    name = os.fspath(path)
    damaged = (
        f"{name} is not a complete file of dvrl (damaged, cut short, or another kind of file); "
        "write it again or restore a copy."
    )
    with open(path, "rb") as stream:
        if stream.read(2) == b"PK":
            raise ValueError(
                f"{name} is a zip file, as dvrl 0.1 wrote them, which this version does not read; "
                "fit and save again."
            )
    entry, tensors = _read(path, damaged)
    if entry is None:
        raise ValueError(f"{name} was not written by dvrl; check the path.")
    version, _, rest = entry.partition(" ")
    if version.isdecimal() and len(version) < 10 and int(version) > FORMAT_VERSION:
        raise ValueError(
            f"{name} has format version {version}, this dvrl reads up to {FORMAT_VERSION}; "
            "upgrade dvrl to read it."
        )
    digest, _, content = rest.partition(" ")
    if version != str(FORMAT_VERSION) or digest != _digest(content, tensors):
        raise ValueError(damaged)
    try:
        header = json.loads(content, object_hook=_from_json)
        kinds = header["arrays"].items()
        arrays = {each: _from_tensor(tensors[each], kind) for each, kind in kinds}
        return Archive(dict(header["record"]), arrays)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(damaged) from error


def _read(path: str | os.PathLike[str], damaged: str) -> tuple[str | None, dict[str, NDArray[Any]]]:
    """The entry of the header, and the tensors where there is one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            entry = (file.metadata() or {}).get(ENTRY)
            names = [] if entry is None else file.keys()
            return entry, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, ValueError, TypeError, LookupError, MemoryError) as error:
        raise ValueError(damaged) from error


def _digest(content: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    """What changes with any byte that counts."""
    digest = sha256(content.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, tensor.dtype.str, tensor.shape)).encode())
        digest.update(tensor.data)
    return digest.hexdigest()


# ---- arrays as tensors -----------------------------------------------------------------------


def _to_tensor(name: str, array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """A tensor that safetensors knows, and what to make of it again."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "biuf" and size <= 8:
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape), ""
    if kind in "Mm":
        dtype = array.dtype.newbyteorder("<")
        return _to_tensor(name, array.astype(dtype).view(np.int64))[0], dtype.str
    if kind in "UO" and array.ndim == 1:
        cells = [_to_json(cell, f"{name}[{place}]") for place, cell in enumerate(array.tolist())]
        content = np.frombuffer(json.dumps(cells).encode(), np.uint8)
        return content, TEXT if kind == "U" else CELLS
    raise TypeError(
        f"The array {name!r} of dtype {array.dtype} and {array.ndim} dimensions cannot be stored; "
        "convert it to numbers, dates, or one dimension of text."
    )


def _from_tensor(tensor: NDArray[Any], kind: str) -> NDArray[Any]:
    if not kind:
        return tensor
    if kind not in (TEXT, CELLS):
        dtype = np.dtype(kind)
        if dtype.kind not in "Mm":
            raise ValueError(f"no kind of array: {kind}")
        return tensor.view(dtype)
    cells = json.loads(tensor.tobytes(), object_hook=_from_json)
    if kind == CELLS:
        array = np.empty(len(cells), object)
        array[:] = cells
        return array
    if 4 * len(cells) * max(map(len, cells), default=0) > MOST_TEXT_BYTES:
        raise ValueError("too much text")
    return np.array(cells, dtype=np.str_)


# ---- JSON ------------------------------------------------------------------------------------


def is_plain(value: Any) -> bool:
    """Whether a record can hold a value."""
    try:
        _to_json(value, "value")
    except TypeError:
        return False
    return True


def _to_json(value: Any, where: str) -> Any:
    """Turn a value into what JSON can hold without loss, or say where it cannot be."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        items = [_to_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {TUPLE: items}
    if isinstance(value, datetime) and type(value) is datetime:
        return {TIME: value.isoformat()}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key in MARKS:
                raise TypeError(
                    f"{where} has the key {key!r}; the keys of dicts are text other than "
                    f"{', '.join(MARKS)}."
                )
        return {key: _to_json(each, f"{where}[{key!r}]") for key, each in value.items()}
    raise TypeError(
        f"{where} is of type {type(value).__name__}, which JSON cannot hold; convert it to numbers,"
        " text, lists or dicts, or pass it through `arrays`."
    )


def _from_json(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    ((mark, content),) = value.items()
    if mark == FLOAT and content in ("nan", "inf", "-inf"):
        return float(content)
    if mark == TUPLE:
        return tuple(content)
    return datetime.fromisoformat(content) if mark == TIME else value
