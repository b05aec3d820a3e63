"""From recorded runs to tables and figures of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import FIGURES, markdown, package_list, with_error
from dvrl.report.figures import new_figure, save_figure
from methods import CONTROLS, REFERENCES, TITLES

Row = dict[str, Any]
NOTHING = "-"
# A smaller gap is within the error of a few thousand test rows; a share of it means nothing.
SMALLEST_GAP = 0.002
# Okabe-Ito, with a shape each for grey print.
STYLES = (
    ("#D55E00", "o"),
    ("#0072B2", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#666666", "x"),
    ("#000000", "+"),
)


def title(method: str) -> str:
    return TITLES.get(method, method)


def provenance(frame: pd.DataFrame) -> str:
    """One line about machines and packages."""
    machines = ", ".join(sorted(frame["machine"].unique()))
    packages = sorted({package_list(each) for each in frame["packages"]})
    versions = sorted(frame["default"].dropna().unique()) if "default" in frame else []
    default = f" Version of the default: {', '.join(versions)}." if versions else ""
    return f"{len(frame):,} runs. Machine: {machines}. Packages: {'; '.join(packages)}.{default}"


def numbers(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column's numbers; none where the runs do not have it."""
    return frame[name].dropna() if name in frame else pd.Series(dtype=float)


def mean_error(frame: pd.DataFrame, name: str, digits: int = 3) -> str:
    found = numbers(frame, name)
    return with_error(found, digits) if len(found) else NOTHING


def gap_closed(group: pd.DataFrame, column: str = "weighted") -> float:
    """Share of the gap from noisy to clean training that is closed, of means over seeds.

    Of means, since single splits can have almost no gap to divide by; NaN where the gap of the
    means is below `SMALLEST_GAP`.
    """
    means = group[[column, "noisy", "oracle"]].mean()
    width = means["oracle"] - means["noisy"]
    if not width >= SMALLEST_GAP:
        return float("nan")
    return float((means[column] - means["noisy"]) / width)


def shown(value: float, digits: int = 2) -> str:
    return NOTHING if np.isnan(value) else f"{value:.{digits}f}"


# --- one row per set and method -------------------------------------------------------------------


def method_row(group: pd.DataFrame) -> Row:
    """Detection, training and cost of one method on one set."""
    auroc = numbers(group, "auroc")
    return {
        "data": group["set"].iloc[0],
        "method": title(group["method"].iloc[0]),
        "AUROC": mean_error(group, "auroc"),
        "lowest AUROC": f"{auroc.min():.3f}" if len(auroc) else NOTHING,
        "average precision": mean_error(group, "average_precision"),
        "recall at noise rate": mean_error(group, "recall_at_noise_rate"),
        "2-means F1": mean_error(group, "f1_two_means"),
        "inverted": f"{int((auroc < 0.5).sum())} of {len(auroc)}" if len(auroc) else NOTHING,
        "weighted": mean_error(group, "weighted"),
        "gap closed": shown(gap_closed(group)),
        "seconds": f"{group['seconds'].median():.1f}",
        "fits": f"{group['fits'].median():.0f}",
    }


def method_rows(part: pd.DataFrame, order: Sequence[str]) -> list[Row]:
    return [method_row(group) for group in groups(part, order)]


def groups(part: pd.DataFrame, order: Sequence[str]) -> list[pd.DataFrame]:
    """Runs by set and method, the methods in a given order."""
    found = dict(list(part.groupby(["set", "method"])))
    wanted = [(name, method) for name in part["set"].unique() for method in order]
    return [found[each] for each in wanted if each in found]


def training_rows(part: pd.DataFrame) -> list[Row]:
    """What training reaches without any values; the same for all methods of a seed."""
    once = part.drop_duplicates(["set", "seed"])
    columns = {
        "noisy": "all rows",
        "oracle": "clean rows only",
        "validation": "validation rows alone",
        "both": "all rows and validation rows",
    }
    return [
        {
            "data": name,
            "seeds": len(group),
            **{shown_as: mean_error(group, column) for column, shown_as in columns.items()},
        }
        for name, group in once.groupby("set", sort=False)
    ]


# --- paired differences ---------------------------------------------------------------------------


def by_seed(part: pd.DataFrame, method: str, column: str) -> pd.Series:
    rows = part[part["method"] == method]
    return rows.set_index("seed")[column] if column in rows else pd.Series(dtype=float)


