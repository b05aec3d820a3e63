"""Other valuation methods, with the interface of DVRL: ``fit``, ``data_values_``.

Low values mean suspicious rows everywhere; units differ between methods.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AME": "ame",
    "BetaShapley": "beta_shapley",
    "ConfidentLearning": "confident_learning",
    "DataBanzhaf": "banzhaf",
    "DataOOB": "data_oob",
    "DataShapley": "data_shapley",
    "GradientSimilarity": "gradient_similarity",
    "InfluenceFunctions": "influence",
    "KNNShapley": "knn_shapley",
    "LAVA": "lava",
    "LeaveOneOut": "leave_one_out",
    "MarginalOnly": "controls",
    "RandomValues": "controls",
}

__all__ = [
    "AME",
    "LAVA",
    "BetaShapley",
    "ConfidentLearning",
    "DataBanzhaf",
    "DataOOB",
    "DataShapley",
    "GradientSimilarity",
    "InfluenceFunctions",
    "KNNShapley",
    "LeaveOneOut",
    "MarginalOnly",
    "RandomValues",
]


def __getattr__(name: str) -> Any:
    """Import a method from its file when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
