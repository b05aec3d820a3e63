"""What to do with values: judge them, prune, train, explain groups, review.

Functions that take values or a fitted estimator. Planted errors are in `dvrl.data.noise`, reasons
of suspects in `dvrl.diagnostics.suspects`. Imports from all rooms but the command line, the
report and adaptation.
"""

from __future__ import annotations

from dvrl.lazy import lazily

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

__all__ = list(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
