"""How fast: one table, measured in one run.

    python benchmarks/speed.py
    python benchmarks/speed.py --only paper_logistic import_time

Compilation is shown apart: every loop runs twice, the second time with everything compiled, and
the difference is the compilation. Ratios to the matrix-product peak use a peak measured in the
same run. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from common import RESULTS, environment, machine_note, markdown, write_section
from data import split
from dvrl import DataValuationWarning, DVRLClassifier
from dvrl.data.noise import flip_labels

PATH = RESULTS / "speed.json"
PAPER = {"preset": "paper", "random_state": 0}
BATCHES = {"batch_size": 1000}
Row = dict[str, Any]


def row(what: str, measured: str, target: str = "-", **figures: Any) -> Row:
    return {"what": what, "measured": measured, "target": target, "figures": figures}


def adult(seed: int = 0) -> dict[str, Any]:
    rows = split("adult", seed)
    noisy, _ = flip_labels(rows.y, 0.2, rng=seed)
    return {"X": rows.X, "y": noisy, "X_val": rows.X_val, "y_val": rows.y_val}


def loop_seconds(valuer: DVRLClassifier, data: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the training loop, compiled, and of the compilation."""
    first = valuer.fit(**data).diagnostics_.seconds
    second = valuer.fit(**data).diagnostics_.seconds
    return second, max(first - second, 0.0)


def sgemm_peak() -> float:
    """Floating-point operations per second of a large float32 matrix product, best of ten."""
    matrix = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    best = np.inf
    for _ in range(10):
        started = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best


def estimator_flops(n_rows: int, n_features: int, n_outputs: int, n_differences: int) -> float:
    """Forward and backward pass of the data value estimator; no gradient of its inputs."""
    sizes = [n_features + n_outputs, 100, 100, 100, 10]
    forward = sum(a * b for a, b in itertools.pairwise(sizes))
    forward += (10 + n_differences) * 10 + 10
    return 2.0 * n_rows * (3 * forward - sizes[0] * sizes[1])


def linear_flops(n_steps: int, batch: int, n_features: int) -> float:
    """Forward pass and gradient of one raw output."""
    return 4.0 * n_steps * batch * n_features


def paper_logistic() -> list[Row]:
    data = adult()
    valuer = DVRLClassifier("logistic", **PAPER, settings=BATCHES)
    seconds, compiling = loop_seconds(valuer, data)
    n_features = valuer.encoder_.transform(data["X"]).shape[1]
    flops = estimator_flops(1000, n_features, 2, 0) + linear_flops(100, 256, n_features)
    peak = sgemm_peak()
    share = flops * 2000 / seconds / peak
    several = DVRLClassifier(
        "logistic",
        **PAPER,
        settings={
            **BATCHES,
            "n_selections": 16,
            "baseline": "leave_one_out",
            "outer_iterations": 500,
        },
    )
    sixteen, _ = loop_seconds(several, data)
    return [
        row(
            "preset `paper`, Adult 1000/400, logistic, 2000 x 100 iterations",
            f"{seconds:.1f} s (+ {compiling:.1f} s compilation)",
            "8 s",
            seconds=seconds,
            compiling=compiling,
        ),
        row(
            "the same, share of the matrix-product peak "
            f"({peak / 1e9:.0f} GFLOP/s), counted operations",
            f"{share:.0%}",
            "50 %",
            share=share,
            peak=peak,
            flops_per_iteration=flops,
        ),
        row(
            "16 selections per update, against one",
            f"{sixteen / 500 / (seconds / 2000):.1f} times",
            "5 times",
            seconds_per_iteration=sixteen / 500,
        ),
    ]


def paper_mlp() -> list[Row]:
    seconds, compiling = loop_seconds(DVRLClassifier("mlp", **PAPER, settings=BATCHES), adult())
    return [
        row(
            "preset `paper`, Adult 1000/400, MLP 100-100, 2000 x 100 iterations",
            f"{seconds:.0f} s (+ {compiling:.1f} s compilation)",
            "80 s",
            seconds=seconds,
            compiling=compiling,
        )
    ]


