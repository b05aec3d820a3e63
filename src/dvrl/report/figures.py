"""Matplotlib figures, drawn without pyplot so that no global state is touched.

Every function draws into the axes it is given, or into a new figure, and returns the
axes. ``save_figure`` writes them to a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "FIGURE_ENDINGS",
    "GREY",
    "LINES",
    "ORANGE",
    "draw_comparison",
    "draw_discovery",
    "new_figure",
    "plot_discovery",
    "plot_history",
    "plot_removal",
    "plot_values",
    "save_figure",
    "tidy",
]

FIGURE_ENDINGS = (".png", ".svg", ".pdf")

# The Okabe-Ito colours stay apart for colour-blind readers; line styles and markers
# carry the same distinction into grey print.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
LINES = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, (0, (5, 1, 1, 1, 1, 1)), "D"),
)
REMOVAL_LINES = {
    "lowest first": LINES[0],
    "highest first": LINES[1],
    "random": (GREY, ":", None),
}


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
    ax = new_figure()[1][0] if ax is None else ax
    values = np.asarray(values, dtype=float)
    if is_corrupted is None:
        ax.hist(values, bins=_bins(values), color=BLUE, edgecolor="white", linewidth=0.4)
        ax.set_ylabel("Number of rows")
        ax.set_title("Data values of the training rows")
    else:
        _plot_kinds(values, np.asarray(is_corrupted, dtype=bool), ax)
    ax.set_xlabel("Data value (low: the row does not help)")
    tidy(ax)
    return ax


def _plot_kinds(values: NDArray[np.float64], corrupted: NDArray[np.bool_], ax: Axes) -> None:
    bins = _bins(values)
    for rows, name, colour, hatch in (
        (~corrupted, "correct rows", BLUE, None),
        (corrupted, "rows with an error", ORANGE, "///"),
    ):
        if not rows.any():
            continue
        # Shares within a kind: errors are few and would vanish among the correct rows.
        weights = np.full(int(rows.sum()), 100.0 / rows.sum())
        ax.hist(values[rows], bins=bins, weights=weights, color=colour, alpha=0.35)
        ax.hist(
            values[rows],
            bins=bins,
            weights=weights,
            histtype="step",
            color=colour,
            linewidth=1.6,
            hatch=hatch,
            label=f"{name} ({int(rows.sum()):,})",
        )
    ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend
    ax.set_ylabel("Percent of the rows of a kind")
    ax.set_title("Do the errors have low values?")
    ax.legend(frameon=False)


def _bins(values: NDArray[np.float64]) -> Sequence[float]:
    """Bins over the values; over a fixed small range when they are all the same."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        low, high = low - 0.05, high + 0.05
    # An odd number of bins, so that a single value sits in the middle.
    return np.linspace(low, high, 32).tolist()


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
    from dvrl.actions.comparison import discovery

    if not curves:
        raise ValueError("curves is empty; pass the values of one method or more.")
    ax = new_figure()[1][0] if ax is None else ax
    shares = list(np.linspace(0.0, 1.0, 101))
    tables = {name: discovery(values, is_corrupted, shares) for name, values in curves.items()}
    draw_discovery(tables, ax)
    ax.set_xlim(0, 100)
    ax.legend(frameon=False, loc="lower right")
    return ax


