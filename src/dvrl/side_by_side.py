"""Valuation methods side by side on the same rows: what each finds, what it costs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.actions.comparison import detection_scores, discovery
from dvrl.actions.removal import SHARES, leaving
from dvrl.data.noise import flip_labels, replace_targets
from dvrl.methods import METHODS

if TYPE_CHECKING:
    import pandas as pd

    from dvrl.data.preparation import Prepared
    from dvrl.methods.utility import Utility

__all__ = ["TITLES", "Comparison", "compare"]

TITLES = {"dvrl": "DVRL"} | {name: method.title for name, method in METHODS.items()}
"""What tables and figures call the methods that :func:`compare` knows by name."""

LOOKED_AT = 0.2
TEST_FRACTION = VALIDATION_FRACTION = 0.2
# What a single method may fail with; the others go on.
FAILURES = (ValueError, TypeError, ImportError, ArithmeticError, RuntimeError, MemoryError)
REMOVAL_METRICS = {"classification": "accuracy", "regression": "r2"}


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per method: ``method``; ``auroc``, ``average_precision``, ``found_in_lowest_20``
        (NaN where the errors are not known); ``lowest_removed`` and ``highest_removed``, the mean
        score while 0 to 50 % of the rows are removed, lowest or highest values first; ``seconds``;
        ``fits``; ``state``: "complete", "time was up", or why there are no values.
    values : pandas.DataFrame
        One row per training row, with the caller's index: a column of values per method, ``label``
        and, where they are known, ``is_corrupted``.
    removal : pandas.DataFrame
        ``method``, ``removed_first`` ("lowest" or "highest"), ``share``, ``score``.
    agreement : pandas.DataFrame
        Rank correlations (Spearman) between the methods.
    removal_metric : str
        What ``score`` is; higher is better.
    judged_on : {"test", "validation"}
        The rows that removal is scored on. The methods have seen validation rows, so scores on
        them flatter.
    """

    table: pd.DataFrame
    values: pd.DataFrame
    removal: pd.DataFrame
    agreement: pd.DataFrame
    removal_metric: str
    judged_on: str

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``table.csv``, ``values.parquet``, ``removal.csv`` and ``agreement.csv``.

        Parameters
        ----------
        folder : path-like
            Made if missing.

        Returns
        -------
        list of Path
            What was written.
        """
        from dvrl.files.tables import write_table

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        named = self.values.reset_index(names=str(self.values.index.name or "row"))
        frames = {
            "table.csv": self.table,
            "values.parquet": named,
            "removal.csv": self.removal,
            "agreement.csv": self.agreement.reset_index(names="method"),
        }
        for name, frame in frames.items():
            write_table(frame, target / name)
        return [target / name for name in frames]


def compare(
    X: Any,
    y: Any,
    X_val: Any = None,
    y_val: Any = None,
    *,
    X_test: Any = None,
    y_test: Any = None,
    methods: Sequence[str] | Mapping[str, Any] | None = None,
    predictor: Any = "linear",
    metric: Any = None,
    task: str = "auto",
    is_corrupted: ArrayLike | None = None,
    plant_noise: float = 0.0,
    train_rows: int | None = None,
    valid_rows: int | None = None,
    max_seconds: float | None = None,
    n_jobs: int | None = None,
    random_state: int = 0,
    callback: Callable[[str], object] | None = None,
) -> Comparison:
    """Value the same rows by several methods and put the results side by side.

    Parameters
    ----------
    X, y : array-like or frame of shape (n_rows, n_features), array-like of shape (n_rows,)
        Training rows.
    X_val, y_val : like X and y, optional
        Clean validation rows. Without them, a fifth of the rows is held out (or `valid_rows`),
        and a further fifth as test rows unless test rows are given.
    X_test, y_test : like X and y, optional
        Rows that removal curves are scored on; no method sees them. Where there are none, the
        validation rows serve.
    methods : sequence of str, or mapping of str to estimator, optional
        Keys of :data:`TITLES`; all of them by default. A mapping gives names to estimators of the
        caller's own, with ``fit(X, y, X_val=, y_val=)`` and ``data_values_``.
    predictor : str or estimator, default="linear"
        The model that rows are valued for, where a method takes one, and that removal curves
        train; see :class:`dvrl.DVRLClassifier`.
    metric : str or callable, optional
        What methods take for good on the validation rows; log-likelihood or squared error.
    task : {"auto", "classification", "regression"}
    is_corrupted : array-like of bool of shape (n_rows,), optional
        Which training rows carry an error, where that is known.
    plant_noise : float, default=0
        Share of the training labels to replace by wrong ones, so that detection can be measured.
    train_rows : int, optional
        Take so many random training rows and leave the rest.
    valid_rows : int, optional
        Hold out so many validation rows; only without `X_val`.
    max_seconds : float, optional
        Time budget of each method that can stop early; what it has by then is kept.
    n_jobs : int, optional
    random_state : int, default=0
    callback : callable, optional
        Told the name of each method before it starts.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError, TypeError
        For input that cannot be used. A single method that cannot be used is no error; its state
        says why.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> result = compare(X, y, methods=["knn_shapley", "random"], plant_noise=0.2)
    >>> result.table["method"].tolist()
    ['KNN-Shapley', 'random']
    """
    from sklearn.base import BaseEstimator

    from dvrl.data.preparation import prepare
    from dvrl.data.task import resolve_task

    task = resolve_task(task, y)
    _check_options(plant_noise, is_corrupted, max_seconds, train_rows, valid_rows, X_val)
    chosen = _chosen(methods)
    given = _given(X, y, X_val, y_val, X_test, y_test, is_corrupted)
    rows = _split(given, task, train_rows, valid_rows, random_state)
    if plant_noise:
        plant = flip_labels if task == "classification" else replace_targets
        noisy, truth = plant(rows.y, plant_noise, random_state)
        rows = rows._replace(y=noisy, is_corrupted=truth)
    started = time.perf_counter()
    prepared = prepare(
        BaseEstimator(),
        rows.X,
        rows.y,
        rows.X_val,
        rows.y_val,
        task=task,
        validation_fraction=VALIDATION_FRACTION,
        seed=random_state,
    )
    setting = _Setting(
        rows,
        task,
        {"predictor": predictor, "metric": metric, "n_jobs": n_jobs, "max_seconds": max_seconds},
        random_state,
        prepared,
        time.perf_counter() - started,
    )
    outcomes = {}
    for name, method in chosen.items():
        if callback is not None:
            callback(name)
        outcomes[name] = _run(method, setting)
    return _assembled(outcomes, setting)


# ------------------------------------------------------------------------------------- input


class _Rows(NamedTuple):
    """Training, validation and test rows; None for what is not there."""

    X: Any
    y: NDArray[Any]
    X_val: Any
    y_val: NDArray[Any] | None
    X_test: Any
    y_test: NDArray[Any] | None
    is_corrupted: NDArray[np.bool_] | None
    index: Any


class _Setting(NamedTuple):
    """What all methods are given; DVRL prepares the rows itself, the others share `prepared`."""

    rows: _Rows
    task: str
    options: dict[str, Any]
    seed: int
    prepared: Prepared
    preparing_seconds: float


def _check_options(
    plant_noise: float,
    is_corrupted: Any,
    max_seconds: float | None,
    train_rows: int | None,
    valid_rows: int | None,
    X_val: Any,
) -> None:
    if not 0.0 <= plant_noise < 1.0:
        raise ValueError(f"plant_noise={plant_noise!r} must be a share in [0, 1).")
    if plant_noise and is_corrupted is not None:
        raise ValueError(
            "is_corrupted tells the errors that are there, plant_noise makes others; pass one."
        )
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds={max_seconds!r} must be greater than 0.")
    for name, number in (("train_rows", train_rows), ("valid_rows", valid_rows)):
        if number is not None and number < 1:
            raise ValueError(f"{name}={number!r} must be 1 or more.")
    if valid_rows is not None and X_val is not None:
        raise ValueError("valid_rows holds rows out, but X_val was given; leave one of them out.")


def _chosen(methods: Sequence[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Names for the table to keys of TITLES, or to estimators of the caller's own."""
    if isinstance(methods, Mapping):
        return dict(methods)
    keys = list(TITLES) if methods is None else list(methods)
    unknown = [key for key in keys if key not in TITLES]
    if unknown or not keys:
        what = f"methods holds the unknown {unknown[0]!r}" if unknown else "methods is empty"
        raise ValueError(f"{what}; choose from {', '.join(TITLES)}.")
    return {TITLES[key]: key for key in keys}


