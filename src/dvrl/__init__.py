"""Data valuation by reinforcement learning.

How much does each training row help a predictor on the data you care about?

Public names are loaded when they are first used, so that ``import dvrl`` (and
``dvrl --help``) do not wait for JAX, scikit-learn or pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvrl.lazy import lazily

if TYPE_CHECKING:
    from dvrl.adaptation import AdaptedClassifier, AdaptedRegressor
    from dvrl.exceptions import DataValuationWarning
    from dvrl.learning.settings import Settings
    from dvrl.loading import load
    from dvrl.side_by_side import compare
    from dvrl.valuation import DVRLClassifier, DVRLRegressor

    __version__: str

__all__ = [
    "AdaptedClassifier",
    "AdaptedRegressor",
    "DVRLClassifier",
    "DVRLRegressor",
    "DataValuationWarning",
    "Settings",
    "__version__",
    "compare",
    "load",
]

_HOMES = {
    "AdaptedClassifier": "dvrl.adaptation",
    "AdaptedRegressor": "dvrl.adaptation",
    "DVRLClassifier": "dvrl.valuation",
    "DVRLRegressor": "dvrl.valuation",
    "Settings": "dvrl.learning.settings",
    "compare": "dvrl.side_by_side",
    "load": "dvrl.loading",
    "DataValuationWarning": "dvrl.exceptions",
}

_load, _ = lazily(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from the module that owns it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("dvrl")
    return _load(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
