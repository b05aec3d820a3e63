"""The report: one HTML file for people, which needs no network and no server.

Everything that comes from the caller's data reaches the page escaped (by Jinja2) or as JSON that
the script turns into text nodes. A content security policy allows the report's own scripts, by
their digest, and no request to anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.report.page import panels, plain_table, target_of, write_page
from dvrl.report.page_rows import Table, clean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["report_of", "write_report"]

# The table library and what is built on it.
SCRIPTS = ("tabulator.min.js", "report.js")
STYLES = ("tabulator_simple.min.css",)


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    headline: str,
    warnings: Sequence[str] = (),
    rows: pd.DataFrame,
    fields: pd.DataFrame | None = None,
    images: NDArray[np.uint8] | None = None,
    text: str | None = None,
    facts: Mapping[str, str] | None = None,
    history: Mapping[str, ArrayLike] | None = None,
    removal: pd.DataFrame | None = None,
    discovery: pd.DataFrame | None = None,
    comparison: pd.DataFrame | None = None,
    insights: Sequence[str] = (),
    groups: pd.DataFrame | None = None,
) -> Path:
    """Write a report about data values: one HTML file, complete in itself.

    The same input gives the same bytes. An existing file is replaced in one step, or left as it
    was when something goes wrong.

    Parameters
    ----------
    path : path-like
        Ends in ``.html``.
    title : str
    headline : str
        The result, in a plain sentence.
    warnings : sequence of str
        What the diagnostics say; shown first.
    rows : pandas.DataFrame of shape (n_rows, ...)
        One row per training row, with the caller's row ids as the index. ``data_value`` is needed;
        used where present are ``data_value_std``, ``marginal``, ``label``, ``expected_label``,
        ``label_probability``, ``reason`` (text), and ``nearest_agreeing`` and
        ``nearest_disagreeing`` (a row id, or a list of them).
    fields : pandas.DataFrame of shape (n_rows, n_fields), optional
        The rows' own columns, in the same order.
    images : ndarray of uint8, shape (n_rows, height, width) or (n_rows, height, width, 3), optional
        Pictures of the rows. Those of the lowest rows, their neighbours and the highest rows are
        kept in the file.
    text : str, optional
        Name of the field that holds the row's text.
    facts : mapping of str to str, optional
        About the run.
    history : mapping of str to array-like, optional
        ``iteration`` and ``reward``, as in ``history_`` of a fitted estimator.
    removal : pandas.DataFrame, optional
        ``order`` ("lowest first", "highest first", "random"), ``removed`` (share), ``score`` and,
        where there are several, ``repeat``.
    discovery : pandas.DataFrame, optional
        ``share``, ``found``, ``random``, ``perfect``; see :func:`dvrl.actions.discovery`.
    comparison : pandas.DataFrame, optional
        ``scheme``, ``rows``, ``score``; higher is better.
    insights : sequence of str
        Sentences about where the value lies.
    groups : pandas.DataFrame, optional
        ``group``, ``rows``, ``mean_value`` and any more columns.

    Returns
    -------
    pathlib.Path
        Where it was written.

    Raises
    ------
    ValueError
        If the name does not end in ``.html``, a needed column is absent, or the numbers of rows
        differ.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> rows = pd.DataFrame({"data_value": [0.9, 0.1], "label": ["cat", "dog"]}, index=["a", "b"])
    >>> path = write_report(
    ...     Path(tempfile.mkdtemp()) / "report.html",
    ...     title="Two pets",
    ...     headline="Row b helps least.",
    ...     rows=rows,
    ... )
    >>> path.read_text().startswith("<!DOCTYPE html>")
    True
    """
    from markupsafe import Markup

    target = target_of(path)
    _check(rows, fields, images, text)
    _check_columns("removal", removal, ("order", "removed", "score"))
    _check_columns("discovery", discovery, ("share", "found"))
    parts = Table(rows, fields, images, text).parts()
    return write_page(
        target,
        "valuation.html.j2",
        scripts=SCRIPTS,
        styles=STYLES,
        title=clean(title),
        headline=clean(headline),
        warnings=[clean(warning) for warning in warnings],
        panels=panels(rows, history, removal, discovery),
        comparison=None if comparison is None else plain_table(comparison, _best(comparison)),
        insights=[clean(insight) for insight in insights],
        groups=None if groups is None or groups.empty else plain_table(groups),
        facts={clean(name): clean(value) for name, value in (facts or {}).items()},
        **{**parts, "data": Markup(parts["data"])},
    )


def report_of(
    valuer: Any,
    X: Any,
    y: ArrayLike,
    path: str | os.PathLike[str],
    *,
    suspects: pd.DataFrame | None = None,
    **sections: Any,
) -> Path:
    """Write the report of a fitted estimator.

    Parameters
    ----------
    valuer : DVRLClassifier or DVRLRegressor
        Fitted on `X` and `y`.
    X : array-like or frame of shape (n_rows, n_features)
        The training rows.
    y : array-like of shape (n_rows,)
        Their labels or targets.
    path : path-like
        Ends in ``.html``.
    suspects : pandas.DataFrame, optional
        What :func:`dvrl.diagnostics.suspects.explain_suspects` gave for these rows: the lowest
        rows with their reasons and nearest rows. By default it is asked for the lowest tenth.
    **sections
        Anything that :func:`write_report` takes; it wins over what is filled in here: `title`,
        `headline`, `warnings`, `rows` (with what `suspects` says), `fields` (the columns of a
        frame), `facts` and `history`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If `X` and `y` are not the rows that were valued, or `suspects` are not the lowest of
        them.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from dvrl import DVRLClassifier
    >>> import tempfile
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> X, y = X[:300], y[:300]
    >>> valuer = DVRLClassifier(random_state=0).fit(X, y)
    >>> report_of(valuer, X, y, Path(tempfile.mkdtemp()) / "cells.html").name
    'cells.html'
    """
    from sklearn.utils.validation import check_is_fitted

    from dvrl.diagnostics.suspects import explain_suspects

    check_is_fitted(valuer)
    n_rows = len(valuer.data_values_)
    if len(np.asarray(y)) != n_rows:
        raise ValueError(
            f"The estimator valued {n_rows:,} rows and y has {len(np.asarray(y)):,}; "
            "pass the rows that it was fitted on."
        )
    if "rows" not in sections:
        if suspects is None:
            suspects = explain_suspects(valuer, X, y)
        sections["rows"] = _rows_of(valuer, suspects)
    if "fields" not in sections:
        sections["fields"] = _fields_of(X)
    filled = {
        "title": "What are the training rows worth?",
        "headline": _headline(sections["rows"]),
        "warnings": valuer.diagnostics_.messages,
        "facts": _facts_of(valuer),
        "history": valuer.history_,
    }
    return write_report(path, **{**filled, **sections})


# ------------------------------------------------------------------------- checks of the input


def _check(
    rows: pd.DataFrame,
    fields: pd.DataFrame | None,
    images: NDArray[np.uint8] | None,
    text: str | None,
) -> None:
    _check_columns("rows", rows, ("data_value",))
    if len(rows) == 0:
        raise ValueError("rows is empty; a report needs at least one row.")
    values = rows["data_value"].to_numpy(float)
    if not np.isfinite(values).all():
        raise ValueError("rows['data_value'] has gaps or infinite numbers; leave these rows out.")
    for name, other in (("fields", fields), ("images", images)):
        if other is not None and len(other) != len(rows):
            raise ValueError(
                f"rows has {len(rows):,} rows and {name} {len(other):,}; pass the same rows in "
                "the same order."
            )
    if text is not None and (fields is None or text not in fields.columns):
        raise ValueError(f"fields has no column {text!r} to show as the text; pass it in fields.")
    if images is not None and (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] != 3)
    ):
        raise ValueError(
            f"images has shape {images.shape} and dtype {images.dtype}; pass uint8 of shape "
            "(rows, height, width) or (rows, height, width, 3)."
        )


def _check_columns(name: str, frame: pd.DataFrame | None, needed: Sequence[str]) -> None:
    missing = [] if frame is None else [column for column in needed if column not in frame.columns]
    if missing:
        raise ValueError(f"{name} lacks the column {missing[0]!r}; it needs {', '.join(needed)}.")


def _best(comparison: pd.DataFrame) -> int | None:
    """The place of the best score, where there is one."""
    if "score" not in comparison or comparison["score"].isna().all():
        return None
    return int(np.nanargmax(comparison["score"].to_numpy(float)))


# --------------------------------------------------------------- from a fitted estimator


def _rows_of(valuer: Any, suspects: pd.DataFrame) -> pd.DataFrame:
    """All training rows in their order; the suspects among them with reasons and neighbours."""
    rows = valuer.suspects(1.0)
    if not rows.index[: len(suspects)].equals(suspects.index):
        raise ValueError(
            "suspects are not the rows of lowest value; pass what explain_suspects gave for this "
            "estimator."
        )
    if not hasattr(valuer, "marginal_values_"):
        rows = rows.drop(columns="label_probability")
    for name in ("nearest_agreeing", "nearest_disagreeing", "reason"):
        column = np.full(len(rows), None, dtype=object)
        column[: len(suspects)] = suspects[name].astype(object).where(suspects[name].notna(), None)
        rows[name] = column
    order = np.argsort(valuer.data_values_, kind="stable")  # the order of `suspects`
    return rows.iloc[np.argsort(order, kind="stable")]


def _fields_of(X: Any) -> pd.DataFrame | None:
    """The caller's columns, where the rows came as a frame."""
    import pandas as pd

    if isinstance(X, pd.DataFrame):
        return X
    return X.to_pandas() if hasattr(X, "to_pandas") else None


