"""Robust learning on features of an image encoder: CIFAR-10, 4000 / 1000 / 2000 rows.

    python benchmarks/transfer.py
    python benchmarks/transfer.py --noise 0.2 --seeds 100
    python benchmarks/transfer.py --report

The sizes are those of the experiment in the released code (there with another encoder).
"""

from __future__ import annotations

import argparse

import pandas as pd

from cases import Condition, make_case
from common import RESULTS, ROOT, Ledger, option_parser, parsed, seeds_for, write_section
from judging import record
from methods import DEFAULT, METHODS, REFERENCES
from tables import (
    Row,
    dot_figure,
    gap_closed,
    groups,
    mean_error,
    paired_rows,
    provenance,
    shown,
    table,
    title,
    training_rows,
)

PATH = RESULTS / "transfer.jsonl"
PAGE = ROOT / "docs" / "benchmarks-transfer.md"
SIZES = {"n_train": 4000, "n_valid": 1000, "n_test": 2000}
COMPARED = ("default", "marginal", *REFERENCES, "random", "Data-OOB", "confident learning")


def run(options: argparse.Namespace) -> None:
    runs = Ledger(PATH)
    for name in options.sets:
        for noise in options.noise:
            condition = Condition(name, noise=noise)
            for seed in seeds_for(name, options.seeds):
                record(
                    runs,
                    {**condition.key(seed), **SIZES},
                    options.methods,
                    lambda condition=condition, seed=seed: make_case(condition, seed, **SIZES),
                    tag=options.default,
                    settings=options.settings,
                )


def report(options: argparse.Namespace) -> None:
    frame = Ledger(PATH).frame(options.default)
    if frame.empty:
        return
    parts = []
    for noise, part in frame.groupby("noise"):
        parts += [
            f"### {noise:.0%} of the training labels wrong",
            table([_row(group) for group in groups(part, METHODS)]),
            "Training without values:",
            table(training_rows(part)),
            "Paired differences of the default:",
            table(paired_rows(part)),
        ]
    figure = dot_figure(
        frame.assign(wrong=[f"{noise:.0%} wrong" for noise in frame["noise"]]),
        "weighted",
        ("default", "marginal", "out-of-bag forest", "Data-OOB", "confident learning"),
        "benchmark-transfer",
        label="gap closed, noisy to clean rows only",
        rows="wrong",
        value=lambda group: (gap_closed(group), 0.0),
    )
    write_section("transfer", "\n\n".join([figure, *parts, provenance(frame)]), PAGE)


def _row(group: pd.DataFrame) -> Row:
    return {
        "data": group["set"].iloc[0],
        "method": title(group["method"].iloc[0]),
        "seeds": len(group),
        "AUROC": mean_error(group, "auroc"),
        "found in lowest 20 %": mean_error(group, "found_in_lowest_20"),
        "recall at noise rate": mean_error(group, "recall_at_noise_rate"),
        "all rows": mean_error(group, "noisy"),
        "weighted": mean_error(group, "weighted"),
        "clean rows only": mean_error(group, "oracle"),
        "gap closed": shown(gap_closed(group)),
        "seconds": f"{group['seconds'].median():.1f}",
        "fits": f"{group['fits'].median():.0f}",
    }


def main() -> None:
    parser = option_parser(__doc__, sets=("cifar10",), methods=COMPARED, known_methods=METHODS)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.2, 0.4])
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
