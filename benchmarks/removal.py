"""Removing rows of Adult by their value: what LightGBM loses and gains.

    python benchmarks/removal.py                      # ten seeds
    python benchmarks/removal.py --noise 0.2          # a fifth of the training labels wrong
    python benchmarks/removal.py --seeds 100-101
    python benchmarks/removal.py --report             # the table from the results so far

1000 rows for training, 400 clean rows for validation, 5000 for testing. Values are learned
with the default settings; the rows that are left train LightGBM with its own defaults, once for
each share removed. Nothing is chosen on the test rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common import (
    RESULTS,
    ROOT,
    Ledger,
    environment,
    machine_note,
    markdown,
    option_parser,
    parsed,
    seeds,
    with_error,
    write_section,
)
from data import Split, split
from dvrl import DataValuationWarning, DVRLClassifier
from dvrl.actions import removal_curve
from dvrl.data.noise import flip_labels
from dvrl.predictors.registry import model_by_name
from methods import DEFAULT
from same_results import model

Values = NDArray[np.float64]
PATH = RESULTS / "removal.jsonl"
PAGE = ROOT / "docs" / "uses.md"
METHODS = ("DVRL", "marginal", "random")
SHARES = tuple(np.round(np.arange(0.0, 0.501, 0.05), 2).tolist())


def values_of(rows: Split, seed: int, settings: dict[str, Any]) -> tuple[dict[str, Values], float]:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        valuer = model(DVRLClassifier, random_state=seed, **settings).fit(
            rows.X, rows.y, X_val=rows.X_val, y_val=rows.y_val
        )
    seconds = time.perf_counter() - started
    return {
        "DVRL": valuer.data_values_,
        "marginal": valuer.marginal_values_,
        "random": np.random.default_rng(seed).random(len(rows.y)),
    }, seconds


def ledger() -> Ledger:
    """The runs so far; the first ones were of clean rows and do not say so."""
    return Ledger(PATH, {"noise": 0.0})


def run(options: argparse.Namespace) -> None:
    runs = ledger()
    for name in options.sets:
        for seed in options.seeds or seeds("100-109"):
            keys = {
                method: {
                    "set": name,
                    "seed": seed,
                    "noise": options.noise,
                    "method": method,
                    # Random values do not depend on the default.
                    "default": None if method == "random" else options.default,
                }
                for method in options.methods
            }
            todo = {method: key for method, key in keys.items() if not runs.has(key)}
            if not todo:
                continue
            rows = split(name, seed)
            rows = rows._replace(y=flip_labels(rows.y, options.noise, rng=seed)[0])
            values, seconds = values_of(rows, seed, options.settings or {})
            for method, key in todo.items():
                scores = removal_scores(rows, values[method], seed)
                runs.add({**key, "seconds": seconds, **scores, **environment()})
                print(name, seed, method, scores)


def removal_scores(rows: Split, values: Values, seed: int) -> dict[str, dict[str, float]]:
    curve = removal_curve(
        values,
        rows.X,
        rows.y,
        rows.X_test,
        rows.y_test,
        predictor=model_by_name("gradient_boosting", "classification", seed),
        shares=SHARES,
        orders=("lowest first", "highest first"),
        repeats=1,
        subsample=1.0,
        random_state=seed,
    )
    return {
        order: {str(share): score for share, score in zip(part.removed, part.score, strict=True)}
        for order, part in curve.groupby("order", sort=False)
    }


def report(options: argparse.Namespace) -> None:
    frame = ledger().frame(options.default)
    if frame.empty:
        return
    parts = []
    for noise, runs in frame.groupby("noise"):
        planted = f"{noise:.0%} of the training labels wrong" if noise else "no planted errors"
        methods = runs.groupby("method")
        parts += [
            f"Accuracy of LightGBM on 5000 test rows of Adult, {planted}; mean and standard error "
            f"of {runs['seed'].nunique()} seeds.",
            markdown([_row(method, part) for method, part in methods]),
        ]
    parts.append(machine_note(frame.iloc[-1]))
    write_section("removal", "\n\n".join(parts), PAGE)


def _row(method: Any, part: pd.DataFrame) -> dict[str, Any]:
    lowest, highest = (pd.DataFrame(list(part[f"{end} first"])) for end in ("lowest", "highest"))
    return {
        "values": method,
        "all rows": with_error(lowest["0.0"]),
        "lowest 10 % removed": with_error(lowest["0.1"]),
        "gain": with_error(lowest["0.1"] - lowest["0.0"], 4),
        "lowest 50 % removed": with_error(lowest["0.5"]),
        "highest 50 % removed": with_error(highest["0.5"]),
    }


def main() -> None:
    parser = option_parser(__doc__, sets=("adult",), methods=METHODS, known_methods=METHODS)
    parser.add_argument("--noise", type=float, default=0.0, help="share of the training labels")
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
