"""Removing rows of Adult by their value: what LightGBM loses and gains.

    python benchmarks/removal.py                      # ten seeds
    python benchmarks/removal.py --seeds 100-101
    python benchmarks/removal.py --report             # the table from the results so far

The rows are clean: 1000 for training, 400 for validation, 5000 for testing. Values are learned
with the default settings; the rows that are left train LightGBM with its own defaults, once for
each share removed. Nothing is chosen on the test rows. Every run is one line of
`results/removal.jsonl`; runs that are there are not repeated.
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
    add_run,
    environment,
    markdown,
    read_runs,
    seeds,
    with_error,
    write_section,
)
from data import Split, split
from dvrl import DataValuationWarning, DVRLClassifier
from dvrl.experiments import removal_curve
from dvrl.experiments.fitting import model_by_name

PATH = RESULTS / "removal.jsonl"
PAGE = ROOT / "docs" / "uses.md"
METHODS = ("DVRL", "marginal", "random")
SHARES = tuple(np.round(np.arange(0.0, 0.501, 0.05), 2).tolist())
LOWEST, HIGHEST = "0.1", "0.5"


def values_of(rows: Split, seed: int) -> tuple[dict[str, NDArray[np.float64]], float]:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        valuer = DVRLClassifier(random_state=seed).fit(
            rows.X, rows.y, X_val=rows.X_val, y_val=rows.y_val
        )
    seconds = time.perf_counter() - started
    return {
        "DVRL": valuer.data_values_,
        "marginal": valuer.marginal_values_,
        "random": np.random.default_rng(seed).random(len(rows.y)),
    }, seconds


def run(seed: int) -> None:
    done = {each["method"] for each in read_runs(PATH) if each["seed"] == seed}
    if done >= set(METHODS):
        return
    rows = split("adult", seed)
    values, seconds = values_of(rows, seed)
    for method in METHODS:
        if method in done:
            continue
        curve = removal_curve(
            values[method],
            rows.X,
            rows.y,
            rows.X_test,
            rows.y_test,
            predictor=model_by_name("lightgbm", "classification", seed),
            shares=SHARES,
            orders=("lowest first", "highest first"),
            repeats=1,
            subsample=1.0,
            random_state=seed,
        )
        scores = {
            order: {
                str(share): score for share, score in zip(part.removed, part.score, strict=True)
            }
            for order, part in curve.groupby("order", sort=False)
        }
        result = {"seed": seed, "method": method, "seconds": seconds, **scores}
        add_run(PATH, {**result, **environment()})
        print(seed, method, {order: list(each.values()) for order, each in scores.items()})


def report() -> None:
    frame = pd.DataFrame(read_runs(PATH))
    rows = [_row(method, frame[frame["method"] == method]) for method in METHODS]
    machine = frame.iloc[-1]
    text = [
        f"Accuracy of LightGBM on 5000 test rows of Adult; mean and standard error of "
        f"{frame['seed'].nunique()} seeds.",
        "",
        markdown(rows),
        "",
        f"Machine: {machine['machine']}. Packages: {machine['packages']}.",
    ]
    write_section("removal", "\n".join(text), PAGE)


def _row(method: str, part: pd.DataFrame) -> dict[str, Any]:
    lowest, highest = (pd.DataFrame(list(part[f"{end} first"])) for end in ("lowest", "highest"))
    return {
        "values": method,
        "all rows": with_error(lowest["0.0"]),
        "lowest 10 % removed": with_error(lowest[LOWEST]),
        "gain": with_error(lowest[LOWEST] - lowest["0.0"], 4),
        "lowest 50 % removed": with_error(lowest["0.5"]),
        "highest 50 % removed": with_error(highest[HIGHEST]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds, default=seeds("100-109"))
    parser.add_argument("--report", action="store_true", help="write the table and stop")
    options = parser.parse_args()
    for seed in () if options.report else options.seeds:
        run(seed)
    report()


if __name__ == "__main__":
    main()
