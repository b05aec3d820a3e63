"""Labels that people got wrong: CIFAR-10N on features of an ImageNet encoder.

    python benchmarks/human_noise.py
    python benchmarks/human_noise.py --sets random_label1 --seeds 100
    python benchmarks/human_noise.py --report

5000 training, 2000 validation and 5000 test rows are drawn for each seed. Training rows carry the
people's labels, validation and test rows the official ones.
"""

from __future__ import annotations

import argparse

import numpy as np

from cases import Case
from common import RESULTS, ROOT, Ledger, option_parser, parsed, seeds_for, write_section
from data import DATA, SIZES, load, split_indices
from judging import record
from methods import DEFAULT, METHODS, REFERENCES
from tables import (
    DRAWN,
    dot_figure,
    method_rows,
    paired_rows,
    provenance,
    rival_rows,
    table,
    training_rows,
)

PATH = RESULTS / "human_noise.jsonl"
PAGE = ROOT / "docs" / "benchmarks-human-noise.md"
ANNOTATIONS = ("random_label1", "aggre_label")
COMPARED = (
    "default",
    "marginal",
    *REFERENCES,
    "random",
    "KNN-Shapley",
    "Data-OOB",
    "gradients",
    "confident learning",
)
RIVALS = ("marginal", "out-of-bag forest", "KNN-Shapley", "Data-OOB", "confident learning")


def make_case(annotation: str, seed: int) -> Case:
    X, y = load("cifar10")
    with np.load(DATA / "cifar10n_labels.npz") as arrays:
        labels = arrays[annotation].astype(int)
    train, valid, test = split_indices(len(y), seed, *SIZES["cifar10"])
    is_wrong = labels[train] != y[train]
    return Case(
        "classification",
        seed,
        X[train],
        labels[train],
        X[valid],
        y[valid],
        X[test],
        y[test],
        is_wrong,
    )


def run(options: argparse.Namespace) -> None:
    runs = Ledger(PATH)
    for annotation in options.sets:
        for seed in seeds_for(annotation, options.seeds):
            record(
                runs,
                {"set": annotation, "seed": seed},
                options.methods,
                lambda annotation=annotation, seed=seed: make_case(annotation, seed),
                tag=options.default,
                settings=options.settings,
            )


def report(options: argparse.Namespace) -> None:
    frame = Ledger(PATH).frame(options.default)
    if frame.empty:
        return
    label = "AUROC of the labels that people got wrong"
    parts = [
        dot_figure(frame, "auroc", DRAWN, "benchmark-human-noise", label=label),
        "AUROC of the default less that of each other method, and the same of the accuracy of the"
        " weighted model, paired over seeds:",
        table(rival_rows(frame, RIVALS)),
        table(paired_rows(frame)),
        "Training without values:",
        table(training_rows(frame)),
        "All methods:",
        table(method_rows(frame, METHODS)),
        provenance(frame),
    ]
    write_section("human-noise", "\n\n".join(parts), PAGE)


def main() -> None:
    parser = option_parser(__doc__, sets=ANNOTATIONS, methods=COMPARED, known_methods=METHODS)
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
