"""`dvrl.load`: saved estimators of every kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .files.saved import read_saved

__all__ = ["load"]


def load(
    path: str | os.PathLike[str], *, trusted: Sequence[str] = (), predictor: Any = None
) -> Any:
    """Read a fitted estimator: of DVRL, or adapted to another domain.

    Parameters
    ----------
    path : path-like
        Written by ``save``.
    trusted : sequence of str
        Types that the file may create to open models of your own, such as a random forest; name
        them only where you trust the origin of the file. Without them everything else can be
        asked, and whoever needs the model is told which types these are.
    predictor : predictor, optional
        The predictor of your own that the file was fitted with: its ``from_state`` takes the state
        of its fit, so that ``predict`` answers.

    Returns
    -------
    DVRLClassifier, DVRLRegressor, AdaptedClassifier or AdaptedRegressor

    Raises
    ------
    ValueError
        If the file holds something else, is damaged, or needs more types than are trusted.
    """
    # What can be restored is registered by the modules that save it.
    from . import adaptation, valuation  # noqa: F401

    return read_saved(path, trusted=trusted, predictor=predictor)
