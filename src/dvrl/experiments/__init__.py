"""Experiments as plain functions: plant errors, find them, train without them."""

from __future__ import annotations

from dvrl.experiments.comparison import (
    detection_scores,
    discovery,
    fit_weighted,
    robust_comparison,
)
from dvrl.experiments.noise import flip_labels, replace_targets

__all__ = [
    "detection_scores",
    "discovery",
    "fit_weighted",
    "flip_labels",
    "replace_targets",
    "robust_comparison",
]