def _given(
    X: Any, y: Any, X_val: Any, y_val: Any, X_test: Any, y_test: Any, is_corrupted: Any
) -> _Rows:
    """The caller's rows, checked."""
    from sklearn.utils.validation import check_consistent_length

    from dvrl.data.rows import row_index
    from dvrl.data.split import check_validation

    check_consistent_length(X, y)
    check_validation(X_val, y_val)
    if (X_test is None) != (y_test is None):
        raise ValueError("Pass X_test and y_test together, or neither.")
    labels, own, of_test = (
        None if each is None else np.asarray(each).reshape(-1) for each in (y, y_val, y_test)
    )
    assert labels is not None
    truth = None if is_corrupted is None else np.asarray(is_corrupted, dtype=bool)
    if truth is not None and truth.shape != labels.shape:
        raise ValueError(f"is_corrupted has shape {truth.shape}; pass one entry for each row.")
    names = row_index(X)
    index = np.arange(len(labels)) if names is None else names
    return _Rows(X, labels, X_val, own, X_test, of_test, truth, index)


def _split(
    rows: _Rows, task: str, train_rows: int | None, valid_rows: int | None, seed: int
) -> _Rows:
    """Training, validation and test rows; what is not given is held out."""
    from dvrl.data.rows import take_rows
    from dvrl.data.split import hold_out_validation

    rng = np.random.default_rng(seed)
    n = len(rows.y)
    train = np.arange(n)

    def hold_out(fraction: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        kept, held = hold_out_validation(rows.y[train], fraction, task, rng)
        return train[kept], train[held]

    split = rows
    if rows.X_val is None:
        wanted = VALIDATION_FRACTION if valid_rows is None else valid_rows / n
        if rows.X_test is None:
            train, held = hold_out(TEST_FRACTION)
            split = split._replace(X_test=take_rows(rows.X, held), y_test=rows.y[held])
            wanted *= n / len(train)
        if wanted >= 1:
            raise ValueError(f"valid_rows={valid_rows} leaves no training rows; ask for fewer.")
        train, held = hold_out(wanted)
        split = split._replace(X_val=take_rows(rows.X, held), y_val=rows.y[held])
    if train_rows is not None and train_rows < len(train):
        _, train = hold_out(train_rows / len(train))
    return split._replace(
        X=take_rows(rows.X, train),
        y=rows.y[train],
        is_corrupted=None if rows.is_corrupted is None else rows.is_corrupted[train],
        index=rows.index[train],
    )


# -------------------------------------------------------------------------------- one method


class _Run(NamedTuple):
    values: NDArray[np.float64] | None
    seconds: float
    fits: float
    state: str


def _run(method: Any, setting: _Setting) -> _Run:
    """Value the rows; a method that fails must not take the others' results with it."""
    from dvrl.methods.base import ValuationMethod

    started = time.perf_counter()
    rows = setting.rows
    try:
        valuer = _made(method, setting) if isinstance(method, str) else method
        with warnings.catch_warnings():
            # Diagnostics of single runs; the table shows what they are about.
            warnings.simplefilter("ignore")
            if isinstance(valuer, ValuationMethod):
                started -= setting.preparing_seconds  # which it would take by itself
                valuer.fit_prepared(setting.prepared, setting.task)
            else:
                valuer.fit(rows.X, rows.y, X_val=rows.X_val, y_val=rows.y_val)
    except FAILURES as error:
        lines = str(error).splitlines() or [type(error).__name__]
        return _Run(None, time.perf_counter() - started, np.nan, f"not possible: {lines[0]}")
    seconds = time.perf_counter() - started
    diagnostics = getattr(valuer, "diagnostics_", None)
    fits = getattr(valuer, "n_fits_", np.nan) if diagnostics is None else diagnostics.n_fits
    early = getattr(valuer, "details_", {}).get("stopped_early", False)
    early = early or getattr(diagnostics, "stop_reason", "") == "time"
    values = np.asarray(valuer.data_values_, dtype=np.float64)
    return _Run(values, seconds, float(fits), "time was up" if early else "complete")


def _made(name: str, setting: _Setting) -> Any:
    """The estimator of a method, not fitted, with the options that it has."""
    options = setting.options | {"random_state": setting.seed}
    if name == "dvrl":
        from dvrl.valuation import DVRLClassifier, DVRLRegressor

        classes = setting.task == "classification"
        return (DVRLClassifier if classes else DVRLRegressor)(**options)
    from dvrl import methods

    cls = getattr(methods, METHODS[name].class_name)
    has = {field.name for field in fields(cls)}
    return cls(task=setting.task, **{key: options[key] for key in options if key in has})


# ------------------------------------------------------------------------------- all of them


def _assembled(runs: dict[str, _Run], setting: _Setting) -> Comparison:
    import pandas as pd

    rows = setting.rows
    known = {name: _known(run.values) for name, run in runs.items() if run.values is not None}
    removal, judged_on, metric = _removal(known, setting)
    values = pd.DataFrame(
        {name: run.values for name, run in runs.items() if run.values is not None},
        index=rows.index,
    ).assign(label=rows.y)
    if rows.is_corrupted is not None:
        values["is_corrupted"] = rows.is_corrupted
    means = removal.groupby(["method", "removed_first"])["score"].mean()
    table = [
        {
            "method": name,
            **_detection(known.get(name), rows.is_corrupted),
            **{
                f"{first}_removed": float(means.get((name, first), np.nan))
                for first in ("lowest", "highest")
            },
            "seconds": run.seconds,
            "fits": run.fits,
            "state": run.state,
        }
        for name, run in runs.items()
    ]
    agreement = pd.DataFrame(known).corr(method="spearman")
    return Comparison(pd.DataFrame(table), values, removal, agreement, metric, judged_on)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values for ranking: rows that were not reached stand in the middle."""
    missing = ~np.isfinite(values)
    if missing.all():
        return np.zeros(len(values))
    return np.where(missing, np.median(values[~missing]), values)


def _detection(values: Any, is_corrupted: NDArray[np.bool_] | None) -> dict[str, float]:
    names = ("auroc", "average_precision", "found_in_lowest_20")
    if values is None or is_corrupted is None or is_corrupted.all() or not is_corrupted.any():
        return dict.fromkeys(names, np.nan)
    scores = detection_scores(values, is_corrupted)
    found = float(discovery(values, is_corrupted, [LOOKED_AT])["found"][0])
    return dict(zip(names, (scores["auroc"], scores["average_precision"], found), strict=True))


def _removal(
    known: dict[str, NDArray[np.float64]], setting: _Setting
) -> tuple[pd.DataFrame, str, str]:
    """Scores of the predictor while rows are removed, lowest or highest values first."""
    import pandas as pd

    rows = setting.rows
    judged_on = "validation" if rows.X_test is None else "test"
    if rows.X_test is None:
        rows = rows._replace(X_test=rows.X_val, y_test=rows.y_val)
    metric = REMOVAL_METRICS[setting.task]
    utility, n = _utility_of_removal(rows, metric, setting), len(rows.y)
    # The same random order among equal values for every method.
    ties = np.random.default_rng(setting.seed).permutation(n)
    lines = []
    for name, values in known.items():
        for first in ("lowest", "highest"):
            order = leaving(values, ties, f"{first} first")
            kept = np.ones((len(SHARES), n), bool)
            for index, share in enumerate(SHARES):
                kept[index, order[: round(share * n)]] = False
            scores = utility(kept)
            lines += [(name, first, *each) for each in zip(SHARES, scores.tolist(), strict=True)]
    columns = ["method", "removed_first", "share", "score"]
    return pd.DataFrame(lines, columns=columns), judged_on, metric


def _utility_of_removal(rows: _Rows, metric: str, setting: _Setting) -> Utility:
    """The utility of training rows on the test rows."""
    from dvrl.methods.utility import Utility

    prepared, labels = setting.prepared, np.asarray(rows.y_test)
    test = replace(
        prepared.encoder.encode(rows.X_test),
        targets=prepared.coder.encode(labels, name="y_test"),
        labels=labels,
    )
    return Utility(
        replace(prepared, validation=test),
        task=setting.task,
        predictor=setting.options["predictor"],
        metric=metric,
        n_jobs=setting.options["n_jobs"],
        seed=setting.seed,
    )
