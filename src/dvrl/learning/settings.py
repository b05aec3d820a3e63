"""The settings of a run, and the presets: ``default``, ``paper`` and ``released``.

A preset is a row of defaults; whatever the user passes wins over it. ``paper`` is Algorithm 1 of
Yoon, Arik and Pfister (ICML 2020); ``released`` is what their published code does, which differs;
``default`` is what measures best (``docs/implementation-details.md``).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

__all__ = ["CONVERGED", "FINAL_ROWS", "PRESETS", "Settings", "check_selections", "make_settings"]

CONVERGED = "converged"
FINAL_ROWS = ("training", "both")

CHOICES: dict[str, tuple[str, ...]] = {
    "prior": ("none", "marginal"),
    "gradient": ("auto", "reinforce", "antithetic", "through_fit"),
    "baseline": ("moving_average", "all_rows", "leave_one_out"),
    "predictor_start": ("reset", "persistent"),
    "inner_optimizer": ("auto", "sgd", "adam"),
}

# Whole numbers of 1 or more, with the words that may stand in their place.
COUNTS: dict[str, tuple[str, ...]] = {
    "baseline_window": (),
    "batch_size": (),
    "inner_batch_size": (),
    "outer_iterations": ("auto",),
    "n_selections": ("auto",),
    "ensemble_size": ("auto",),
    "inner_iterations": ("auto", CONVERGED, "released"),
}

# Other numbers: whether they must be greater than 0, and the words.
REALS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "learning_rate": (True, ("auto",)),
    "inner_learning_rate": (True, ("auto",)),
    "l2": (False, ()),
    "inner_l2": (False, ("auto",)),
    "exploration_weight": (False, ()),
    "residual_bound": (False, ()),
    "kl_weight": (False, ("auto",)),
    "validation_share": (True, ()),
}

SWITCHES = ("averaging", "shrink_residual")


@dataclass(frozen=True)
class Settings:
    """Everything that shapes a run. See :class:`dvrl.DVRLClassifier` for the meaning of each."""

    metric: Any = None
    marginal: Any = "auto"
    prior: str = "marginal"
    kl_weight: float | str = "auto"
    residual_bound: float = 1.0
    gradient: str = "auto"
    baseline: str = "leave_one_out"
    baseline_window: int = 20
    n_selections: int | str = "auto"
    outer_iterations: int | str = "auto"
    inner_iterations: int | str = "auto"
    batch_size: int = 2000
    inner_batch_size: int = 256
    inner_optimizer: str = "auto"
    learning_rate: float | str = "auto"
    inner_learning_rate: float | str = "auto"
    l2: float = 1.0
    inner_l2: float | str = "auto"
    predictor_start: str = "reset"
    exploration_weight: float = 0.0
    averaging: bool = True
    ensemble_size: int | str = "auto"
    validation_share: float = 0.5
    shrink_residual: bool = True
    max_seconds: float | None = None


_PAPER: dict[str, Any] = {
    "marginal": "none",
    "prior": "none",
    "kl_weight": 0.0,
    "residual_bound": 0.0,
    "gradient": "reinforce",
    "baseline": "moving_average",
    "baseline_window": 20,
    "n_selections": 1,
    "outer_iterations": 2000,
    "inner_iterations": 100,
    "batch_size": 2000,
    "inner_batch_size": 256,
    "inner_optimizer": "sgd",
    "learning_rate": 0.01,
    "l2": 0.0,
    "inner_l2": 0.0,
    "predictor_start": "persistent",
    "exploration_weight": 0.0,
    "averaging": False,
    "ensemble_size": 1,
    "validation_share": 1.0,
    "shrink_residual": False,
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": _PAPER,
    "released": {
        **_PAPER,
        "metric": "released",
        "marginal": "validation",
        "baseline": "all_rows",
        "inner_iterations": "released",
        "inner_optimizer": "adam",
        "l2": 1.0,
        "inner_l2": 1.0,
        "predictor_start": "reset",
        "exploration_weight": 1e3,
    },
}


def make_settings(preset: str, overrides: Mapping[str, Any]) -> Settings:
    """Settings of a preset with the caller's own on top; None means "the preset's".

    Parameters
    ----------
    preset : {"default", "paper", "released"}
    overrides : mapping
        Field names of :class:`Settings` to values.

    Raises
    ------
    ValueError
        For an unknown preset or choice, or a number out of its range.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r} is unknown; use one of {', '.join(PRESETS)}.")
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = _checked(replace(Settings(), **{**PRESETS[preset], **given}))
    check_selections(settings.gradient, settings.baseline, settings.n_selections)
    return settings


