"""Figures: where they are drawn, and what their lines and bands show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dvrl.report import charts, plot_discovery, plot_history, plot_removal, plot_values

VALUES = np.linspace(0, 1, 40)
WRONG = np.arange(40) % 5 == 0
HISTORY = {"iteration": np.arange(60), "reward": np.linspace(0, 1, 60)}
CURVE = pd.DataFrame(
    [
        (order, removed, repeat, 0.8 + slope * removed + 0.01 * repeat)
        for order, slope in (("lowest first", 0.1), ("highest first", -0.4), ("random", -0.1))
        for removed in (0.0, 0.25, 0.5)
        for repeat in range(3)
    ],
    columns=["order", "removed", "repeat", "score"],
)
PLOTS = {
    "values": lambda ax=None: plot_values(VALUES, WRONG, ax),
    "discovery": lambda ax=None: plot_discovery({"data values": VALUES}, WRONG, ax),
    "history": lambda ax=None: plot_history(HISTORY, ax),
    "removal": lambda ax=None: plot_removal(CURVE, ax),
}


@pytest.mark.parametrize("kind", sorted(PLOTS))
def test_figures_are_drawn_where_they_are_told_and_leave_nothing_in_pyplot(kind):
    from matplotlib import pyplot

    ax = PLOTS[kind]()
    assert all((ax.get_xlabel(), ax.get_ylabel(), ax.get_title()))
    own = Figure().subplots()
    assert PLOTS[kind](own) is own
    assert pyplot.get_fignums() == []


def test_removal_lines_are_means_and_bands_reach_to_the_extremes():
    ax = plot_removal(CURVE, score_name="Accuracy")
    assert ax.get_ylabel() == "Accuracy (higher is better)"
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert list(lines) == ["lowest first", "highest first", "random"]
    assert lines["highest first"][:, 0].tolist() == [0.0, 25.0, 50.0]
    assert lines["highest first"][:, 1] == pytest.approx([0.81, 0.71, 0.61])
    band = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.6, 0.82))


def test_removal_without_repeats_has_no_band():
    once = CURVE[CURVE["repeat"] == 0].drop(columns="repeat")
    assert not plot_removal(once).collections
    assert "random: from 0.8 to 0.75" in charts.removal_chart(once)


def test_discovery_starts_at_nothing_and_ends_with_all_errors():
    ax = plot_discovery({"data values": VALUES, "marginal only": VALUES[::-1]}, WRONG)
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert list(lines) == ["perfect", "data values", "marginal only", "random order"]
    for line in lines.values():
        assert line[0].tolist() == [0.0, 0.0]
        assert line[-1].tolist() == [100.0, 100.0]
    assert lines["perfect"][20, 1] == pytest.approx(100.0)  # a fifth of the rows is wrong


def test_figures_say_what_is_missing():
    with pytest.raises(ValueError, match="lacks order, score"):
        plot_removal(pd.DataFrame({"removed": [0.1], "repeat": [0]}))
    with pytest.raises(ValueError, match="curves is empty"):
        plot_discovery({}, WRONG)
