"""How fast the valuation methods are, against the same fits of scikit-learn in a loop.

    python benchmarks/methods_speed.py
    python benchmarks/methods_speed.py --only leave_one_out knn_shapley
    python benchmarks/methods_speed.py --report

Times of fits are CPU seconds of one thread, so that other programs on the machine count less;
both sides are measured in the same run, scikit-learn before and after, on subsets of the sizes
that the method fitted. Compiling is left out, and shown for leave-one-out. Set one thread for a
fair comparison: `OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from common import RESULTS, ROOT, environment, machine_note, markdown, write_section
from data import split
from dvrl import methods as valuation_methods
from dvrl.data.noise import flip_labels
from dvrl.data.preparation import Prepared, prepare
from dvrl.methods.utility import Utility

PATH = RESULTS / "methods_speed.json"
PAGE = ROOT / "docs" / "methods.md"
Row = dict[str, Any]
# Fits of scikit-learn on each side of a measurement.
LOOP = 150


def adult(seed: int = 0) -> Prepared:
    """1000 training rows of Adult with 20 % flipped labels, 400 clean validation rows."""
    rows = split("adult", seed)
    noisy, _ = flip_labels(rows.y, 0.2, rng=seed)
    return prepare(
        BaseEstimator(),
        rows.X,
        noisy,
        rows.X_val,
        rows.y_val,
        task="classification",
        validation_fraction=0.2,
        seed=seed,
    )


def loop_milliseconds(data: Prepared, subsets: list[NDArray[np.intp]]) -> float:
    """CPU time of one fit of scikit-learn and its validation log-likelihood, mean over subsets."""
    labels, wanted = data.Y.argmax(axis=1), data.Y_validation.argmax(axis=1)
    rows = np.arange(len(wanted))
    possible = [chosen for chosen in subsets if len(np.unique(labels[chosen])) > 1]
    started = time.process_time()
    for chosen in possible:
        model = LogisticRegression(max_iter=1000).fit(data.X[chosen], labels[chosen])
        np.log(model.predict_proba(data.X_validation)[rows, wanted]).mean()
    return 1e3 * (time.process_time() - started) / len(possible)


def against_loop(
    label: str, method: Any, warm_up: dict[str, Any], data: Prepared, subsets: Callable[[Any], Any]
) -> Row:
    """CPU time of a method, run until it has converged, and of the same fits in a loop."""
    type(method)(**{**method.get_params(), **warm_up}).fit_prepared(data, "classification")
    started = time.process_time()
    method.fit_prepared(data, "classification")
    seconds = time.process_time() - started
    ours = 1e3 * seconds / method.n_fits_
    chosen = subsets(method)
    theirs = float(np.mean([loop_milliseconds(data, chosen[part::2]) for part in (0, 1)]))
    details = method.details_
    size = details.get("n_permutations", details.get("n_subsets"))
    return {
        "method": label,
        "sample": size,
        "agreement of halves": details["agreement_of_halves"],
        "fits": method.n_fits_,
        "seconds": seconds,
        "milliseconds a fit": ours,
        "scikit-learn": theirs,
        "times faster": theirs / ours,
    }


def permutations() -> list[Row]:
    data = adult()
    n = len(data.X)

    def prefixes(method: Any) -> list[NDArray[np.intp]]:
        longest = round(method.n_fits_ / method.details_["n_permutations"])
        rng = np.random.default_rng(1)
        return [rng.permutation(n)[: rng.integers(1, longest + 1)] for _ in range(2 * LOOP)]

    warm_up = {"n_permutations": 64}
    return [
        against_loop(label, cls(random_state=0), warm_up, data, prefixes)
        for label, cls in (
            ("Data Shapley", valuation_methods.DataShapley),
            ("Beta Shapley (16, 1)", valuation_methods.BetaShapley),
        )
    ]


def banzhaf() -> list[Row]:
    data = adult()

    def halves(method: Any) -> list[NDArray[np.intp]]:
        rng = np.random.default_rng(1)
        return [np.flatnonzero(rng.random(len(data.X)) < 0.5) for _ in range(2 * LOOP)]

    return [
        against_loop(
            "Data Banzhaf",
            valuation_methods.DataBanzhaf(random_state=0),
            {"n_subsets": 256},
            data,
            halves,
        )
    ]


def precision() -> list[Row]:
    """Error of utilities of random halves, as a share of their spread."""
    data = adult()
    subsets = np.random.default_rng(2).random((128, len(data.X))) < 0.5
    ours, exact = (
        Utility(data, task="classification", tolerance=tolerance)(subsets)
        for tolerance in (None, 1e-7)
    )
    labels, wanted = data.Y.argmax(axis=1), data.Y_validation.argmax(axis=1)
    theirs = np.empty(len(subsets))
    for at, chosen in enumerate(subsets):
        model = LogisticRegression(max_iter=1000).fit(data.X[chosen], labels[chosen])
        likely = model.predict_proba(data.X_validation)[np.arange(len(wanted)), wanted]
        theirs[at] = np.log(likely).mean()
    return [
        {"fits": name, "error": float(np.sqrt(np.mean((each - exact) ** 2)) / exact.std())}
        for name, each in (("dvrl", ours), ("scikit-learn", theirs))
    ]


def leave_one_out() -> list[Row]:
    data = adult()
    times = []
    for _ in range(3):
        started = time.process_time()
        fitted = valuation_methods.LeaveOneOut().fit_prepared(data, "classification")
        times.append(time.process_time() - started)
    return [{"fits": fitted.n_fits_, "first": times[0], "again": min(times[1:])}]


KNN = """
import re, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from dvrl.methods import KNNShapley
rng = np.random.default_rng(0)
X = rng.normal(size=(101_000, 30)).astype(np.float32)
y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
started = time.perf_counter(), time.process_time()
KNNShapley(10).fit(X[1000:], y[1000:], X[:1000], y[:1000])
print(time.perf_counter() - started[0], time.process_time() - started[1])
# Not ru_maxrss, which a child inherits from its parent.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024**2)
"""


def knn_shapley() -> list[Row]:
    """In a process of its own, for its peak memory."""
    result = subprocess.run([sys.executable, "-c", KNN], capture_output=True, text=True, check=True)
    wall, cpu, peak = map(float, result.stdout.split())
    return [{"wall": wall, "cpu": cpu, "gibibytes": peak}]


MEASUREMENTS: dict[str, Callable[[], list[Row]]] = {
    each.__name__: each for each in (leave_one_out, permutations, banzhaf, precision, knn_shapley)
}


def report(kept: dict[str, Any]) -> None:
    speed = [
        {
            "method": row["method"],
            "sample": row["sample"],
            "rank correlation of halves": f"{row['agreement of halves']:.3f}",
            "fits": row["fits"],
            "CPU seconds": f"{row['seconds']:.1f}",
            "ms a fit": f"{row['milliseconds a fit']:.3f}",
            "ms a fit, scikit-learn": f"{row['scikit-learn']:.2f}",
            "times faster": f"{row['times faster']:.0f}",
        }
        for name in ("permutations", "banzhaf")
        for row in kept.get(name, {"rows": []})["rows"]
    ]
    lines = [markdown(speed), ""] if speed else []
    if "precision" in kept:
        errors = {row["fits"]: row["error"] for row in kept["precision"]["rows"]}
        lines.append(
            "Precision: the utilities of random halves are off by "
            f"{errors['dvrl']:.1%} of their spread between halves (scikit-learn's by "
            f"{errors['scikit-learn']:.1%}), against fits solved a thousand times as precisely.\n"
        )
    if "leave_one_out" in kept:
        (row,) = kept["leave_one_out"]["rows"]
        lines.append(
            f"Leave-one-out: {row['again']:.2f} CPU seconds, {row['first']:.1f} with compilation "
            f"({row['fits']} fits; target 2 s).\n"
        )
    if "knn_shapley" in kept:
        (row,) = kept["knn_shapley"]["rows"]
        lines.append(
            "KNN-Shapley, 100,000 training rows of 30 features, 1000 validation rows: "
            f"{row['wall']:.1f} s ({row['cpu']:.1f} CPU seconds; target 20 s), peak "
            f"{row['gibibytes']:.2f} GiB (target 2 GiB).\n"
        )
    # Every measurement has its own; the last one speaks for the table.
    lines.append(machine_note(list(kept.values())[-1]["environment"]))
    write_section("methods-speed", "\n".join(lines), PAGE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--report", action="store_true", help="write the table and stop")
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in [] if options.report else options.only:
        kept[name] = {"rows": MEASUREMENTS[name](), "environment": environment()}
        PATH.write_text(json.dumps(kept, indent=1) + "\n")
        print(name, kept[name]["rows"], flush=True)
    report(kept)


if __name__ == "__main__":
    main()
