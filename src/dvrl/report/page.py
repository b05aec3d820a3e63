"""From what a report holds to its HTML."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dvrl.report.page_rows import clean, is_number, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["panel", "panels", "plain_table", "target_of", "write_page"]

ENDINGS = (".html", ".htm")


def panels(
    rows: pd.DataFrame,
    history: Mapping[str, ArrayLike] | None,
    removal: pd.DataFrame | None,
    discovery: pd.DataFrame | None,
) -> list[dict[str, str]]:
    """The charts with their names and notes; those without numbers are left out."""
    from dvrl.report import charts

    drawn = [
        panel(
            "values",
            "Distribution of the values",
            "Low values mark rows that training leaves out most of the time.",
            charts.values_chart(rows["data_value"].to_numpy(float)),
        )
    ]
    if history is not None and len(np.asarray(history["reward"])):
        drawn.append(
            panel(
                "history",
                "Learning curve",
                "Reward on the validation rows while the values were learned; higher is better.",
                charts.history_chart(history),
            )
        )
    if removal is not None and len(removal):
        drawn.append(
            panel(
                "removal",
                "Removing rows",
                "Good values: the score holds or rises when the lowest go, and falls when the "
                "highest go. A band reaches from the lowest repeat to the highest.",
                charts.removal_chart(removal),
            )
        )
    if discovery is not None and len(discovery):
        drawn.append(
            panel(
                "discovery",
                "Known errors found",
                "How many of the known errors are met when rows are looked at from the lowest "
                "value upwards.",
                charts.discovery_chart(discovery),
            )
        )
    return drawn


def panel(name: str, title: str, note: str, svg: str) -> dict[str, str]:
    """A chart with what stands above it."""
    from markupsafe import Markup

    return {"name": name, "title": title, "note": note, "svg": Markup(svg)}


def plain_table(frame: pd.DataFrame, marked: int | None = None) -> dict[str, Any]:
    """A short table; `marked` is the place of the row that stands out."""
    columns = []
    for name in frame.columns:
        title = clean(name).replace("_", " ")
        columns.append({"title": title[:1].upper() + title[1:], "number": is_number(frame[name])})
    table = [[_shown(cell) for cell in row] for row in frame.itertuples(index=False, name=None)]
    return {"columns": columns, "rows": table, "best": marked}


def _shown(value: Any) -> str:
    value = plain(value)
    if value is None or value != value:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else clean(value)


def target_of(path: str | os.PathLike[str]) -> Path:
    """The path of a report, if one can be written there."""
    target = Path(path)
    if target.suffix.lower() not in ENDINGS:
        raise ValueError(f"{target.name!r} does not end in .html; a report is an HTML file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(target.parent)!r}; create it, or choose another path."
        )
    return target


def write_page(
    path: str | os.PathLike[str],
    template: str,
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    **parts: Any,
) -> Path:
    """Write a page, whole or not at all; `parts` are what the template asks for by name."""
    from importlib.metadata import version

    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    from dvrl.files.atomic import write_atomically

    target = target_of(path)
    loader = PackageLoader("dvrl.report", "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    sources = [_asset(name) for name in scripts]
    page = environment.get_template(template).render(
        version=version("dvrl"),
        scripts=[Markup(source) for source in sources],
        script_hashes=" ".join(f"'{_digest(source)}'" for source in sources),
        styles=Markup("".join(_asset(name) for name in [*styles, "report.css"])),
        **parts,
    )
    content = page.encode()
    write_atomically(target, lambda stream: stream.write(content))
    return target


def _asset(name: str) -> str:
    """A script or a style sheet, without the link to a source map that a browser would ask for."""
    source = (files("dvrl.report") / "assets" / name).read_text(encoding="utf-8")
    return "".join(
        line for line in source.splitlines(keepends=True) if "sourceMappingURL=" not in line
    )


def _digest(script: str) -> str:
    """The name of a script in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
