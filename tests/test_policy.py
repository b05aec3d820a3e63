"""The policy against exact enumeration over all selections of a few rows."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import bernoulli, entropy

from dvrl.policy import (
    BASELINES,
    MAX_REDRAWS,
    antithetic_gradient,
    draw_selections,
    exploration_penalty,
    kl_divergence,
    reinforce_gradient,
)

LOGITS = np.array([0.3, -1.2, 2.0, 0.0], np.float32)
N_ROWS = len(LOGITS)
SUBSETS = np.array(list(itertools.product([0.0, 1.0], repeat=N_ROWS)), np.float32)
rng = np.random.default_rng(0)
# Any game will do: a number for each of the 16 selections, far from additive.
GAME = rng.normal(size=len(SUBSETS)).astype(np.float32)


def probabilities_of(subsets, logits=LOGITS):
    h = expit(logits.astype(np.float64))
    return np.prod(np.where(subsets == 1, h, 1 - h), axis=-1)


def exact_gradient():
    """Derivative of the expected reward by each logit, by the product rule on every subset."""
    h = expit(LOGITS.astype(np.float64))
    gradient = np.zeros(N_ROWS)
    for subset, reward in zip(SUBSETS, GAME, strict=True):
        for row in range(N_ROWS):
            others = np.delete(np.arange(N_ROWS), row)
            sign = 1.0 if subset[row] else -1.0
            rest = probabilities_of(subset[others], LOGITS[others])
            gradient[row] += reward * sign * h[row] * (1 - h[row]) * rest
    return gradient


def test_the_oracle_agrees_with_finite_differences():
    def expected(logits):
        return probabilities_of(SUBSETS, logits) @ GAME

    steps = 1e-5 * np.eye(N_ROWS)
    wide = LOGITS.astype(np.float64)
    numeric = [(expected(wide + step) - expected(wide - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(exact_gradient(), numeric, atol=1e-8)


@pytest.mark.parametrize("baseline", ["moving_average", "constant", "all_rows"])
def test_reinforce_is_unbiased_for_baselines_from_elsewhere(baseline):
    """The expectation over one selection, with the state of the baseline anything at all."""
    apply = BASELINES[baseline].apply
    total = np.zeros(N_ROWS)
    for subset, reward, weight in zip(SUBSETS, GAME, probabilities_of(SUBSETS), strict=True):
        rewards = jnp.array([reward])
        compared_with, _ = apply(rewards, jnp.float32(0.7), jnp.float32(20.0))
        estimate = reinforce_gradient(subset[None], LOGITS, rewards - compared_with)
        total += weight * np.asarray(estimate)
    np.testing.assert_allclose(total, exact_gradient(), atol=1e-6)


@pytest.mark.parametrize("baseline", ["leave_one_out", "moving_average", "constant"])
def test_reinforce_is_unbiased_for_pairs_of_selections(baseline):
    """Over all 256 pairs of independent selections; the partner's reward is the baseline."""
    apply = BASELINES[baseline].apply
    weights = probabilities_of(SUBSETS)
    total = np.zeros(N_ROWS)
    for (i, p), (j, q) in itertools.product(enumerate(weights), repeat=2):
        rewards = jnp.asarray(GAME[[i, j]])
        compared_with, _ = apply(rewards, jnp.float32(-0.4), jnp.float32(5.0))
        estimate = reinforce_gradient(SUBSETS[[i, j]], LOGITS, rewards - compared_with)
        total += p * q * np.asarray(estimate)
    np.testing.assert_allclose(total, exact_gradient(), atol=1e-6)


def antithetic_pairs():
    """All pairs that one vector of uniform numbers can give, with their probabilities.

    Row by row, u < h and 1 - u < h: both partners have the row, neither has it, or one of them.
    """
    outcomes = []
    for h in expit(LOGITS.astype(np.float64)):
        lonely = min(h, 1 - h)
        both, neither = max(0.0, 2 * h - 1), max(0.0, 1 - 2 * h)
        outcomes.append([((1, 0), lonely), ((0, 1), lonely), ((1, 1), both), ((0, 0), neither)])
    for rows in itertools.product(*outcomes):
        pair = np.array([values for values, _ in rows], np.float32).T
        yield pair, np.prod([chance for _, chance in rows])


def test_antithetic_gradient_is_unbiased():
    game = {tuple(subset): reward for subset, reward in zip(SUBSETS, GAME, strict=True)}
    total, mass = np.zeros(N_ROWS), 0.0
    for pair, chance in antithetic_pairs():
        rewards = jnp.array([game[tuple(partner)] for partner in pair])
        total += chance * np.asarray(antithetic_gradient(pair, LOGITS, rewards))
        mass += chance
    assert mass == pytest.approx(1.0)
    np.testing.assert_allclose(total, exact_gradient(), atol=1e-6)


def test_a_baseline_from_an_antithetic_partner_would_be_biased():
    """Why pairs have an estimator of their own: the plain one misses the mark."""
    game = {tuple(subset): reward for subset, reward in zip(SUBSETS, GAME, strict=True)}
    total = np.zeros(N_ROWS)
    for pair, chance in antithetic_pairs():
        rewards = jnp.array([game[tuple(partner)] for partner in pair])
        others, _ = BASELINES["leave_one_out"].apply(rewards, jnp.float32(0), jnp.float32(1))
        total += chance * np.asarray(reinforce_gradient(pair, LOGITS, rewards - others))
    assert np.abs(total - exact_gradient()).max() > 0.05


