"""Domain adaptation: many labelled rows of one distribution, a few of the one that counts."""

from .estimators import AdaptedClassifier, AdaptedRegressor
from .settings import AdaptationSettings

__all__ = ["AdaptationSettings", "AdaptedClassifier", "AdaptedRegressor"]
