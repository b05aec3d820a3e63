"""The protocol of OpenDataVal: 1000 training and 100 validation rows, 20 % of the labels wrong.

    python benchmarks/opendataval_protocol.py
    python benchmarks/opendataval_protocol.py --noisy-validation 0.2   # as OpenDataVal itself does
    python benchmarks/opendataval_protocol.py --report

Jiang et al., "OpenDataVal: a Unified Benchmark for Data Valuation", NeurIPS 2023. Their
`mix_labels` flips validation labels too; here validation rows are clean unless asked for. The
file is not named after the package, which it would hide from other scripts in this folder.
"""

from __future__ import annotations

import argparse

from cases import Condition, make_case
from common import RESULTS, ROOT, Ledger, option_parser, parsed, seeds_for, write_section
from data import OPENDATAVAL
from judging import record
from methods import DEFAULT, METHODS, REFERENCES
from tables import (
    dot_figure,
    means_over_sets,
    method_rows,
    paired_rows,
    provenance,
    rival_rows,
    table,
)

PATH = RESULTS / "opendataval_protocol.jsonl"
PAGE = ROOT / "docs" / "benchmarks-opendataval.md"
SIZES = {"n_train": 1000, "n_valid": 100, "n_test": 3000}
DIGITS = {"n_train": 1000, "n_valid": 100, "n_test": 697}  # all that there are
COMPARED = (
    "default",
    "marginal",
    *REFERENCES,
    "random",
    "KNN-Shapley",
    "Data-OOB",
    "confident learning",
)
RIVALS = ("marginal", "Data-OOB", "KNN-Shapley")
COLUMNS = {
    "auroc": "AUROC",
    "recall_at_noise_rate": "recall at noise rate",
    "f1_two_means": "2-means F1",
    "weighted": "weighted",
}


def run(options: argparse.Namespace) -> None:
    runs = Ledger(PATH)
    for name in options.sets:
        condition = Condition(
            name, "opendataval", valid=100, noisy_validation=options.noisy_validation
        )
        sizes = DIGITS if name == "digits" else SIZES
        for seed in seeds_for(name, options.seeds):
            record(
                runs,
                condition.key(seed),
                options.methods,
                lambda c=condition, seed=seed, sizes=sizes: make_case(c, seed, **sizes),
                tag=options.default,
                settings=options.settings,
            )


def report(options: argparse.Namespace) -> None:
    frame = Ledger(PATH).frame(options.default)
    if frame.empty:
        return
    columns = {"auroc": "AUROC", "f1_two_means": "F1"}
    parts = []
    for noisy, part in frame.groupby("noisy_validation"):
        stress = f"{noisy:.0%} of the validation labels wrong too" if noisy else "clean validation"
        name = "benchmark-opendataval" + ("-noisy-validation" if noisy else "")
        drawn = ("default", "marginal", "Data-OOB", "KNN-Shapley", "confident learning")
        parts += [
            f"### {stress.capitalize()}",
            dot_figure(part, "f1_two_means", drawn, name, label="2-means F1"),
            "Means over the sets:",
            table(means_over_sets(part, METHODS, COLUMNS)),
            "The default less its rivals, paired over seeds:",
            table(rival_rows(part, RIVALS, columns)),
            table(paired_rows(part)),
            "All methods:",
            table(method_rows(part, METHODS)),
        ]
    write_section("opendataval", "\n\n".join([*parts, provenance(frame)]), PAGE)


def main() -> None:
    parser = option_parser(__doc__, sets=list(OPENDATAVAL), methods=COMPARED, known_methods=METHODS)
    parser.add_argument("--noisy-validation", type=float, default=0.0, metavar="SHARE")
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