def paired(
    part: pd.DataFrame, column: str, other: str, other_column: str | None = None, first="default"
) -> pd.Series:
    """Differences, over the seeds that both have, of a method and another (or of its own column).

    Parameters
    ----------
    part : DataFrame
        Runs of one set.
    column : str
    other : str
        Method to compare with.
    other_column : str, optional
        Where the other's number stands; `column` by default.
    first : str
    """
    difference = by_seed(part, first, column) - by_seed(part, other, other_column or column)
    return difference.dropna()


def shown_difference(
    part: pd.DataFrame,
    first: str,
    column: str,
    other: str | None,
    other_column: str | None = None,
) -> str:
    """`paired` for a table; nothing where there is nothing to compare."""
    if other is None or column not in part:
        return NOTHING
    difference = paired(part, column, other, other_column, first)
    return with_sign(difference) if len(difference) else NOTHING


def best_control(part: pd.DataFrame, column: str = "auroc") -> str | None:
    """The control (no reinforcement learning) of the highest mean on one set."""
    means = {name: by_seed(part, name, column).mean() for name in REFERENCES}
    known = {name: mean for name, mean in means.items() if not np.isnan(mean)}
    return max(known, key=known.__getitem__) if known else None


def paired_row(part: pd.DataFrame, first: str = "default") -> Row:
    """How the default compares, seed by seed, on one set."""
    control = best_control(part)

    against = partial(shown_difference, part, first)

    group = part[part["method"] == first]
    return {
        "data": part["set"].iloc[0],
        "seeds": group["seed"].nunique(),
        "best control": control or NOTHING,
        "AUROC - best control": against("auroc", control),
        "AUROC - prior alone": against("auroc", "marginal"),
        "accuracy - noisy": against("weighted", first, "noisy"),
        "- prior as weights": against("weighted", "marginal"),
        "- best control as weights": against("weighted", best_control(part, "weighted")),
        "- validation alone": against("weighted", first, "validation"),
        "- all + validation": against("weighted", first, "both"),
        "- clean only": against("weighted", first, "oracle"),
        "gap closed": shown(gap_closed(group)),
    }


def paired_rows(part: pd.DataFrame, first: str = "default") -> list[Row]:
    """One row per set that has runs of the default."""
    sets = [group for _, group in part.groupby("set", sort=False)]
    return [paired_row(group, first) for group in sets if (group["method"] == first).any()]


def final_rows(part: pd.DataFrame, first: str = "default") -> list[Row]:
    """Training on weighted rows and the validation rows together (`final_rows="both"`), per set."""
    column = "weighted_and_validation"
    rows = []
    for name, group in part.groupby("set", sort=False):
        own = group[group["method"] == first]
        if not len(numbers(own, column)):
            continue
        own = own.dropna(subset=[column])
        against = partial(shown_difference, group, first, column)
        rows.append(
            {
                "data": name,
                "seeds": own["seed"].nunique(),
                "weighted + validation": mean_error(own, column),
                "- weighted alone": against(first, "weighted"),
                "- validation alone": against(first, "validation"),
                "- all + validation": against(first, "both"),
                "- prior as weights + validation": against("marginal"),
                "- clean only": against(first, "oracle"),
                "gap closed": shown(gap_closed(own, column)),
            }
        )
    return rows


def rival_rows(
    frame: pd.DataFrame,
    rivals: Sequence[str],
    columns: dict[str, str] | None = None,
    first: str = "default",
) -> list[Row]:
    """The default less each rival, per set and in the mean of the sets."""
    columns = columns or {"auroc": "AUROC", "weighted": "weighted"}
    sets = {str(name): part for name, part in frame.groupby("set", sort=False)}
    rows = []
    for rival in rivals:
        row: Row = {"default less": title(rival)}
        for column, shown_as in columns.items():
            found = {name: paired(part, column, rival, first=first) for name, part in sets.items()}
            for name, difference in found.items():
                row[f"{name}: {shown_as}"] = with_sign(difference) if len(difference) else NOTHING
            if len(sets) > 1 and all(len(difference) for difference in found.values()):
                # One number per seed, the mean over the sets: seeds are what was repeated.
                by_seed_mean = pd.DataFrame(found).mean(axis=1, skipna=False).dropna()
                row[f"mean: {shown_as}"] = with_sign(by_seed_mean)
        rows.append(row)
    return rows


def with_sign(difference: pd.Series, digits: int = 3) -> str:
    """Mean and standard error with its sign; bold when it is more than one error from zero."""
    mean = difference.mean()
    if len(difference) < 2:
        return f"{mean:+.{digits}f}"
    error = difference.sem()
    text = f"{mean:+.{digits}f} ± {error:.{digits}f}"
    return f"**{text}**" if abs(mean) > error else text