def time_to_reward() -> list[Row]:
    """Seconds until the weighted predictor is as good as at the end of `released`."""
    data = adult()
    released = DVRLClassifier(preset="released", metric="log_loss", random_state=0)
    slow, _ = loop_seconds(released, data)
    wanted = released.diagnostics_.reward_weighted
    for n in (5, 10, 20, 50, 100, 200, 400):
        valuer = DVRLClassifier(random_state=0, settings={"outer_iterations": n})
        seconds, _ = loop_seconds(valuer, data)
        if valuer.diagnostics_.reward_weighted >= wanted:
            break
    reached = valuer.diagnostics_.reward_weighted
    return [
        row(
            f"loop until the validation log-likelihood of preset `released` ({wanted:.4f})",
            f"{seconds:.2f} s, {n} iterations ({reached:.4f}); `released` {slow:.1f} s",
            wanted=wanted,
            reached=reached,
            seconds=seconds,
            released_seconds=slow,
        )
    ]


def made_rows(n_rows: int, n_features: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)


def million_rows() -> list[Row]:
    X_val, y_val = made_rows(400)
    per_iteration = {}
    for n_rows in (10_000, 1_000_000):
        X, y = made_rows(n_rows)
        valuer = DVRLClassifier(
            marginal="validation",
            random_state=0,
            settings={"outer_iterations": 200, "ensemble_size": 1},
        )
        seconds, _ = loop_seconds(valuer, {"X": X, "y": y, "X_val": X_val, "y_val": y_val})
        per_iteration[n_rows] = seconds / 200
    started = time.perf_counter()
    valuer.value(X, y)
    valuing = time.perf_counter() - started
    targets = valuer.coder_.encode(y)
    scores = valuer.marginal_.scores(valuer.encoder_.encode(X))
    started = time.perf_counter()
    valuer._policy.values(replace(valuer.encoder_.encode(X), targets=targets), scores)
    network = time.perf_counter() - started
    ratio = per_iteration[1_000_000] / per_iteration[10_000]
    return [
        row(
            "outer iteration with 1,000,000 training rows, against 10,000 (batches of 2000)",
            f"{ratio:.2f} times ({1e3 * per_iteration[1_000_000]:.1f} ms)",
            "1.2 times",
            ratio=ratio,
            seconds=per_iteration,
        ),
        row(
            "valuing 1,000,000 unseen rows of 20 features, all of `value`",
            f"{1 / valuing:.2f} million rows/s",
            "1 million rows/s",
            seconds=valuing,
        ),
        row(
            "the same, encoder and network alone",
            f"{1 / network:.2f} million rows/s",
            seconds=network,
        ),
    ]


MEMORY = """
import re, sys
sys.path.insert(0, {folder!r})
import warnings; warnings.simplefilter("ignore")
from speed import made_rows
from dvrl import DVRLClassifier
X_val, y_val = made_rows(400)
X, y = made_rows({n_rows})
valuer = DVRLClassifier(marginal="validation", random_state=0, settings={{"outer_iterations": 100}})
valuer.fit(X, y, X_val=X_val, y_val=y_val)
# Not ru_maxrss, which a child inherits from its parent.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024)
"""


