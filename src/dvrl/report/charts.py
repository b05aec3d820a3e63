"""Charts of the HTML report: Matplotlib figures as SVG that takes its colours from the page.

The picture is part of the page, so it needs no script, prints well, and follows light and dark: the
colours Matplotlib draws are replaced by the names of the style sheet's colours. Every chart is an
``<svg>`` element.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dvrl.report.figures import (
    draw_discovery,
    new_figure,
    plot_history,
    plot_removal,
    plot_values,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["discovery_chart", "history_chart", "removal_chart", "values_chart"]

PANEL = (6.4, 3.3)
# A longer curve is thinned: a chart is some 500 pixels wide.
LONGEST_CURVE = 600

# What Matplotlib draws, and the style sheet's name for it.
THEME = {
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--orange)",
    "#009e73": "var(--green)",
    "#cc79a7": "var(--purple)",
    "#666666": "var(--muted)",
    "#dddddd": "var(--line)",
    "#ffffff": "var(--surface)",
    "#000000": "currentColor",
}

_ID = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(?:url\(#|href="#)([^")]+)')


def values_chart(values: ArrayLike) -> str:
    """Histogram of the data values."""
    values = np.asarray(values, dtype=float)
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return _draw(
        "values",
        f"Histogram of the data values of {len(values):,} rows: half of them lie below "
        f"{middle:.3f}, the middle 90 % between {low:.3f} and {high:.3f}.",
        lambda ax: plot_values(values, ax=ax),
    )


def history_chart(history: Mapping[str, ArrayLike]) -> str:
    """Reward on the validation rows over the run; `history` has ``iteration`` and ``reward``."""
    reward = np.asarray(history["reward"], dtype=float)
    iteration = np.asarray(history["iteration"], dtype=float)
    step = -(-len(reward) // LONGEST_CURVE)
    if step > 1:  # means of neighbours, so that the noise shown is not a matter of luck
        starts = np.arange(0, len(reward), step)
        lengths = np.diff(np.append(starts, len(reward)))
        reward = np.add.reduceat(reward, starts) / lengths
        iteration = np.add.reduceat(iteration, starts) / lengths
    return _draw(
        "history",
        f"Reward on the validation rows: {_number(reward[0])} at the start, "
        f"{_number(reward[-1])} at the end of {len(np.asarray(history['reward'])):,} iterations.",
        lambda ax: plot_history({"iteration": iteration, "reward": reward}, ax=ax),
    )


def removal_chart(removal: pd.DataFrame) -> str:
    """Score after removing rows: means, and bands from the lowest repeat to the highest.

    `removal` has ``order`` ("lowest first", "highest first", "random"), ``removed`` (share of the
    rows) and ``score``.
    """
    sentences = []
    for order, rows in removal.groupby("order", sort=False):
        mean = rows.groupby("removed")["score"].mean().to_numpy(float)
        sentences.append(f"{order}: from {_number(mean[0])} to {_number(mean[-1])}")

    def draw(ax: Axes) -> None:
        plot_removal(removal, ax)
        for number, line in enumerate(ax.lines):  # markers at different places, so none is hidden
            if np.size(line.get_xdata()) > 3:
                line.set_markevery((number % 2, 2))
        ax.set_ylabel("Score")
        ax.legend(frameon=False)  # where there is room

    text = f"Score of the predictor while rows are removed. {'; '.join(sentences)}."
    return _draw("removal", text, draw)


def discovery_chart(discovery: pd.DataFrame) -> str:
    """Share of the known errors found among the lowest values.

    `discovery` has ``share`` of the rows looked at, ``found``, and where known ``random`` and
    ``perfect``; see :func:`dvrl.actions.discovery`.
    """
    share = 100 * discovery["share"].to_numpy(float)
    found = 100 * discovery["found"].to_numpy(float)
    place = int(np.argmin(np.abs(share - 20)))
    text = f"{found[place]:.0f} % of the known errors are among the lowest {share[place]:.0f} %."
    return _draw("discovery", text, lambda ax: draw_discovery({"found": discovery}, ax))


def _draw(name: str, text: str, draw: Any) -> str:
    """Draw a panel and hand it back as an element of a page."""
    import matplotlib

    # The same picture gives the same bytes: no random ids, no date. Text stays text.
    with matplotlib.rc_context({"svg.hashsalt": "dvrl", "svg.fonttype": "none"}):
        figure, (ax,) = new_figure(1, panel_size=PANEL)
        draw(ax)
        ax.set_title("")  # the page has its own headings
        ax.yaxis.labelpad += 6  # room for the larger letters of narrow pages
        stream = io.StringIO()
        figure.savefig(
            stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    return _themed(stream.getvalue(), name, text)


def _themed(svg: str, name: str, text: str) -> str:
    """An SVG file as an element with the colours of the page and ids of its own."""
    svg = svg[svg.index("<svg") :]
    # The style element would hold for the whole page.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    for colour, variable in THEME.items():
        svg = re.sub(re.escape(colour), variable, svg, flags=re.IGNORECASE)
    referenced = set(_REFERENCE.findall(svg))
    svg = _ID.sub(lambda m: f' id="{name}-{m[1]}"' if m[1] in referenced else "", svg)
    svg = _REFERENCE.sub(lambda m: m[0].replace(m[1], f"{name}-{m[1]}"), svg)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (width|height|version|xmlns(:xlink)?)="[^"]*"', "", opening)
    return f'{opening} class="chart" role="img" aria-label="{_escaped(text)}">{rest.strip()}'


def _number(number: float) -> str:
    return f"{number:.4g}"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text, quote=True)