def _checked(settings: Settings) -> Settings:
    """The same settings, counts as int and other numbers as float."""
    for name, allowed in CHOICES.items():
        _check_choice(name, getattr(settings, name), allowed)
    if isinstance(settings.marginal, str):
        from ..references.kinds import MARGINALS

        _check_choice("marginal", settings.marginal, MARGINALS)
    elif not hasattr(settings.marginal, "fit"):
        raise ValueError(
            f"marginal={settings.marginal!r} is no estimator; pass a name such as 'auto', or an "
            "object with fit and predict_proba."
        )
    values: dict[str, Any] = {}
    for name, words in COUNTS.items():
        values[name] = _count(name, getattr(settings, name), words)
    for name, (positive, words) in REALS.items():
        values[name] = _real(name, getattr(settings, name), positive, words)
    if settings.max_seconds is not None:
        values["max_seconds"] = _real("max_seconds", settings.max_seconds, True, ())
    if values["validation_share"] > 1:
        raise ValueError("validation_share must lie above 0 and be at most 1; use .5, say.")
    for name in SWITCHES:
        value = getattr(settings, name)
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name}={value!r} must be True or False.")
        values[name] = bool(value)
    return replace(settings, **values)


def check_selections(gradient: str, baseline: str, n_selections: int | str) -> None:
    """Raise where so many selections per update do not suit the gradient estimator.

    Parameters
    ----------
    gradient, baseline : str
        As in :class:`Settings`; "auto" suits any number.
    n_selections : int or "auto"

    Raises
    ------
    ValueError
        For antithetic pairs of an odd number, or a single selection with nothing to compare it
        with.
    """
    if isinstance(n_selections, str):
        return
    if gradient == "antithetic" and n_selections % 2:
        raise ValueError(
            f"n_selections={n_selections} cannot be split into antithetic pairs; "
            "use an even number, or gradient='reinforce'."
        )
    if gradient == "reinforce" and baseline == "leave_one_out" and n_selections < 2:
        raise ValueError(
            "baseline='leave_one_out' compares selections of the same batch with each other; "
            "use n_selections >= 2 or another baseline."
        )


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value in allowed:
        return
    close = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(allowed)}.{hint}")


def _count(name: str, value: Any, words: tuple[str, ...]) -> int | str:
    if isinstance(value, str) and value in words:
        return value
    number = _number(value)
    if number >= 1 and number == math.floor(number):
        return int(number)
    raise ValueError(f"{name}={value!r} must be a whole number of 1 or more{_or(words)}.")


def _real(name: str, value: Any, positive: bool, words: tuple[str, ...]) -> float | str:
    if isinstance(value, str) and value in words:
        return value
    number = _number(value)
    if number > 0 or (number == 0 and not positive):
        return number
    bound = "greater than 0" if positive else "of 0 or more"
    raise ValueError(f"{name}={value!r} must be a finite number {bound}{_or(words)}.")


def _number(value: Any) -> float:
    """The value as a float; NaN, which passes no check, for whatever is no finite number."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _or(words: tuple[str, ...]) -> str:
    return f" or {', '.join(map(repr, words))}" if words else ""


SETTING_NAMES = tuple(field.name for field in fields(Settings))
