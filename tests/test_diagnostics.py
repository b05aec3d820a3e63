"""Every message of the diagnostics, on both sides of its threshold."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from dvrl import DVRLClassifier
from dvrl.diagnostics.findings import Diagnostics, Evidence, Rewards, diagnose, warn
from dvrl.diagnostics.label_fit import LabelFit, label_fit
from dvrl.exceptions import DataValuationWarning
from helpers import parameters

RNG = np.random.default_rng(0)
VALUES = RNG.uniform(size=200)
# Rises, then stays: a converged run.
RISING = np.concatenate([np.linspace(-1.0, -0.5, 40), np.full(40, -0.5)])


def judge(**changes) -> Diagnostics:
    rewards = {"weighted": -0.5, "uniform": -0.6, "upper_half": -0.5, "lower_half": -0.9}
    for name in [name for name in changes if name.startswith("reward_")]:
        rewards[name.removeprefix("reward_")] = changes.pop(name)
    evidence = {
        "values": VALUES,
        "history": RISING,
        "rewards": Rewards(rewards, changes.pop("row_rewards", {})),
        "n_iterations": 80,
        "stop_reason": "iterations used up",
        "seconds": 1.5,
        "n_fits": 640,
    }
    return diagnose(Evidence(**evidence | changes))


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


# Its standard error is 0.1 exactly.
NOISE = RNG.normal(size=100)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)


def by_row(**gains: float) -> dict[str, np.ndarray]:
    """Rewards of 100 rows that differ from those of equal weights by noise and a mean gain."""
    uniform = np.random.default_rng(1).normal(-1.0, 0.5, size=100)
    names = ("weighted", "upper_half", "lower_half", "marginal")
    return {"uniform": uniform} | {
        name: uniform + gains.get(name, 0.0) + (NOISE if gains.get(name) else 0.0) for name in names
    }


def test_inverted_by_paired_rows():
    halves = {"reward_upper_half": -0.7, "reward_lower_half": -0.59}
    assert "inverted" in only_message(judge(row_rewards=by_row(lower_half=0.21), **halves))
    # The rows have the last word, also against the plain rewards.
    assert judge(row_rewards=by_row(lower_half=0.19), **halves).messages == ()


def test_equal_row_rewards_are_not_inverted():
    halves = {"reward_upper_half": -0.7, "reward_lower_half": -0.59}
    assert judge(row_rewards=by_row(), **halves).messages == ()


def test_inverted_when_weights_do_harm_and_the_lower_half_beats_the_upper_one():
    rewards = {"reward_weighted": -0.9, "reward_upper_half": -1.2, "reward_lower_half": -0.7}
    message = only_message(judge(row_rewards=by_row(weighted=-0.21, upper_half=-0.5), **rewards))
    assert message.startswith("The values look inverted")
    assert "-0.9" in message
    assert "marginal" in message
    # However sure, less than 1 % of the reward is a trifle.
    trifle = by_row() | {"weighted": by_row()["uniform"] - 0.005}
    assert judge(row_rewards=trifle).messages == ()
    # One of the two is not enough.
    assert judge(row_rewards=by_row(weighted=-0.19, upper_half=-0.5), **rewards).messages == ()
    message = only_message(judge(row_rewards=by_row(weighted=-0.21), **rewards))
    assert message.startswith("The values do harm as weights")


def test_harm_without_rewards_of_rows():
    message = only_message(judge(reward_weighted=-0.61))
    assert message.startswith("The values do harm as weights")
    assert judge(reward_weighted=-0.605).messages == ()


def fit_of(found: float, error: float = 0.02) -> LabelFit:
    return LabelFit(expected=0.7, found=found, chance=0.5, standard_error=error)


def test_validation_labels_that_disagree():
    message = only_message(judge(validation_fit=fit_of(0.63)))
    assert message.startswith("The validation rows disagree with the training rows")
    assert "35%" in message
    assert judge(validation_fit=fit_of(0.652)).messages == ()  # 2.4 standard errors
    assert judge(validation_fit=fit_of(0.75)).messages == ()  # cleaner than the training rows
    # However sure, a small difference is drift.
    assert judge(validation_fit=fit_of(0.685, error=0.001)).messages == ()
    assert "no better than" in only_message(judge(validation_fit=fit_of(0.4)))
    # Training rows that teach nothing cannot judge.
    silent = LabelFit(expected=0.5, found=0.3, chance=0.5, standard_error=0.01)
    assert judge(validation_fit=silent).messages == ()


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
    assert "add nothing" in message
    # Better reward, or another order: no message.
    assert judge(reward_weighted=-0.5, reward_marginal=-0.51, **same).messages == ()
    other = VALUES + 0.2 * RNG.normal(size=200)
    assert judge(reward_marginal=-0.4, label_probability=other).messages == ()


def test_better_than_the_marginal_by_paired_rows():
    same = {"label_probability": VALUES**3, "reward_marginal": -0.9}
    assert "add nothing" in only_message(judge(row_rewards=by_row(marginal=-0.09), **same))
    assert judge(row_rewards=by_row(marginal=-0.11), **same).messages == ()


def test_values_that_did_not_leave_their_prior():
    settings = {"reward_marginal": -0.9, "row_rewards": by_row(marginal=-0.5)}
    near, far = VALUES + 0.0019, VALUES + 0.0021
    assert "add nothing" in only_message(judge(label_probability=near, is_prior=True, **settings))
    assert judge(label_probability=far, is_prior=True, **settings).messages == ()
    assert judge(label_probability=near, is_prior=False, **settings).messages == ()


@pytest.mark.parametrize(("share", "count"), [(0.2, 0), (0.21, 1)])
def test_many_resampled_selections(share, count):
    result = judge(resampled_share=share)
    assert len(result.messages) == count
    if count:
        assert "21%" in only_message(result)


def halves_of(own: float, unseen: float, **more) -> Diagnostics:
    """Two members, rewarded by one half of 100 rows each, with gains on both halves."""
    rows = by_row()
    seen = np.zeros((2, 100), bool)
    seen[0, ::2] = seen[1, 1::2] = True
    gains = np.where(seen, own, unseen) + more.pop("noise", 1.0) * NOISE
    return judge(
        row_rewards=rows,
        member_rewards=rows[more.pop("reference", "uniform")] + gains,
        member_validation_rows=seen,
        **more,
    )


def test_members_overfitted_to_the_rows_that_rewarded_them():
    message = only_message(halves_of(own=0.5, unseen=-0.3))
    assert message.startswith("The run overfits the validation rows")
    assert "+0.5" in message
    assert "-0.3" in message
    # Optimism alone is in every run; so is a loss within the noise.
    assert halves_of(own=0.8, unseen=0.1).messages == ()
    assert halves_of(own=0.5, unseen=-0.09).messages == ()
    # So is a large loss where rows differ more.
    assert halves_of(own=-0.3, unseen=-0.3, noise=3.0).messages == ()
    # Bad everywhere is no overfitting.
    assert halves_of(own=-0.3, unseen=-0.3).messages == ()


def test_members_rewarded_by_all_rows_cannot_be_tested():
    rows = by_row()
    everything = np.ones((2, 100), bool)
    worse = np.stack([rows["uniform"] - 5.0] * 2)
    result = judge(row_rewards=rows, member_rewards=worse, member_validation_rows=everything)
    assert result.messages == ()


def test_estimated_noise_rate_is_reported():
    result = judge(estimated_noise_rate=0.1234)
    assert result.messages == ()
    assert result.estimated_noise_rate == 0.1234
    assert result.to_dict()["estimated_noise_rate"] == 0.1234
    assert "12.3%" in str(result)
    assert judge().to_dict()["estimated_noise_rate"] is None
    assert "wrong ones -" in str(judge())


def test_a_run_that_still_rises_has_not_converged():
    result = judge(history=np.linspace(-1, 0, 80))
    assert not result.converged
    assert result.reward_gain_late == pytest.approx(1 / 7)
    assert "outer_iterations" in only_message(result)
    # The last quarter moves by less than a tenth of the whole.
    slowing = -np.exp(-np.linspace(0, 6, 80))
    assert judge(history=slowing).messages == ()
    # A run that stopped by its own rule.
    assert judge(history=np.linspace(-1, 0, 80), reached_limit=False).converged


def test_noise_is_not_movement():
    assert judge(history=np.random.default_rng(1).normal(size=400)).converged
    assert judge(history=np.full(80, 0.3)).reward_gain_late == 0.0


def test_short_runs_cannot_be_judged():
    result = judge(history=RISING[:15])
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


# --- do validation labels agree with the training rows? -----------------------------------------


def one_hot(classes, n_classes=2):
    return np.eye(n_classes, dtype=np.float32)[classes]


def two_tables(seed=0, n=400, m=200, noise=0.0):
    """Training rows with a share of flipped labels, and clean validation rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + m, 5)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] + rng.normal(size=n + m) > 0).astype(int)
    wrong = rng.uniform(size=n + m) < noise
    wrong[n:] = False
    y = np.where(wrong, 1 - y, y)
    return X[:n], y[:n], X[n:], y[n:]


