"""The caller's files and words: read, checked before work starts, and made into an estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.cli.errors import InputError
from dvrl.cli.options import MODEL_NAME, Predictor, Task
from dvrl.cli.output import Screen

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "OUTPUT_COLUMNS",
    "check_files",
    "choose_task",
    "in_folder",
    "make_folder",
    "make_predictor",
    "make_valuer",
    "names_in",
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


def choose_task(screen: Screen, task: Task, y: Any, target: str) -> Task:
    """Decide what is predicted, and say so when the user did not."""
    if task is not Task.auto:
        return task
    from dvrl.data.task import guess_task

    try:
        guessed, why = guess_task(y)
    except ValueError as error:
        raise InputError(str(error)) from None
    chosen = Task(guessed)
    screen.say(
        f"Task: {chosen.value}, because {target!r} holds {why}. Choose the other one with --task."
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
            f"use {other}, mlp, random_forest or gradient_boosting, or change --task."
        )
    if predictor not in (Predictor.random_forest, Predictor.gradient_boosting):
        return predictor.value
    from dvrl.predictors.registry import model_by_name

    return model_by_name(predictor.value, task.value, seed)


def names_in(text: str | None) -> list[str]:
    """Names from a list with commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def in_folder(path: Path | None) -> Path | None:
    """The file of an estimator; a folder stands for the usual name in it."""
    return path / MODEL_NAME if path is not None and path.is_dir() else path


def check_files(read: Sequence[Path | None], *written: tuple[Path | None, tuple[str, ...]]) -> None:
    """Refuse what cannot be read or written, before hours of work are lost to it.

    `written` are paths and the endings they may have; none for any. Every file needs a name of its
    own: nothing is written over an input or another output.
    """
    for path in read:
        if path is not None and not path.is_file():
            raise InputError(f"There is no file {path}; check the path.")
    for path, endings in written:
        if path is not None:
            _check_output(path, endings)
    seen = set()
    for path in [*read, *(path for path, _ in written)]:
        if path is not None and path.resolve() in seen:
            raise InputError(f"{path} is named twice; give every file its own name.")
        seen.add(None if path is None else path.resolve())


def _check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a path that cannot be written."""
    if endings and path.suffix.lower() not in endings:
        raise InputError(f"{path} has no known ending; use {' or '.join(endings)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}; make it or choose another.")
    existing = path if path.exists() else path.parent
    if not os.access(existing, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written; choose a place you may write to.")


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