def draw_discovery(tables: Mapping[str, pd.DataFrame], ax: Axes) -> None:
    """Draw what :func:`dvrl.actions.discovery` gives for each method.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Name of a method to its table. The first may lack ``random`` and ``perfect``, which are
        then not drawn.
    ax : matplotlib.axes.Axes
    """
    first = next(iter(tables.values()))
    if "perfect" in first:
        ax.plot(100 * first["share"], 100 * first["perfect"], color=GREY, lw=1.0, label="perfect")
    for number, (name, table) in enumerate(tables.items()):
        colour, style, marker = LINES[number % len(LINES)]
        ax.plot(
            100 * table["share"],
            100 * table["found"],
            color=colour,
            linestyle=style,
            marker=marker,
            # Markers of different curves sit at different places, so none hides another.
            markevery=(2 + 3 * number, 12) if len(table) > 100 else None,
            markersize=4.5,
            linewidth=1.8,
            label=name,
        )
    if "random" in first:
        ax.plot(
            100 * first["share"],
            100 * first["random"],
            color=GREY,
            linestyle=":",
            linewidth=1.2,
            label="random order",
        )
    ax.set_ylim(0, 102)
    ax.set_xlabel("Rows looked at, lowest values first (percent)")
    ax.set_ylabel("Errors found (percent)")
    ax.set_title("Errors found by looking at the lowest values")
    ax.legend(frameon=False)
    tidy(ax)


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
    ax = new_figure()[1][0] if ax is None else ax
    iteration, reward = _column(history, "iteration"), _column(history, "reward")
    window = max(1, len(reward) // 20)
    if window == 1:
        ax.plot(iteration, reward, color=BLUE, linewidth=1.6)
    else:
        ax.plot(iteration, reward, color=BLUE, linewidth=0.8, alpha=0.4, label="each iteration")
        mean = np.convolve(reward, np.full(window, 1.0 / window), mode="valid")
        label = f"mean of the last {window}"
        ax.plot(iteration[window - 1 :], mean, color=ORANGE, linewidth=1.8, label=label)
        ax.legend(frameon=False)
    ax.set_xlabel("Outer iteration")
    ax.set_ylabel("Reward (higher is better)")
    ax.set_title("Reward on the validation rows during the run")
    tidy(ax)
    return ax


def _column(history: Any, name: str) -> NDArray[np.float64]:
    if isinstance(history, list):
        return np.asarray([row[name] for row in history], dtype=float)
    return np.asarray(history[name], dtype=float)


def plot_removal(curve: pd.DataFrame, ax: Axes | None = None, *, score_name: str = "Score") -> Axes:
    """Score of a predictor while more and more rows are removed by their value.

    Lines are means over the repeats; bands reach from the lowest repeat to the highest.

    Parameters
    ----------
    curve : pandas.DataFrame
        What :func:`dvrl.actions.removal_curve` gives: ``order``, ``removed`` and ``score``, one
        row for each repeat.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    score_name : str
        For the axis.

    Returns
    -------
    matplotlib.axes.Axes
    """
    missing = {"order", "removed", "score"} - set(curve)
    if missing:
        raise ValueError(
            f"The removal curve lacks {', '.join(sorted(missing))}; pass the frame that "
            "removal_curve gives."
        )
    ax = new_figure()[1][0] if ax is None else ax
    for order, part in curve.groupby("order", sort=False):
        colour, style, marker = REMOVAL_LINES.get(str(order), LINES[2])
        table = part.groupby("removed")["score"].agg(["mean", "min", "max", "count"])
        removed = 100 * np.asarray(table.index, dtype=float)
        if (table["count"] > 1).any():
            low, high = table["min"].to_numpy(), table["max"].to_numpy()
            ax.fill_between(removed, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(
            removed,
            table["mean"].to_numpy(),
            color=colour,
            linestyle=style,
            marker=marker,
            markersize=4.5,
            linewidth=1.8,
            label=str(order).replace("$", r"\$"),  # no formula
        )
    ax.set_xlabel("Rows removed (percent)")
    ax.set_ylabel(f"{score_name} (higher is better)")
    ax.set_title("What does removing rows by their value do?")
    ax.legend(frameon=False, loc="lower left")
    tidy(ax)
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
    colours = [ORANGE if name == "DVRL" else BLUE for name in ranked["method"]]
    ax.barh(places, ranked["auroc"], color=colours, alpha=0.85)
    for place, auroc, seconds in zip(places, ranked["auroc"], ranked["seconds"], strict=True):
        ax.text(auroc + 0.01, place, f"{auroc:.3f}  ({seconds:.1f} s)", va="center", fontsize=8)
    ax.axvline(0.5, color=GREY, linestyle=":", linewidth=1.2)
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
            color=f"C{number % 10}" if plain else ORANGE,
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
    tidy(ax)


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

    from dvrl.files.atomic import write_atomically

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


def tidy(ax: Axes) -> None:
    """Take away what is not needed to read the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
