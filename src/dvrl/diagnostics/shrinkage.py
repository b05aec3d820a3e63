"""How much of what an ensemble has learned is kept beside its prior.

Members learn from a part of the validation rows each. Where predictors trained with their values
do worse on the other part than those trained with the prior's, the learned change is halved or
dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..numerics.paired import is_positive, mean_where

__all__ = ["SHARES", "kept_share"]

SHARES = (1.0, 0.5, 0.0)
# Less would drop what was learned by chance now and then; more would keep what overfits.
STANDARD_ERRORS = 2.0
FEWEST_ROWS = 2

Floats = NDArray[np.float64]


def kept_share(row_rewards: Mapping[float, Floats], seen: NDArray[np.bool_]) -> float:
    """Choose the share of the learned change of the log-odds that is kept.

    All of it is kept unless a smaller share is better by more than two standard errors, paired
    over the validation rows that did not reward a member.

    Parameters
    ----------
    row_rewards : mapping of float to (k, m) float64
        For each of `SHARES`: rewards of each validation row, higher is better, of predictors
        trained with the values of each member. Without any, all that was learned is kept.
    seen : (k, m) bool
        The validation rows that rewarded each member.

    Returns
    -------
    float
        One of `SHARES`.

    Examples
    --------
    >>> rewards = {1.0: np.zeros((1, 4)), 0.5: np.full((1, 4), 0.1), 0.0: np.full((1, 4), 0.2)}
    >>> kept_share(rewards, np.zeros((1, 4), bool))
    0.0
    """
    best, best_gain = 1.0, 0.0
    for share, rewards in row_rewards.items():
        by_row = mean_where(rewards - row_rewards[1.0], ~seen)
        gain = by_row[~np.isnan(by_row)]
        clearly = gain.size >= FEWEST_ROWS and is_positive(gain, STANDARD_ERRORS)
        if clearly and gain.mean() > best_gain:
            best, best_gain = share, float(gain.mean())
    return best
