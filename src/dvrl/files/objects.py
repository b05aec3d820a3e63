"""Models of the user's own, which only skops can write: opened only where they are trusted."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NotOpened", "open_object", "pack_object"]

# Nodes of skops that call what they are given.
REFUSED = frozenset({"MethodNode", "OperatorFuncNode", "PartialNode"})


class NotOpened:
    """Stands for an object of a file that was not opened: whoever asks it to answer is told why."""

    def __init__(self, name: str, why: str, data: NDArray[np.uint8] | None = None) -> None:
        self.name, self.why, self.data = name, why, data

    def predict(self, *_: Any) -> Any:
        """Say why there is no answer."""
        raise ValueError(self.why)

    predict_proba = scores = transform = predict

    def __repr__(self) -> str:
        return f"<{self.name}, not opened>"


def pack_object(name: str, value: object) -> NDArray[np.uint8]:
    """The bytes of an object as an array.

    Raises
    ------
    TypeError
        For an object that could not be read again, such as one with a lambda.
    """
    import skops.io

    try:
        data = skops.io.dumps(value)
        _refuse_calls(data)
        skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    # Code of others is asked to write itself and to read itself again.
    except Exception as error:
        raise TypeError(
            f"The {name} ({type(value).__name__}) could not be loaded again from a file "
            f"({_cause(error)}); use functions and classes that a module defines by name."
        ) from error
    return np.frombuffer(data, np.uint8)


def open_object(name: str, data: NDArray[np.uint8], trusted: Sequence[str]) -> Any:
    """The object of an array that `pack_object` made; `NotOpened` where nothing is trusted.

    Raises
    ------
    ValueError
        If some of its types are not trusted, or it cannot be rebuilt.
    """
    import skops.io

    if isinstance(trusted, str):
        raise TypeError(f"`trusted` is a list of type names; write trusted=[{trusted!r}].")
    own, needed = _types(data)
    if set(needed) - set(trusted):
        why = (
            f"The {name} of this file is an object of the types {', '.join(needed)}, which dvrl "
            "does not open by itself; if you trust where the file comes from, load it with "
            f"trusted={needed!r}."
        )
        if trusted:
            raise ValueError(why)
        return NotOpened(own, why, data)
    content = data.tobytes()
    try:
        return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    except Exception as error:  # what the classes of others raise
        raise ValueError(
            f"The {name} of this file cannot be rebuilt ({_cause(error)}); it was probably "
            "written with other versions of its libraries: use those, or write it again."
        ) from error


def _types(data: NDArray[np.uint8]) -> tuple[str, list[str]]:
    """The object's own type, and all that must be trusted: it, and those that skops doubts."""
    import skops.io

    content = data.tobytes()
    try:
        root = _refuse_calls(content)
        own = f"{root['__module__']}.{root['__class__']}"
        return own, sorted({own, *skops.io.get_untrusted_types(data=content)})
    except Exception as error:  # skops raises many kinds for content that it cannot follow
        raise ValueError(
            f"The saved file is damaged: its objects cannot be read ({_cause(error)})."
        ) from error


def _refuse_calls(data: bytes) -> dict[str, Any]:
    """What skops would do, without any of the nodes that call things."""
    with zipfile.ZipFile(BytesIO(data)) as file:
        schema: dict[str, Any] = json.loads(file.read("schema.json"))
    found = REFUSED.intersection(_loaders(schema))
    if found:
        raise pickle.PicklingError(f"it holds what calls functions: {', '.join(sorted(found))}")
    return schema


def _loaders(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("__loader__"), str):
            yield node["__loader__"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _loaders(each)


def _cause(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
