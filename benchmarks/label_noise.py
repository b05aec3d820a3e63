"""Planted errors: who finds them, and what training gains from the values.

    python benchmarks/label_noise.py                        # all sets, ten seeds (Adult: twenty)
    python benchmarks/label_noise.py --noise 0.4            # also --noise 0
    python benchmarks/label_noise.py --valid 10             # also 50, 100
    python benchmarks/label_noise.py --noisy-validation 0.1 # stress: validation labels wrong too
    python benchmarks/label_noise.py --feature-noise gaussian
    python benchmarks/label_noise.py --report               # tables and figures, no runs

Every run is one line of `results/label_noise.jsonl`; runs that are there are not repeated. The
seed gives the split, the errors and the random state. Accuracy is that of one logistic regression
(scikit-learn, `C=1`) on the encoded rows, trained with the values as weights (the other methods'
values have other units: their ranks, from 0 to 1), and is measured once on test rows that nothing
was chosen on.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

from cases import FEATURE_NOISE, Condition, make_case
from common import RESULTS, ROOT, Ledger, option_parser, parsed, seeds_for, write_section
from data import CLASSES, NUMBERS
from judging import record
from methods import DEFAULT, FIRST_DEFAULT, METHODS, TAGGED
from tables import (
    DRAWN,
    best_control,
    dot_figure,
    final_rows,
    line_figure,
    means_over_sets,
    paired_rows,
    provenance,
    table,
    title,
    training_rows,
)

PATH = RESULTS / "label_noise.jsonl"
PAGE = ROOT / "docs" / "benchmarks-label-noise.md"
# Dear methods, and presets that are not for use, run on Adult alone unless they are asked for.
ADULT_ONLY = ("paper", "released")
ON_REQUEST = ("Data Shapley", "Beta Shapley", "Data Banzhaf", "AME")
VARIANTS_OF_OTHER_TABLES = ("without marginal", "default, logistic")
LISTED = tuple(name for name in METHODS if name not in VARIANTS_OF_OTHER_TABLES)
COLUMNS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "recall_at_noise_rate": "recall at noise rate",
    "f1_two_means": "2-means F1",
    "weighted": "weighted",
}
CONDITION = ["task", "features", "noise", "noisy_validation", "valid"]


def ledger() -> Ledger:
    """The runs so far; lines of before these fields existed are completed."""
    runs = Ledger(PATH, {"noisy_validation": 0.0, "features": "none"})
    for run in runs.runs:
        run.setdefault("default", FIRST_DEFAULT if run["method"] in TAGGED else None)
    return runs


def run(options: argparse.Namespace) -> None:
    runs = ledger()
    for task, known in (("classification", CLASSES), ("regression", NUMBERS)):
        if options.task not in (None, task):
            continue
        for name in [name for name in options.sets if name in known]:
            condition = Condition(
                name,
                task,
                options.noise,
                options.valid,
                options.noisy_validation,
                options.feature_noise,
            )
            for seed in seeds_for(name, options.seeds):
                record(
                    runs,
                    condition.key(seed),
                    methods_for(name, task, options.methods),
                    lambda condition=condition, seed=seed: make_case(condition, seed),
                    tag=options.default,
                    settings=options.settings,
                )


def methods_for(name: str, task: str, asked: list[str] | None) -> list[str]:
    if asked is not None:
        return asked
    left_out = (*ON_REQUEST, *(() if (name, task) == ("adult", "classification") else ADULT_ONLY))
    return [method for method in LISTED if method not in left_out]


# --- report ---------------------------------------------------------------------------------------


def report(options: argparse.Namespace) -> None:
    frame = ledger().frame(options.default)
    frame = frame[~frame["method"].isin(VARIANTS_OF_OTHER_TABLES)]
    parts = list(frame.groupby(CONDITION, sort=False))
    parts.sort(key=lambda each: _place(each[0]))
    sections = [*_figures(frame), *(text for key, part in parts for text in _section(key, part))]
    write_section("label-noise", "\n\n".join([*sections, provenance(frame)]), PAGE)


def _place(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Order of the sections: the headline condition first."""
    task, features, noise, noisy, valid = key
    n_valid = np.inf if valid == "full" else float(valid)
    headline = (task, features, noise, noisy, valid) == ("classification", "none", 0.2, 0, "full")
    return (not headline, task, FEATURE_NOISE.index(features), noisy, -n_valid, noise)


