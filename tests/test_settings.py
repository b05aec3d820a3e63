"""Settings, presets, and the sizes that data is padded to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvrl.padding import pad, padded_size
from dvrl.settings import PRESETS, Settings, make_settings


def test_presets_say_what_they_are():
    paper, released = make_settings("paper", {}), make_settings("released", {})
    assert (paper.baseline, paper.baseline_window) == ("moving_average", 20)
    assert (paper.predictor_start, paper.inner_iterations) == ("persistent", 100)
    assert (paper.marginal, paper.prior, paper.exploration_weight) == ("none", "none", 0.0)
    assert (released.baseline, released.predictor_start) == ("all_rows", "reset")
    assert (released.marginal, released.exploration_weight) == ("validation", 1e3)
    for preset in (paper, released):
        assert (preset.gradient, preset.n_selections) == ("reinforce", 1)
        assert (preset.outer_iterations, preset.learning_rate) == (2000, 0.01)
        assert not preset.averaging
    assert make_settings("default", {}) == Settings()


def test_what_the_caller_says_wins_over_the_preset():
    settings = make_settings("paper", {"learning_rate": 0.5, "l2": None})
    assert settings.learning_rate == 0.5
    assert settings.l2 == PRESETS["paper"]["l2"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outer_iterations", 0),
        ("outer_iterations", 2.5),
        ("batch_size", -1),
        ("n_selections", "many"),
        ("ensemble_size", 0),
        ("inner_iterations", "long"),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("kl_weight", -0.1),
        ("l2", float("inf")),
        ("residual_bound", -1.0),
        ("max_seconds", 0),
        ("patience", 0),
        ("stopping_fraction", 1.0),
        ("marginal", "forest"),
        ("gradient", "exact"),
        ("baseline", "mean"),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        make_settings("default", {name: value})


def test_combinations_that_cannot_work():
    with pytest.raises(ValueError, match="even number"):
        make_settings("default", {"gradient": "antithetic", "n_selections": 3})
    with pytest.raises(ValueError, match="n_selections >= 2"):
        make_settings("default", {"gradient": "reinforce", "n_selections": 1})
    with pytest.raises(ValueError, match="preset"):
        make_settings("fast", {})


def test_a_misspelt_choice_gets_a_hint():
    with pytest.raises(ValueError, match="Did you mean 'out_of_bag'"):
        make_settings("default", {"marginal": "out_of_bags"})


@given(st.integers(1, 10**7))
def test_padding_wastes_at_most_an_eighth(size):
    padded = padded_size(size)
    assert padded >= size
    assert padded <= max(8, size * 9 / 8 + 1)
    assert padded_size(padded) == padded


def test_padding_appends_zeros():
    array = np.ones((3, 2), np.float32)
    padded = pad(array, 5, 4)
    assert padded.shape == (5, 4)
    assert padded.sum() == 6
    np.testing.assert_array_equal(padded[:3, :2], array)
    assert pad(array, 3) is array
