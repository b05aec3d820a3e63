"""Every message of the diagnostics, on both sides of its threshold."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.stats import spearmanr

from dvrl.diagnostics import Diagnostics, diagnose, warn
from dvrl.exceptions import DataValuationWarning

RNG = np.random.default_rng(0)
VALUES = RNG.uniform(size=200)
# Rises, then stays: a converged run.
RISING = np.concatenate([np.linspace(-1.0, -0.5, 40), np.full(40, -0.5)])


def judge(**changes) -> Diagnostics:
    settings = {
        "values": VALUES,
        "history_reward": RISING,
        "reward_weighted": -0.5,
        "reward_uniform": -0.6,
        "reward_upper_half": -0.5,
        "reward_lower_half": -0.9,
        "n_iterations": 80,
        "stop_reason": "iterations used up",
        "seconds": 1.5,
        "n_fits": 640,
    }
    settings.update(changes)
    return diagnose(settings.pop("values"), **settings)


def only_message(diagnostics: Diagnostics) -> str:
    assert len(diagnostics.messages) == 1, diagnostics.messages
    return diagnostics.messages[0]


def test_a_good_run_has_no_messages_and_correct_numbers():
    probability = VALUES**2 + RNG.normal(size=200)
    members = np.stack([VALUES, VALUES + RNG.normal(size=200) * 0.1, VALUES**3])
    result = judge(label_probability=probability, members=members, reward_marginal=-0.55)
    assert result.messages == ()
    assert result.converged
    assert result.value_mean == pytest.approx(VALUES.mean())
    assert result.value_range == pytest.approx(tuple(np.percentile(VALUES, [5, 95])))
    assert result.marginal_correlation == pytest.approx(spearmanr(VALUES, probability)[0])
    pairs = spearmanr(members.T)[0]
    assert result.ensemble_agreement == pytest.approx((pairs[0, 1] + pairs[0, 2] + pairs[1, 2]) / 3)


def test_absent_parts_are_none():
    result = judge(members=VALUES[None])
    assert result.marginal_correlation is None
    assert result.ensemble_agreement is None
    assert result.reward_marginal is None


def test_inverted_by_rewards_alone():
    message = only_message(judge(reward_upper_half=-0.7, reward_lower_half=-0.59))
    assert "inverted" in message
    assert "kl_weight" in message
    # Within one per cent of all rows: noise.
    assert judge(reward_upper_half=-0.7, reward_lower_half=-0.595).messages == ()


def test_a_lower_half_better_than_the_upper_one_is_not_enough():
    assert judge(reward_upper_half=-0.7, reward_lower_half=-0.65).messages == ()


def test_inverted_by_paired_rows():
    rows = RNG.normal(size=100)
    noise = RNG.normal(size=100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)  # its standard error is 0.1
    halves = {"reward_upper_half": -0.7, "reward_lower_half": -0.59}
    worse = judge(row_rewards_uniform=rows, row_rewards_lower_half=rows + noise + 0.21, **halves)
    assert "inverted" in only_message(worse)
    # The rows have the last word, also against the plain rewards.
    within = judge(row_rewards_uniform=rows, row_rewards_lower_half=rows + noise + 0.19, **halves)
    assert within.messages == ()


def test_equal_row_rewards_are_not_inverted():
    rows = np.ones(5)
    halves = {"reward_upper_half": -0.7, "reward_lower_half": -0.59}
    assert judge(row_rewards_uniform=rows, row_rewards_lower_half=rows, **halves).messages == ()


def test_flat_values():
    spread = np.linspace(0, 1, 200)
    assert "flat" in only_message(judge(values=0.5 + 0.021 * spread))
    assert judge(values=0.5 + 0.023 * spread).messages == ()


def test_members_that_disagree():
    unrelated = RNG.uniform(size=200)
    assert "disagree" in only_message(judge(members=np.stack([VALUES, unrelated])))
    assert judge(members=np.stack([VALUES, VALUES + 0.3 * unrelated])).messages == ()
    constant = judge(members=np.stack([VALUES, np.full(200, 0.5)]))
    assert constant.ensemble_agreement == 0.0


def test_no_better_than_the_marginal():
    same = {"label_probability": VALUES**3}
    message = only_message(judge(reward_weighted=-0.5, reward_marginal=-0.5, **same))
    assert "adds nothing" in message or "add nothing" in message
    # Better reward, or another order: no message.
    assert judge(reward_weighted=-0.5, reward_marginal=-0.51, **same).messages == ()
    other = VALUES + 0.2 * RNG.normal(size=200)
    assert judge(reward_marginal=-0.4, label_probability=other).messages == ()


@pytest.mark.parametrize(("share", "count"), [(0.2, 0), (0.21, 1)])
def test_many_resampled_selections(share, count):
    result = judge(resampled_share=share)
    assert len(result.messages) == count
    if count:
        assert "21%" in only_message(result)


def test_validation_overfitting():
    history = np.linspace(-1.0, -0.5, 80) ** 3
    history[60:] = -0.12  # still above every quarter before
    falling = -np.abs(np.linspace(-0.3, 0.7, 80))
    result = judge(history_reward=history, history_held_back=falling, reached_limit=False)
    assert "overfits" in only_message(result)
    rising = np.linspace(-0.7, -0.3, 80)
    assert judge(history_reward=history, history_held_back=rising).messages == ()
    # A fall within the noise is none.
    noise = RNG.normal(size=80)
    noisy = np.concatenate([noise[:20], noise[:20], noise[:20] + 0.01, noise[:20]])
    assert judge(history_reward=history, history_held_back=noisy).messages == ()


def test_a_run_that_still_rises_has_not_converged():
    result = judge(history_reward=np.linspace(-1, 0, 80))
    assert not result.converged
    assert result.reward_gain_late == pytest.approx(1 / 7)
    assert "outer_iterations" in only_message(result)
    # The last quarter moves by less than a tenth of the whole.
    slowing = -np.exp(-np.linspace(0, 6, 80))
    assert judge(history_reward=slowing).messages == ()
    # A run that stopped by its own rule.
    assert judge(history_reward=np.linspace(-1, 0, 80), reached_limit=False).converged


def test_noise_is_not_movement():
    assert judge(history_reward=np.random.default_rng(1).normal(size=400)).converged
    assert judge(history_reward=np.full(80, 0.3)).reward_gain_late == 0.0


def test_short_runs_cannot_be_judged():
    result = judge(history_reward=RISING[:15])
    assert result.reward_gain_late is None
    assert "too short" in only_message(result)


def test_warnings_carry_the_messages():
    result = judge(resampled_share=0.5, values=np.full(10, 0.5))
    assert len(result.messages) == 2
    with pytest.warns(DataValuationWarning) as caught:
        warn(result)
    assert [str(w.message) for w in caught] == list(result.messages)
    assert all(w.filename == __file__ for w in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn(judge())


def test_to_dict_is_json_and_text_is_readable():
    result = judge(resampled_share=0.5)
    decoded = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert decoded["messages"] == list(result.messages)
    assert decoded["n_fits"] == 640
    text = str(result)
    assert "640 fits" in text
    assert f"! {result.messages[0]}" in text
    assert max(len(line) for line in text.splitlines()[:4]) < 110


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.array([])},
        {"values": np.array([0.1, np.nan])},
        {"label_probability": VALUES[:-1]},
        {"members": VALUES},
    ],
)
def test_wrong_input_is_refused(changes):
    with pytest.raises(ValueError, match=r"\w+"):
        judge(**changes)
