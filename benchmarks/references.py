"""Which reference models judge labels: families alone, added, left out; passes; and others' ways.

    OMP_NUM_THREADS=1 python benchmarks/references.py --old PATH   # PATH: src of version 0.1
    python benchmarks/references.py --cells texts few/60           # groups, or beginnings of cells
    python benchmarks/references.py --methods auto climb --seeds 100-103
    python benchmarks/references.py --ablation --cells tables/1000+400
    python benchmarks/references.py --report                       # docs/references.md, no runs

A cell is a set, numbers of rows and a share of wrong labels; a run is a cell, a seed and a method,
and one line of `results/references.jsonl`; runs that are there are not repeated. The seed gives
rows, errors and the random state. Every method judges the same rows, each out of sample, and is
asked which training labels are wrong. Where there are no validation rows, a fifth of the rows
(with their errors) is held out, as the estimators do. Seconds are those of the fit, on one thread.
Nothing is tuned here.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

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
    seeds,
    with_error,
    write_section,
)
from data import DATA, EIGHT, LOADERS, MANY_CLASSES, REGRESSIONS, TEXTS, load, split_indices
from dvrl.actions import detection_scores
from dvrl.data.encoder import FeatureEncoder
from dvrl.data.folds import deal_folds
from dvrl.data.noise import flip_labels, replace_targets
from dvrl.data.rows import stack_rows, take_rows
from dvrl.data.split import hold_out_validation
from dvrl.data.table import Table
from dvrl.data.targets import ClassEncoder, TargetScaler
from dvrl.references.base import Reference, one_thread_each
from dvrl.references.boosting import LADDER, BoostedTrees
from dvrl.references.kinds import FAMILIES, chosen_families, make_references
from dvrl.references.marginal import MANY_ROWS, Marginal

PATH = RESULTS / "references.jsonl"
PAGE = ROOT / "docs" / "references.md"
# Version of the package's references; runs of the peers have none.
DEFAULT = "2026-11"
Scores = NDArray[np.float32]

# --- cells ----------------------------------------------------------------------------------------

HELD_OUT = 0.2
FLIPS = (0.03, 0.2, 0.4)
FEW_OR_MANY = (0.03, 0.2)
# Rows that "whole" leaves aside for tests, as the other benchmarks do.
TEST_ROWS = 5000
ANNOTATIONS = {"CIFAR-10N aggre": "aggre_label", "CIFAR-10N random1": "random_label1"}
# Rows of whole Adult on two lists of another tool, of which the share of wrong labels is known.
LISTED = (2_080, 3_409)


@dataclass(frozen=True)
class Cell:
    """What is judged.

    Attributes
    ----------
    group : str
    set : str
    rows : int or "whole" or "all"
        Training rows; "whole": all but 5000.
    valid : int
        Clean validation rows; 0: a fifth of the training rows is held out.
    noise : float or None
        Share of wrong training labels; None: the labels are people's own.
    """

    group: str
    set: str
    rows: int | str
    valid: int
    noise: float | None

    @property
    def name(self) -> str:
        """Such as ``tables/1000+400/adult/20``."""
        noise = "people" if self.noise is None else f"{self.noise:.0%}".rstrip("%")
        return f"{self.group}/{self.rows}+{self.valid}/{self.set}/{noise}"

    @property
    def loader(self) -> str:
        """Key of `data.LOADERS`."""
        if self.group in LOADERS:
            return self.group
        return "classes" if self.group == "human" else "tables"

    @property
    def task(self) -> str:
        return "regression" if self.group == "numbers" else "classification"

    @property
    def seeds(self) -> list[int]:
        """More where rows are few and runs are cheap."""
        if self.group == "few":
            return seeds("100-105")
        if isinstance(self.rows, str) or self.rows >= 20_000:
            return [100]
        return seeds("100-103" if self.group == "tables" and self.rows == 1000 else "100-101")


def all_cells() -> list[Cell]:
    """Every cell, the cheapest first."""
    return [*_few(), *_texts_and_wide(), *_numbers(), *_tables(), *_many_classes(), *_many_rows()]


def _few() -> Iterator[Cell]:
    for rows, valid in ((60, 30), (200, 50)):
        for name in ("adult", "credit", "blog", "fried", "pol"):
            yield Cell("few", name, rows, valid, 0.2)
    for valid in (10, 50):
        for name in ("adult", "pol", "credit"):
            yield Cell("few", name, 1000, valid, 0.2)


def _texts_and_wide() -> Iterator[Cell]:
    for noise in FEW_OR_MANY:
        yield from (Cell("texts", name, 1000, 400, noise) for name in TEXTS)
        yield Cell("wide", "made up", 200, 80, noise)
        yield Cell("wide", "blog", 500, 200, noise)
    yield from (Cell("levels", "flights", 5000, valid, 0.2) for valid in (400, 0))


def _numbers() -> Iterator[Cell]:
    for noise in FEW_OR_MANY:
        yield from (Cell("numbers", name, 1000, 400, noise) for name in REGRESSIONS)


def _tables() -> Iterator[Cell]:
    for rows, valid in ((1000, 400), (1000, 0), (5000, 400)):
        for noise in FLIPS:
            yield from (Cell("tables", name, rows, valid, noise) for name in EIGHT)


def _many_classes() -> Iterator[Cell]:
    for rows, valid in ((1000, 400), (5000, 2000)):
        for noise in FEW_OR_MANY:
            yield from (Cell("classes", name, rows, valid, noise) for name in MANY_CLASSES)
    yield from (Cell("human", name, 5000, 1000, None) for name in ANNOTATIONS)


def _many_rows() -> Iterator[Cell]:
    for noise in FLIPS:
        for name in [name for name in EIGHT if name not in ("pol", "higgs")]:
            yield Cell("tables", name, 20_000, 400, noise)
    yield Cell("tables", "adult", "all", 0, 0.03)
    for name in ("adult", "pol", "credit", "fried", "2dplanes"):
        yield Cell("tables", name, "whole", 0, 0.03)


# --- rows -----------------------------------------------------------------------------------------


@dataclass
class Rows:
    """The rows of a cell and a seed, as the methods see them, and what only the judge knows.

    Attributes
    ----------
    task : {"classification", "regression"}
    seed : int
    X : (n_given, d) array or frame
        Training rows as a caller would pass them.
    X_val : array or frame, or None
        Validation rows; None where some of `X` are held out.
    train, held : indices into `X` of rows that are trained on, and of those held out
    targets, targets_val : (n, c), (m, c) float32
        One-hot labels or scaled targets, with their errors; of held-out rows too.
    truth : (n, c) float32
        The right ones of the training rows.
    is_wrong, is_wrong_held : (n,), (m,) bool
    """

    task: str
    seed: int
    X: Any
    X_val: Any
    train: NDArray[np.intp]
    held: NDArray[np.intp]
    targets: Scores
    targets_val: Scores
    truth: Scores
    is_wrong: NDArray[np.bool_]
    is_wrong_held: NDArray[np.bool_]

    @cached_property
    def tables(self) -> tuple[Table, Table]:
        """Training rows, and validation rows, encoded by the package."""
        encoder = FeatureEncoder()
        given = encoder.fit_encode(self.X)
        validation = given.take(self.held) if self.X_val is None else encoder.encode(self.X_val)
        return (
            replace(given.take(self.train), targets=self.targets),
            replace(validation, targets=self.targets_val),
        )

    @property
    def every(self) -> Table:
        """Training rows and, below them, validation rows."""
        train, validation = self.tables
        return train.and_more(validation)

    @property
    def own_rows(self) -> Any:
        """The same rows as a caller would pass them."""
        validation = take_rows(self.X, self.held) if self.X_val is None else self.X_val
        return stack_rows(take_rows(self.X, self.train), validation)

    @property
    def every_target(self) -> Scores:
        return np.concatenate([self.targets, self.targets_val])

    def folds(self) -> NDArray[np.intp]:
        """Five folds of all rows, for the peers."""
        return deal_folds(self.every_target, 5, np.random.default_rng(self.seed))


def make_rows(cell: Cell, seed: int) -> Rows:
    """Draw the rows of a seed, plant the errors, and hold rows out where none are given."""
    X, right, labels = _source(cell)
    n = {"whole": len(right) - TEST_ROWS, "all": len(right)}.get(str(cell.rows), cell.rows)
    train, valid, _ = split_indices(len(right), seed, int(n), cell.valid, 0)
    given, y = labels[train], right[train]
    if cell.noise is not None:
        plant = replace_targets if cell.task == "regression" else flip_labels
        given, _ = plant(y, cell.noise, rng=seed)
    # No method can be asked about classes that no training row has.
    if cell.task == "classification":
        valid = valid[np.isin(right[valid], given)]
    coder = (TargetScaler() if cell.task == "regression" else ClassEncoder()).fit(given)
    X_train, X_val, y_val = take_rows(X, train), take_rows(X, valid), right[valid]
    kept, held, wrong_held = np.arange(len(y)), np.arange(0), np.zeros(len(y_val), bool)
    is_wrong = given != y
    if cell.valid == 0:
        rng = np.random.default_rng(seed)
        kept, held = hold_out_validation(given, HELD_OUT, cell.task, rng)
        X_val, y_val, wrong_held = None, given[held], is_wrong[held]
    return Rows(
        cell.task,
        seed,
        X_train,
        X_val,
        kept,
        held,
        coder.encode(given[kept]),
        coder.encode(y_val),
        # A rare class may have lost its last label; its rows then count with their own.
        coder.encode(np.where(np.isin(y, given), y, given)[kept]),
        is_wrong[kept],
        wrong_held,
    )


def _source(cell: Cell) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    """All rows of a set, their right labels, and the labels to be judged."""
    if cell.group != "human":
        X, y = load(cell.set, cell.loader)
        return X, y, y
    X, y = load("cifar10", "classes")
    with np.load(DATA / "cifar10n_labels.npz") as arrays:
        return X, y, arrays[ANNOTATIONS[cell.set]].astype(int)


# --- methods --------------------------------------------------------------------------------------

AUTO, OLD, CLIMB, LIGHTGBM, TFIDF = "auto", "version 0.1", "climb", "lightgbm", "tfidf"
PEERS = (OLD, LIGHTGBM, TFIDF)
COMPARED = (AUTO, OLD, CLIMB, LIGHTGBM, TFIDF)
ABLATIONS = (
    *(f"only {name}" for name in FAMILIES),
    *(f"auto + {name}" for name in FAMILIES),
    *(f"auto - {name}" for name in FAMILIES),
    *(f"auto, {number}" for number in ("1 pass", "2 passes", "3 passes")),
)
INVERSE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Said(NamedTuple):
    """What a method says of the training rows and, after them, of the validation rows.

    Attributes
    ----------
    own : (n + m,) float
        Higher where a label is more likely to be its row's own.
    scores : (n + m, c) float
        Class probabilities, or predicted scaled targets.
    seconds : float
    details : dict
        Further fields of the line.
    """

    own: NDArray[Any]
    scores: NDArray[Any]
    seconds: float
    details: dict[str, Any]


class Asked(Marginal):
    """The marginal with families and passes of the benchmark's choice."""

    def __init__(self, names: Sequence[str], n_passes: int | None = None, **settings: Any) -> None:
        super().__init__("auto", **settings)
        self.names, self.n_passes = list(names), n_passes

    def _asked(self, rows: Table) -> list[Reference]:
        return make_references(self.names, self.n_jobs)

    def _n_passes(self, n_rows: int) -> int:
        return self.n_passes or super()._n_passes(n_rows)


