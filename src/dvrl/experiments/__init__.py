"""Experiments as plain functions: plant errors, find them, train without them."""

from __future__ import annotations

from dvrl.experiments.comparison import detection_scores, discovery, robust_comparison
from dvrl.experiments.fitting import fit_weighted
from dvrl.experiments.insight import explain_values
from dvrl.experiments.noise import (
    add_feature_noise,
    blank_features,
    flip_border_labels,
    flip_label_pairs,
    flip_labels,
    replace_targets,
)
from dvrl.experiments.removal import choose_fraction, prune, removal_curve
from dvrl.experiments.robust import train_robust, with_predictor
from dvrl.experiments.suspects import explain_suspects

__all__ = [
    "add_feature_noise",
    "blank_features",
    "choose_fraction",
    "detection_scores",
    "discovery",
    "explain_suspects",
    "explain_values",
    "fit_weighted",
    "flip_border_labels",
    "flip_label_pairs",
    "flip_labels",
    "prune",
    "removal_curve",
    "replace_targets",
    "robust_comparison",
    "train_robust",
    "with_predictor",
]