def means_over_sets(part: pd.DataFrame, order: Sequence[str], columns: dict[str, str]) -> list[Row]:
    """Means over the sets on which every listed method has runs, and the gap closed there."""
    per_set = part.groupby(["method", "set"])
    methods = [method for method in order if (part["method"] == method).any()]
    sets_of = {method: set(part.loc[part["method"] == method, "set"]) for method in methods}
    # A method that was run on few sets only must not shorten the list for all.
    methods = [method for method in methods if len(sets_of[method]) == part["set"].nunique()]
    rows = []
    for method in methods:
        found = [group for (name, _), group in per_set if name == method]
        row: Row = {"method": title(method)}
        for column, shown_as in columns.items():
            row[shown_as] = shown(float(np.mean([_mean(group, column) for group in found])), 3)
        gaps = np.array([gap_closed(group) for group in found])
        row["gap closed"] = shown(float(np.nanmean(gaps))) if np.isfinite(gaps).any() else NOTHING
        row["least gap closed"] = (
            shown(float(np.nanmin(gaps))) if np.isfinite(gaps).any() else NOTHING
        )
        rows.append(row)
    return rows


def _mean(group: pd.DataFrame, column: str) -> float:
    found = numbers(group, column)
    return float(found.mean()) if len(found) else float("nan")


def table(rows: list[Row]) -> str:
    return markdown(rows) if rows else "No runs yet."


# --- figures --------------------------------------------------------------------------------------


def dot_figure(
    frame: pd.DataFrame,
    column: str,
    methods: Sequence[str],
    name: str,
    *,
    label: str,
    rows: str = "set",
    value: Callable[[pd.DataFrame], tuple[float, float]] | None = None,
) -> str:
    """One line per set, one mark per method with its standard error; returns the Markdown.

    Parameters
    ----------
    frame : DataFrame
        Runs.
    column : str
        What is drawn.
    methods : sequence of str
        Those without runs are left out.
    name : str
        Of the file in ``docs/figures``.
    label : str
        Of the horizontal axis.
    rows : str
        Column whose values are the lines.
    value : callable, optional
        From the runs of a mark to its place and error, in place of mean and standard error.
    """
    measure = value or (lambda group: (_mean(group, column), numbers(group, column).sem()))
    names = list(frame[rows].unique())
    methods = [method for method in methods if (frame["method"] == method).any()]
    if not methods:
        return ""
    figure, (ax,) = new_figure(panel_size=(7.0, 1.2 + 0.5 * len(names)))
    for number, method in enumerate(methods):
        colour, marker = STYLES[number % len(STYLES)]
        shift = 0.5 * (number / max(len(methods) - 1, 1) - 0.5)
        points = []
        for place, each in enumerate(names):
            group = frame[(frame[rows] == each) & (frame["method"] == method)]
            if len(group):
                points.append((place + shift, *measure(group)))
        places, means, errors = np.array(points, dtype=float).T
        ax.errorbar(
            means,
            places,
            xerr=np.nan_to_num(errors),
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=5,
            linewidth=1.0,
            label=title(method),
        )
    ax.set_yticks(range(len(names)), [str(each) for each in names])
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return saved(figure, name, label)


def line_figure(
    panels: Sequence[tuple[str, str, dict[str, tuple[Sequence[float], Sequence[float]]]]],
    name: str,
    *,
    y_label: str,
    alt: str,
    log_x: bool = False,
) -> str:
    """Panels of curves: title, label of x, and curves by name; returns the Markdown."""
    figure, axes = new_figure(len(panels), panel_size=(4.6, 3.4))
    for ax, (heading, x_label, curves) in zip(axes, panels, strict=True):
        for number, (curve, (x, y)) in enumerate(curves.items()):
            colour, marker = STYLES[number % len(STYLES)]
            ax.plot(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=curve)
        ax.set_title(heading)
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        if log_x:
            ax.set_xscale("log")
        ax.grid(color="#DDDDDD", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    return saved(figure, name, alt)


def saved(figure: Any, name: str, alt: str) -> str:
    """Write a figure for the documentation; returns the Markdown that shows it."""
    path: Path = FIGURES / f"{name}.png"
    save_figure(figure, path, dpi=100)
    return f"![{alt}](figures/{path.name})"


DRAWN = ("default", "marginal", *REFERENCES, "Data-OOB", "confident learning")
"""Methods in the figures, which would be unreadable with all of them."""
assert set(REFERENCES) < set(CONTROLS)
