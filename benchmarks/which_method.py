"""The table of `docs/methods.md`: what each method finds, helps and costs, from recorded runs.

    python benchmarks/which_method.py

Makes no runs; `label_noise.py` does. Sampled Shapley values are run there on request:

    python benchmarks/label_noise.py --sets adult --methods "Data Shapley" "Beta Shapley"
    python benchmarks/label_noise.py --sets adult --methods "Data Banzhaf" AME
"""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd

from common import ROOT, markdown, write_section
from label_noise import CONDITION, ledger
from methods import DEFAULT, METHODS
from tables import NOTHING, gap_closed, provenance, shown, title

PAGE = ROOT / "docs" / "methods.md"
HEADLINE = ("classification", "none", 0.2, 0.0, "full")
SHOWN = "adult"


def summary(frame: pd.DataFrame, method: str, all_sets: list[str]) -> dict[str, Any]:
    """One method, over sets (means of means) and on one of them."""
    mine = frame[frame["method"] == method]
    on_shown = mine[mine["set"] == SHOWN]
    sets = mine["set"].nunique()
    complete = set(all_sets) <= set(mine["set"])
    common = mine[mine["set"].isin(all_sets)]
    gaps = pd.Series({name: gap_closed(group) for name, group in common.groupby("set")})
    return {
        "method": title(method),
        "AUROC, mean of sets": _mean(common, "auroc") if complete else NOTHING,
        "lowest set": _lowest(common) if complete else NOTHING,
        "gap closed": shown(float(gaps.median())) if complete else NOTHING,
        f"AUROC, {SHOWN}": _mean(on_shown, "auroc"),
        f"seconds, {SHOWN}": f"{on_shown['seconds'].median():.1f}" if len(on_shown) else NOTHING,
        f"fits, {SHOWN}": f"{on_shown['fits'].median():.0f}" if len(on_shown) else NOTHING,
        "sets": sets,
    }


def _mean(runs: pd.DataFrame, column: str) -> str:
    return f"{runs.groupby('set')[column].mean().mean():.3f}" if len(runs) else NOTHING


def _lowest(runs: pd.DataFrame) -> str:
    means = runs.groupby("set")["auroc"].mean()
    return f"{means.min():.3f} ({means.idxmin()})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--default", default=DEFAULT, help="version of the default configuration")
    options = parser.parse_args()
    frame = ledger().frame(options.default)
    for column, value in zip(CONDITION, HEADLINE, strict=True):
        frame = frame[frame[column] == value]
    by_set = frame.groupby("set")["method"].unique()
    # Sets on which the methods without sampling have all been run.
    cheap = {"KNN-Shapley", "Data-OOB", "gradients", "marginal", "default"}
    common = [name for name, methods in by_set.items() if cheap <= set(methods)]
    methods = [method for method in METHODS if method in set(frame["method"])]
    rows = [summary(frame, method, common) for method in methods]
    note = (
        f"20 % of the training labels wrong, all validation rows clean. Means over "
        f"{', '.join(common)}; “gap closed” is the median over them of the share of the accuracy "
        "lost to the errors that training with the values as weights wins back. "
    )
    write_section("which-method", f"{markdown(rows)}\n\n{note}{provenance(frame)}", PAGE)


if __name__ == "__main__":
    main()
