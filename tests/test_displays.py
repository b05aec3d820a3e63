"""Figures by scikit-learn's Display convention."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from dvrl.report import (
    DiscoveryDisplay,
    HistoryDisplay,
    RemovalDisplay,
    ValuesDisplay,
    plot_discovery,
    plot_history,
    plot_removal,
    plot_values,
)

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
X = np.random.default_rng(0).normal(size=(40, 2))
Y = (X[:, 0] > 0).astype(int)
ESTIMATOR = SimpleNamespace(data_values_=VALUES, marginal_values_=VALUES[::-1], history_=HISTORY)

FROM_PREDICTIONS = {
    "values": lambda **more: ValuesDisplay.from_predictions(VALUES, is_corrupted=WRONG, **more),
    "discovery": lambda **more: DiscoveryDisplay.from_predictions(VALUES, WRONG, **more),
    "history": lambda **more: HistoryDisplay.from_predictions(HISTORY, **more),
    "removal": lambda **more: RemovalDisplay.from_predictions(CURVE, **more),
}
FROM_ESTIMATOR = {
    "values": lambda **more: ValuesDisplay.from_estimator(ESTIMATOR, **more),
    "discovery": lambda **more: DiscoveryDisplay.from_estimator(ESTIMATOR, WRONG, **more),
    "history": lambda **more: HistoryDisplay.from_estimator(ESTIMATOR, **more),
    "removal": lambda **more: RemovalDisplay.from_estimator(
        ESTIMATOR,
        X,
        Y,
        X,
        Y,
        predictor=LogisticRegression(),
        shares=[0.0, 0.3],
        repeats=2,
        **more,
    ),
}
MAKERS = [*FROM_PREDICTIONS.values(), *FROM_ESTIMATOR.values()]


@pytest.mark.parametrize("make", MAKERS)
def test_displays_keep_axes_and_figure_and_draw_where_they_are_told(make):
    display = make()
    assert display.ax_.figure is display.figure_
    assert all((display.ax_.get_xlabel(), display.ax_.get_ylabel(), display.ax_.get_title()))
    ax = Figure().subplots()
    assert make(ax=ax).ax_ is ax
    again = Figure().subplots()
    assert display.plot(again) is display
    assert display.ax_ is again
    assert display.figure_ is again.figure


def test_no_figure_is_left_in_pyplot():
    from matplotlib import pyplot

    FROM_PREDICTIONS["values"]()
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("kind", sorted(FROM_PREDICTIONS))
def test_functions_and_displays_draw_the_same(kind):
    function = {
        "values": lambda: plot_values(VALUES, WRONG),
        "discovery": lambda: plot_discovery({"data values": VALUES}, WRONG),
        "history": lambda: plot_history(HISTORY),
        "removal": lambda: plot_removal(CURVE),
    }[kind]
    drawn, shown = function(), FROM_PREDICTIONS[kind]().ax_
    assert [line.get_xydata().tolist() for line in drawn.lines] == [
        line.get_xydata().tolist() for line in shown.lines
    ]
    assert len(drawn.patches) == len(shown.patches)


def test_removal_lines_are_means_and_bands_reach_to_the_extremes():
    ax = RemovalDisplay.from_predictions(CURVE, score_name="Accuracy").ax_
    assert ax.get_ylabel() == "Accuracy (higher is better)"
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert list(lines) == ["lowest first", "highest first", "random"]
    assert lines["highest first"][:, 0].tolist() == [0.0, 25.0, 50.0]
    assert lines["highest first"][:, 1] == pytest.approx([0.81, 0.71, 0.61])
    band = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.6, 0.82))


def test_discovery_of_an_estimator_shows_its_marginal_beside_it():
    labels = [line.get_label() for line in FROM_ESTIMATOR["discovery"]().ax_.lines]
    assert labels == ["perfect", "data values", "marginal only", "random order"]


def test_removal_says_what_is_missing():
    with pytest.raises(ValueError, match="lacks order, score"):
        RemovalDisplay(pd.DataFrame({"removed": [0.1], "repeat": [0]}))
