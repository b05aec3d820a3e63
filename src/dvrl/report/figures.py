"""Matplotlib figures, drawn without pyplot so that no global state is touched.

Every function draws into the axes it is given, or into a new figure, and returns the
axes. ``save_figure`` writes them to a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FIGURE_ENDINGS",
    "draw_comparison",
    "new_figure",
    "plot_discovery",
    "plot_history",
    "plot_values",
    "save_figure",
]

FIGURE_ENDINGS = (".png", ".svg", ".pdf")

# The Okabe-Ito colours stay apart for colour-blind readers; line styles and markers
# carry the same distinction into grey print.
_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
_LINES = (
    (_BLUE, "-", "o"),
    (_ORANGE, "--", "s"),
    (_GREEN, "-.", "^"),
    (_PURPLE, (0, (5, 1, 1, 1, 1, 1)), "D"),
)


def new_figure(
    n_panels: int = 1, panel_size: tuple[float, float] = (5.2, 3.9)
) -> tuple[Figure, list[Axes]]:
    """Open a figure with panels side by side, away from pyplot.

    Parameters
    ----------
    n_panels : int
        Number of axes.
    panel_size : (float, float)
        Width and height of each, in inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : list of matplotlib.axes.Axes
    """
    from matplotlib.figure import Figure

    width, height = panel_size
    figure = Figure(figsize=(width * n_panels, height), layout="constrained")
    axes = figure.subplots(1, n_panels, squeeze=False)
    return figure, list(axes[0])


def plot_values(
    values: ArrayLike, is_corrupted: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Histogram of the data values; with known errors, one for each kind of row.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values.
    is_corrupted : array-like of bool, shape (n_rows,), optional
        Which rows carry an error.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = ax or new_figure()[1][0]
    values = np.asarray(values, dtype=float)
    bins = _bins(values)
    if is_corrupted is None:
        ax.hist(values, bins=bins, color=_BLUE, edgecolor="white", linewidth=0.4)
        ax.set_ylabel("Number of rows")
        ax.set_title("Data values of the training rows")
    else:
        corrupted = np.asarray(is_corrupted, dtype=bool)
        for rows, name, colour, hatch in (
            (~corrupted, "correct rows", _BLUE, None),
            (corrupted, "rows with an error", _ORANGE, "///"),
        ):
            if not rows.any():
                continue
            # Shares within a kind: errors are few and would vanish among the correct rows.
            weights = np.full(int(rows.sum()), 100.0 / rows.sum())
            label = f"{name} ({int(rows.sum()):,})"
            ax.hist(values[rows], bins=bins, weights=weights, color=colour, alpha=0.35)
            ax.hist(
                values[rows],
                bins=bins,
                weights=weights,
                histtype="step",
                color=colour,
                linewidth=1.6,
                hatch=hatch,
                label=label,
            )
        ax.set_ylabel("Percent of the rows of a kind")
        ax.set_title("Do the errors have low values?")
        ax.legend(frameon=False)
    ax.set_xlabel("Data value (low: the row does not help)")
    _tidy(ax)
    return ax


def plot_discovery(
    curves: Mapping[str, ArrayLike], is_corrupted: ArrayLike, ax: Axes | None = None
) -> Axes:
    """How many of the errors are found when the rows of lowest value are looked at.

    Parameters
    ----------
    curves : mapping of str to array-like of shape (n_rows,)
        Name of a method to its values.
    is_corrupted : array-like of bool, shape (n_rows,)
        Which rows carry an error.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from dvrl.experiments.comparison import discovery

    ax = ax or new_figure()[1][0]
    shares = np.linspace(0.0, 1.0, 101)
    rate = 100.0 * float(np.asarray(is_corrupted, dtype=bool).mean())
    ax.plot([0, rate, 100], [0, 100, 100], color=_GREY, linewidth=1.0, label="perfect")
    for number, (name, values) in enumerate(curves.items()):
        colour, style, marker = _LINES[number % len(_LINES)]
        table = discovery(values, is_corrupted, list(shares))
        ax.plot(
            100 * table["share"],
            100 * table["found"],
            color=colour,
            linestyle=style,
            marker=marker,
            # Markers of different curves sit at different places, so none hides another.
            markevery=(2 + 3 * number, 12),
            markersize=4.5,
            linewidth=1.8,
            label=name,
        )
    ax.plot([0, 100], [0, 100], color=_GREY, linestyle=":", linewidth=1.2, label="random order")
    ax.set(xlim=(0, 100), ylim=(0, 102))
    ax.set_xlabel("Rows looked at, lowest values first (percent)")
    ax.set_ylabel("Errors found (percent)")
    ax.set_title("Errors found by looking at the lowest values")
    ax.legend(frameon=False, loc="lower right")
    _tidy(ax)
    return ax


