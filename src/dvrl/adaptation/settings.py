"""What few users turn when they adapt: ``settings=`` of the adapted estimators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..learning.settings import SettingsRecord, as_settings

__all__ = ["AdaptationSettings", "check_names", "check_whole", "checked_settings"]

FORMS = {"classification": ("weighted", "augmented"), "regression": ("weighted", "offset")}
SHARPNESSES = {"classification": (1.0, 2.0, 4.0), "regression": (1.0, 4.0, 16.0, 64.0)}


@dataclass(kw_only=True, eq=False, repr=False)
class AdaptationSettings(SettingsRecord):
    """What is tried: ``settings=`` of :class:`dvrl.AdaptedClassifier` and its like for numbers.

    None means the default. A dict with the same names does as well.

    Parameters
    ----------
    sharpnesses : tuple of float
        Powers of the values (default 1, 2, 4; for numbers 1, 4, 16, 64).
    ratios : tuple of float
        Weights of the whole source by that of the target rows (default .1, .3, 1, 3).
    forms : tuple of {"weighted", "augmented", "offset"}
        ``"weighted"``: one predictor on source and target rows. ``"augmented"`` (default for
        classes): the same with features for both domains and for each (Daumé 2007; not for
        frames). ``"offset"`` (numbers): a predictor of the target rows learns the error of one of
        the source.
    combine : {"mixture", "best"}
        Mix candidates (default), or take the one of least loss.
    max_source_rows : int
        Source rows in one fit (default 50,000). All source rows are valued; of more, rows are
        drawn by their weight.
    metric_weights : bool
        Whether predictors are fitted with the base weights of the metric (default True).
    """

    sharpnesses: Sequence[float] | None = None
    ratios: Sequence[float] | None = None
    forms: Sequence[str] | None = None
    combine: str | None = None
    max_source_rows: int | None = None
    metric_weights: bool | None = None


def checked_settings(settings: Any, task: str) -> AdaptationSettings:
    """What a user passed, checked, with the defaults of the task for what is None."""
    default: dict[str, Any] = {
        "sharpnesses": SHARPNESSES[task],
        "ratios": (0.1, 0.3, 1.0, 3.0),
        "forms": FORMS[task],
        "combine": "mixture",
        "max_source_rows": 50_000,
        "metric_weights": True,
    }
    found = default | as_settings(settings, AdaptationSettings).given()
    for name in ("sharpnesses", "ratios"):
        if not len(found[name]) or not all(0 < each < np.inf for each in found[name]):
            raise ValueError(f"{name}={found[name]!r} must hold numbers above 0.")
    check_names("forms", found["forms"], ("weighted", "augmented", "offset"))
    if "offset" in found["forms"] and task == "classification":
        raise ValueError("forms: 'offset' is for regression; use 'weighted' or 'augmented'.")
    check_names("combine", [found["combine"]], ("mixture", "best"))
    check_whole("max_source_rows", found["max_source_rows"], 2)
    return AdaptationSettings(**found)


def check_names(name: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """A ValueError unless there is a name and all are known."""
    if not given or not set(given) <= set(allowed):
        raise ValueError(
            f"{name}={given!r} cannot be used; choose from {', '.join(map(repr, allowed))}."
        )


def check_whole(name: str, given: Any, least: int) -> None:
    """A ValueError for anything but a whole number of so much or more."""
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < least:
        raise ValueError(f"{name}={given!r} must be a whole number of {least} or more.")
