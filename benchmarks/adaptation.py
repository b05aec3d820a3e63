"""Domain adaptation: source rows of one distribution, a few labelled rows of the target.

    python benchmarks/adaptation.py                            # all tasks and their seeds
    python benchmarks/adaptation.py --tasks rossmann-B --seeds 100-104
    python benchmarks/adaptation.py --report                   # tables from the results so far

Every run is one line of `results/adaptation.jsonl`; runs that are there are not repeated. The seed
gives the split and the random state. Test rows are scored once and nothing is chosen on them.

Tasks
-----
rossmann-A ... rossmann-D
    The released protocol of Yoon, Arik and Pfister: its features (with Store, Customers and Open),
    667,027 random rows for the source (those of the target's store type left out), 8,443 for the
    labelled target rows (those of its type kept), the rest of the type as test rows. RMSPE,
    LightGBM with its default settings. Predictors are trained on a random 20,000 of the source
    rows (the released experiment draws batches of 50,000), for time.
digits, digits-boxed
    4,000 MNIST rows at 16x16, 400 USPS rows, the other 8,898 USPS rows to test. ``boxed`` cuts each
    MNIST digit at its bounding box first, as the makers of USPS did, for all methods alike.
    Accuracy, logistic regression.
spam, spam-svd
    5,728 e-mails, 400 SMS, the other SMS to test; TF-IDF fitted on the texts of both training
    sets, sparse or as 150 components. Balanced accuracy, logistic regression.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from common import (
    RESULTS,
    ROOT,
    add_run,
    environment,
    machine_note,
    markdown,
    read_runs,
    seeds,
    with_error,
    write_section,
)
from data import DATA
from dvrl import DataValuationWarning
from dvrl.adaptation import AdaptedClassifier, AdaptedRegressor
from dvrl.adaptation.judging import adaptation_comparison

PATH = RESULTS / "adaptation.jsonl"
DOCS = ROOT / "docs" / "adaptation.md"
Split = tuple[Any, NDArray[Any], Any, NDArray[Any], Any, NDArray[Any]]
# Learned values cost more fits than all other candidates together; `--learned` adds them.
CHEAP_VALUES = ("uniform", "density", "label")
ROSSMANN_ROWS = 20_000
_loaded: dict[str, Any] = {}


# ---------------------------------------------------------------------------------------- data


def rossmann(kind: str, seed: int) -> Split:
    if "rossmann" not in _loaded:
        frame = pd.read_parquet(DATA / "rossmann_sales.parquet")
        types, sales = frame["StoreType"].to_numpy().astype(str), frame["Sales"].to_numpy(float)
        names = [
            "Store", "DayOfWeek", "Customers", "Open", "Promo", "StateHoliday", "SchoolHoliday",
            "Assortment", "CompetitionDistance", "CompetitionOpenSinceMonth", "Promo2",
            "Promo2SinceWeek",
        ]  # fmt: skip
        frame = frame[names].assign(StateHoliday=(frame["StateHoliday"] != "0").astype(int))
        frame = pd.get_dummies(frame.fillna(0), columns=["Assortment"])
        _loaded["rossmann"] = frame.to_numpy(np.float32), sales, types
    X, y, types = _loaded["rossmann"]
    order = np.random.default_rng(seed).permutation(len(y))
    source, target, test = np.split(order, [667_027, 667_027 + 8_443])
    source = source[types[source] != kind.lower()]
    target, test = (rows[types[rows] == kind.lower()] for rows in (target, test))
    return X[source], y[source], X[target], y[target], X[test], y[test]


def area_weights(start: int, stop: int, size: int = 16) -> NDArray[np.float64]:
    """Matrix (size, 28) that averages pixels `start` to `stop` into `size` cells."""
    edges = np.linspace(start, stop, size + 1)
    pixels = np.arange(28)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(covered, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def boxed(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The digit's bounding box, at least half as wide as high, at 16x16."""
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 0.2) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    width = max(right - left, round(0.5 * (bottom - top)))
    middle = (left + right) / 2
    left, right = middle - width / 2, middle + width / 2
    return area_weights(top, bottom) @ image @ area_weights(left, right).T


def digits(form: str, seed: int) -> Split:
    if "digits" not in _loaded:
        with np.load(DATA / "mnist.npz") as mnist, np.load(DATA / "usps.npz") as usps:
            _loaded["digits"] = (
                mnist["x_train"],
                mnist["y_train"].astype(int),
                np.concatenate([usps["x_train"], usps["x_test"]]).reshape(-1, 256).astype(float),
                np.concatenate([usps["y_train"], usps["y_test"]]).astype(int),
            )
    X_mnist, y_mnist, X_usps, y_usps = _loaded["digits"]
    rng = np.random.default_rng(seed)
    source = rng.permutation(len(y_mnist))[:4000]
    target, test = np.split(rng.permutation(len(y_usps)), [400])
    images = X_mnist[source] / 255.0
    if form == "boxed":
        small = np.stack([boxed(image) for image in images])
    else:
        weights = area_weights(0, 28)
        small = weights @ images @ weights.T
    X_source = small.reshape(-1, 256)
    return X_source, y_mnist[source], X_usps[target], y_usps[target], X_usps[test], y_usps[test]


