"""The same values by another library: agreement and cost.

    python -m venv other && other/bin/pip install pydvl
    python benchmarks/other_libraries.py --python other/bin/python
    python benchmarks/other_libraries.py --report

pyDVL (LGPL) runs in an interpreter of its own, on the same encoded rows of Adult with 20 % flipped
labels, with scikit-learn's `LogisticRegression()` and the validation log-likelihood as utility; it
is no dependency. Sampled methods get the same number of permutations or subsets on both sides, and
different random numbers, so that their rank correlation is bounded by the noise of both. CPU
seconds of one thread on both sides; ours are measured compiled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator

from common import RESULTS, ROOT, environment, machine_note, markdown, write_section
from data import split
from dvrl import methods as valuation_methods
from dvrl.data.noise import flip_labels
from dvrl.data.preparation import Prepared, prepare

PATH = RESULTS / "other_libraries.json"
PAGE = ROOT / "docs" / "methods.md"
N_TRAIN, N_VALID, N_PERMUTATIONS, N_SUBSETS, NEIGHBORS = 200, 200, 30, 2000, 10

THEIRS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from importlib.metadata import version
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from pydvl.valuation import (
    Dataset, KNNShapleyValuation, LOOValuation, MSRBanzhafValuation, MinUpdates, ModelUtility,
    PermutationSampler, ShapleyValuation, SupervisedScorer,
)
folder, n_permutations, n_subsets, k = sys.argv[1], *map(int, sys.argv[2:])
rows = np.load(folder + "/rows.npz")
train, valid = (Dataset(rows["X" + end], rows["y" + end]) for end in ("", "_val"))
nothing = float(np.log(0.5))  # log-likelihood without a fit, or with a single class
scorer = SupervisedScorer("neg_log_loss", valid, default=nothing, range=(-10.0, 0.0))
def utility():
    return ModelUtility(LogisticRegression(max_iter=1000), scorer, show_warnings=False)
sampler = PermutationSampler(seed=1)
methods = {
    "leave-one-out": LOOValuation(utility()),
    "KNN-Shapley": KNNShapleyValuation(KNeighborsClassifier(k), valid, progress=False),
    "Data Shapley": ShapleyValuation(
        utility(), sampler, MinUpdates(n_permutations), show_warnings=False
    ),
    "Data Banzhaf": MSRBanzhafValuation(
        utility(), MinUpdates(n_subsets), seed=1, show_warnings=False
    ),
}
found = {}
for name, method in methods.items():
    started = time.process_time()
    method.fit(train)
    seconds = time.process_time() - started
    result = method.result if hasattr(method, "result") else method.values()
    values = np.empty(len(train))
    values[result.indices] = result.values
    found[name] = {
        "seconds": seconds, "values": values.tolist(), "updates": float(np.mean(result.counts))
    }
found["version"] = version("pydvl")
print("RESULT" + json.dumps(found))
"""


def adult() -> Prepared:
    rows = split("adult", 0, n_train=N_TRAIN, n_valid=N_VALID)
    noisy, _ = flip_labels(rows.y, 0.2, rng=0)
    return prepare(
        BaseEstimator(),
        rows.X,
        noisy,
        rows.X_val,
        rows.y_val,
        task="classification",
        validation_fraction=0.2,
        seed=0,
    )


def by_pydvl(python: str, data: Prepared) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "rows.npz",
            X=data.X,
            y=data.Y.argmax(axis=1),
            X_val=data.X_validation,
            y_val=data.Y_validation.argmax(axis=1),
        )
        sizes = map(str, (N_PERMUTATIONS, N_SUBSETS, NEIGHBORS))
        result = subprocess.run(
            [python, "-c", THEIRS, folder, *sizes], capture_output=True, text=True, check=False
        )
    if result.returncode:
        raise RuntimeError(result.stderr[-2000:])
    answer = next(line for line in result.stdout.splitlines() if line.startswith("RESULT"))
    return dict(json.loads(answer.removeprefix("RESULT")))


def ours(seed: int) -> dict[str, Any]:
    """Methods with the settings of the other side."""
    return {
        "leave-one-out": valuation_methods.LeaveOneOut(),
        "KNN-Shapley": valuation_methods.KNNShapley(NEIGHBORS),
        "Data Shapley": valuation_methods.DataShapley(
            n_permutations=N_PERMUTATIONS, truncation=0.0, convergence=None, random_state=seed
        ),
        "Data Banzhaf": valuation_methods.DataBanzhaf(
            n_subsets=N_SUBSETS, convergence=None, random_state=seed
        ),
    }


def valued(method: Any, data: Prepared) -> tuple[NDArray[np.float64], float]:
    """Values, and CPU seconds once compiled."""
    for _ in range(2):
        started = time.process_time()
        method.fit_prepared(data, "classification")
        seconds = time.process_time() - started
    return method.data_values_, seconds


def compare(python: str) -> dict[str, Any]:
    data = adult()
    theirs = by_pydvl(python, data)
    rows = []
    for name, method in ours(0).items():
        values, seconds = valued(method, data)
        again, _ = valued(ours(2)[name], data)
        other = np.array(theirs[name]["values"])
        rows.append(
            {
                "method": name,
                "rank": float(spearmanr(values, other).statistic),
                "own": float(spearmanr(values, again).statistic),
                "linear": float(np.corrcoef(values, other)[0, 1]),
                "seconds": seconds,
                "their_seconds": theirs[name]["seconds"],
                "their_updates": theirs[name]["updates"],
            }
        )
    return {"rows": rows, "pydvl": theirs["version"], "environment": environment()}


def report(kept: dict[str, Any]) -> None:
    sampled = {
        "Data Shapley": f"{N_PERMUTATIONS} permutations",
        "Data Banzhaf": f"{N_SUBSETS} subsets",
    }
    lines = [
        {
            "method": row["method"],
            "sample": sampled.get(row["method"], "exact"),
            "rank correlation with pyDVL": f"{row['rank']:.3f}",
            "of two runs of ours": f"{row['own']:.3f}",
            "correlation with pyDVL": f"{row['linear']:.3f}",
            "CPU seconds": f"{row['seconds']:.2f}",
            "pyDVL": f"{row['their_seconds']:.1f}",
            "times faster": f"{row['their_seconds'] / row['seconds']:.0f}",
        }
        for row in kept["rows"]
    ]
    note = (
        f"{N_TRAIN} training and {N_VALID} validation rows of Adult, 20 % flipped. "
        f"{machine_note(kept['environment'])} pyDVL {kept['pydvl']}."
    )
    write_section("other-libraries", f"{markdown(lines)}\n\n{note}", PAGE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="interpreter that has pyDVL")
    parser.add_argument("--report", action="store_true", help="write the table and stop")
    options = parser.parse_args()
    if not options.report:
        if not options.python:
            parser.error("--python names an interpreter that has pyDVL, such as other/bin/python.")
        PATH.write_text(json.dumps(compare(options.python), indent=1) + "\n")
    report(json.loads(PATH.read_text()))


if __name__ == "__main__":
    main()
