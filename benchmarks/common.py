"""What all benchmarks share: the machine, result files, options, tables in the documentation."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURES = ROOT / "docs" / "figures"
PACKAGES = ("dvrl", "jax", "numpy", "scikit-learn", "lightgbm")


def environment() -> dict[str, Any]:
    """Return what a figure depends on beside the code."""
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def machine_note(run: Mapping[str, Any]) -> str:
    """Words for the `environment` of a run."""
    return f"Machine: {run['machine']}. Packages: {package_list(run['packages'])}."


def package_list(packages: Mapping[str, str]) -> str:
    """Names and versions."""
    return ", ".join(f"{name} {number}" for name, number in packages.items())


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def read_runs(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def add_run(path: Path, run: dict[str, Any]) -> None:
    """Append one line; a run that was stopped half-way leaves none."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(run) + "\n")


class Ledger:
    """A result file: one JSON line per run, never the same run twice.

    Parameters
    ----------
    path : Path
    absent : dict, optional
        What fields mean that older lines do not have.
    """

    def __init__(self, path: Path, absent: dict[str, Any] | None = None) -> None:
        self.path, self.absent = path, absent or {}
        self.runs = [{**self.absent, **run} for run in read_runs(path)]

    def has(self, key: dict[str, Any]) -> bool:
        """Whether there is a run with these fields."""
        return any(all(run.get(k) == value for k, value in key.items()) for run in self.runs)

    def add(self, run: dict[str, Any]) -> None:
        add_run(self.path, run)
        self.runs.append({**self.absent, **run})

    def frame(self, tag: str | None = None) -> pd.DataFrame:
        """All runs as a table; of runs of the default, those of one version only."""
        kept = [run for run in self.runs if tag is None or run.get("default") in (None, tag)]
        return pd.DataFrame(kept)


def option_parser(
    description: str, *, sets: Sequence[str], methods: Sequence[str], known_methods: Sequence[str]
) -> argparse.ArgumentParser:
    """Options of every benchmark; each script adds its own."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--sets", nargs="*", default=list(sets), metavar="SET", help=", ".join(sets)
    )
    parser.add_argument(
        "--seeds", type=seeds, help="such as 100-109 (default; Adult: 100-119) or 1,2,5"
    )
    parser.add_argument(
        "--methods", nargs="*", choices=known_methods, default=list(methods), metavar="METHOD"
    )
    parser.add_argument("--default", metavar="VERSION", help="version of the default configuration")
    parser.add_argument(
        "--settings",
        type=json.loads,
        metavar="JSON",
        help="settings of DVRL to try, such as '{\"kl_weight\": 1}'; needs a --default of its own",
    )
    parser.add_argument("--report", action="store_true", help="write tables and figures, no runs")
    return parser


def parsed(parser: argparse.ArgumentParser, default: str) -> argparse.Namespace:
    """Options, checked; trial settings must not pass for the default."""
    options = parser.parse_args()
    if options.settings and options.default in (None, default):
        parser.error("--settings changes the default; name it with --default, such as trial-1.")
    options.default = options.default or default
    return options


def seeds_for(name: str, given: list[int] | None) -> list[int]:
    """The seeds of a set: twenty for Adult, the headline, ten for the others."""
    return given or seeds("100-119" if name == "adult" else "100-109")


def seeds(text: str) -> list[int]:
    """``"100-109"`` or ``"1,2,5"``."""
    if "-" in text:
        first, last = text.split("-")
        return list(range(int(first), int(last) + 1))
    return [int(part) for part in text.split(",")]


def with_error(values: Iterable[float], digits: int = 3) -> str:
    """Mean and standard error, for a table."""
    series = pd.Series(list(values), dtype=float)
    if len(series) < 2:
        return f"{series.mean():.{digits}f}"
    return f"{series.mean():.{digits}f} ± {series.sem():.{digits}f}"


def markdown(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between the markers of a section of a documentation page."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = page.read_text()
    if begin not in content:
        raise ValueError(f"{page.name} has no line {begin!r}; add it, and the end marker, there.")
    before, rest = content.split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
