"""From what a report holds to its HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dvrl.report.page_rows import clean, is_number, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["page_of", "panels", "plain_table"]


def panels(
    rows: pd.DataFrame,
    history: Mapping[str, ArrayLike] | None,
    removal: pd.DataFrame | None,
    discovery: pd.DataFrame | None,
) -> list[dict[str, str]]:
    """The charts with their names and notes; those without numbers are left out."""
    from markupsafe import Markup

    from dvrl.report import charts

    panels = [
        (
            "values",
            "Distribution of the values",
            "Low values mark rows that training leaves out most of the time.",
            charts.values_chart(rows["data_value"].to_numpy(float)),
        )
    ]
    if history is not None and len(np.asarray(history["reward"])):
        panels.append(
            (
                "history",
                "Learning curve",
                "Reward on the validation rows while the values were learned; higher is better.",
                charts.history_chart(history),
            )
        )
    if removal is not None and len(removal):
        panels.append(
            (
                "removal",
                "Removing rows",
                "Good values: the score holds or rises when the lowest go, and falls when the "
                "highest go. A band reaches from the lowest repeat to the highest.",
                charts.removal_chart(removal),
            )
        )
    if discovery is not None and len(discovery):
        panels.append(
            (
                "discovery",
                "Known errors found",
                "How many of the known errors are met when rows are looked at from the lowest "
                "value upwards.",
                charts.discovery_chart(discovery),
            )
        )
    names = ("name", "title", "note", "svg")
    return [dict(zip(names, (*panel[:3], Markup(panel[3])), strict=True)) for panel in panels]


def plain_table(frame: pd.DataFrame, best: str | None = None) -> dict[str, Any]:
    """A short table; `best` names the column whose largest number marks its row."""
    columns = []
    for name in frame.columns:
        title = clean(name).replace("_", " ")
        columns.append({"title": title[:1].upper() + title[1:], "number": is_number(frame[name])})
    table = [[_shown(cell) for cell in row] for row in frame.itertuples(index=False, name=None)]
    place = None
    if best is not None and best in frame.columns and frame[best].notna().any():
        place = int(np.nanargmax(frame[best].to_numpy(float)))
    return {"columns": columns, "rows": table, "best": place}


def _shown(value: Any) -> str:
    value = plain(value)
    if value is None or value != value:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else clean(value)


def page_of(*, data: str, **parts: Any) -> str:
    """The whole page; `data` is JSON, and `parts` are what the template asks for by name."""
    from importlib.metadata import version

    from jinja2 import Environment
    from markupsafe import Markup

    template = Environment(autoescape=True, trim_blocks=True).from_string(_asset("report.html.j2"))
    scripts = [_without_map(_asset("tabulator.min.js")), _asset("report.js")]
    styles = _without_map(_asset("tabulator_simple.min.css")) + _asset("report.css")
    return template.render(
        version=version("dvrl"),
        scripts=[Markup(script) for script in scripts],
        script_hashes=" ".join(f"'{_digest(script)}'" for script in scripts),
        styles=Markup(styles),
        data=Markup(data),
        **parts,
    )


def _asset(name: str) -> str:
    return (files("dvrl.report") / "assets" / name).read_text(encoding="utf-8")


def _without_map(source: str) -> str:
    """A library without the link to its source map, which a browser would ask for."""
    return "\n".join(line for line in source.splitlines() if "sourceMappingURL=" not in line)


def _digest(script: str) -> str:
    """The name of a script in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
