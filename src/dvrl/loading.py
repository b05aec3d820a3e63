"""`dvrl.load`: saved estimators of every kind."""

from __future__ import annotations

import os
from typing import Any

from .files.saved import read_saved

__all__ = ["load"]


def load(path: str | os.PathLike[str], *, trusted: tuple[str, ...] = ()) -> Any:
    """Read a fitted estimator: of DVRL, or adapted to another domain.

    Parameters
    ----------
    path : path-like
        Written by ``save``.
    trusted : tuple of str
        Types outside scikit-learn, skrub and dvrl that the file may create.

    Returns
    -------
    DVRLClassifier, DVRLRegressor, AdaptedClassifier or AdaptedRegressor

    Raises
    ------
    ValueError
        If the file holds something else, is damaged, or needs types that are not trusted.
    """
    # What can be restored is registered by the modules that save it.
    from . import adaptation, valuation  # noqa: F401

    return read_saved(path, trusted=trusted)