def test_antithetic_pairs_have_less_variance_than_independent_ones():
    worth = jnp.array([1.0, -2.0, 0.5, 3.0])

    def draw_two(key, antithetic):
        return draw_selections(
            key,
            jnp.asarray(LOGITS),
            jnp.ones(4),
            jnp.zeros((4, 1)),
            n_selections=2,
            antithetic=antithetic,
            classification=False,
        ).selected

    def paired(key):
        pair = draw_two(key, True)
        return antithetic_gradient(pair, LOGITS, pair @ worth)

    def independent(key):
        drawn = draw_two(key, False)
        rewards = drawn @ worth
        others, _ = BASELINES["leave_one_out"].apply(rewards, jnp.float32(0), jnp.float32(1))
        return reinforce_gradient(drawn, LOGITS, rewards - others)

    keys = jax.random.split(jax.random.key(0), 2000)
    variance = [np.var(jax.jit(jax.vmap(f))(keys), axis=0).sum() for f in (paired, independent)]
    # The ratio is .83, and .04 its standard error.
    assert variance[0] < 0.95 * variance[1]


def test_moving_average_follows_algorithm_1():
    baseline = BASELINES["moving_average"]
    state = baseline.init(jnp.float32(5.0))
    assert float(state) == 0.0
    expected = 0.0
    for reward in (1.0, 2.0, -1.0):
        compared_with, state = baseline.apply(jnp.array([reward]), state, jnp.float32(20.0))
        assert float(compared_with[0]) == pytest.approx(expected)
        expected = 19 / 20 * expected + reward / 20
    assert float(state) == pytest.approx(expected)


# --- drawing ------------------------------------------------------------------------------------


def draw(logits, targets, mask=None, n_selections=4000, antithetic=False, classification=True):
    logits = jnp.asarray(logits, jnp.float32)
    mask = jnp.ones(len(logits)) if mask is None else jnp.asarray(mask)
    return draw_selections(
        jax.random.key(1), logits, mask, jnp.asarray(targets, jnp.float32),
        n_selections=n_selections, antithetic=antithetic, classification=classification,
    )  # fmt: skip


def test_rows_are_drawn_with_their_probabilities_and_padding_never():
    logits = np.linspace(-2, 2, 40)
    mask = np.r_[np.ones(30), np.zeros(10)]
    targets = np.eye(2)[np.arange(40) % 2]
    for antithetic in (False, True):
        drawn = draw(logits, targets, mask, antithetic=antithetic)
        frequency = np.asarray(drawn.selected).mean(axis=0)
        assert int(drawn.redrawn) <= 4  # almost every draw has rows of both classes
        # Five standard errors of a frequency of at most 1 / 2 in 4000 draws.
        np.testing.assert_allclose(frequency[:30], expit(logits[:30]), atol=5 * 0.5 / 4000**0.5)
        assert not frequency[30:].any()


def test_partners_share_their_uniform_numbers():
    even = np.zeros(20)  # h = 1/2: the partner has exactly the other rows
    drawn = draw(even, np.eye(2)[np.arange(20) % 2], n_selections=8, antithetic=True)
    first, second = np.split(np.asarray(drawn.selected), 2)
    np.testing.assert_array_equal(first + second, 1.0)


def test_selections_of_a_single_class_are_drawn_again_and_counted():
    logits = np.array([-1.0, -1.0, 4.0, 4.0])
    targets = np.eye(2)[[0, 0, 1, 1]]
    drawn = draw(logits, targets, n_selections=500)
    n_classes = (np.asarray(drawn.selected) @ targets > 0).sum(axis=1)
    # A draw fails with probability .54; nine failures in a row happen to 2 of 500 selections.
    assert (n_classes == 2).mean() > 0.95
    assert 200 < int(drawn.redrawn) < 500 * MAX_REDRAWS


def test_a_policy_that_selects_nothing_still_gets_selections():
    drawn = draw([-30.0] * 6, np.eye(2)[[0, 1] * 3], n_selections=3)
    assert not np.asarray(drawn.selected).any()
    assert int(drawn.redrawn) == 3 * MAX_REDRAWS


def test_regression_needs_two_rows():
    drawn = draw([-1.0] * 5, np.zeros((5, 1)), n_selections=300, classification=False)
    # A draw fails with probability .59; nine failures in a row happen to 1 of 100 selections.
    assert (np.asarray(drawn.selected).sum(axis=1) >= 2).mean() > 0.95


# --- penalties ----------------------------------------------------------------------------------


def test_divergence_is_that_of_two_coins():
    logits, prior = np.meshgrid([-3.0, 0.0, 1.5], [-1.0, 0.0, 2.0])
    ours = kl_divergence(jnp.asarray(logits.ravel()), jnp.asarray(prior.ravel()))
    coins = [
        entropy(
            bernoulli(expit(p)).pmf([0, 1]),
            bernoulli(expit(q)).pmf([0, 1]),
        )
        for p, q in zip(logits.ravel(), prior.ravel(), strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(ours, coins, atol=1e-6)


def test_exploration_penalty_counts_what_leaves_the_band():
    mask = jnp.array([1.0, 1.0, 0.0])
    for probability, expected in ((0.97, 0.07), (0.04, 0.06), (0.5, 0.0)):
        logit = np.log(probability / (1 - probability))
        penalty = exploration_penalty(jnp.array([logit, logit, -50.0]), mask)
        assert float(penalty) == pytest.approx(expected, abs=1e-5)