def message_of(X, y, X_val, y_val):
    fit = label_fit(X, one_hot(y), X_val, one_hot(y_val), classification=True)
    return judge(validation_fit=fit).messages


def test_label_fit_is_that_of_leaving_each_row_out():
    from sklearn.linear_model import Ridge

    from dvrl.diagnostics.label_fit import _ridge_scores

    rng = np.random.default_rng(0)
    for n, d in ((30, 4), (20, 40)):
        X, Y, X_val = rng.normal(size=(n, d)), rng.normal(size=(n, 1)), rng.normal(size=(6, d))
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        scores, scores_val = _ridge_scores(X, Y, X_val)
        candidates = []
        for ridge in (0.003, 0.03, 0.3, 3.0):
            model = Ridge(alpha=ridge * n)
            rows = [np.arange(n) != i for i in range(n)]
            left_out = [model.fit(X[r], Y[r]).predict(X[~r])[0] for r in rows]
            left_out = np.reshape(left_out, (n, 1))
            error = ((left_out - Y) ** 2).mean()
            candidates.append((error, left_out, model.fit(X, Y).predict(X_val).reshape(-1, 1)))
        _, expected, expected_val = min(candidates, key=lambda each: each[0])
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        np.testing.assert_allclose(scores_val, expected_val, atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_wrong_validation_labels_are_seen_and_right_ones_are_not(noise):
    X, y, X_val, y_val = two_tables(noise=noise)
    rng = np.random.default_rng(1)
    assert message_of(X, y, X_val, y_val) == ()
    assert len(message_of(X, y, X_val, 1 - y_val)) == 1
    assert len(message_of(X, y, X_val, rng.permutation(y_val))) == 1


def test_right_validation_labels_rarely_raise_an_alarm():
    alarms = sum(bool(message_of(*two_tables(seed))) for seed in range(200))
    assert alarms <= 2


def test_other_class_frequencies_are_no_disagreement():
    X, y, X_val, y_val = two_tables(n=3000, m=1000)
    rare = np.flatnonzero(y == 1)[100:]
    X, y = np.delete(X, rare, axis=0), np.delete(y, rare)
    assert message_of(X, y, X_val, y_val) == ()


def test_wrong_validation_targets_of_a_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4))
    y = X @ np.ones(4) + rng.normal(size=500)
    y[::7] = 1e6  # far targets decide nothing
    y_val = y[300:].copy()
    y_val[y_val > 1e5] = 0.0

    def messages(targets):
        fit = label_fit(X[:300], y[:300, None], X[300:], targets[:, None], classification=False)
        return judge(validation_fit=fit).messages

    y[:300][y[:300] > 1e5] = 5.0
    assert messages(y_val) == ()
    assert len(messages(rng.permutation(y_val))) == 1
    assert len(messages(-y_val)) == 1


