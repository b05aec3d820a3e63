"""Settings and presets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dvrl.learning.settings import PRESETS, RunSettings, Settings, as_settings, make_settings


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
    assert make_settings("default", {}) == RunSettings()


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
        ("marginal", "woods"),
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
    with pytest.raises(ValueError, match="Did you mean 'validation'"):
        make_settings("default", {"marginal": "validations"})


# --- every setting, and what the presets change -------------------------------------------------

PAPER_SETTINGS = {  # Algorithm 1 and section 4 of the paper
    "marginal": "none", "prior": "none", "kl_weight": 0.0, "residual_bound": 0.0,
    "gradient": "reinforce", "baseline": "moving_average", "baseline_window": 20,
    "n_selections": 1, "outer_iterations": 2000, "inner_iterations": 100, "batch_size": 2000,
    "inner_batch_size": 256, "inner_optimizer": "sgd", "learning_rate": 0.01, "l2": 0.0,
    "inner_l2": 0.0, "validation_share": 1.0, "predictor_start": "persistent",
    "exploration_weight": 0.0, "averaging": False,
    "ensemble_size": 1, "shrink_residual": False,
}  # fmt: skip
CHANGED_BY_THE_RELEASED_CODE = {
    "metric": "released", "marginal": "validation", "baseline": "all_rows",
    "inner_iterations": "released", "inner_optimizer": "adam", "l2": 1.0, "inner_l2": 1.0,
    "predictor_start": "reset", "exploration_weight": 1e3,
}  # fmt: skip


def test_the_released_preset_differs_from_the_paper_as_documented():
    paper = dataclasses.asdict(make_settings("paper", {}))
    released = dataclasses.asdict(make_settings("released", {}))
    assert {name: paper[name] for name in PAPER_SETTINGS} == PAPER_SETTINGS
    differing = {name: released[name] for name in paper if released[name] != paper[name]}
    assert differing == CHANGED_BY_THE_RELEASED_CODE


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_set_no_time_limit(preset):
    assert make_settings(preset, {}).max_seconds is None


def test_making_settings_changes_no_preset():
    before = {name: dict(preset) for name, preset in PRESETS.items()}
    make_settings("paper", {"l2": 7.0, "marginal": "validation"})
    assert before == PRESETS
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_settings("paper", {}).l2 = 1.0  # type: ignore[misc]


BAD_VALUES = {
    "marginal": ["woods", 3],
    "prior": ["posterior", True],
    "gradient": ["exact", ["auto"]],
    "baseline": ["mean"],
    "predictor_start": ["fresh"],
    "inner_optimizer": ["lbfgs"],
    "baseline_window": [0, 1.5, "long", True],
    "batch_size": [0, -3, 2.5, float("inf"), [64]],
    "inner_batch_size": [0, float("nan"), "all"],
    "outer_iterations": [0, "converged", True],
    "n_selections": [0, 2.5, "many"],
    "ensemble_size": [0, -1, {}],
    "inner_iterations": [0, 1.5, "long"],
    "learning_rate": [0.0, -1.0, "fast", float("inf")],
    "inner_learning_rate": [0, "fast", [0.1, 0.2]],
    "l2": [-1e-9, "auto", float("nan"), np.ones(2)],
    "inner_l2": [-1.0, "large", float("inf")],
    "validation_share": [0.0, 1.5, "half"],
    "validation_fraction": [0.0, 1.0, "auto"],
    "exploration_weight": [-1.0, "auto"],
    "residual_bound": [-1.0, "none"],
    "kl_weight": [-1.0, float("nan"), "large"],
    "max_seconds": [0, -5, "auto", float("inf")],
    "averaging": ["no", 1, [True]],
    "shrink_residual": ["no", 1, 0.5],
}
# The metric and what fits start from are checked where they are used.
UNCHECKED_HERE = {"metric", "pretrained"}
RUN_FIELDS = {each.name: each for each in dataclasses.fields(RunSettings)}


def is_one_sentence(message):
    return "\n" not in message and message.endswith((".", "?")) and message[-2] != "."


@pytest.mark.parametrize("name", sorted(set(RUN_FIELDS) - UNCHECKED_HERE))
def test_every_bad_setting_is_named_in_one_sentence(name):
    for value in BAD_VALUES[name]:
        with pytest.raises(ValueError, match=f"^{name}") as caught:
            make_settings("default", {name: value})
        assert is_one_sentence(str(caught.value)), str(caught.value)


@pytest.mark.parametrize("preset", ["fast", "", "Paper", None, 1])
def test_unknown_presets_name_the_known_ones(preset):
    with pytest.raises(ValueError, match=r"^preset=.*default, paper, released") as caught:
        make_settings(preset, {})
    assert is_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    "name", [name for name, each in RUN_FIELDS.items() if "allowed" in each.metadata]
)
def test_every_choice_that_is_offered_is_taken(name):
    for choice in RUN_FIELDS[name].metadata["allowed"]:
        # With 2 selections no baseline and no gradient estimator is out of place.
        settings = make_settings("paper", {name: choice, "n_selections": 2})
        assert getattr(settings, name) == choice


def test_numbers_of_numpy_are_numbers():
    given = {"n_selections": np.int64(4), "learning_rate": np.float32(0.25), "l2": np.float64(0)}
    settings = make_settings("paper", given)
    assert {name: getattr(settings, name) for name in given} == given


# --- kinds of numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_size", "inner_batch_size", "baseline_window"])
def test_auto_is_refused_where_nothing_decides_it(name):
    with pytest.raises(ValueError, match=name):
        make_settings("default", {name: "auto"})


@pytest.mark.parametrize("kind", [np.int64, float])
def test_combinations_are_checked_for_any_kind_of_whole_number(kind):
    with pytest.raises(ValueError, match="even number"):
        make_settings("default", {"gradient": "antithetic", "n_selections": kind(3)})
    with pytest.raises(ValueError, match="n_selections >= 2"):
        make_settings("default", {"gradient": "reinforce", "n_selections": kind(1)})


@pytest.mark.parametrize("name", ["batch_size", "inner_batch_size"])
def test_whole_floats_become_integers(name):
    assert isinstance(getattr(make_settings("default", {name: 64.0}), name), int)


def test_text_is_no_number():
    with pytest.raises(ValueError, match="l2"):
        make_settings("default", {"l2": "1"})


def test_averaging_is_yes_or_no():
    with pytest.raises(ValueError, match="averaging"):
        make_settings("default", {"averaging": "no"})


# --- what a user passes ---------------------------------------------------------------------


def test_what_can_be_asked_for_is_what_a_run_goes_by():
    own = {"metric", "marginal", "max_seconds"}  # parameters of the estimator
    assert [each.name for each in dataclasses.fields(Settings)] == [
        name for name in RUN_FIELDS if name not in own
    ]
    assert Settings().given() == {}
    for name in Settings().get_params():
        assert f"\n    {name} : " in Settings.__doc__


def test_settings_come_as_a_record_a_dict_or_nothing():
    given = Settings(l2=2.0)
    assert as_settings(given) is given
    assert as_settings({"l2": 2.0}).given() == {"l2": 2.0}
    assert as_settings(None).given() == {}
    with pytest.raises(ValueError, match="Did you mean 'kl_weight'"):
        as_settings({"kl_wieght": 1.0})
    with pytest.raises(TypeError, match="a Settings or a dict"):
        as_settings(3)
