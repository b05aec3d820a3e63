"""What was learned is kept, halved or dropped by the rows that did not reward it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.datasets import load_digits

import dvrl
from dvrl import DataValuationWarning, DVRLClassifier
from dvrl.data.noise import flip_labels
from dvrl.diagnostics.shrinkage import kept_share
from dvrl.learning.learn import PRIOR_SHARPNESS
from dvrl.numerics.paired import is_positive, mean_where, standard_error
from helpers import parameters

DROPPED = "The values are the marginal's"
UNSEEN = np.zeros((1, 200), bool)


def rewards(*, half, none, spread=0.1, rows=200):
    """Rewards of one member on unseen rows that are better by so much than with all of it."""
    noise = np.random.default_rng(0).normal(scale=spread, size=(1, rows))
    noise -= noise.mean()
    learned = np.zeros((1, rows))
    return {1.0: learned, 0.5: learned + half + noise, 0.0: learned + none + noise}


@pytest.mark.parametrize(
    ("half", "none", "kept"),
    [
        (-0.1, -0.2, 1.0),
        (0.0, 0.0, 1.0),
        (0.013, 0.0, 1.0),  # better by less than two standard errors of .007
        (0.016, 0.0, 0.5),
        (0.05, 0.02, 0.5),
        (0.05, 0.1, 0.0),
    ],
)
def test_less_is_kept_only_where_that_is_clearly_better(half, none, kept):
    assert kept_share(rewards(half=half, none=none), UNSEEN) == kept


def test_rows_that_rewarded_a_member_do_not_count():
    by_share = {share: np.vstack([each, each]) for share, each in rewards(half=1, none=2).items()}
    seen = np.ones((2, 200), bool)
    assert kept_share(by_share, seen) == 1.0
    seen[:, :100] = False
    by_share[0.0][:, :100] = -1.0
    assert kept_share(by_share, seen) == 0.5


def test_a_single_unseen_row_or_no_rewards_decide_nothing():
    seen = np.ones((1, 200), bool)
    seen[0, 0] = False
    assert kept_share(rewards(half=1, none=2), seen) == 1.0
    assert kept_share({}, UNSEEN) == 1.0


def test_paired_numbers():
    numbers = np.array([[1.0, 2.0, 3.0], [3.0, 0.0, 0.0]])
    mask = np.array([[True, False, False], [True, True, False]])
    np.testing.assert_array_equal(mean_where(numbers, mask), [2.0, 0.0, np.nan])
    assert standard_error(np.array([1.0])) == 0.0
    assert standard_error(np.array([1.0, 3.0])) == pytest.approx(1.0)
    assert is_positive(np.array([1.0, 3.0]), 1.9)
    assert not is_positive(np.array([1.0, 3.0]), 2.0)


@pytest.fixture(scope="module")
def overfitted():
    """Ten classes, 60 validation rows and no bound: each member learns its half by heart."""
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))
    noisy, _ = flip_labels(y[rows[:300]], 0.2, rng=0)
    data = (X[rows[:300]], noisy, X[rows[300:360]], y[rows[300:360]])
    validation = data[2:]
    settings = {
        "marginal": "forest", "kl_weight": 0.0, "residual_bound": 0.0, "inner_l2": 1.0,
        "learning_rate": 0.03, "outer_iterations": 100, "random_state": 0,
    }  # fmt: skip

    def fit(**changed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataValuationWarning)  # read from the diagnostics
            valuer = DVRLClassifier(**parameters(**settings | changed))
            return valuer.fit(*data[:2], X_val=data[2], y_val=data[3])

    return validation, fit


def test_what_harms_is_dropped_and_said(overfitted, tmp_path):
    (X_val, y_val), fit = overfitted
    valuer = fit()
    assert any(each.startswith(DROPPED) for each in valuer.diagnostics_.messages)
    assert valuer.diagnostics_.kept_share == 0.0
    assert "0% of the change" in str(valuer.diagnostics_)
    prior = expit(PRIOR_SHARPNESS * logit(valuer.marginal_values_))
    np.testing.assert_allclose(valuer.data_values_, prior, atol=1e-5)
    # Unseen rows are valued in the same way, also after a save.
    probability = valuer.marginal_.label_probability(
        valuer.coder_.encode(y_val), valuer.marginal_.scores(valuer.encoder_.encode(X_val))
    )
    first = expit(PRIOR_SHARPNESS * logit(probability))
    np.testing.assert_allclose(valuer.value(X_val, y_val), first, atol=1e-5)
    valuer.save(tmp_path / "model.dvrl")
    loaded = dvrl.load(tmp_path / "model.dvrl")
    np.testing.assert_array_equal(loaded.value(X_val, y_val), valuer.value(X_val, y_val))


def test_what_was_learned_can_be_kept_all_the_same(overfitted):
    _, fit = overfitted
    valuer = fit(shrink_residual=False)
    assert not any(each.startswith(DROPPED) for each in valuer.diagnostics_.messages)
    assert any("overfits the validation rows" in each for each in valuer.diagnostics_.messages)
    assert valuer.diagnostics_.kept_share == 1.0
    moved = logit(valuer.data_values_) - PRIOR_SHARPNESS * logit(valuer.marginal_values_)
    assert np.abs(moved).max() > 1.0


def test_nothing_is_judged_without_unseen_rows(overfitted):
    _, fit = overfitted
    valuer = fit(validation_share=1.0, outer_iterations=2, learning_rate=1e-4, kl_weight=1.0)
    assert valuer.diagnostics_.kept_share == 1.0