def asked_for(method: str, rows: Rows) -> tuple[list[str], int | None] | None:
    """Families and passes of a variant of the marginal; None where there is no such variant."""
    every = rows.every
    chosen, name = chosen_families(every), method.split()[-1]
    has_words = every.words is not None and every.words.shape[1] > 0
    if method == AUTO:
        return chosen, None
    if "pass" in method:
        usual = 3 if len(every) <= MANY_ROWS else 2
        number = int(method.split()[1])
        return None if number == usual else (chosen, number)
    if name == "words" and not has_words:
        return None
    if method.startswith("only"):
        return None if [name] == chosen else ([name], None)
    if method.startswith("auto +"):
        return None if name in chosen else ([*chosen, name], None)
    return ([other for other in chosen if other != name], None) if _can_lose(chosen, name) else None


def _can_lose(chosen: list[str], name: str) -> bool:
    return name in chosen and len(chosen) > 1


def by_marginal(rows: Rows, names: list[str], n_passes: int | None, n_jobs: int) -> Said:
    """What the package's references say."""
    train, validation = rows.tables
    if "linear" in names:
        # JAX compiles for every shape, once in a process; that is not what is timed here.
        FAMILIES["linear"](n_jobs=n_jobs).cross_fit(rows.every, None, rows.folds(), rows.seed)
    marginal = Asked(names, n_passes, task=rows.task, n_jobs=n_jobs, random_state=rows.seed)
    start = time.perf_counter()
    marginal.fit(train, validation)
    seconds = time.perf_counter() - start
    scores = np.concatenate([marginal.train_scores_, marginal.validation_scores_])
    details = {
        "families": names,
        "pool_weights": [round(float(weight), 3) for weight in marginal.pool_weights_],
        "fits": marginal.n_fits_,
        "estimated_noise": marginal.noise_rate(train.targets, marginal.train_scores_),
    }
    own = marginal.label_probability(rows.every_target, scores)
    return Said(own, scores, seconds, {**details, **_rung(marginal)})


