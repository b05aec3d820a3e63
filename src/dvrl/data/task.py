"""Whether a target holds classes or numbers: one answer for Python and the command line."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["TASKS", "guess_task", "resolve_task"]

TASKS = ("auto", "classification", "regression")
# Whole numbers are classes where they are few, and each is seen often.
MOST_CLASSES, LEAST_ROWS_OF_CLASS = 20, 5


def guess_task(y: Any) -> tuple[str, str]:
    """Tell classes from numbers by looking at a target.

    Text, yes/no and categories are classes. So are whole numbers with two different values, or
    with at most 20 that are seen in five rows each on average.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        May hold gaps.

    Returns
    -------
    task : {"classification", "regression"}
    why : str
        What was seen, for a sentence.

    Raises
    ------
    ValueError
        If the target holds dates.

    Examples
    --------
    >>> guess_task([0, 1, 2] * 20)
    ('classification', 'whole numbers with only 3 different values')
    """
    import pandas as pd
    from pandas.api import types

    column = y if isinstance(y, pd.Series) else pd.Series(np.asarray(y).ravel())
    column = column.infer_objects()
    if types.is_bool_dtype(column.dtype):
        return "classification", "yes/no values"
    if types.is_datetime64_any_dtype(column.dtype):
        raise ValueError("The target holds dates; turn them into numbers or classes first.")
    if not types.is_numeric_dtype(column.dtype) or types.is_complex_dtype(column.dtype):
        return "classification", "text or categories"
    known = column.dropna()
    numbers = known.to_numpy(dtype=float)
    n_different = int(known.nunique())
    # Whole numbers stored as floats are what a gap makes of an integer column.
    if not np.array_equal(numbers, np.round(numbers)):
        return "regression", "numbers with fractions"
    is_often = n_different * LEAST_ROWS_OF_CLASS <= len(known)
    if n_different <= 2 or (n_different <= MOST_CLASSES and is_often):
        return "classification", f"whole numbers with only {n_different} different values"
    return "regression", f"whole numbers with {n_different} different values"


def resolve_task(task: str, y: Any) -> str:
    """Task of "auto", or the one that is asked for.

    Raises
    ------
    ValueError
        If the task is unknown, or the target holds dates.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is unknown; use one of {', '.join(TASKS)}.")
    # Without a target `prepare` has the message.
    return task if task != "auto" else "classification" if y is None else guess_task(y)[0]
