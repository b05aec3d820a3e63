"""What decides the course of a run, derived from its records: two runs with one spec are the same.

Nothing is listed by hand. A field of a record that says where or how long a run goes, and not
what it computes, is marked with ``metadata=NOT_THE_COURSE`` where it is declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np

__all__ = ["NOT_THE_COURSE", "RunSpec", "differences", "run_spec"]

NOT_THE_COURSE = {"course": False}
PACKAGES = ("dvrl", "jax", "numpy", "scikit-learn")
# Lists up to this length are told item by item.
LONGEST = 20
# Most fields that a message names.
NAMED = 5

RunSpec = dict[str, str]
"""Names of fields, such as ``program.n_selections``, and their values or digests as text."""


def run_spec(**records: Any) -> RunSpec:
    """Describe records field by field.

    Parameters
    ----------
    **records
        By name: dataclasses, named tuples, mappings, arrays, frames, estimators, functions,
        numbers and texts, one within another.

    Returns
    -------
    dict of str to str
    """
    spec = {f"version of {name}": version(name) for name in PACKAGES}
    for name, record in records.items():
        spec.update(_described(name, record))
    return spec


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Tell fields that differ, with both values; empty where none does."""
    names = sorted(
        name for name in {*before, *now} if before.get(name, "none") != now.get(name, "none")
    )
    told = [
        f"{name}: checkpoint {before.get(name, 'none')}, this run {now.get(name, 'none')}"
        for name in names[:NAMED]
    ]
    if len(names) > NAMED:
        told.append(f"and {len(names) - NAMED} more")
    return "; ".join(told)


def _described(name: str, value: Any) -> Iterator[tuple[str, str]]:
    parts = _parts(value)
    if parts is None:
        yield name, _text(value)
        return
    if not isinstance(value, Mapping | list | tuple):
        yield name, _kind(value)
    for part, its_value in parts.items():
        yield from _described(f"{name}.{part}", its_value)


def _parts(value: Any) -> Mapping[str, Any] | None:
    """Named parts of a record; None where it has none."""
    if isinstance(value, type):
        return None
    if isinstance(value, Mapping):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, list | tuple) and len(value) <= LONGEST and not hasattr(value, "_asdict"):
        return {str(at): part for at, part in enumerate(value)}
    if is_dataclass(value):
        kept = [field.name for field in fields(value) if field.metadata.get("course", True)]
        return {name: getattr(value, name) for name in kept}
    if hasattr(value, "_asdict"):
        parts: Mapping[str, Any] = value._asdict()
        return parts
    if hasattr(value, "course"):
        of_course: Mapping[str, Any] = value.course()
        return of_course
    if hasattr(value, "get_params"):
        params: Mapping[str, Any] = value.get_params(deep=False)
        return params
    if isinstance(value, partial):
        return {"function": value.func, "arguments": (value.args, value.keywords)}
    return None


def _text(value: Any) -> str:
    """A value itself where it is short, or a digest of its content."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return str(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "__array__") and not hasattr(value, "columns"):
        array = np.asarray(value)
        if array.ndim == 0:
            return str(array)
        return f"{array.dtype} {array.shape} {joblib.hash(array)[:12]}"
    try:
        return f"{_kind(value)} {joblib.hash(value)[:12]}"
    except Exception:  # an object that cannot be pickled has no digest
        return _kind(value)


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
