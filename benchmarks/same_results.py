"""The same results before and after a rebuilding: another commit beside the working tree.

    python benchmarks/same_results.py --commit 0cf7b43                # all cases
    python benchmarks/same_results.py --commit 0cf7b43 --cases adult  # those whose name has this
    python benchmarks/same_results.py --src OLD/src                   # a checkout that is there

Both sources run the same cases, one after the other, each in a process of its own with one
thread. Runs of the exact gradient and methods must agree to 1e-6. Where coins are drawn, a last
digit may flip one, which changes all that follows: there the rank correlation (Spearman) of the
values must be .99 or more. Exits with 1 where a case does not agree. What a commit changes on
purpose shows up here, too, and belongs into CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
N_TRAIN, N_VALID, NOISE, ITERATIONS = 300, 150, 0.2, 20
EXACT, LEAST_RANK_CORRELATION = 1e-6, 0.99
SIX = ("adult", "blog", "pol", "2dplanes", "fried", "credit")
OTHERS = {"sms": "texts", "cifar10": "classes", "fried numbers": "tables"}
METHODS = {
    "KNNShapley": {},
    "LeaveOneOut": {"random_state": 0},
    "DataShapley": {"random_state": 0, "n_permutations": 5},
    "ConfidentLearning": {"random_state": 0},
    "DataOOB": {"random_state": 0},
}
PRESETS = ("default", "paper", "released")


class Case(NamedTuple):
    """One run: a name, whether its values must agree to the last digits, and how to get them."""

    name: str
    is_exact: bool
    run: Callable[[], dict[str, NDArray[Any]]]


def cases() -> Iterator[Case]:
    """All cases; nothing is read or fitted before one runs."""
    for name in (*SIX, "sms", "cifar10", "fried numbers"):
        yield Case(f"{name}/default/linear", True, partial(fitted, name, "default", "linear"))
    for name in ("adult", "fried numbers"):
        for preset in PRESETS:
            for predictor in ("linear", "mlp", "trees"):
                if (preset, predictor) == ("default", "linear"):
                    continue
                exact = preset == "default" and predictor != "trees"
                run = partial(fitted, name, preset, predictor)
                yield Case(f"{name}/{preset}/{predictor}", exact, run)
    for name in ("adult", "pol", "cifar10", "fried numbers"):
        for method in METHODS:
            if method == "ConfidentLearning" and "numbers" in name:
                continue
            yield Case(f"{name}/{method}", True, partial(valued, name, method))
    yield Case("e-mail to SMS/adapted", False, adapted)


def rows(name: str) -> tuple[Any, ...]:
    """Training rows, a fifth of them wrong, and validation rows."""
    from data import CLASSES, NUMBERS, TEXTS

    rng = np.random.default_rng(7)
    is_numbers = name.endswith("numbers")
    where = {**CLASSES, **TEXTS}
    X, y = NUMBERS[name.split()[0]]() if is_numbers else where[name]()
    if not is_numbers:
        y = np.unique(y, return_inverse=True)[1]
    drawn = rng.choice(len(y), N_TRAIN + N_VALID, replace=False)
    X, y = (X.iloc[drawn].reset_index(drop=True) if hasattr(X, "iloc") else X[drawn]), y[drawn]
    wrong = rng.random(N_TRAIN) < NOISE
    noisy = y[:N_TRAIN].copy()
    n_classes = int(y.max()) + 1
    others = rng.permutation(noisy) if is_numbers else noisy + rng.integers(1, n_classes, N_TRAIN)
    noisy[wrong] = others[wrong] if is_numbers else (others % n_classes)[wrong]
    return X[:N_TRAIN], noisy, X[N_TRAIN:], y[N_TRAIN:], wrong


def model(kind: type, **parameters: Any) -> Any:
    """An estimator; parameters that its constructor does not have are settings."""
    import inspect

    known = inspect.signature(kind).parameters
    settings = {name: value for name, value in parameters.items() if name not in known}
    parameters = {name: value for name, value in parameters.items() if name in known}
    return kind(**parameters, **({"settings": settings} if settings else {}))


def fitted(name: str, preset: str, predictor: str) -> dict[str, NDArray[Any]]:
    """Values, learned and of the marginal, and predictions."""
    import dvrl

    X, y, X_val, y_val, _ = rows(name)
    kind = dvrl.DVRLRegressor if name.endswith("numbers") else dvrl.DVRLClassifier
    valuer = model(
        kind,
        predictor=_trees(kind) if predictor == "trees" else predictor,
        preset=preset,
        outer_iterations=ITERATIONS,
        ensemble_size=2,
        random_state=3,
    ).fit(X, y, X_val, y_val)
    found = {"values": valuer.data_values_, "predictions": valuer.predict(X_val)}
    if hasattr(valuer, "marginal_values_"):
        found["marginal"] = valuer.marginal_values_
    return {key: np.asarray(value, dtype=float) for key, value in found.items()}


def _trees(kind: type) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    is_numbers = kind.__name__ == "DVRLRegressor"
    made = DecisionTreeRegressor if is_numbers else DecisionTreeClassifier
    return made(max_depth=4, random_state=0)


def valued(name: str, method: str) -> dict[str, NDArray[Any]]:
    """Values of another method."""
    from importlib import import_module

    import dvrl

    folder = Path(dvrl.__file__).parent
    home = import_module("dvrl.methods" if (folder / "methods").is_dir() else "dvrl.baselines")
    X, y, X_val, y_val, _ = rows(name)
    given = METHODS[method]
    if name.endswith("numbers") and method != "KNNShapley":
        given = {**given, "predictor": "linear"}
    found = getattr(home, method)(**given).fit(X, y, X_val, y_val)
    return {"values": np.asarray(found.data_values_)}


def adapted() -> dict[str, NDArray[Any]]:
    """Weights of e-mails for short messages."""
    import dvrl
    from data import TEXTS

    parts = []
    for name, n in (("email", 300), ("sms", 100)):
        X, y = TEXTS[name]()
        drawn = np.random.default_rng(5).choice(len(y), n, replace=False)
        parts += [X.iloc[drawn].reset_index(drop=True), y[drawn]]
    found = dvrl.AdaptedClassifier(random_state=0).fit(*parts)
    return {"values": np.asarray(found.source_values_)}


def work(path: Path, wanted: list[str]) -> None:
    """Run cases with the package that is imported here, and write what they gave."""
    warnings.simplefilter("ignore")
    arrays: dict[str, NDArray[Any]] = {}
    failed: dict[str, str] = {}
    for case in cases():
        if wanted and not any(part in case.name for part in wanted):
            continue
        try:
            arrays |= {f"{case.name}|{key}": value for key, value in case.run().items()}
        except Exception as error:  # told as the result of this case
            failed[case.name] = f"{type(error).__name__}: {error}"
        print(case.name, failed.get(case.name, ""), file=sys.stderr, flush=True)
    np.savez(path, failed=json.dumps(failed), **arrays)


def run(source: Path, wanted: list[str], folder: Path) -> dict[str, Any]:
    """All cases in a process that imports the package from `source`."""
    path = folder / f"{abs(hash(source))}.npz"
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join([str(source), str(Path(__file__).parent)])
    command = [sys.executable, __file__, "--work", str(path), "--cases", *wanted]
    subprocess.run(command, check=True, env={**os.environ, **one, "PYTHONPATH": paths})
    with np.load(path) as arrays:
        return dict(arrays)


def compared(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """Case, whether it agrees, and by how much."""
    from scipy.stats import spearmanr

    failures = [json.loads(str(side.pop("failed"))) for side in (before, after)]
    for case in cases():
        found = [key for key in before if key.startswith(f"{case.name}|")]
        why = [failed.get(case.name) for failed in failures]
        if any(why):
            yield case.name, False, f"before: {why[0]}; after: {why[1]}"
            continue
        if not found:
            continue
        gaps = {key.split("|")[1]: np.abs(before[key] - after[key]).max() for key in found}
        values = f"{case.name}|values"
        rank = spearmanr(before[values], after[values]).statistic
        agrees = max(gaps.values()) <= EXACT
        if not case.is_exact:
            agrees = agrees or rank >= LEAST_RANK_CORRELATION
        told = ", ".join(f"{key} {gap:.1e}" for key, gap in gaps.items())
        yield case.name, agrees, f"largest gaps: {told}; rank correlation {rank:.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--commit", help="to compare the working tree with")
    which.add_argument("--src", type=Path, help="source folder to compare the working tree with")
    which.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cases", nargs="*", default=[], help="parts of names; all by default")
    options = parser.parse_args()
    if options.work:
        work(options.work, options.cases)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source = options.src
        if options.commit:
            archive = Path(folder) / "old.tar"
            git = ["git", "-C", str(ROOT), "archive", "-o", str(archive), options.commit, "src"]
            subprocess.run(git, check=True)
            subprocess.run(["tar", "-xf", str(archive), "-C", folder], check=True)
            source = Path(folder) / "src"
        sides = [run(each, options.cases, Path(folder)) for each in (source, ROOT / "src")]
    agree = True
    for name, agrees, told in compared(*sides):
        print("same " if agrees else "OTHER", f"{name}: {told}")
        agree &= agrees
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
