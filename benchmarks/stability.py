"""Fifty seeds on Adult: the worst run, inverted runs, and runs without any marginal input.

    python benchmarks/stability.py
    python benchmarks/stability.py --seeds 100-119 --methods default
    python benchmarks/stability.py --report

A seed gives the split, the flips (20 %) and the random state.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from cases import Condition, make_case
from common import RESULTS, ROOT, Ledger, option_parser, parsed, seeds, write_section
from judging import record
from methods import DEFAULT, METHODS
from tables import (
    Row,
    line_figure,
    mean_error,
    numbers,
    paired_rows,
    provenance,
    shown,
    table,
    title,
)

PATH = RESULTS / "stability.jsonl"
PAGE = ROOT / "docs" / "benchmarks-stability.md"
SHOWN = ("default", "marginal", "without marginal", "released")


def run(options: argparse.Namespace) -> None:
    runs = Ledger(PATH)
    for name in options.sets:
        condition = Condition(name)
        for seed in options.seeds or seeds("100-149"):
            record(
                runs,
                condition.key(seed),
                options.methods,
                lambda condition=condition, seed=seed: make_case(condition, seed),
                tag=options.default,
                settings=options.settings,
            )


def report(options: argparse.Namespace) -> None:
    frame = Ledger(PATH).frame(options.default)
    if frame.empty:
        return
    rows = [
        _row(group)
        for name in frame["set"].unique()
        for method in METHODS
        if len(group := frame[(frame["set"] == name) & (frame["method"] == method)])
    ]
    parts = [_figure(frame), table(rows), "Paired differences of the default:"]
    parts += [table(paired_rows(frame)), provenance(frame)]
    write_section("stability", "\n\n".join(parts), PAGE)


def _row(group: pd.DataFrame) -> Row:
    auroc = numbers(group, "auroc")
    return {
        "data": group["set"].iloc[0],
        "method": title(group["method"].iloc[0]),
        "seeds": len(group),
        "AUROC": mean_error(group, "auroc"),
        "worst": shown(auroc.min(), 3),
        "10 % quantile": shown(auroc.quantile(0.1), 3),
        "median": shown(auroc.median(), 3),
        "best": shown(auroc.max(), 3),
        "standard deviation": shown(auroc.std(), 3),
        "inverted": f"{int((auroc < 0.5).sum())} of {len(auroc)}",
        "below .9": f"{int((auroc < 0.9).sum())} of {len(auroc)}",
        "weighted": mean_error(group, "weighted"),
        "worst weighted - noisy": f"{(group['weighted'] - group['noisy']).min():+.3f}",
    }


def _figure(frame: pd.DataFrame) -> str:
    panels = []
    for name, part in frame.groupby("set", sort=False):
        curves = {}
        for method in SHOWN:
            auroc = np.sort(numbers(part[part["method"] == method], "auroc"))
            if len(auroc):
                curves[title(method)] = (np.arange(1, len(auroc) + 1), auroc)
        panels.append((f"{name}: runs in order of their AUROC", "run", curves))
    return line_figure(panels, "benchmark-stability", y_label="AUROC", alt="AUROC of every seed")


def main() -> None:
    parser = option_parser(__doc__, sets=("adult",), methods=SHOWN, known_methods=METHODS)
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