def child(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def peak_memory() -> list[Row]:
    folder = str(RESULTS.parent)
    used = {n: float(child(MEMORY.format(folder=folder, n_rows=n))) for n in (10_000, 1_000_000)}
    return [
        row(
            "peak memory of a fit, 1,000,000 rows of 20 features (10,000 rows)",
            f"{used[1_000_000]:.0f} MiB ({used[10_000]:.0f} MiB)",
            mebibytes=used,
        )
    ]


COMPILATION = """
import warnings; warnings.simplefilter("ignore")
import jax.monitoring, numpy as np
spent = {}
def note(event, seconds, **_):
    if event.startswith("/jax/core/compile"):
        spent[event] = spent.get(event, 0) + seconds
jax.monitoring.register_event_duration_secs_listener(note)
from dvrl.cli.demonstration import run_demo
run_demo()
print(sum(spent.values()))
"""


def demo_compilation() -> list[Row]:
    seconds = min(float(child(COMPILATION)) for _ in range(3))
    return [
        row(
            "tracing and compilation in `dvrl demo` (whole process)",
            f"{seconds:.1f} s",
            "3 s",
            seconds=seconds,
        )
    ]


def import_time() -> list[Row]:
    code = "import time; t = time.perf_counter(); import dvrl; print(time.perf_counter() - t)"
    seconds = min(float(child(code)) for _ in range(5))
    return [row("`import dvrl`", f"{seconds:.3f} s", "0.5 s", seconds=seconds)]


def repeated_fits() -> list[Row]:
    X, y = made_rows(1400, 30)
    times = []
    for n_rows, n_features in ((1000, 30), (980, 29), (1010, 30)):
        part = slice(0, n_rows)
        started = time.perf_counter()
        DVRLClassifier(
            marginal="validation", random_state=0, settings={"outer_iterations": 20}
        ).fit(X[part, :n_features], y[part], X_val=X[1010:, :n_features], y_val=y[1010:])
        times.append(time.perf_counter() - started)
    return [
        row(
            "fits of like size (20 outer iterations): first, then 980 x 29 and 1010 x 30 rows",
            ", ".join(f"{seconds:.2f} s" for seconds in times),
            seconds=times,
        )
    ]


def against_plain_training() -> list[Row]:
    data = adult()
    rows = []
    for predictor in ("logistic", "mlp"):
        valuer = DVRLClassifier(predictor, random_state=0)
        seconds, compiling = loop_seconds(valuer, data)
        plain = plain_training(valuer, data)
        rows.append(
            row(
                f"default on Adult 1000/400, {predictor}: loop, against one plain training",
                f"{seconds:.1f} s (+ {compiling:.1f} s compilation), {seconds / plain:.0f} times "
                f"{plain:.3f} s",
                seconds=seconds,
                plain=plain,
            )
        )
    return rows


def plain_training(valuer: DVRLClassifier, data: dict[str, Any]) -> float:
    """Seconds of one compiled fit of the final predictor, best of three."""
    from dvrl.predictors.traced import fit_traced

    rows = valuer.encoder_.encode(data["X"])
    rows = replace(rows, targets=valuer.coder_.encode(data["y"]))
    best = np.inf
    for _ in range(4):
        started = time.perf_counter()
        fitted = fit_traced(valuer.predictor_.predictor, rows, np.ones(len(rows), np.float32))
        fitted.scores(rows.take(np.arange(1)))
        best = min(best, time.perf_counter() - started)
    return best


def reference_fit() -> list[Row]:
    """One fit of scikit-learn's logistic regression, as a yardstick of the machine."""
    data = adult()
    X = (
        DVRLClassifier(settings={"outer_iterations": 1, "ensemble_size": 1})
        .fit(**data)
        .encoder_.transform(data["X"])
    )
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        LogisticRegression(max_iter=1000).fit(X, data["y"])
        best = min(best, time.perf_counter() - started)
    return [row("one fit of scikit-learn's LogisticRegression there", f"{1e3 * best:.1f} ms")]


MEASUREMENTS: dict[str, Callable[[], list[Row]]] = {
    each.__name__: each
    for each in (
        paper_logistic,
        paper_mlp,
        time_to_reward,
        million_rows,
        peak_memory,
        demo_compilation,
        import_time,
        repeated_fits,
        against_plain_training,
        reference_fit,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataValuationWarning)
    kept: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in options.only:
        rows = MEASUREMENTS[name]()
        kept[name] = {"rows": rows, "environment": environment()}
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(json.dumps(kept, indent=1) + "\n")
        for each in rows:
            print(f"{each['what']}: {each['measured']} (target {each['target']})", flush=True)
    shown = [
        {field: each[field] for field in ("what", "measured", "target")}
        for name in MEASUREMENTS
        if name in kept
        for each in kept[name]["rows"]
    ]
    write_section("speed", f"{markdown(shown)}\n\n{machine_note(environment())}")


if __name__ == "__main__":
    main()
