"""The data sets of the benchmarks, split the same way for the same seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DATA = Path(os.environ.get("DVRL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


class Split(NamedTuple):
    """Training, validation and test rows; validation and test rows are clean."""

    X: Any
    y: NDArray[Any]
    X_val: Any
    y_val: NDArray[Any]
    X_test: Any
    y_test: NDArray[Any]


def _table(name: str, target: str, drop: tuple[str, ...] = ()) -> tuple[Any, NDArray[Any]]:
    frame = pd.read_parquet(DATA / f"{name}.parquet").drop(columns=list(drop))
    return frame.drop(columns=[target]), frame[target].to_numpy()


def _above_median(name: str) -> tuple[Any, NDArray[Any]]:
    X, y = _table(name, "target")
    return X, (y > np.median(y)).astype(int)


def _blog() -> tuple[Any, NDArray[Any]]:
    X, y = _table("blog_feedback", "target", ("file",))
    return X, (y > 0).astype(int)


def _cifar10() -> tuple[Any, NDArray[Any]]:
    with np.load(DATA / "cifar10_embeddings_pca256.npz") as arrays:
        return arrays["e_train"].astype(np.float32), arrays["y_train"].astype(int)


def _digits() -> tuple[Any, NDArray[Any]]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X, y


def _imdb() -> tuple[Any, NDArray[Any]]:
    frame = pd.read_parquet(DATA / "imdb_train_5k.parquet")
    return frame["text"].to_numpy(dtype=object), frame["label"].to_numpy().astype(int)


def _above_mean(name: str) -> tuple[Any, NDArray[Any]]:
    X, y = _table(name, "target")
    return X, (y > y.mean()).astype(int)


def _rossmann() -> tuple[Any, NDArray[Any]]:
    X, y = _table("rossmann_sales", "Sales")
    dates = pd.to_datetime(X["Date"])
    X = X.drop(columns=["Date"]).assign(month=dates.dt.month, week=dates.dt.isocalendar().week)
    X["week"] = X["week"].astype(int)
    # Customers are known only after the day that is to be predicted.
    return X.drop(columns=[name for name in ("Customers",) if name in X]), y.astype(float)


CLASSES: dict[str, Callable[[], tuple[Any, NDArray[Any]]]] = {
    "digits": _digits,
    "adult": lambda: _table("adult", "income", ("uci_file",)),
    "blog": _blog,
    "pol": lambda: _above_median("pol"),
    "2dplanes": lambda: _above_median("twodplanes"),
    "fried": lambda: _above_median("fried"),
    "credit": lambda: _table("credit_default", "Y", ("ID",)),
    "higgs": lambda: _table("higgs_7500", "label", ("split",)),
    "cifar10": _cifar10,
    "imdb": _imdb,
}
NUMBERS: dict[str, Callable[[], tuple[Any, NDArray[Any]]]] = {
    "fried": lambda: _table("fried", "target"),
    "rossmann": _rossmann,
}
# Sets of OpenDataVal that are at hand; it cuts the target of a regression in two at its mean.
OPENDATAVAL: dict[str, Callable[[], tuple[Any, NDArray[Any]]]] = {
    "pol": lambda: _above_mean("pol"),
    "2dplanes": lambda: _above_mean("twodplanes"),
    "fried": lambda: _above_mean("fried"),
    "credit": CLASSES["credit"],
    "lowbwt": lambda: _above_mean("bng_lowbwt"),
    "adult": CLASSES["adult"],
    "digits": _digits,
}


def _texts(file: str, target: str) -> tuple[Any, NDArray[Any]]:
    frame = pd.read_parquet(DATA / f"{file}.parquet")
    return frame[["text"]], frame[target].to_numpy().astype(int)


def _mnist() -> tuple[Any, NDArray[Any]]:
    with np.load(DATA / "mnist.npz") as arrays:
        pixels, y = arrays["x_train"], arrays["y_train"].astype(int)
    return pixels.reshape(len(pixels), -1).astype(np.float32), y


def _pol_classes() -> tuple[Any, NDArray[Any]]:
    X, y = _table("pol", "target")
    return X, y.astype(int)


def _flights() -> tuple[Any, NDArray[Any]]:
    """A sample of flights, of 229 airports and as many destinations, and which were late."""
    frame = pd.read_parquet(DATA / "flights_3m.parquet").sample(FLIGHTS, random_state=0)
    frame = frame.reset_index(drop=True)
    late, dates = (frame["delay"] > 15).to_numpy().astype(int), frame["date"].dt
    hours = dates.hour + dates.minute / 60
    X = frame[["distance", "origin", "destination"]]
    return X.assign(month=dates.month, weekday=dates.dayofweek, hour=hours), late


def _wide() -> tuple[Any, NDArray[Any]]:
    from sklearn.datasets import make_classification

    X, y = make_classification(2000, 1000, n_informative=10, n_redundant=10, random_state=0)
    return X.astype(np.float32), y


FLIGHTS = 50_000
# What reference models are judged on (docs/references.md).
EIGHT = {
    **{name: CLASSES[name] for name in ("adult", "credit", "pol", "fried", "2dplanes", "blog")},
    "higgs": CLASSES["higgs"],
    "lowbwt": lambda: _above_median("bng_lowbwt"),
}
MANY_CLASSES = {"mnist": _mnist, "pol": _pol_classes, "cifar10": _cifar10}
REGRESSIONS = {
    "pol": lambda: _table("pol", "target"),
    "fried": NUMBERS["fried"],
    "2dplanes": lambda: _table("twodplanes", "target"),
    "lowbwt": lambda: _table("bng_lowbwt", "target"),
}
TEXTS = {
    "imdb": lambda: _texts("imdb_train_5k", "label"),
    "sms": lambda: _texts("sms_spam", "spam"),
    "email": lambda: _texts("email_spam", "spam"),
}
LEVELS = {"flights": _flights}
WIDE = {"made up": _wide, "blog": _blog}
LOADERS = {
    "classification": CLASSES,
    "regression": NUMBERS,
    "opendataval": OPENDATAVAL,
    "tables": EIGHT,
    "classes": MANY_CLASSES,
    "numbers": REGRESSIONS,
    "texts": TEXTS,
    "levels": LEVELS,
    "wide": WIDE,
}
# Rows where the sizes are not 1000 / 400 / 5000.
SIZES = {"digits": (1000, 400, 397), "cifar10": (5000, 2000, 5000), "imdb": (1000, 400, 3600)}
TEXT_COMPONENTS = 150
_loaded: dict[tuple[str, str], tuple[Any, NDArray[Any]]] = {}


def load(name: str, task: str = "classification") -> tuple[Any, NDArray[Any]]:
    """All rows of a set, and their targets.

    Parameters
    ----------
    name : str
        Of the task's sets.
    task : str
        Key of `LOADERS`.
    """
    if (task, name) not in _loaded:
        _loaded[task, name] = LOADERS[task][name]()
    return _loaded[task, name]


def split_indices(
    n_rows: int, seed: int, n_train: int, n_valid: int, n_test: int
) -> list[NDArray[np.intp]]:
    """Indices of disjoint training, validation and test rows.

    The training rows of a seed do not depend on the other sizes.
    """
    order = np.random.default_rng(seed).permutation(n_rows)[: n_train + n_valid + n_test]
    return list(np.split(order, [n_train, n_train + n_valid]))


def split(
    name: str,
    seed: int,
    *,
    task: str = "classification",
    n_train: int | None = None,
    n_valid: int | None = None,
    n_test: int | None = None,
) -> Split:
    """Draw disjoint training, validation and test rows.

    Parameters
    ----------
    name : str
    seed : int
    task : {"classification", "regression", "opendataval"}
    n_train, n_valid, n_test : int, optional
        In place of the set's own sizes.
    """
    X, y = load(name, task)
    sizes = SIZES.get(name, (1000, 400, 5000))
    n_train, n_valid = n_train or sizes[0], n_valid or sizes[1]
    parts = split_indices(len(y), seed, n_train, n_valid, n_test or sizes[2])
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    features = [take(part) for part in parts]
    if name == "imdb":
        features = _text_features(features)
    return Split(
        *(each for X_, part in zip(features, parts, strict=True) for each in (X_, y[part]))
    )


def _text_features(parts: list[NDArray[Any]]) -> list[NDArray[np.float32]]:
    """Components of TF-IDF, learned from the training rows alone."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(min_df=3, max_features=20_000, sublinear_tf=True, stop_words="english")
    components = make_pipeline(words, TruncatedSVD(TEXT_COMPONENTS, random_state=0))
    components.fit(parts[0])
    return [components.transform(part).astype(np.float32) for part in parts]
