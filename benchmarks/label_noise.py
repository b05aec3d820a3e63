"""Planted wrong labels: who finds them, and what training gains from the values.

    python benchmarks/label_noise.py                      # all sets, ten seeds
    python benchmarks/label_noise.py --sets adult --seeds 100-119
    python benchmarks/label_noise.py --report             # tables from the results so far

Every run is one line of `results/label_noise.jsonl`; runs that are there are not repeated. The
seed gives the split, the flips and the random state. Accuracy is that of one logistic regression
(scikit-learn, `C=1`) on the encoded rows, trained with the values as weights (the other methods'
values have other units: their ranks, from 0 to 1), and is measured once on test rows that nothing
was chosen on.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, Ridge

from common import (
    RESULTS,
    add_run,
    environment,
    markdown,
    read_runs,
    seeds,
    with_error,
    write_section,
)
from data import CLASSES, NUMBERS, Split, split
from dvrl import DataValuationWarning, DVRLClassifier, DVRLRegressor, baselines
from dvrl.experiments import detection_scores, discovery, flip_labels, replace_targets

PATH = RESULTS / "label_noise.jsonl"
PRESETS = ("default", "paper", "released")
# The time budget of a sampled method, so that a table takes hours and not days.
MAX_SECONDS = 20.0
OTHERS = {
    "leave-one-out": lambda **options: baselines.LeaveOneOut(**options),
    "Data Shapley": lambda **options: baselines.DataShapley(max_seconds=MAX_SECONDS, **options),
    "Beta Shapley": lambda **options: baselines.BetaShapley(max_seconds=MAX_SECONDS, **options),
    "Data Banzhaf": lambda **options: baselines.DataBanzhaf(max_seconds=MAX_SECONDS, **options),
    "AME": lambda **options: baselines.AME(max_seconds=MAX_SECONDS, **options),
    "KNN-Shapley": lambda **options: baselines.KNNShapley(**options),
    "Data-OOB": lambda **options: baselines.DataOOB(max_seconds=MAX_SECONDS, **options),
    "influence": lambda **options: baselines.InfluenceFunctions(**options),
    "gradients": lambda **options: baselines.GradientSimilarity(**options),
    "LAVA": lambda **options: baselines.LAVA(**options),
    "confident learning": lambda **options: baselines.ConfidentLearning(**options),
}
METHODS = (*PRESETS, "marginal", "random", *OTHERS)


def noisy_split(
    name: str, seed: int, task: str, noise: float, n_valid: int | None
) -> tuple[Split, NDArray[Any], NDArray[np.bool_]]:
    rows = split(name, seed, task=task, n_valid=n_valid)
    plant = flip_labels if task == "classification" else replace_targets
    noisy, is_wrong = plant(rows.y, noise, rng=seed)
    return rows, noisy, is_wrong


def values_by(
    method: str, task: str, rows: Split, noisy: NDArray[Any], seed: int, fitted: dict[str, Any]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Values of the training rows, and what they cost."""
    if method == "random":
        return np.random.default_rng(seed).random(len(noisy)), {"seconds": 0.0, "fits": 0}
    if method == "marginal":
        return fitted["default"].marginal_values_, {"seconds": fitted["seconds"], "fits": 0}
    if method in OTHERS:
        other = OTHERS[method](task=task, random_state=seed)
        other.fit(rows.X, noisy, X_val=rows.X_val, y_val=rows.y_val)
        return other.data_values_, {"seconds": other.seconds_, "fits": other.n_fits_}
    return fitted[method].data_values_, {
        "seconds": fitted[f"{method} seconds"],
        "fits": fitted[method].diagnostics_.n_fits,
        "messages": list(fitted[method].diagnostics_.messages),
    }


def fit(preset: str, task: str, rows: Split, noisy: NDArray[Any], seed: int) -> tuple[Any, float]:
    cls = DVRLClassifier if task == "classification" else DVRLRegressor
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        valuer = cls(preset=preset, random_state=seed).fit(
            rows.X, noisy, X_val=rows.X_val, y_val=rows.y_val
        )
    return valuer, time.perf_counter() - started


class Judge:
    """Scores of one kind of model, trained in different ways."""

    def __init__(self, encoder: Any, task: str, rows: Split, noisy: NDArray[Any]) -> None:
        self.task, self.rows, self.noisy = task, rows, noisy
        self.X, self.X_val, self.X_test = map(encoder.transform, (rows.X, rows.X_val, rows.X_test))

    def score(self, X: Any, y: Any, weights: NDArray[np.float64] | None = None) -> float:
        """Accuracy, or the share of the variance explained, on the test rows."""
        model = LogisticRegression(max_iter=5000) if self.task == "classification" else Ridge()
        return float(model.fit(X, y, sample_weight=weights).score(self.X_test, self.rows.y_test))

    def controls(self, is_wrong: NDArray[np.bool_]) -> dict[str, float]:
        rows = self.rows
        return {
            "noisy": self.score(self.X, self.noisy),
            "oracle": self.score(self.X[~is_wrong], self.noisy[~is_wrong]),
            "validation": self.score(self.X_val, rows.y_val),
            "both": self.score(
                np.vstack([self.X, self.X_val]), np.concatenate([self.noisy, rows.y_val])
            ),
        }


