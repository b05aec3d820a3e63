"""The selection policy: drawing selections, baselines, gradient estimators, penalties.

A policy gives row ``i`` the probability ``h_i = sigmoid(logit_i)`` of being selected, each row
by its own coin (Yoon, Arik and Pfister, ICML 2020, section 3). Everything here works on the
logits of one batch of rows and returns derivatives with respect to these logits; the network
that produces them is the business of :mod:`dvrl.learning.network`.

Baselines and gradient estimators are plain functions. A new baseline is one function and one line
in `BASELINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

__all__ = [
    "BASELINES",
    "Selections",
    "antithetic_gradient",
    "draw_selections",
    "exploration_penalty",
    "kl_divergence",
    "reinforce_gradient",
]

MAX_REDRAWS = 8
EXPLORATION_BAND = (0.1, 0.9)


class Selections(NamedTuple):
    """Selections of one batch.

    Attributes
    ----------
    selected : (n_selections, n_batch) float
        1 where the row is selected, else 0. Padded rows are never selected.
    redrawn : () int
        How many selections had to be drawn again because no predictor could learn from them.
    """

    selected: Float[Array, "selections batch"]
    redrawn: Int[Array, ""]


def _too_small(
    selected: Float[Array, "selections batch"],
    targets: Float[Array, "batch outputs"],
    classification: bool,
) -> Bool[Array, " selections"]:
    """Whether a selection has fewer than two classes (or, for regression, two rows)."""
    if classification:
        return jnp.sum(selected @ targets > 0, axis=1) < 2
    return jnp.sum(selected, axis=1) < 2


def draw_selections(
    key: PRNGKeyArray,
    logits: Float[Array, " batch"],
    mask: Float[Array, " batch"],
    targets: Float[Array, "batch outputs"],
    *,
    n_selections: int,
    antithetic: bool,
    classification: bool,
) -> Selections:
    """Draw selections of the batch, again where a draw is empty or has a single class.

    Parameters
    ----------
    key : PRNG key
    logits : (n_batch,) float
        Log-odds of selecting each row.
    mask : (n_batch,) float
        1 for rows, 0 for padding.
    targets : (n_batch, n_outputs) float
        One-hot labels, or the scaled target of a regression.
    n_selections : int
        Number of selections, even when `antithetic`.
    antithetic : bool
        Draw pairs from the same uniform numbers: ``u < h`` and ``1 - u < h``. The first half of
        the result and the second half are each other's partners.
    classification : bool
        Whether `targets` is one-hot.

    Returns
    -------
    Selections
        After ``MAX_REDRAWS`` vain draws a selection is kept as it is, so that a policy which has
        shrunk to nothing still gets a reward, and with it a gradient.
    """
    probabilities = jax.nn.sigmoid(logits)
    n_draws = n_selections // 2 if antithetic else n_selections

    def draw(key: PRNGKeyArray) -> Float[Array, "selections batch"]:
        uniform = jax.random.uniform(key, (n_draws, logits.shape[0]))
        if antithetic:
            uniform = jnp.concatenate([uniform, 1.0 - uniform])
        return (uniform < probabilities) * mask

    def unusable(selected: Float[Array, "selections batch"]) -> Bool[Array, " selections"]:
        bad = _too_small(selected, targets, classification)
        if antithetic:  # partners share their uniform numbers: they are drawn again together
            bad = jnp.tile(bad[:n_draws] | bad[n_draws:], 2)
        return bad

    def redraw(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        selected, bad, attempt, redrawn = carry
        again = draw(jax.random.fold_in(key, attempt))
        selected = jnp.where(bad[:, None], again, selected)
        return selected, unusable(selected), attempt + 1, redrawn + jnp.sum(bad)

    selected = draw(jax.random.fold_in(key, 0))
    start = (selected, unusable(selected), jnp.asarray(1), jnp.asarray(0))
    selected, _, _, redrawn = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]) & (carry[2] <= MAX_REDRAWS), redraw, start
    )
    return Selections(selected, redrawn)


def _moving_average(
    rewards: Float[Array, " selections"], state: Float[Array, ""], window: Float[Array, ""]
) -> tuple[Float[Array, " selections"], Float[Array, ""]]:
    """Average of earlier rewards over about `window` iterations (Algorithm 1, last line)."""
    updated = (window - 1) / window * state + jnp.mean(rewards) / window
    return jnp.broadcast_to(state, rewards.shape), updated


def _all_rows(
    rewards: Float[Array, " selections"], state: Float[Array, ""], window: Float[Array, ""]
) -> tuple[Float[Array, " selections"], Float[Array, ""]]:
    """Reward of a predictor fitted on all rows, measured once before the loop."""
    return jnp.broadcast_to(state, rewards.shape), state


def _leave_one_out(
    rewards: Float[Array, " selections"], state: Float[Array, ""], window: Float[Array, ""]
) -> tuple[Float[Array, " selections"], Float[Array, ""]]:
    """Mean reward of the other selections of the same batch (Kool et al., 2019)."""
    others = (jnp.sum(rewards) - rewards) / (rewards.shape[0] - 1)
    return others, state


# From rewards (n_selections,), a state and the window of the average to what the rewards are
# compared with, (n_selections,), and the next state. The state is one number and starts at zero,
# as in Algorithm 1, or for "all_rows" at the reward of a predictor fitted on all rows.
BASELINES: dict[str, Callable[..., tuple[Array, Array]]] = {
    "moving_average": _moving_average,
    "all_rows": _all_rows,
    "leave_one_out": _leave_one_out,
}


def reinforce_gradient(
    selected: Float[Array, "selections batch"],
    logits: Float[Array, " batch"],
    advantages: Float[Array, " selections"],
) -> Float[Array, " batch"]:
    """Score-function estimate of the gradient of the expected reward by the logits.

    The log-probability of a selection is summed over the rows (Yoon et al., equation 3), so its
    derivative by the logit of row ``i`` is ``s_i - h_i``.

    Parameters
    ----------
    selected : (n_selections, n_batch) float
    logits : (n_batch,) float
    advantages : (n_selections,) float
        Reward minus baseline; a baseline that depends on the selection it is compared with
        biases the estimate.

    Returns
    -------
    (n_batch,) float
        Mean over the selections.
    """
    score = selected - jax.nn.sigmoid(logits)
    return advantages @ score / selected.shape[0]


def antithetic_gradient(
    selected: Float[Array, "selections batch"],
    logits: Float[Array, " batch"],
    rewards: Float[Array, " selections"],
) -> Float[Array, " batch"]:
    """Estimate the gradient from antithetic pairs, the coins integrated out where possible.

    The plain score function on a pair whose members share uniform numbers would be biased by any
    baseline taken from the partner. This is the estimator of Dong, Mnih and Tucker ("DisARM",
    NeurIPS 2020, equation 9; Yin, Ho, Yan, Qian and Zhou, 2020): only rows on which the partners
    differ get a gradient, and no baseline is needed.

    Parameters
    ----------
    selected : (n_selections, n_batch) float
        First half and second half are partners, see :func:`draw_selections`.
    logits : (n_batch,) float
    rewards : (n_selections,) float

    Returns
    -------
    (n_batch,) float
        Mean over the pairs.
    """
    first, second = jnp.split(selected, 2)
    reward_first, reward_second = jnp.split(rewards, 2)
    half_difference = 0.5 * (reward_first - reward_second)
    # +1 where only the first partner has the row, -1 where only the second has it, else 0.
    sign = first - second
    return half_difference @ sign / first.shape[0] * jax.nn.sigmoid(jnp.abs(logits))


def kl_divergence(
    logits: Float[Array, " batch"], prior_logits: Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """Kullback-Leibler divergence of each row's coin from the prior's coin, in nats."""
    probabilities = jax.nn.sigmoid(logits)
    return probabilities * (logits - prior_logits) + (
        jax.nn.softplus(prior_logits) - jax.nn.softplus(logits)
    )


def exploration_penalty(
    logits: Float[Array, " batch"], mask: Float[Array, " batch"]
) -> Float[Array, ""]:
    """How far the mean selection probability leaves the band from .1 to .9 (released code)."""
    low, high = EXPLORATION_BAND
    mean = jnp.sum(jax.nn.sigmoid(logits) * mask) / jnp.sum(mask)
    return jax.nn.relu(mean - high) + jax.nn.relu(low - mean)
