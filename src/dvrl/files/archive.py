"""Arrays, JSON and scikit-learn objects in one file, written atomically, read without pickle.

An archive is a zip file with `metadata.json`, `arrays/<name>.npy` and `objects/<name>.skops`.
A reader sees either the old file or the new one, never a mixture: the new content goes to a
temporary name in the same directory, is flushed to the disk, and is then renamed.

Reading is meant to be safe for files from elsewhere: no pickle, and only objects of known types.
Known are what skops trusts, the Python classes of scikit-learn, skrub and dvrl, and a few
functions by name. A package is *not* known as a whole, because packages hold functions that run
what they are given (`numpy.testing.runstring`, `pandas.read_pickle`).
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .atomic import write_atomically
from .objects import damaged, decode_object, encode_object, refuse_unknown_types

__all__ = ["Archive", "expect", "read_archive", "with_prefix", "write_archive"]


FORMAT_NAME = "dvrl-archive"
FORMAT_VERSION = 1
METADATA_ENTRY = "metadata.json"
# JSON has no NaN and no infinity; this key marks the objects that stand for them.
FLOAT_MARK = "$float"
# Fixed, so that the same content gives the same bytes. 1980 is the first year a zip file can hold.
ENTRY_TIME = (1980, 1, 1, 0, 0, 0)

# What zipfile raises, depending on which byte is wrong.
ZIP_ERRORS = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Archive:
    """The content of a file written by `write_archive`.

    Attributes
    ----------
    metadata : dict
        JSON-like values: None, bool, int, float, str, lists, and dicts with text keys.
    arrays : dict of str to ndarray
    objects : dict of str to object
    """

    metadata: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)


def with_prefix(
    entries: dict[str, Any], prefix: str, besides: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Take the entries of a prefix, and the prefix off."""
    return {
        name.removeprefix(prefix): value
        for name, value in entries.items()
        if name.startswith(prefix) and name not in besides
    }


# --- writing ----------------------------------------------------------------------------------


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
    dtype : type
        The kind of numbers, such as ``numpy.floating``.
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
    if not np.issubdtype(array.dtype, dtype):
        raise ValueError(f"The saved file is damaged: {name!r} holds {array.dtype}.")
    if not (np.isfinite(array).all() and (array >= low).all() and (array <= high).all()):
        raise ValueError(f"The saved file is damaged: {name!r} holds numbers that cannot be.")
    return array


def write_archive(
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    objects: Mapping[str, object] | None = None,
) -> None:
    """Write an archive; an existing file is replaced in one step or left as it is.

    Parameters
    ----------
    path : path-like
        The file. Its directory must exist.
    metadata : dict
        None, booleans, numbers (NumPy's too; NaN and infinities survive), text, and lists, tuples
        (read back as lists) and dicts (with text keys) of these.
    arrays : dict of str to ndarray
        Any dtype that needs no pickle.
    objects : dict of str to object, optional
        Fitted scikit-learn-like objects, stored through skops.

    Raises
    ------
    TypeError
        For metadata, arrays or objects of a kind that cannot be stored.
    OSError
        When the file cannot be written.
    """
    objects = {} if objects is None else objects
    # Everything that can be refused is refused here, before anything touches the disk.
    header = _encode_header(metadata, arrays, objects)
    array_entries = {f"arrays/{name}.npy": _encode_array(name, a) for name, a in arrays.items()}
    object_entries = {
        f"objects/{name}.skops": encode_object(name, value) for name, value in objects.items()
    }

    def write(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            _write_entry(archive, METADATA_ENTRY, header, compress=True)
            for entry, data in array_entries.items():
                _write_entry(archive, entry, data, compress=False)
            for entry, data in object_entries.items():
                _write_entry(archive, entry, data, compress=True)

    write_atomically(path, write)


def _write_entry(archive: zipfile.ZipFile, entry: str, data: bytes, *, compress: bool) -> None:
    information = zipfile.ZipInfo(entry, ENTRY_TIME)
    # Floating-point arrays hardly shrink; skops files shrink to a fifth, at the lowest level too.
    information.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    archive.writestr(information, data, compresslevel=1 if compress else None)


def _encode_header(
    metadata: Mapping[str, Any], arrays: Mapping[str, Any], objects: Mapping[str, Any]
) -> bytes:
    for name in (*arrays, *objects):
        if not isinstance(name, str) or not name:
            raise TypeError(f"Names of arrays and objects are non-empty text, not {name!r}.")
    header = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "metadata": _to_json(metadata, "metadata"),
        "arrays": list(arrays),
        "objects": list(objects),
    }
    return json.dumps(header, allow_nan=False, indent=1).encode()


