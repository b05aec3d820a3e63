"""What to do with values: judge them, prune, train, explain groups, review.

Functions that take values or a fitted estimator. Planted errors are in `dvrl.data.noise`, reasons
of suspects in `dvrl.diagnostics.suspects`. Imports from all rooms but the command line, the
report and adaptation.
"""

from __future__ import annotations

from dvrl.actions.comparison import detection_scores, discovery, robust_comparison
from dvrl.actions.explain import explain_values
from dvrl.actions.removal import choose_fraction, prune, removal_curve
from dvrl.actions.robust import train_robust, with_predictor
from dvrl.predictors.weighted_fit import fit_weighted

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
