"""The policy against exact enumeration over all selections of a few rows."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from dvrl.learning.policy import (
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
        others, _ = BASELINES["leave_one_out"](rewards, jnp.float32(0), jnp.float32(1))
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
        others, _ = BASELINES["leave_one_out"](rewards, jnp.float32(0), jnp.float32(1))
        return reinforce_gradient(drawn, LOGITS, rewards - others)

    keys = jax.random.split(jax.random.key(0), 2000)
    variance = [np.var(jax.jit(jax.vmap(f))(keys), axis=0).sum() for f in (paired, independent)]
    # The ratio is .83, and .04 its standard error.
    assert variance[0] < 0.95 * variance[1]


# --- drawing ------------------------------------------------------------------------------------


def draw(logits, targets, mask=None, n_selections=4000, antithetic=False, classification=True):
    logits = jnp.asarray(logits, jnp.float32)
    mask = jnp.ones(len(logits)) if mask is None else jnp.asarray(mask)
    return draw_selections(
        jax.random.key(1), logits, mask, jnp.asarray(targets, jnp.float32),
        n_selections=n_selections, antithetic=antithetic, classification=classification,
    )  # fmt: skip


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


def test_exploration_penalty_counts_what_leaves_the_band():
    mask = jnp.array([1.0, 1.0, 0.0])
    for probability, expected in ((0.97, 0.07), (0.04, 0.06), (0.5, 0.0)):
        logit = np.log(probability / (1 - probability))
        penalty = exploration_penalty(jnp.array([logit, logit, -50.0]), mask)
        assert float(penalty) == pytest.approx(expected, abs=1e-5)


# --- all baselines, larger groups, and the draws themselves -------------------------------------


def selections_with_chances(n_selections):
    """All groups of independent selections, as indices of SUBSETS, with their probabilities."""
    groups = np.array(list(itertools.product(range(len(SUBSETS)), repeat=n_selections)))
    return groups, np.prod(probabilities_of(SUBSETS)[groups], axis=1)


@pytest.mark.parametrize("baseline", BASELINES)
def test_reinforce_is_unbiased_for_groups_of_three(baseline):
    """Over all 4096 groups."""
    apply = BASELINES[baseline]
    groups, chances = selections_with_chances(3)
    rewards = jnp.asarray(GAME[groups])

    def estimate(selected, rewards):
        compared_with, _ = apply(rewards, jnp.float32(0.8), jnp.float32(20.0))
        return reinforce_gradient(selected, jnp.asarray(LOGITS), rewards - compared_with)

    estimates = jax.jit(jax.vmap(estimate))(jnp.asarray(SUBSETS[groups]), rewards)
    total = chances @ np.asarray(estimates, np.float64)
    assert chances.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(total, exact_gradient(), atol=1e-6)


def test_leave_one_out_has_less_variance_than_no_baseline():
    """Exactly, over all groups, for a game whose rewards are far from zero."""
    groups, chances = selections_with_chances(2)
    rewards = jnp.asarray(GAME[groups] + 3.0)
    selected = jnp.asarray(SUBSETS[groups])

    def spread(baseline):
        def estimate(selected, rewards):
            compared_with, _ = BASELINES[baseline](rewards, jnp.float32(0), jnp.float32(1))
            return reinforce_gradient(selected, jnp.asarray(LOGITS), rewards - compared_with)

        estimates = np.asarray(jax.jit(jax.vmap(estimate))(selected, rewards), np.float64)
        return (chances @ estimates**2 - (chances @ estimates) ** 2).sum()

    # That of all rows is none at all where its state is 0.
    assert spread("leave_one_out") < 0.5 * spread("all_rows")


def test_baselines_by_hand():
    rewards = jnp.array([1.0, 2.0, 6.0])
    state, window = jnp.float32(0.5), jnp.float32(10.0)
    expected = {
        "moving_average": ([0.5] * 3, 0.9 * 0.5 + 0.1 * 3.0),
        "all_rows": ([0.5] * 3, 0.5),
        "leave_one_out": ([4.0, 3.5, 1.5], 0.5),
    }
    assert set(expected) == set(BASELINES)
    for name, (compared_with, after) in expected.items():
        result, new_state = BASELINES[name](rewards, state, window)
        np.testing.assert_allclose(result, compared_with, rtol=1e-6, err_msg=name)
        assert float(new_state) == pytest.approx(after), name


def draw_with_sure_rows(n_selections, antithetic):
    """Draws of the four rows, with two more that are always there: none has to be redrawn."""
    logits = jnp.asarray(np.r_[LOGITS, 60.0, 60.0], jnp.float32)
    drawn = draw_selections(
        jax.random.key(3), logits, jnp.ones(6), jnp.eye(2)[jnp.array([0, 1, 0, 1, 0, 1])],
        n_selections=n_selections, antithetic=antithetic, classification=True,
    )  # fmt: skip
    # A uniform number of exactly 0 would lose a sure row; that is one draw in 2**23.
    assert int(drawn.redrawn) <= 2
    return np.asarray(drawn.selected)[:, :N_ROWS]


def subset_numbers(selected):
    return (selected @ (2 ** np.arange(N_ROWS)[::-1])).astype(int)  # positions in SUBSETS


def test_all_selections_are_as_frequent_as_they_should_be():
    n = 20_000
    counts = np.bincount(subset_numbers(draw_with_sure_rows(n, False)), minlength=len(SUBSETS))
    chances = probabilities_of(SUBSETS)
    # Five standard errors, for 16 subsets: a wrong alarm in about one of 100,000 seeds.
    margin = 5 * np.sqrt(n * chances * (1 - chances))
    assert (np.abs(counts - n * chances) < margin).all()


def test_antithetic_pairs_are_as_frequent_as_they_should_be():
    """The pairs that are drawn are those over which the estimator is unbiased, row by row."""
    n = 20_000
    first, second = np.split(draw_with_sure_rows(2 * n, True), 2)
    for row, h in enumerate(expit(LOGITS.astype(np.float64))):
        expected = {(1, 0): min(h, 1 - h), (0, 1): min(h, 1 - h),
                    (1, 1): max(0.0, 2 * h - 1), (0, 0): max(0.0, 1 - 2 * h)}  # fmt: skip
        for (one, other), chance in expected.items():
            share = np.mean((first[:, row] == one) & (second[:, row] == other))
            # Five standard errors; a pair that cannot happen may by rounding of 1 - u.
            margin = 5 * np.sqrt(chance * (1 - chance) / n) + 1e-3 * (chance == 0)
            assert abs(share - chance) <= margin, (row, one, other)


@pytest.mark.parametrize("estimator", ["leave_one_out", "antithetic"])
def test_estimates_from_draws_average_to_the_exact_gradient(estimator):
    """Monte Carlo through `draw_selections`, so that drawing and estimating fit together."""
    n_pairs = 20_000
    antithetic = estimator == "antithetic"
    drawn = draw_with_sure_rows(2 * n_pairs, antithetic)
    pairs = np.stack(np.split(drawn, 2), axis=1)
    rewards = GAME[subset_numbers(pairs)]

    def estimate(pair, rewards):
        if antithetic:
            return antithetic_gradient(pair, jnp.asarray(LOGITS), rewards)
        others, _ = BASELINES["leave_one_out"](rewards, jnp.float32(0), jnp.float32(1))
        return reinforce_gradient(pair, jnp.asarray(LOGITS), rewards - others)

    estimates = np.asarray(jax.jit(jax.vmap(estimate))(pairs, rewards), np.float64)
    error = estimates.mean(axis=0) - exact_gradient()
    standard_error = estimates.std(axis=0) / n_pairs**0.5
    # Five of the estimate's own standard errors, which are small beside the gradient itself.
    assert (np.abs(error) < 5 * standard_error).all()
    assert standard_error.max() < 0.1 * np.abs(exact_gradient()).max()


def test_one_call_with_many_pairs_is_the_mean_over_the_pairs():
    drawn = draw_with_sure_rows(8, True)
    rewards = GAME[subset_numbers(drawn)]
    together = antithetic_gradient(drawn, LOGITS, rewards)
    pairs = [[i, i + 4] for i in range(4)]
    singles = [antithetic_gradient(drawn[pair], LOGITS, rewards[pair]) for pair in pairs]
    np.testing.assert_allclose(together, np.mean(singles, axis=0), atol=1e-6)


def test_redrawn_selections_follow_the_probabilities_given_that_they_can_be_used():
    logits = np.array([0.5, -0.5, 0.3, 1.0], np.float32)
    targets = np.eye(2)[[0, 0, 1, 1]]
    n = 20_000
    drawn = draw(logits, targets, n_selections=n)
    chances = probabilities_of(SUBSETS, logits)
    usable = (SUBSETS @ targets > 0).sum(axis=1) == 2
    failed = 1 - chances[usable].sum()
    # After all redraws a share of failed**(MAX_REDRAWS + 1) stays unusable.
    assert failed ** (MAX_REDRAWS + 1) < 1e-3
    counts = np.bincount(subset_numbers(np.asarray(drawn.selected)), minlength=len(SUBSETS))
    expected = n * chances[usable] / chances[usable].sum()
    margin = 5 * np.sqrt(expected) + 1e-3 * n
    assert (np.abs(counts[usable] - expected) < margin).all()
    # Each failure is counted: a geometric number per selection, of variance failed / (1-failed)^2.
    geometric = failed / (1 - failed)
    spread = 5 * np.sqrt(n * failed) / (1 - failed) + 1e-3 * n * MAX_REDRAWS
    assert abs(int(drawn.redrawn) - n * geometric) < spread


def test_every_vain_redraw_is_counted():
    """Rows of one class can never be used: each selection is drawn again as often as allowed."""
    one_class = np.eye(2)[[1] * 6]
    for antithetic in (False, True):
        drawn = draw([0.0] * 6, one_class, n_selections=10, antithetic=antithetic)
        assert int(drawn.redrawn) == 10 * MAX_REDRAWS
        assert np.asarray(drawn.selected).any()  # and kept as it is in the end
    fine = draw([60.0] * 6, np.eye(2)[[0, 1] * 3], n_selections=10)
    assert int(fine.redrawn) == 0
    assert np.asarray(fine.selected).all()


def test_partners_are_drawn_again_together():
    """With h = 1/2 partners are complements, after any number of redraws."""
    drawn = draw([0.0] * 4, np.eye(2)[[0, 0, 1, 1]], n_selections=200, antithetic=True)
    assert int(drawn.redrawn) > 0
    assert int(drawn.redrawn) % 2 == 0
    first, second = np.split(np.asarray(drawn.selected), 2)
    np.testing.assert_array_equal(first + second, 1.0)


def test_padding_is_never_drawn_however_probable_and_lends_no_class():
    """Padded rows have the target of nothing, but must not count even where they had one."""
    mask = np.r_[np.ones(4), np.zeros(4)]
    targets = np.eye(2)[[0] * 4 + [1] * 4]  # the second class is in the padding alone
    drawn = draw([60.0] * 8, targets, mask, n_selections=6)
    np.testing.assert_array_equal(np.asarray(drawn.selected), np.tile(mask, (6, 1)))
    assert int(drawn.redrawn) == 6 * MAX_REDRAWS


def test_draws_depend_on_the_key_alone():
    logits, targets = jnp.zeros(12), jnp.eye(2)[jnp.arange(12) % 2]

    def selected(seed):
        return np.asarray(
            draw_selections(
                jax.random.key(seed), logits, jnp.ones(12), targets,
                n_selections=4, antithetic=False, classification=True,
            ).selected
        )  # fmt: skip

    np.testing.assert_array_equal(selected(0), selected(0))
    assert not np.array_equal(selected(0), selected(1))


def test_divergence_stays_finite_and_has_the_slope_of_the_formula():
    logits = jnp.array([-80.0, -5.0, 0.0, 5.0, 80.0])
    prior = jnp.array([2.0, 2.0, 0.0, -3.0, -3.0])
    divergence = np.asarray(kl_divergence(logits, prior))
    # A sure coin against h: -log h or -log(1 - h).
    assert divergence[0] == pytest.approx(np.log1p(np.exp(2.0)), rel=1e-5)
    assert divergence[4] == pytest.approx(np.log1p(np.exp(3.0)), rel=1e-5)
    assert divergence[2] == 0.0
    slope = jax.grad(lambda logits: jnp.sum(kl_divergence(logits, prior)))(logits)
    h = expit(np.asarray(logits, np.float64))
    np.testing.assert_allclose(slope, h * (1 - h) * np.asarray(logits - prior), atol=1e-6)


def test_exploration_penalty_pushes_the_mean_back_into_the_band():
    mask = jnp.array([1.0, 1.0, 1.0, 0.0])
    slope = jax.grad(exploration_penalty)
    for logit, sign in ((4.0, 1.0), (-4.0, -1.0), (0.5, 0.0)):
        h = expit(logit)
        expected = sign * h * (1 - h) / 3 * np.array([1, 1, 1, 0])
        np.testing.assert_allclose(slope(jnp.full(4, logit), mask), expected, atol=1e-6)