def _rung(marginal: Marginal) -> dict[str, Any]:
    """The capacity that boosted trees came to."""
    rungs = [each.rung for each in marginal.references_ if isinstance(each, BoostedTrees)]
    return {"leaves": LADDER[rungs[0]].n_leaves} if rungs and rungs[0] is not None else {}


def by_climb(rows: Rows, n_jobs: int) -> Said:
    """Boosted trees of climbed capacity: one pass, no calibration."""
    every, trees, folds = rows.every, BoostedTrees(n_jobs=n_jobs), rows.folds()
    start = time.perf_counter()
    with one_thread_each():
        scores = trees.cross_fit(every, None, folds, rows.seed)
    seconds = time.perf_counter() - start
    leaves = LADDER[trees.rung or 0].n_leaves
    return Said(_plain(rows, scores), scores, seconds, {"leaves": leaves})


def by_lightgbm(rows: Rows, n_jobs: int) -> Said:
    """LightGBM of 31 leaves and 100 trees as people use it, categories named; five folds."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if rows.task == "regression" else LGBMClassifier
    X, targets, folds = _named_categories(rows.own_rows), rows.every_target, rows.folds()
    y = targets[:, 0] if rows.task == "regression" else targets.argmax(axis=1)
    scores = np.zeros_like(targets)
    start = time.perf_counter()
    for fold in range(int(folds.max()) + 1):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = kind(n_jobs=n_jobs, verbose=-1, random_state=rows.seed)
        model.fit(take_rows(X, inside), y[inside])
        if rows.task == "regression":
            scores[outside, 0] = model.predict(take_rows(X, outside))
        else:
            said = model.predict_proba(take_rows(X, outside))
            scores[outside[:, np.newaxis], model.classes_] = said
    return Said(_plain(rows, scores), scores, time.perf_counter() - start, {})


def by_tfidf(rows: Rows, n_jobs: int) -> Said:
    """Logistic regression on words and pairs; the penalty with the least loss out of fold."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = rows.own_rows.iloc[:, 0].to_numpy(dtype=object)
    targets, folds = rows.every_target, rows.folds()
    y = targets.argmax(axis=1)
    scores = np.zeros((len(INVERSE_PENALTIES), *targets.shape), np.float32)
    start = time.perf_counter()
    for fold in range(int(folds.max()) + 1):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        seen, unseen = words.fit_transform(texts[inside]), words.transform(texts[outside])
        for number, strength in enumerate(INVERSE_PENALTIES):
            model = LogisticRegression(C=strength, max_iter=1000).fit(seen, y[inside])
            scores[number, outside] = model.predict_proba(unseen)
    losses = [_log_loss(each, targets) for each in scores]
    best = scores[int(np.argmin(losses))]
    details = {"inverse_penalty": INVERSE_PENALTIES[int(np.argmin(losses))]}
    return Said(_plain(rows, best), best, time.perf_counter() - start, details)