def run(
    name: str, seed: int, task: str, methods: list[str], noise: float, n_valid: int | None
) -> None:
    key = {"set": name, "task": task, "seed": seed, "noise": noise, "valid": n_valid or "full"}
    done = {
        each["method"]
        for each in read_runs(PATH)
        if all(each[field] == value for field, value in key.items())
    }
    todo = [method for method in methods if method not in done]
    if not todo:
        return
    rows, noisy, is_wrong = noisy_split(name, seed, task, noise, n_valid)
    fitted: dict[str, Any] = {}
    for preset in sorted({"default", *todo} & set(PRESETS)):
        fitted[preset], fitted[f"{preset} seconds"] = fit(preset, task, rows, noisy, seed)
    default = fitted["default"]
    fitted["seconds"] = fitted["default seconds"] - default.diagnostics_.seconds
    judge = Judge(default.encoder_, task, rows, noisy)
    controls = judge.controls(is_wrong)
    for method in todo:
        if method == "confident learning" and task != "classification":
            continue
        values, cost = values_by(method, task, rows, noisy, seed, fitted)
        result = {**key, "method": method, **controls, **cost}
        if noise > 0:
            result |= detection_scores(values, is_wrong)
            result["found_in_lowest_20"] = float(discovery(values, is_wrong, [0.2])["found"][0])
        # Only DVRL's values and the marginal's are chances; other units are ranks' alone.
        weights = values if method not in OTHERS else rankdata(values) / len(values)
        result["weighted"] = judge.score(judge.X, noisy, np.clip(weights, 1e-6, None))
        add_run(PATH, {**result, **environment()})
        print({k: result.get(k) for k in ("set", "seed", "method", "auroc", "weighted", "seconds")})


def report() -> None:
    frame = pd.DataFrame(read_runs(PATH))
    sections = []
    for (task, noise, valid), part in frame.groupby(["task", "noise", "valid"], sort=False):
        n_seeds = part.groupby("set")["seed"].nunique()
        sections.append(
            f"### {task.capitalize()}, {noise:.0%} wrong, "
            f"{'full' if valid == 'full' else valid} validation rows\n\n"
            f"{n_seeds.min()} to {n_seeds.max()} seeds per set.\n"
        )
        sections.append(markdown([_row(group) for group in _groups(part)]) + "\n")
    machine = frame.iloc[-1]
    note = f"Machine: {machine['machine']}. Packages: {machine['packages']}."
    write_section("label-noise", "\n".join([*sections, note]))


def _groups(part: pd.DataFrame) -> list[pd.DataFrame]:
    order = [(name, method) for name in part["set"].unique() for method in METHODS]
    groups = dict(list(part.groupby(["set", "method"])))
    return [groups[key] for key in order if key in groups]


def _row(group: pd.DataFrame) -> dict[str, Any]:
    first = group.iloc[0]
    # The gap of means: single splits can have almost no gap to divide by.
    means = group[["weighted", "noisy", "oracle"]].mean()
    width = means["oracle"] - means["noisy"]
    gap = (means["weighted"] - means["noisy"]) / width if width > 0 else np.nan
    detects = "auroc" in group and group["auroc"].notna().any()
    return {
        "data": first["set"],
        "method": first["method"],
        "AUROC": with_error(group["auroc"]) if detects else "-",
        "lowest AUROC": f"{group['auroc'].min():.3f}" if detects else "-",
        "found in lowest 20 %": with_error(group["found_in_lowest_20"]) if detects else "-",
        "inverted runs": f"{int((group['auroc'] < 0.5).sum())} of {len(group)}" if detects else "-",
        "noisy": f"{means['noisy']:.3f}",
        "weighted": with_error(group["weighted"]),
        "clean": f"{means['oracle']:.3f}",
        "validation only": f"{group['validation'].mean():.3f}",
        "both": f"{group['both'].mean():.3f}",
        "gap closed": "-" if np.isnan(gap) else f"{gap:.2f}",
        "seconds": f"{group['seconds'].median():.1f}",
        "fits": f"{group['fits'].median():.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=("classification", "regression"))
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--seeds", type=seeds, default=seeds("100-109"))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--valid", type=int)
    parser.add_argument("--report", action="store_true", help="write the tables and stop")
    options = parser.parse_args()
    if not options.report:
        for task, known in (("classification", CLASSES), ("regression", NUMBERS)):
            if options.task not in (None, task):
                continue
            for name in options.sets or known:
                for seed in options.seeds if name in known else ():
                    run(name, seed, task, options.methods, options.noise, options.valid)
    report()


if __name__ == "__main__":
    main()
