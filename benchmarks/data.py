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
}
NUMBERS: dict[str, Callable[[], tuple[Any, NDArray[Any]]]] = {
    "fried": lambda: _table("fried", "target"),
    "rossmann": _rossmann,
}
# Rows where the sizes are not 1000 / 400 / 5000.
SIZES = {"digits": (1000, 400, 397), "cifar10": (5000, 2000, 5000)}
_loaded: dict[tuple[str, str], tuple[Any, NDArray[Any]]] = {}


def split(
    name: str,
    seed: int,
    *,
    task: str = "classification",
    n_train: int | None = None,
    n_valid: int | None = None,
) -> Split:
    """Draw disjoint training, validation and test rows.

    Parameters
    ----------
    name : str
        Of `CLASSES` or `NUMBERS`.
    seed : int
    task : {"classification", "regression"}
    n_train, n_valid : int, optional
        In place of the set's own sizes.
    """
    loaders = CLASSES if task == "classification" else NUMBERS
    if (task, name) not in _loaded:
        _loaded[task, name] = loaders[name]()
    X, y = _loaded[task, name]
    sizes = SIZES.get(name, (1000, 400, 5000))
    n_train, n_valid, n_test = n_train or sizes[0], n_valid or sizes[1], sizes[2]
    order = np.random.default_rng(seed).permutation(len(y))[: n_train + n_valid + n_test]
    parts = np.split(order, [n_train, n_train + n_valid])
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    return Split(*(each for part in parts for each in (take(part), y[part])))
