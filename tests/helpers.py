"""What several test files need."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dvrl import Settings

SETTINGS = {each.name for each in fields(Settings)}


def parts(flat: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of an estimator, and arguments of its fit, from one flat list."""
    names = [name for name in ("checkpoint", "resume", "callback") if name in flat]
    going = {name: flat[name] for name in names}
    return parameters(**{name: flat[name] for name in flat if name not in going}), going


def parameters(**flat: Any) -> dict[str, Any]:
    """Parameters of an estimator from one flat list: those that are settings, in `settings`."""
    own = {name: value for name, value in flat.items() if name not in SETTINGS}
    settings = {name: value for name, value in flat.items() if name in SETTINGS}
    return {**own, "settings": settings}