def test_too_few_rows_cannot_disagree():
    X, y, X_val, y_val = two_tables()
    assert label_fit(X, one_hot(y), X_val[:4], one_hot(y_val[:4]), classification=True) is None


# --- whole runs ----------------------------------------------------------------------------------


class SwappedProbabilities(LogisticRegression):
    """A marginal that says the opposite of what it learned."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


def messages_of_run(y_val_of=lambda y: y, seed=0, noise=0.2, **settings):
    X, y, X_val, y_val = two_tables(seed, noise=noise)
    valuer = DVRLClassifier(**parameters(random_state=seed, **settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        valuer.fit(X, y, X_val, y_val_of(y_val))
    return valuer.diagnostics_


@pytest.mark.parametrize("seed", [0, 1])
def test_healthy_runs_say_nothing_and_know_their_share_of_wrong_labels(seed):
    diagnostics = messages_of_run(seed=seed)
    assert diagnostics.messages == ()
    assert diagnostics.estimated_noise_rate == pytest.approx(0.2, abs=0.08)


def test_clean_labels_are_estimated_as_clean():
    assert messages_of_run(noise=0.0).estimated_noise_rate < 0.08


def test_a_run_with_swapped_validation_labels_says_so():
    messages = messages_of_run(lambda y: 1 - y).messages
    assert any(each.startswith("The validation rows disagree") for each in messages)


def test_a_run_with_a_swapped_marginal_says_so():
    swapped = {"marginal": SwappedProbabilities()}
    messages = messages_of_run(**swapped).messages
    assert any(each.startswith("The values look inverted") for each in messages)


def test_a_run_that_cannot_leave_its_prior_says_so():
    messages = messages_of_run(kl_weight=1e4).messages
    assert any(each.startswith("The values add nothing") for each in messages)