def _plain(rows: Rows, scores: NDArray[Any]) -> NDArray[Any]:
    """The probability of the own label, or less the distance of the own target."""
    if rows.task == "regression":
        return -np.abs(scores[:, 0] - rows.every_target[:, 0])
    own: NDArray[Any] = (scores * rows.every_target).sum(axis=1)
    return own


def _named_categories(X: Any) -> Any:
    """Columns that are not numbers as categories, which LightGBM splits by subsets of levels."""
    if not isinstance(X, pd.DataFrame):
        return X
    others = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
    return X.astype(dict.fromkeys(others, "category"))


def _log_loss(scores: NDArray[Any], targets: NDArray[Any]) -> float:
    own = (scores.astype(np.float64) * targets).sum(axis=1)
    return float(-np.log(np.maximum(own, 1e-3)).mean())


# --- version 0.1, in a process of its own ---------------------------------------------------------

OLD_CODE = """
import pickle, sys, time
import numpy as np
import dvrl
from dvrl.encoding import FeatureEncoder, take_rows
from dvrl.marginal import Marginal

def fit(X, Y, X_val, Y_val, task, n_jobs, seed):
    marginal = Marginal("stacked", task=task, n_jobs=n_jobs, random_state=seed)
    start = time.perf_counter()
    marginal.fit(X, Y, X_val, Y_val)
    return marginal, time.perf_counter() - start

draw = np.random.default_rng(0)
warm = draw.normal(size=(60, 3)).astype(np.float32), np.eye(2, dtype=np.float32)[np.arange(60) % 2]
fit(*warm, *warm, "classification", 1, 0)
print("ready", dvrl.__file__, flush=True)
for line in sys.stdin:
    path = line.strip()
    with open(path, "rb") as file:
        job = pickle.load(file)
    encoder = FeatureEncoder()
    given = encoder.fit_transform(job["X"])
    held = given[job["held"]] if job["X_val"] is None else encoder.transform(job["X_val"])
    targets = np.concatenate([job["targets"], job["targets_val"]])
    marginal, seconds = fit(given[job["train"]], job["targets"], held, job["targets_val"],
                            job["task"], job["n_jobs"], job["seed"])
    scores = np.concatenate([marginal.train_scores_, marginal.validation_scores_])
    np.savez(path + ".npz", own=marginal.label_probability(targets, scores), scores=scores,
             seconds=seconds, pool_weights=marginal.pool_weights_)
    print("done", flush=True)
"""