def plot_history(history: Any, ax: Axes | None = None) -> Axes:
    """Reward on the validation rows over the iterations of a run.

    Parameters
    ----------
    history : mapping of str to array-like, list of mappings, or frame
        With ``iteration`` and ``reward``: the ``history_`` of a fitted estimator.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = ax or new_figure()[1][0]
    iteration, reward = _column(history, "iteration"), _column(history, "reward")
    n_points = len(reward)
    window = max(1, n_points // 20)
    smooth = window > 1
    ax.plot(
        iteration,
        reward,
        color=_BLUE,
        linewidth=0.8 if smooth else 1.6,
        alpha=0.4 if smooth else 1.0,
        label="each iteration",
    )
    if smooth:
        mean = np.convolve(reward, np.full(window, 1.0 / window), mode="valid")
        ax.plot(
            iteration[window - 1 :],
            mean,
            color=_ORANGE,
            linewidth=1.8,
            label=f"mean of the last {window}",
        )
        ax.legend(frameon=False)
    ax.set_xlabel("Outer iteration")
    ax.set_ylabel("Reward (higher is better)")
    ax.set_title("Reward on the validation rows during the run")
    _tidy(ax)
    return ax


def draw_comparison(comparison: Any) -> Figure:
    """Detection (where errors are known), removal curves and agreement of several methods.

    Parameters
    ----------
    comparison : Comparison
        What :func:`dvrl.compare` returns.

    Returns
    -------
    matplotlib.figure.Figure
    """
    knows_errors = comparison.table["auroc"].notna().any()
    figure, axes = new_figure(3 if knows_errors else 2, panel_size=(5.6, 5.2))
    if knows_errors:
        _plot_detection(comparison.table, axes.pop(0))
    _plot_removal(comparison, axes[0])
    _plot_agreement(comparison.agreement, axes[1])
    return figure


def _plot_detection(table: Any, ax: Axes) -> None:
    ranked = table[table["auroc"].notna()].sort_values("auroc")
    places = range(len(ranked))
    colours = [_ORANGE if name == "DVRL" else _BLUE for name in ranked["method"]]
    ax.barh(places, ranked["auroc"], color=colours, alpha=0.85)
    for place, auroc, seconds in zip(places, ranked["auroc"], ranked["seconds"], strict=True):
        ax.text(auroc + 0.01, place, f"{auroc:.3f}  ({seconds:.1f} s)", va="center", fontsize=8)
    ax.axvline(0.5, color=_GREY, linestyle=":", linewidth=1.2)
    ax.set_yticks(places, list(ranked["method"]))
    ax.set(xlim=(0, 1.28), xticks=np.arange(0, 1.01, 0.25))
    ax.set_xlabel("AUROC of the errors (dotted: random order)")
    ax.set_title("Who finds the errors?")
    ax.spines[["top", "right"]].set_visible(False)


def _plot_removal(comparison: Any, ax: Axes) -> None:
    lowest = comparison.removal[comparison.removal["removed_first"] == "lowest"]
    for number, (name, curve) in enumerate(lowest.groupby("method", sort=False)):
        plain = name != "DVRL"
        ax.plot(
            100 * curve["share"],
            curve["score"],
            color=f"C{number % 10}" if plain else _ORANGE,
            linestyle=("-", "--", ":")[number // 5 % 3] if plain else "-",
            marker=None if plain else "o",
            markersize=4.5,
            linewidth=1.2 if plain else 2.4,
            label=name,
        )
    ax.set_xlabel("Rows removed, lowest values first (percent)")
    ax.set_ylabel(f"{comparison.removal_metric} on the {comparison.judged_on} rows")
    ax.set_title("What does removing low values do?")
    ax.legend(frameon=False, fontsize=7, ncols=2)
    _tidy(ax)


def _plot_agreement(agreement: Any, ax: Axes) -> None:
    names = list(agreement.columns)
    ax.imshow(agreement.to_numpy(), vmin=-1, vmax=1, cmap="RdBu")
    places = range(len(names))
    ax.set_xticks(places, names, rotation=90, fontsize=8)
    ax.set_yticks(places, names, fontsize=8)
    for row in places:
        for column in places:
            value = agreement.iloc[row, column]
            ax.text(
                column,
                row,
                f"{value:.1f}".replace("0.", ".").replace("-.0", ".0"),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if abs(value) > 0.6 else "black",
            )
    ax.set_title("Do the methods agree? (rank correlation)")


def save_figure(figure: Figure | Axes, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a figure to a PNG, SVG or PDF file, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure or matplotlib.axes.Axes
        What to write; axes stand for the figure they belong to.
    path : path-like
        The ending chooses the format.
    dpi : int
        Dots per inch of a PNG.

    Returns
    -------
    pathlib.Path
        Where it was written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from dvrl.storage import write_atomically

    target = Path(path)
    ending = target.suffix.lower()
    if ending not in FIGURE_ENDINGS:
        raise ValueError(f"{target.name!r} has no known ending; use {', '.join(FIGURE_ENDINGS)}.")
    drawn = figure if isinstance(figure, Figure) else figure.figure
    FigureCanvasAgg(drawn)  # type: ignore[arg-type]  # subfigures share this interface
    write_atomically(
        target,
        lambda stream: drawn.savefig(stream, format=ending[1:], dpi=dpi),  # type: ignore[union-attr]
    )
    return target


def _bins(values: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """Bins over the values; over a fixed small range when they are all the same."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        low, high = low - 0.05, high + 0.05
    return np.linspace(low, high, 32)  # an odd number, so a single value sits in the middle


def _column(history: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(history, list):
        return np.asarray([row[name] for row in history], dtype=float)
    return np.asarray(history[name], dtype=float)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