def heading(key: tuple[Any, ...]) -> str:
    """Words for a condition."""
    task, features, noise, noisy, valid = key
    what = {"none": "labels wrong", "gaussian": "rows with Gaussian noise on their features"}
    planted = f"{noise:.0%} of the {what.get(features, 'rows with half of their features blanked')}"
    planted = planted.replace("of the labels", "of the training labels")
    rows = "" if valid == "full" else f", {int(valid)} validation rows"
    stress = f", {noisy:.0%} of the validation labels wrong too" if noisy else ""
    return f"{task.capitalize()}: {planted}{rows}{stress}"


def _section(key: tuple[Any, ...], part: pd.DataFrame) -> list[str]:
    return [
        f"### {heading(key)}",
        "Paired differences of the default (mean ± standard error over seeds; bold: more than one"
        " standard error from zero):",
        table(paired_rows(part)),
        'With the validation rows in the final fit, too (`final_rows="both"`):',
        table(final_rows(part)),
        "Means over the sets:",
        table(means_over_sets(part, LISTED, COLUMNS)),
        "Training without values:",
        table(training_rows(part)),
    ]


def _figures(frame: pd.DataFrame) -> list[str]:
    headline = frame[
        (frame["task"] == "classification")
        & (frame["features"] == "none")
        & (frame["noise"] == 0.2)
        & (frame["noisy_validation"] == 0)
        & (frame["valid"] == "full")
    ]
    if headline.empty:
        return []
    figures = [
        dot_figure(
            headline,
            "auroc",
            DRAWN,
            "benchmark-label-noise-auroc",
            label="AUROC of the wrong labels (20 % wrong)",
        ),
        dot_figure(
            headline,
            "weighted",
            ("default", "marginal", "out-of-bag forest", "confident learning", "gradients"),
            "benchmark-label-noise-accuracy",
            label="accuracy of the weighted model, less that of clean rows only",
            value=_less_than_oracle,
        ),
    ]
    return [*figures, *_condition_figure(frame)]


def _less_than_oracle(group: pd.DataFrame) -> tuple[float, float]:
    difference = group["weighted"] - group["oracle"]
    return float(difference.mean()), float(difference.sem())


def _condition_figure(frame: pd.DataFrame) -> list[str]:
    """Adult under other shares of wrong labels and other numbers of validation rows."""
    adult = frame[
        (frame["set"] == "adult")
        & (frame["task"] == "classification")
        & (frame["features"] == "none")
        & (frame["noisy_validation"] == 0)
    ]
    full = adult[adult["valid"] == "full"]
    fifth = adult[adult["noise"] == 0.2].assign(
        rows=lambda part: [400 if each == "full" else int(each) for each in part["valid"]]
    )
    control = best_control(full[full["noise"] == 0.2]) or "marginal"
    methods = ["default", "marginal", control]
    if full["noise"].nunique() < 2 or fifth["rows"].nunique() < 2:
        return []

    def curves(part: pd.DataFrame, x: str, column: str) -> dict[str, Any]:
        found = {}
        for method in dict.fromkeys(methods):
            means = part[part["method"] == method].groupby(x)[column].mean().dropna()
            if len(means):
                found[title(method)] = (100 * means.index if x == "noise" else means.index, means)
        return found

    accuracy = curves(full, "noise", "weighted")
    for column, name in (("noisy", "all rows"), ("oracle", "clean rows only")):
        means = full.groupby("noise")[column].mean()
        accuracy[name] = (100 * means.index, means)
    panels = [
        ("Accuracy (Adult, 400 validation rows)", "wrong labels (percent)", accuracy),
        ("AUROC (Adult, 20 % wrong)", "validation rows", curves(fifth, "rows", "auroc")),
    ]
    name = "benchmark-label-noise-conditions"
    return [line_figure(panels, name, y_label="", alt="Adult under other conditions")]


def main() -> None:
    known = list(dict.fromkeys([*CLASSES, *NUMBERS]))
    parser = option_parser(__doc__, sets=known, methods=[], known_methods=METHODS)
    parser.set_defaults(methods=None)
    parser.add_argument("--task", choices=("classification", "regression"))
    parser.add_argument("--noise", type=float, default=0.2, help="share of the training rows")
    parser.add_argument("--valid", type=_rows, default="full", help="number of validation rows")
    parser.add_argument("--noisy-validation", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--feature-noise", choices=FEATURE_NOISE, default="none")
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


def _rows(text: str) -> int | str:
    return text if text == "full" else int(text)


if __name__ == "__main__":
    main()