class OldVersion:
    """The stacked marginal of version 0.1, asked in a process that has it in place of this one.

    Parameters
    ----------
    source : Path
        Its ``src`` folder.
    n_jobs : int
    """

    def __init__(self, source: Path, n_jobs: int) -> None:
        self.source, self.n_jobs = source.resolve(), n_jobs
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, rows: Rows) -> Said:
        names = ("X", "X_val", "train", "held", "targets", "targets_val", "task", "seed")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "job"
            job = {name: getattr(rows, name) for name in names} | {"n_jobs": self.n_jobs}
            path.write_bytes(pickle.dumps(job))
            self._ask(str(path))
            with np.load(f"{path}.npz") as said:
                details = {"pool_weights": said["pool_weights"].round(3).tolist()}
                return Said(said["own"], said["scores"], float(said["seconds"]), details)

    def _ask(self, path: str) -> None:
        if self.process is None:
            self.process = self._started()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline().strip() != "done":
            raise RuntimeError("Version 0.1 failed; what it said is above.")

    def _started(self) -> subprocess.Popen[str]:
        threads = {} if self.n_jobs != 1 else {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OLD_CODE],
            env={**os.environ, **threads, "PYTHONPATH": str(self.source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said.startswith(f"ready {self.source}"):
            process.kill()
            raise RuntimeError(f"{self.source} holds no version 0.1 that can be loaded: {said}")
        return process


# --- runs -----------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> None:
    """Judge every cell that was asked for by every method that has no line yet."""
    ledger = Ledger(PATH)
    old = OldVersion(options.old, options.jobs) if options.old else None
    warm_up(options.jobs)
    stop = time.monotonic() + 60 * options.minutes
    for cell in cells_for(options.cells):
        for seed in options.seeds or cell.seeds:
            if time.monotonic() > stop:
                return
            record(ledger, cell, seed, options, old)


def cells_for(asked: list[str] | None) -> list[Cell]:
    """Cells whose names begin as asked for."""
    cells = all_cells()
    return [c for c in cells if not asked or any(c.name.startswith(start) for start in asked)]


def methods_for(cell: Cell, asked: Sequence[str], has_old: bool) -> list[str]:
    """Those that make sense: TF-IDF reads texts, the other peers everything else."""
    senseless = (CLIMB, LIGHTGBM) if cell.group == "texts" else (TFIDF,)
    return [m for m in asked if m not in senseless and (has_old or m != OLD)]


def record(
    ledger: Ledger, cell: Cell, seed: int, options: argparse.Namespace, old: OldVersion | None
) -> None:
    keys = {
        method: {
            "cell": cell.name,
            "seed": seed,
            "method": method,
            "default": None if method in PEERS else options.default,
        }
        for method in methods_for(cell, options.methods, old is not None)
    }
    todo = [method for method in keys if not ledger.has(keys[method])]
    if not todo:
        return
    rows = make_rows(cell, seed)
    for method in todo:
        said = ask(method, rows, options.jobs, old)
        if said is None:
            continue
        line = {
            **keys[method],
            **asdict(cell),
            "n_train": len(rows.targets),
            "n_validation": len(rows.targets_val),
            **judged(rows, said, cell),
            "seconds": round(said.seconds, 4),
            "load_average": round(os.getloadavg()[0], 1),
            "jobs": options.jobs,
            **said.details,
        }
        ledger.add({**line, **environment()})
        figures = f"{line['auroc']:.4f} ({line['seconds']:.2f} s)"
        print(f"{cell.name} seed {seed} {method}: {figures}", flush=True)


def ask(method: str, rows: Rows, n_jobs: int, old: OldVersion | None) -> Said | None:
    """What a method says; None where there is no such method for these rows."""
    if method == OLD:
        assert old is not None
        return old(rows)
    plain = {CLIMB: by_climb, LIGHTGBM: by_lightgbm, TFIDF: by_tfidf}
    if method in plain:
        return plain[method](rows, n_jobs)
    asked = asked_for(method, rows)
    return None if asked is None else by_marginal(rows, *asked, n_jobs)


def judged(rows: Rows, said: Said, cell: Cell) -> dict[str, float]:
    """How well the wrong labels are found; how likely the right ones are by the scores."""
    n = len(rows.targets)
    found = detection_scores(said.own[:n], rows.is_wrong)
    if rows.task == "classification":
        found["log_loss_of_truth"] = _log_loss(said.scores[:n], rows.truth)
    if cell.rows == "all":
        # The lists were made of all rows, and those held out are judged out of sample as well.
        wrong = np.concatenate([rows.is_wrong, rows.is_wrong_held])
        order = wrong[np.argsort(said.own, kind="stable")]
        found |= {f"recall_{most}": float(order[:most].sum() / wrong.sum()) for most in LISTED}
    return found


def warm_up(n_jobs: int) -> None:
    """Load all libraries, which no run should pay for."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)).astype(np.float32)
    names = [name for name in FAMILIES if name != "words"]
    for task, Y in (("classification", np.eye(2)[np.arange(80) % 2]), ("regression", X[:, :1])):
        rows = Table(X, Y.astype(np.float32))
        Asked(names, task=task, n_jobs=n_jobs, random_state=0).fit(rows, rows)


# --- report ---------------------------------------------------------------------------------------

TITLES = {
    "tables": "Tables of two classes",
    "classes": "Many classes",
    "numbers": "Numbers",
    "texts": "Texts",
    "human": "People's own errors",
    "few": "Few rows",
    "wide": "More columns than rows can fill",
    "levels": "Categories of many levels",
}
PART = ["group", "rows", "valid", "noise"]
# A set is behind by more than this, or by so many standard errors.
MARGIN, ERRORS = 0.003, 2.5


def results(tag: str) -> pd.DataFrame:
    """All runs; people's noise as 0, so that it can be grouped by."""
    frame = Ledger(PATH).frame(tag)
    return frame if frame.empty else frame.fillna({"noise": 0.0})


def parts_of(frame: pd.DataFrame) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Runs by group, rows and share of wrong labels, in the order of the groups and of size."""
    names = list(TITLES)

    def place(key: tuple[Any, ...]) -> tuple[Any, ...]:
        group, rows, valid, noise = key
        size = {"whole": 10**6, "all": 10**7}.get(str(rows), rows)
        return names.index(group), int(size), -valid, noise

    return sorted(frame.groupby(PART, sort=False), key=lambda each: place(each[0]))


def paired(part: pd.DataFrame, method: str, column: str = "auroc") -> pd.Series:
    """A method less `auto`, for each cell and seed that both have judged."""
    wide = part.pivot_table(index=["cell", "seed"], columns="method", values=column)
    wide = wide.reindex(columns=list(dict.fromkeys([AUTO, method])))
    return (wide[method] - wide[AUTO]).dropna()


def different_cells(differences: pd.Series) -> pd.DataFrame:
    """Mean difference of each cell, and whether it is beyond the margin."""
    cells = differences.groupby("cell").agg(["mean", "sem", "size"])
    limit = np.maximum(MARGIN, ERRORS * cells["sem"].fillna(0.0))
    return cells.assign(worse=cells["mean"] < -limit, better=cells["mean"] > limit)


def method_rows(part: pd.DataFrame) -> list[dict[str, Any]]:
    """A line for each method: its AUROC, what it is less `auto`, where it is worse or better."""
    rows = []
    for method in (*COMPARED, *ABLATIONS):
        own = part[part["method"] == method]
        if own.empty:
            continue
        differences = paired(part, method)
        cells = different_cells(differences)
        same = method == AUTO or differences.empty
        rows.append(
            {
                "method": method,
                "sets": own["cell"].nunique(),
                "runs": len(own),
                "AUROC": f"{own.groupby('cell')['auroc'].mean().mean():.4f}",
                "less `auto`": "" if same else signed(differences, 4),
                "sets worse": "" if same else int(cells["worse"].sum()),
                "sets better": "" if same else int(cells["better"].sum()),
                "average precision": f"{own['average_precision'].mean():.3f}",
                "recall": f"{own['recall_at_noise_rate'].mean():.3f}",
                "seconds": f"{own['seconds'].mean():.2f}",
            }
        )
    return rows


def signed(differences: pd.Series, digits: int = 3) -> str:
    text = with_error(differences, digits)
    return text if text.startswith("-") else f"+{text}"


def heading(key: tuple[Any, ...]) -> str:
    """Words for a group, its rows and its errors."""
    group, rows, valid, noise = key
    given = "no validation rows" if valid == 0 else f"{valid} validation rows"
    size = {"whole": "all rows but 5000", "all": "all rows"}.get(str(rows), f"{rows} rows")
    wrong = "labelled by people" if noise == 0 else f"{noise:.0%} wrong".replace("%", " %")
    return f"{TITLES[group]}: {size}, {given}, {wrong}"


def overview(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What `auto` reaches everywhere, and each peer less that."""
    rows = []
    for key, part in parts_of(frame):
        auto = part[part["method"] == AUTO]
        if auto.empty:
            continue
        row = {
            "cells": heading(key),
            "sets": auto["cell"].nunique(),
            "`auto`": f"{auto.groupby('cell')['auroc'].mean().mean():.4f}",
        }
        for method in COMPARED[1:]:
            differences = paired(part, method)
            row[method] = "" if differences.empty else signed(differences, 4)
        row["seconds"] = seconds_of(part)
        rows.append(row)
    return rows


def seconds_of(part: pd.DataFrame) -> str:
    """Seconds of `auto` and of version 0.1."""
    means = part.groupby("method")["seconds"].mean()
    return " / ".join(f"{means[m]:.2f}" for m in (AUTO, OLD) if m in means)


def behind(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Cells in which a method is ahead of `auto` beyond the margin."""
    rows = []
    for method in COMPARED[1:]:
        cells = different_cells(paired(frame, method))
        for name, cell in cells[cells["better"]].sort_values("mean", ascending=False).iterrows():
            own = frame[(frame["cell"] == name) & (frame["method"] == method)]["auroc"].mean()
            rows.append(
                {
                    "cell": name,
                    "method": method,
                    "its AUROC": f"{own:.4f}",
                    "`auto`": f"{own - cell['mean']:.4f}",
                    "difference": f"{cell['mean']:+.4f}",
                    "standard error": f"{cell['sem']:.4f}" if cell["size"] > 1 else "",
                    "seeds": int(cell["size"]),
                }
            )
    return rows


def lists(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Share of the wrong labels of whole Adult among the first rows of a list."""
    if "recall_2080" not in frame:
        return []
    kept = frame[(frame["rows"] == "all") & frame["method"].isin(COMPARED)]
    return [
        {
            "method": run["method"],
            "AUROC": f"{run['auroc']:.4f}",
            **{f"first {most}": f"{run[f'recall_{most}']:.3f}" for most in LISTED},
            "seconds": f"{run['seconds']:.2f}",
        }
        for _, run in kept.iterrows()
    ]


def report(options: argparse.Namespace) -> None:
    """Write the sections of the page."""
    frame = results(options.default)
    if frame.empty:
        return
    ahead, listed = behind(frame), lists(frame)
    texts = [
        "Over everything: AUROC of `auto`, and of others less that (± standard error over sets and"
        " seeds); seconds of `auto` and of version 0.1.",
        markdown(overview(frame)),
        f"Cells in which another is ahead of `auto` by more than {MARGIN} and {ERRORS} standard"
        " errors over seeds:",
        markdown(ahead) if ahead else "None.",
    ]
    if listed:
        texts += [
            "Whole Adult, 3 % wrong: share of the wrong labels among the first rows of a list:",
            markdown(listed),
        ]
    for key, part in parts_of(frame):
        texts += [f"### {heading(key)}", markdown(method_rows(part))]
    run = frame.iloc[-1]
    texts.append(
        f"{len(frame)} runs. {machine_note(run)} Version of the references: {options.default}."
    )
    write_section("tables", "\n\n".join(texts), PAGE)


def main() -> None:
    options = option_parser().parse_args()
    if not options.report:
        run(options)
    report(options)


def option_parser() -> argparse.ArgumentParser:
    known = (*COMPARED, *ABLATIONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="*", metavar="GROUP", help="groups: " + ", ".join(TITLES))
    parser.add_argument("--seeds", type=seeds, help="such as 100-103 or 1,2,5")
    parser.add_argument("--methods", nargs="*", choices=known, default=COMPARED, metavar="METHOD")
    parser.add_argument(
        "--ablation",
        dest="methods",
        action="store_const",
        const=(AUTO, *ABLATIONS),
        help="families alone, added and left out, and other numbers of passes",
    )
    parser.add_argument("--old", type=Path, metavar="PATH", help="src folder of version 0.1")
    parser.add_argument("--jobs", type=int, default=1, help="fits at once")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no cell after these")
    parser.add_argument("--default", default=DEFAULT, metavar="VERSION", help="of the references")
    parser.add_argument("--report", action="store_true", help="write the page, no runs")
    return parser


if __name__ == "__main__":
    main()
