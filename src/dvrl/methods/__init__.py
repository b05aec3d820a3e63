"""Other valuation methods, with the interface of DVRL: ``fit``, ``data_values_``.

Low values mean suspicious rows everywhere; units differ between methods.
"""

from __future__ import annotations

from typing import NamedTuple

from dvrl.lazy import lazily


class Method(NamedTuple):
    """Where a method stands: its title in tables and figures, its class, and the class's file."""

    title: str
    class_name: str
    file: str


METHODS = {
    "marginal": Method("marginal only", "MarginalOnly", "controls"),
    "random": Method("random", "RandomValues", "controls"),
    "leave_one_out": Method("leave-one-out", "LeaveOneOut", "leave_one_out"),
    "data_shapley": Method("Data Shapley", "DataShapley", "data_shapley"),
    "beta_shapley": Method("Beta Shapley", "BetaShapley", "beta_shapley"),
    "banzhaf": Method("Data Banzhaf", "DataBanzhaf", "banzhaf"),
    "ame": Method("AME", "AME", "ame"),
    "knn_shapley": Method("KNN-Shapley", "KNNShapley", "knn_shapley"),
    "data_oob": Method("Data-OOB", "DataOOB", "data_oob"),
    "influence": Method("influence functions", "InfluenceFunctions", "influence"),
    "gradient_similarity": Method(
        "gradient similarity", "GradientSimilarity", "gradient_similarity"
    ),
    "lava": Method("LAVA", "LAVA", "lava"),
    "confident_learning": Method("confident learning", "ConfidentLearning", "confident_learning"),
}
"""Methods by the names that `dvrl.compare` and the command line use."""

_HOMES = {each.class_name: f"{__name__}.{each.file}" for each in METHODS.values()}

__all__ = ["METHODS", "Method", *_HOMES]
__getattr__, __dir__ = lazily(__name__, _HOMES)