def spam(form: str, seed: int) -> Split:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    if "spam" not in _loaded:
        _loaded["spam"] = [
            pd.read_parquet(DATA / f"{name}_spam.parquet") for name in ("email", "sms")
        ]
    email, sms = _loaded["spam"]
    target, test = np.split(np.random.default_rng(seed).permutation(len(sms)), [400])
    texts = [email["text"], sms["text"].iloc[target], sms["text"].iloc[test]]
    labels = [email["spam"], sms["spam"].iloc[target], sms["spam"].iloc[test]]
    encoder: Any = TfidfVectorizer(sublinear_tf=True, min_df=2)
    if form == "svd":
        encoder = make_pipeline(encoder, TruncatedSVD(150, random_state=seed))
    encoder.fit(pd.concat(texts[:2]))
    parts = [
        (encoder.transform(text), y.to_numpy(int)) for text, y in zip(texts, labels, strict=True)
    ]
    return tuple(each for part in parts for each in part)


# --------------------------------------------------------------------------------------- tasks


def lightgbm() -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(verbose=-1, n_jobs=1)


def logistic() -> Any:
    # A pipeline is shown the rows as they are: pixels and TF-IDF need no standardising.
    return make_pipeline(LogisticRegression(max_iter=300, tol=1e-3))


# Rows, model, metric.
TASKS: dict[str, tuple[Any, Any, Any, str]] = {
    **{
        f"rossmann-{kind}": (
            lambda seed, kind=kind: rossmann(kind, seed), AdaptedRegressor, lightgbm, "rmspe"
        )
        for kind in "BACD"
    },
    "digits": (lambda seed: digits("plain", seed), AdaptedClassifier, logistic, "accuracy"),
    "digits-boxed": (lambda seed: digits("boxed", seed), AdaptedClassifier, logistic, "accuracy"),
    "spam": (
        lambda seed: spam("sparse", seed), AdaptedClassifier, logistic, "balanced_accuracy"
    ),
    "spam-svd": (
        lambda seed: spam("svd", seed), AdaptedClassifier, logistic, "balanced_accuracy"
    ),
}  # fmt: skip


def run(task: str, seed: int, *, keep: bool = True, **settings: Any) -> dict[str, Any]:
    load, kind, predictor, metric = TASKS[task]
    rows = load(seed)
    if task.startswith("rossmann"):
        settings = {"settings": {"max_source_rows": ROSSMANN_ROWS}, **settings}
    adapted = kind(
        predictor(), metric=metric, random_state=seed, **{"values": CHEAP_VALUES, **settings}
    )
    started, cpu_started = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        adapted.fit(*rows[:4])
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_started
    table = adaptation_comparison(adapted, *rows)
    members = adapted.report_.query("weight > 0 and candidate != 'adapted'")
    result = {
        "task": task,
        "seed": seed,
        "metric": metric,
        "values": list(adapted.values),
        "n_source": len(rows[1]),
        "n_target": len(rows[3]),
        "n_test": len(rows[5]),
        "scores": {f"{line.scheme} ({line.base})": line.score for line in table.itertuples()},
        "cross_fitted": dict(
            zip(adapted.report_["candidate"], adapted.report_["score"], strict=True)
        ),
        "members": dict(zip(members["candidate"], members["weight"].round(3), strict=True)),
        "source_scale": adapted.source_scale_,
        "fits": adapted.n_fits_,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }
    if keep:
        add_run(PATH, {**result, **environment()})
    return result


def report() -> None:
    """Write the tables of the documentation from the results so far."""
    runs = [run for run in read_runs(PATH) if "learned" not in run["values"]]
    sections = []
    for task in TASKS:
        found = sorted((run for run in runs if run["task"] == task), key=lambda run: run["seed"])
        if found:
            sections.append(_section(task, found))
    sections.append(f"{machine_note(runs[-1])} One core used.")
    write_section("adaptation", "\n\n".join(sections), DOCS)


def _section(task: str, runs: list[dict[str, Any]]) -> str:
    first = runs[0]
    scores = pd.DataFrame([run["scores"] for run in runs])
    adapted = scores[next(name for name in scores if name.startswith("adapted"))]
    # Positive gains are good, whichever way the metric points.
    sign = -1.0 if first["metric"] == "rmspe" else 1.0
    rows = [
        {
            "trained on": f"**{name}**" if name.startswith("adapted") else name,
            first["metric"]: with_error(scores[name]),
            "gain of adapted (paired)": (
                "-" if name.startswith("adapted") else with_error(sign * (adapted - scores[name]))
            ),
        }
        for name in scores
    ]
    seconds = pd.Series([run["cpu_seconds"] for run in runs]).median()
    fits = pd.Series([run["fits"] for run in runs]).median()
    sizes = ", ".join(
        f"{pd.Series([run[f'n_{part}'] for run in runs]).median():,.0f} {part} rows"
        for part in ("source", "target", "test")
    )
    scale = with_error([run["source_scale"] for run in runs])
    return (
        f"### {task}\n\nSeeds {', '.join(str(run['seed']) for run in runs)}; {sizes}; "
        f"{fits:.0f} fits and {seconds:.0f} CPU seconds each; mean weight of a source row {scale}."
        f"\n\n{markdown(rows)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=seeds)
    parser.add_argument("--report", action="store_true", help="write the tables and stop")
    parser.add_argument("--learned", action="store_true", help="try learned values too")
    options = parser.parse_args()
    values = (*CHEAP_VALUES, "learned") if options.learned else CHEAP_VALUES
    if not options.report:
        done = {(each["task"], each["seed"], tuple(each["values"])) for each in read_runs(PATH)}
        for task in options.tasks:
            default = range(100, 105) if task.startswith("rossmann") else range(100, 110)
            for seed in options.seeds or default:
                if (task, seed, values) not in done:
                    result = run(task, seed, values=values)
                    print({key: result[key] for key in ("task", "seed", "scores", "seconds")})
    report()


if __name__ == "__main__":
    main()
