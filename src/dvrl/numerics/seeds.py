"""One number from whatever a caller passes as `random_state`."""

from __future__ import annotations

from typing import Any

__all__ = ["LARGEST_SEED", "seed_of"]

LARGEST_SEED = 2**31 - 1


def seed_of(random_state: Any) -> int:
    """Draw a seed, as scikit-learn's estimators do.

    Parameters
    ----------
    random_state : int, numpy.random.RandomState or None
        An integer always gives the same seed; None another one each time.
    """
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(LARGEST_SEED))
