"""The caller's files and words: read, checked before work starts, and made into an estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.cli.errors import InputError
from dvrl.cli.options import Predictor, Task
from dvrl.cli.output import say

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = [
    "OUTPUT_COLUMNS",
    "check_distinct",
    "check_inputs",
    "check_output",
    "choose_task",
    "make_folder",
    "make_predictor",
    "make_valuer",
    "read_rows",
    "same_columns",
    "without_columns",
]

# Columns of the output; an id column of the same name could not stand beside them.
OUTPUT_COLUMNS = (
    "data_value",
    "data_value_std",
    "marginal",
    "rank",
    "prediction",
    "probability",
)


def read_rows(
    path: Path, target: str | None, id_column: str | None
) -> tuple[pd.DataFrame, pd.Series[Any] | None]:
    """Features with the rows named by the id column, and the target column."""
    import pandas as pd

    from dvrl.files.tables import read_table, split_target

    if id_column in OUTPUT_COLUMNS:
        raise InputError(f"{id_column!r} is a column of the output; rename the --id column.")
    frame = read_table(path)
    if frame.index.nlevels > 1:  # rows can carry one name each
        frame = frame.reset_index(drop=True)
    try:
        if target is not None:
            X, y, ids = split_target(frame, target, id_column)
            return X.set_axis(ids), y.set_axis(ids)
        if id_column is not None and id_column != frame.index.name:
            X, names, _ = split_target(frame, id_column)
            return X.set_axis(pd.Index(names, name=id_column)), None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return frame, None


def same_columns(frame: pd.DataFrame, names: list[str], path: Path) -> pd.DataFrame:
    """The columns a model or a training table has, in its order."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(f"{path} lacks {listed(missing)}; it needs every feature of TRAIN.")
    return frame[names]


def without_columns(frame: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    """The other columns of a table."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(f"{path} has no column {listed(missing)} to drop.")
    return frame.drop(columns=list(names))


def choose_task(console: Console, task: Task, y: Any, target: str) -> Task:
    """Decide what is predicted, and say so when the user did not."""
    if task is not Task.auto:
        return task
    from dvrl.data.task import guess_task

    try:
        guessed, why = guess_task(y)
    except ValueError as error:
        raise InputError(str(error)) from None
    chosen = Task(guessed)
    say(
        console,
        f"Task: {chosen.value}, because {target!r} holds {why}. Choose the other one with --task.",
    )
    return chosen


def make_valuer(
    task: Task, predictor: Predictor | None, seed: int, *, settings: Any = None, **parameters: Any
) -> Any:
    """The estimator for a task, not fitted."""
    from dvrl.valuation import DVRLClassifier, DVRLRegressor

    kind = DVRLClassifier if task is Task.classification else DVRLRegressor
    model = make_predictor(task, predictor, seed)
    return kind(model, random_state=seed, settings=settings, **parameters)


def make_predictor(task: Task, predictor: Predictor | None, seed: int) -> Any:
    """The model for a task, by name or as an estimator."""
    classes = task is Task.classification
    if predictor is None:
        predictor = Predictor.logistic if classes else Predictor.ridge
    wrong = Predictor.ridge if classes else Predictor.logistic
    if predictor is wrong:
        other = "logistic" if classes else "ridge"
        raise InputError(
            f"--predictor {predictor.value} does not fit the task {task.value}; "
            f"use {other}, mlp or gradient_boosting, or change --task."
        )
    if predictor is not Predictor.gradient_boosting:
        return predictor.value
    from dvrl.predictors.registry import model_by_name

    return model_by_name(predictor.value, task.value, seed)


def check_inputs(paths: Sequence[Path | None]) -> None:
    """Refuse files that are not there."""
    for path in paths:
        if path is not None and not path.is_file():
            raise InputError(f"There is no file {path}; check the path.")


def check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a path that cannot be written, before hours of work are lost to it."""
    if endings and path.suffix.lower() not in endings:
        raise InputError(f"{path} has no known ending; use {' or '.join(endings)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}; make it or choose another.")
    existing = path if path.exists() else path.parent
    if not os.access(existing, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written; choose a place you may write to.")


def check_distinct(paths: Sequence[Path | None]) -> None:
    """Refuse to write over an input or to write two things to one place."""
    seen = set()
    for path in paths:
        if path is None:
            continue
        place = path.resolve()
        if place in seen:
            raise InputError(f"{path} is named twice; give every file its own name.")
        seen.add(place)


def make_folder(path: Path) -> None:
    """Make a folder for results, with its parents."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be made ({error.strerror}); choose another.") from None


def listed(names: Sequence[Any], limit: int = 8) -> str:
    """Some names in quotes, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
