"""Domain adaptation: many labelled rows of one distribution, a few of the one that counts."""

from .estimators import AdaptedClassifier, AdaptedRegressor

__all__ = ["AdaptedClassifier", "AdaptedRegressor"]