def _to_json(value: Any, where: str) -> Any:
    """Turn a value into what JSON can hold without loss, or say where it cannot be."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT_MARK: repr(value)}
    if isinstance(value, list | tuple):
        return [_to_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            _checked_key(key, where): _to_json(v, f"{where}[{key!r}]") for key, v in value.items()
        }
    raise TypeError(
        f"{where} is of type {type(value).__name__}, which JSON cannot hold; convert it to numbers,"
        " text, lists or dicts, or pass it through `arrays` or `objects`."
    )


def _checked_key(key: object, where: str) -> str:
    if not isinstance(key, str) or key == FLOAT_MARK:
        raise TypeError(
            f"{where} has the key {key!r}; the keys of dicts are text other than {FLOAT_MARK!r}."
        )
    return key


def _encode_array(name: str, array: NDArray[Any]) -> bytes:
    array = np.asarray(array)
    # Types registered by other packages (bfloat16) would come back as raw bytes.
    foreign = array.dtype.kind == "V" and array.dtype.fields is None
    if array.dtype.hasobject or foreign:
        raise TypeError(
            f"The array {name!r} has dtype {array.dtype}, which cannot be stored without pickle;"
            " convert it to numbers or fixed-width text."
        )
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


# --- reading ----------------------------------------------------------------------------------


def read_archive(path: str | os.PathLike[str], *, trusted: Sequence[str] = ()) -> Archive:
    """Read a file written by `write_archive`; runs no code from the file.

    Parameters
    ----------
    path : path-like
    trusted : sequence of str
        Full names of further types that objects in the file may have, for instance
        `"lightgbm.sklearn.LGBMClassifier"`. Name only types from files whose origin you trust.

    Returns
    -------
    Archive

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged, foreign, of a newer version, or holds objects of unknown types.
    """
    if isinstance(trusted, str):
        raise TypeError(f"`trusted` is a list of type names; write trusted=[{trusted!r}].")
    with open(path, "rb") as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except ZIP_ERRORS as error:
            raise ValueError(
                f"{os.fspath(path)} is not a complete file of dvrl (damaged, cut short, or another"
                " kind of file); write it again or restore a copy."
            ) from error
        with archive:
            header = _read_header(archive, path)
            arrays = {
                name: _read_array(archive, f"arrays/{name}.npy", path) for name in header["arrays"]
            }
            object_data = {
                name: _read_entry(archive, f"objects/{name}.skops", path)
                for name in header["objects"]
            }
    refuse_unknown_types(object_data, trusted, path)
    objects = {name: decode_object(data, path) for name, data in object_data.items()}
    return Archive(header["metadata"], arrays, objects)


def _read_header(archive: zipfile.ZipFile, path: str | os.PathLike[str]) -> dict[str, Any]:
    foreign = f"{os.fspath(path)} was not written by dvrl; check the path."
    if METADATA_ENTRY not in archive.namelist():
        raise ValueError(foreign)
    data = _read_entry(archive, METADATA_ENTRY, path)
    try:
        header = json.loads(data, object_hook=_from_json)
    except (ValueError, RecursionError) as error:
        raise ValueError(foreign) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT_NAME:
        raise ValueError(foreign)
    version = header.get("version")
    if not isinstance(version, int):
        raise ValueError(foreign)
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{os.fspath(path)} has format version {version}, this dvrl reads up to"
            f" {FORMAT_VERSION}; upgrade dvrl to read it."
        )
    if not _is_complete_header(header):
        raise damaged(path)
    return header


def _is_complete_header(header: dict[str, Any]) -> bool:
    names_are_lists = all(
        isinstance(header.get(part), list) and all(isinstance(name, str) for name in header[part])
        for part in ("arrays", "objects")
    )
    return names_are_lists and isinstance(header.get("metadata"), dict)


def _from_json(value: dict[str, Any]) -> Any:
    if value.keys() == {FLOAT_MARK} and value[FLOAT_MARK] in ("nan", "inf", "-inf"):
        return float(value[FLOAT_MARK])
    return value


def _read_entry(archive: zipfile.ZipFile, entry: str, path: str | os.PathLike[str]) -> bytes:
    try:
        return archive.read(entry)  # checks the entry's checksum
    except ZIP_ERRORS as error:
        raise damaged(path) from error


def _read_array(archive: zipfile.ZipFile, entry: str, path: str | os.PathLike[str]) -> NDArray[Any]:
    data = _read_entry(archive, entry, path)
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damaged(path) from error
    return array