def _headline(rows: pd.DataFrame) -> str:
    values = rows["data_value"].to_numpy(float)
    low = int((values < 0.5).sum())
    first = (
        f"{low:,} of {len(rows):,} training rows {'has' if low == 1 else 'have'} a data value "
        "below one half: training leaves them out more often than not."
    )
    if low == 0:
        first = f"None of {len(rows):,} training rows has a data value below one half."
    labels = {"label", "expected_label"} <= set(rows.columns)
    if not low or not labels or rows["expected_label"].dtype.kind == "f":
        return first
    lowest = rows.iloc[np.argsort(values, kind="stable")[: min(low, 100)]]
    doubted = int((lowest["label"] != lowest["expected_label"]).sum())
    return (
        f"{first} Among the lowest {len(lowest):,}, another label than the given one is expected "
        f"for {doubted:,}."
    )


def _facts_of(valuer: Any) -> dict[str, str]:
    diagnostics = valuer.diagnostics_
    held = valuer.validation_indices_
    predictor = valuer.predictor if isinstance(valuer.predictor, str) else repr(valuer.predictor)
    return {
        "Training rows": f"{len(valuer.data_values_):,}",
        "Validation rows": "passed by the caller" if held is None else f"{len(held):,} held out",
        "Predictor": predictor,
        "Outer iterations": f"{diagnostics.n_iterations:,} ({diagnostics.stop_reason})",
        "Estimators averaged": f"{valuer.n_members_:,}",
        "Reward, values as weights": f"{diagnostics.reward_weighted:.4g}",
        "Reward, equal weights": f"{diagnostics.reward_uniform:.4g}",
        "Fits": f"{diagnostics.n_fits:,}",
        "Seconds": f"{diagnostics.seconds:.1f}",
    }
