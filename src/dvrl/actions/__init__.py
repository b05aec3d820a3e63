"""What to do with values: judge them, prune, train, explain groups, review.

Functions that take values or a fitted estimator. Planted errors are in `dvrl.data.noise`, reasons
of suspects in `dvrl.diagnostics.suspects`. Imports from all rooms but the command line, the
report and adaptation.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "choose_fraction": "dvrl.actions.removal",
    "detection_scores": "dvrl.actions.comparison",
    "discovery": "dvrl.actions.comparison",
    "explain_values": "dvrl.actions.explain",
    "fit_weighted": "dvrl.predictors.weighted_fit",
    "prune": "dvrl.actions.removal",
    "removal_curve": "dvrl.actions.removal",
    "robust_comparison": "dvrl.actions.comparison",
    "train_robust": "dvrl.actions.robust",
    "with_predictor": "dvrl.actions.robust",
}

__all__ = [
    "choose_fraction",
    "detection_scores",
    "discovery",
    "explain_values",
    "fit_weighted",
    "prune",
    "removal_curve",
    "robust_comparison",
    "train_robust",
    "with_predictor",
]


def __getattr__(name: str) -> Any:
    """Import a function from its file when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
