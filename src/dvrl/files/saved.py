"""Saved estimators: each part of the package registers what it makes of its kind of file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .archive import read_archive

__all__ = ["read_saved", "register"]

_restorers: dict[str, Callable[..., Any]] = {}


def register(kind: str, restore: Callable[..., Any]) -> None:
    """Let a function of an archive restore the files whose record names this kind."""
    _restorers[kind] = restore


def read_saved(path: str | os.PathLike[str], **context: Any) -> Any:
    """Read an estimator that was saved.

    Parameters
    ----------
    path : path-like
    **context
        What the function that restores it takes besides the archive.

    Raises
    ------
    ValueError
        If the file holds something else, or is damaged.
    """
    archive, name = read_archive(path), Path(path).name
    kind = archive.record.get("kind")
    if not isinstance(kind, str) or kind not in _restorers:
        raise ValueError(
            f"{name} is no saved estimator but a {kind or 'foreign'} file; "
            "name a file written by save, and load it with dvrl.load."
        )
    try:
        return _restorers[kind](archive, **context)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError) as error:
        raise ValueError(
            f"{name} is damaged, or was written by another version of dvrl "
            f"({type(error).__name__}: {error}); write it again."
        ) from error
