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

__all__ = ["CONVERGED", "PRESETS", "Settings", "make_settings"]

CONVERGED = "converged"

CHOICES: dict[str, tuple[str, ...]] = {
    "marginal": ("none", "validation", "cross_fit", "out_of_bag"),
    "prior": ("none", "marginal"),
    "gradient": ("auto", "reinforce", "antithetic", "through_fit"),
    "baseline": ("moving_average", "constant", "all_rows", "leave_one_out"),
    "predictor_start": ("reset", "persistent"),
    "inner_optimizer": ("auto", "sgd", "adam"),
}


@dataclass(frozen=True)
class Settings:
    """Everything that shapes a run. See :class:`dvrl.DVRLClassifier` for the meaning of each."""

    metric: Any = None
    marginal: str = "out_of_bag"
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
    predictor_start: str = "reset"
    exploration_weight: float = 0.0
    averaging: bool = True
    ensemble_size: int | str = "auto"
    max_seconds: float | None = None
    patience: int | None = None
    stopping_fraction: float = 0.25


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
    "predictor_start": "persistent",
    "exploration_weight": 0.0,
    "averaging": False,
    "ensemble_size": 1,
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
    settings = replace(Settings(), **{**PRESETS[preset], **given})
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    for name, allowed in CHOICES.items():
        _check_choice(name, getattr(settings, name), allowed)
    for name in ("baseline_window", "batch_size", "inner_batch_size", "outer_iterations"):
        _check_count(name, getattr(settings, name), least=1, words=("auto",))
    _check_count("n_selections", settings.n_selections, least=1, words=("auto",))
    _check_count("ensemble_size", settings.ensemble_size, least=1, words=("auto",))
    _check_count("inner_iterations", settings.inner_iterations, 1, ("auto", CONVERGED, "released"))
    for name in ("learning_rate", "inner_learning_rate"):
        _check_real(name, getattr(settings, name), words=("auto",), positive=True)
    for name in ("l2", "exploration_weight", "residual_bound"):
        _check_real(name, getattr(settings, name))
    _check_real("kl_weight", settings.kl_weight, words=("auto",))
    if settings.max_seconds is not None:
        _check_real("max_seconds", settings.max_seconds, positive=True)
    if settings.patience is not None:
        _check_count("patience", settings.patience, least=1)
    _check_real("stopping_fraction", settings.stopping_fraction, positive=True)
    if settings.stopping_fraction >= 1:
        raise ValueError("stopping_fraction must lie between 0 and 1; use .25, say.")
    n_selections = settings.n_selections
    if isinstance(n_selections, int):
        if settings.gradient == "antithetic" and n_selections % 2:
            raise ValueError(
                f"n_selections={n_selections} cannot be split into antithetic pairs; "
                "use an even number."
            )
        if (
            settings.gradient == "reinforce"
            and settings.baseline == "leave_one_out"
            and n_selections < 2
        ):
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


def _is_integer(value: Any) -> bool:
    try:
        return not isinstance(value, (bool, str)) and int(value) == value
    except (TypeError, ValueError, OverflowError):
        return False


def _check_count(name: str, value: Any, least: int, words: tuple[str, ...] = ()) -> None:
    if (isinstance(value, str) and value in words) or (_is_integer(value) and value >= least):
        return
    also = f" or {', '.join(map(repr, words))}" if words else ""
    raise ValueError(f"{name}={value!r} must be a whole number of {least} or more{also}.")


def _check_real(name: str, value: Any, words: tuple[str, ...] = (), positive: bool = False) -> None:
    if isinstance(value, str) and value in words:
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number) and (number > 0 if positive else number >= 0):
        return
    also = f" or {', '.join(map(repr, words))}" if words else ""
    bound = "greater than 0" if positive else "of 0 or more"
    raise ValueError(f"{name}={value!r} must be a finite number {bound}{also}.")


SETTING_NAMES = tuple(field.name for field in fields(Settings))
