"""The report: one HTML file for people, which needs no network and no server.

Everything that comes from the caller's data reaches the page escaped (by Jinja2) or as JSON that
the script turns into text nodes. A content security policy allows the report's own scripts, by
their digest, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.actions.review import row_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["report_of", "write_report"]

ENDINGS = (".html", ".htm")
TITLES = {
    "data_value": "Data value",
    "data_value_std": "Spread",
    "marginal": "Marginal",
    "label": "Given label",
    "expected_label": "Expected label",
    "label_probability": "Label probability",
    "reason": "Reason",
}
ROLES = {
    "data_value": "value",
    "data_value_std": "std",
    "marginal": "marginal",
    "label": "label",
    "expected_label": "expected",
    "label_probability": "probability",
    "reason": "reason",
}
NEAREST = {"nearest_agreeing": "agreeing", "nearest_disagreeing": "disagreeing"}
# Columns whose numbers are shown with so many decimals; others with six significant digits.
DECIMALS = {
    "data_value": 4,
    "data_value_std": 4,
    "marginal": 4,
    "label_probability": 4,
}
# What a page can carry and still open at once.
MOST_FIELDS = 40
MOST_PICTURES_LOWEST = 600
MOST_PICTURES_HIGHEST = 60
PICTURE_SIDE = 96
LONG_TEXTS = 5_000
LONG_TEXT = 4_000
SHORT_TEXT = 200
MOST_LABELS = 200
STATIC_ROWS = 40
# Whole numbers beyond this lose digits in a browser.
LARGEST_WHOLE = 2**53

# Rows for which `report_of` looks up neighbours; a distance to every other row each.
NEIGHBOURED_ROWS = 500
N_NEIGHBOURS = 2


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
    from dvrl.files.atomic import write_atomically

    target = Path(path)
    _check(target, rows, fields, images, text)
    _check_columns("removal", removal, ("order", "removed", "score"))
    _check_columns("discovery", discovery, ("share", "found"))
    table = _Table(rows, fields, images, text)
    page = _page(
        title=_clean(title),
        headline=_clean(headline),
        warnings=[_clean(warning) for warning in warnings],
        panels=_panels(rows, history, removal, discovery),
        comparison=None if comparison is None else _plain_table(comparison, best="score"),
        insights=[_clean(insight) for insight in insights],
        groups=None if groups is None else _plain_table(groups),
        facts={_clean(name): _clean(value) for name, value in (facts or {}).items()},
        **table.parts(),
    )
    content = page.encode()
    write_atomically(target, lambda stream: stream.write(content))
    return target


def report_of(
    valuer: Any, X: Any, y: ArrayLike, path: str | os.PathLike[str], **sections: Any
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
    **sections
        Anything that :func:`write_report` takes; it wins over what is filled in here: `title`,
        `headline`, `warnings`, `rows` (with reasons, and the nearest rows of the lowest), `fields`
        (the columns of a frame), `facts` and `history`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If `X` and `y` are not the rows that were valued.

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

    check_is_fitted(valuer)
    n_rows = len(valuer.data_values_)
    if len(np.asarray(y)) != n_rows:
        raise ValueError(
            f"The estimator valued {n_rows:,} rows and y has {len(np.asarray(y)):,}; "
            "pass the rows that it was fitted on."
        )
    if "rows" not in sections:
        sections["rows"] = _rows_of(valuer, X)
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
    path: Path,
    rows: pd.DataFrame,
    fields: pd.DataFrame | None,
    images: NDArray[np.uint8] | None,
    text: str | None,
) -> None:
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name!r} does not end in .html; a report is an HTML file.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r}; create it, or choose another path."
        )
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


# ------------------------------------------------------------------------------- the table


class _Table:
    """The rows as the page holds them: sorted by value, in columns, as text and numbers."""

    def __init__(
        self,
        rows: pd.DataFrame,
        fields: pd.DataFrame | None,
        images: NDArray[np.uint8] | None,
        text: str | None,
    ) -> None:
        self.order = np.argsort(rows["data_value"].to_numpy(float), kind="stable")
        self.rows = rows.iloc[self.order]
        self.fields = None if fields is None else fields.iloc[self.order]
        self.text = text
        self.images = images
        self.names = [_clean(name) for name in row_names(self.rows.index)]
        self.notes: list[str] = []
        self.columns = [*self._value_columns(), *self._field_columns()]
        self.near = {
            role: self._positions(self.rows[name])
            for name, role in NEAREST.items()
            if name in self.rows.columns
        }
        self.pictures = {} if images is None else self._pictures(images)

    def parts(self) -> dict[str, Any]:
        """What the template needs of the rows."""
        names_differ = len(set(self.names)) == len(self.names)
        if not names_differ:
            self.notes.append(
                "Some row ids occur more than once, so rows cannot be reviewed here: a decision "
                "would not say which row it is about."
            )
        labels = self._labels()
        data = {
            "ids": self.names,
            "id_title": _clean(self.rows.index.name or "Row"),
            "columns": self.columns,
            "labels": labels,
            "whole_labels": self._labels_are_whole(),
            "near": self.near,
            "images": self.pictures,
            "has_images": self.images is not None,
            "review": names_differ,
        }
        digest = hashlib.sha256(_json(data).encode()).hexdigest()
        data["storage"] = f"dvrl-review-{digest[:16]}"
        return {
            "data": _json(data),
            "n_rows": len(self.names),
            "labels": labels,
            "has_expected": {"label", "expected_label"} <= set(self.rows.columns),
            "can_review": names_differ,
            "notes": self.notes,
            "static": self._static(),
            "command": _command(self.rows.index.name),
        }

    def _value_columns(self) -> list[dict[str, Any]]:
        """Columns about the value, in the order of `TITLES`."""
        wanted = [name for name in TITLES if name in self.rows.columns]
        same = {"marginal", "label_probability"} <= set(wanted) and np.array_equal(
            self.rows["marginal"].to_numpy(float),
            self.rows["label_probability"].to_numpy(float),
            equal_nan=True,
        )
        if same:
            wanted.remove("marginal")
        if "data_value_std" in wanted and self.rows["data_value_std"].isna().all():
            wanted.remove("data_value_std")
        numbers = self._numeric_labels()
        columns = []
        for name in wanted:
            is_label = name in ("label", "expected_label")
            column = _column(self.rows[name], DECIMALS.get(name), as_text=is_label and not numbers)
            columns.append({"title": TITLES[name], "role": ROLES[name], **column})
        return columns

    def _field_columns(self) -> list[dict[str, Any]]:
        if self.fields is None:
            return []
        columns = []
        names = list(self.fields.columns)
        places = [place for place, name in enumerate(names) if name != self.text]
        if self.text is not None:
            series = self._cut(self.fields.iloc[:, names.index(self.text)])
            columns.append(
                {"title": _clean(self.text), "role": "text", **_column(series, None, as_text=True)}
            )
        for place in places[:MOST_FIELDS]:
            column = _column(self._cut(self.fields.iloc[:, place]), None)
            columns.append({"title": _clean(names[place]), "role": "field", **column})
        if len(places) > MOST_FIELDS:
            self.notes.append(f"The first {MOST_FIELDS} of {len(places):,} fields are shown.")
        return columns

    def _cut(self, series: pd.Series[Any]) -> pd.Series[Any]:
        """Shorten long texts, those of high values most, so that the file stays small."""
        from pandas.api import types

        if types.is_numeric_dtype(series.dtype) or types.is_datetime64_any_dtype(series.dtype):
            return series
        cells = [
            None if gap else _clean(cell) for cell, gap in zip(series, series.isna(), strict=True)
        ]
        limits = np.where(np.arange(len(cells)) < LONG_TEXTS, LONG_TEXT, SHORT_TEXT)
        shortened = [
            cell if cell is None or len(cell) <= limit else f"{cell[: limit - 1]}…"
            for cell, limit in zip(cells, limits, strict=True)
        ]
        if shortened != cells:
            self.notes.append(
                f"Texts of {_clean(series.name)} are cut after {LONG_TEXT:,} characters, and after "
                f"{SHORT_TEXT} beyond the {LONG_TEXTS:,} lowest rows, to keep this file small."
            )
        import pandas as pd

        return pd.Series(shortened, dtype=object, name=series.name)

    def _numeric_labels(self) -> bool:
        """Whether labels are measurements rather than names of classes."""
        from pandas.api import types

        kinds = [
            self.rows[name] for name in ("label", "expected_label") if name in self.rows.columns
        ]
        if not kinds or not all(
            types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
            for series in kinds
        ):
            return False
        numbers = np.concatenate([series.to_numpy(float, na_value=np.nan) for series in kinds])
        numbers = numbers[np.isfinite(numbers)]
        return bool(np.any(numbers != np.round(numbers)))

    def _labels_are_whole(self) -> bool:
        from pandas.api import types

        return (
            "label" in self.rows.columns
            and self._numeric_labels()
            and types.is_integer_dtype(self.rows["label"].dtype)
        )

    def _labels(self) -> list[str]:
        """The classes to choose from; empty for measurements and for very many classes."""
        if "label" not in self.rows.columns or self._numeric_labels():
            return []
        given = self.rows["label"]
        words = {_clean(_plain(label)) for label in given[given.notna()].unique()}
        return sorted(words, key=_natural) if len(words) <= MOST_LABELS else []

    def _positions(self, series: pd.Series[Any]) -> list[list[int] | None]:
        """Row ids as positions in the table; ids that are not there are left out."""
        places = {name: place for place, name in reversed(list(enumerate(self.rows.index)))}
        by_text = {name: place for place, name in reversed(list(enumerate(self.names)))}

        def position(name: Any) -> int | None:
            try:
                found = places.get(name)
            except TypeError:  # not hashable
                found = None
            return by_text.get(_clean(_plain(name))) if found is None else found

        near: list[list[int] | None] = []
        for cell in series:
            several = list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]
            found = [place for name in several if (place := position(name)) is not None]
            near.append(found or None)
        return near

    def _pictures(self, images: NDArray[np.uint8]) -> dict[int, str]:
        n_rows = len(self.names)
        wanted = set(range(min(n_rows, MOST_PICTURES_LOWEST)))
        for near in self.near.values():
            wanted.update(p for places in near[:MOST_PICTURES_LOWEST] for p in places or ())
        wanted.update(range(max(0, n_rows - MOST_PICTURES_HIGHEST), n_rows))
        if len(wanted) < n_rows:
            self.notes.append(
                f"Pictures are kept for {len(wanted):,} of {n_rows:,} rows, to keep this file "
                f"small: the lowest {MOST_PICTURES_LOWEST}, the rows nearest to them, and the "
                f"highest {MOST_PICTURES_HIGHEST}."
            )
        if max(images.shape[1:3]) > PICTURE_SIDE:
            self.notes.append(f"Pictures are made smaller, to {PICTURE_SIDE} pixels a side.")
        return {place: _picture(images[self.order[place]]) for place in sorted(wanted)}

    def _static(self) -> dict[str, Any]:
        """The lowest rows as a plain table, for paper and for browsers without scripts."""
        shown = [column for column in self.columns if column["role"] != "field"]
        columns: list[dict[str, Any]] = [{"title": _clean(self.rows.index.name or "Row")}]
        if self.pictures:
            columns.append({"title": "Image", "image": True})
        columns += [{"title": c["title"], "number": c["number"]} for c in shown]
        table = []
        for place in range(min(STATIC_ROWS, len(self.names))):
            picture = [self.pictures.get(place)] if self.pictures else []
            cells = [_cell(column, place)[:SHORT_TEXT] for column in shown]
            table.append([self.names[place], *picture, *cells])
        return {"columns": columns, "rows": table}


def _column(series: pd.Series[Any], decimals: int | None, as_text: bool = False) -> dict[str, Any]:
    """A column for the page: numbers, words and their codes, or texts."""
    from pandas.api import types

    is_number = types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
    if is_number and not as_text and not types.is_complex_dtype(series.dtype):
        numbers = series.to_numpy(float, na_value=np.nan)
        if not np.isinf(numbers).any() and not (np.abs(numbers) > LARGEST_WHOLE).any():
            return {
                "number": True,
                "values": _numbers(numbers, decimals),
                **({} if decimals is None else {"digits": decimals}),
            }
    gaps = series.isna().to_numpy()
    cells = [None if gap else _clean(_plain(c)) for c, gap in zip(series, gaps, strict=True)]
    words = list(dict.fromkeys(cell for cell in cells if cell is not None))
    if len(words) <= len(cells) // 2:
        code = {word: place for place, word in enumerate(words)}
        codes = [-1 if cell is None else code[cell] for cell in cells]
        return {"number": False, "words": words, "codes": codes}
    return {"number": False, "values": cells}


def _numbers(numbers: NDArray[np.float64], decimals: int | None) -> list[float | int | None]:
    """Numbers as short as they are shown; NaN becomes a gap."""

    def short(number: float) -> float | int | None:
        if number != number:
            return None
        if number == int(number):
            return int(number)
        return round(number, decimals) if decimals is not None else float(f"{number:.6g}")

    return [short(number) for number in numbers.tolist()]


def _cell(column: Mapping[str, Any], place: int) -> str:
    """A cell as text."""
    if "codes" in column:
        code = column["codes"][place]
        return "" if code < 0 else str(column["words"][code])
    value = column["values"][place]
    if value is None:
        return ""
    return f"{value:.{column['digits']}f}" if "digits" in column else str(value)


def _plain(value: Any) -> Any:
    """A Python value in place of a NumPy scalar, whose text may differ."""
    return value.item() if isinstance(value, np.generic) else value


def _clean(value: Any) -> str:
    """Text that can be written as UTF-8; halves of surrogate pairs become question marks."""
    return str(value).encode("utf-8", "replace").decode()


def _natural(word: str) -> tuple[bool, float, str]:
    """Order numbers by size, before words."""
    try:
        return (False, float(word), word)
    except ValueError:
        return (True, 0.0, word)


def _picture(image: NDArray[np.uint8]) -> str:
    """A picture as a data URI."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    if max(picture.size) > PICTURE_SIDE:
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _command(id_name: Any) -> str:
    named = f" --id {shlex.quote(_clean(id_name))}" if id_name is not None else ""
    return f"dvrl apply TRAIN.csv --review review.csv{named} --target LABEL -o cleaned.csv"


# -------------------------------------------------------------------------------- the page


def _panels(
    rows: pd.DataFrame,
    history: Mapping[str, ArrayLike] | None,
    removal: pd.DataFrame | None,
    discovery: pd.DataFrame | None,
) -> list[dict[str, str]]:
    from markupsafe import Markup

    from dvrl.report import charts

    panels = [
        (
            "values",
            "Distribution of the values",
            "Low values mark rows that training leaves out most of the time.",
            charts.values_chart(rows["data_value"].to_numpy(float)),
        )
    ]
    if history is not None and len(np.asarray(history["reward"])):
        panels.append(
            (
                "history",
                "Learning curve",
                "Reward on the validation rows while the values were learned; higher is better.",
                charts.history_chart(history),
            )
        )
    if removal is not None and len(removal):
        panels.append(
            (
                "removal",
                "Removing rows",
                "Good values: the score holds or rises when the lowest go, and falls when the "
                "highest go. A band reaches from the lowest repeat to the highest.",
                charts.removal_chart(removal),
            )
        )
    if discovery is not None and len(discovery):
        panels.append(
            (
                "discovery",
                "Known errors found",
                "How many of the known errors are met when rows are looked at from the lowest "
                "value upwards.",
                charts.discovery_chart(discovery),
            )
        )
    names = ("name", "title", "note", "svg")
    return [dict(zip(names, (*panel[:3], Markup(panel[3])), strict=True)) for panel in panels]


def _plain_table(frame: pd.DataFrame, best: str | None = None) -> dict[str, Any]:
    """A short table; `best` names the column whose largest number marks its row."""
    from pandas.api import types

    columns = []
    for name in frame.columns:
        series = frame[name]
        number = types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
        title = _clean(name).replace("_", " ")
        columns.append({"title": title[:1].upper() + title[1:], "number": number})
    table = [[_shown(cell) for cell in row] for row in frame.itertuples(index=False, name=None)]
    place = None
    if best is not None and best in frame.columns and frame[best].notna().any():
        place = int(np.nanargmax(frame[best].to_numpy(float)))
    return {"columns": columns, "rows": table, "best": place}


def _shown(value: Any) -> str:
    value = _plain(value)
    if value is None or value != value:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else _clean(value)


def _json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _page(*, data: str, **parts: Any) -> str:
    from importlib.metadata import version

    from jinja2 import Environment
    from markupsafe import Markup

    template = Environment(autoescape=True, trim_blocks=True).from_string(_asset("report.html.j2"))
    scripts = [_without_map(_asset("tabulator.min.js")), _asset("report.js")]
    styles = _without_map(_asset("tabulator_simple.min.css")) + _asset("report.css")
    return template.render(
        version=version("dvrl"),
        scripts=[Markup(script) for script in scripts],
        script_hashes=" ".join(f"'{_digest(script)}'" for script in scripts),
        styles=Markup(styles),
        data=Markup(data),
        **parts,
    )


def _asset(name: str) -> str:
    return (files("dvrl.report") / "assets" / name).read_text(encoding="utf-8")


def _without_map(source: str) -> str:
    """A library without the link to its source map, which a browser would ask for."""
    return "\n".join(line for line in source.splitlines() if "sourceMappingURL=" not in line)


def _digest(script: str) -> str:
    """The name of a script in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# --------------------------------------------------------------- from a fitted estimator


def _rows_of(valuer: Any, X: Any) -> pd.DataFrame:
    """Values, labels, reasons and neighbours of the training rows, in their order."""
    suspects = valuer.suspects(fraction=1.0)
    order = np.argsort(valuer.data_values_, kind="stable")
    rows = suspects.iloc[np.argsort(order)]
    if not hasattr(valuer, "marginal_values_"):
        rows = rows.drop(columns="label_probability")
    numbers = hasattr(valuer, "coder_") and valuer.coder_.task == "regression"
    agreeing, disagreeing = _neighbours(valuer, X, rows, order[:NEIGHBOURED_ROWS])
    return rows.assign(
        reason=_reasons(rows, numbers), nearest_agreeing=agreeing, nearest_disagreeing=disagreeing
    )


def _reasons(rows: pd.DataFrame, numbers: bool) -> list[str]:
    """Why a row may have a low value, in a sentence; empty for values of one half and more."""
    probability = rows.get("label_probability")
    unlikely = np.zeros(len(rows), bool) if probability is None else probability < 0.5
    reasons = []
    columns = (rows["data_value"], rows["label"], rows["expected_label"], unlikely)
    for value, label, expected, doubted in zip(*columns, strict=True):
        if value >= 0.5:
            reasons.append("")
        elif numbers and doubted:
            side = "above" if label > expected else "below"
            reasons.append(f"The target lies far {side} what is expected.")
        elif not numbers and expected != label:
            reasons.append(f"{expected} is expected, not {label}.")
        else:
            reasons.append(
                f"The {'target' if numbers else 'label'} is as expected; training with rows like "
                "this one still does not help on the validation rows."
            )
    return reasons


def _neighbours(
    valuer: Any, X: Any, rows: pd.DataFrame, wanted: NDArray[np.intp]
) -> tuple[list[list[Any] | None], list[list[Any] | None]]:
    """Ids of the nearest rows with the same label and with another, for the wanted rows."""
    from sklearn.metrics import pairwise_distances_chunked

    matrix = valuer.encoder_.transform(X, estimator=valuer)
    labels = rows["label"].to_numpy()
    found: list[list[list[Any] | None]] = [[None] * len(rows), [None] * len(rows)]
    start = 0
    for block in pairwise_distances_chunked(matrix[wanted], matrix, working_memory=64):
        for row, distances in zip(wanted[start : start + len(block)], block, strict=True):
            same = _agrees(valuer, labels, row)
            distances[row] = np.inf
            for kind, candidates in enumerate((same, ~same)):
                places = np.flatnonzero(candidates & np.isfinite(distances))
                nearest = places[np.argsort(distances[places], kind="stable")[:N_NEIGHBOURS]]
                found[kind][row] = rows.index[nearest].tolist() or None
        start += len(block)
    return found[0], found[1]


def _agrees(valuer: Any, labels: NDArray[Any], row: int) -> NDArray[np.bool_]:
    if valuer.coder_.task == "classification":
        return np.asarray(labels == labels[row], bool)
    # Within half the robust spread of all targets.
    difference = np.abs(labels.astype(float) - float(labels[row]))
    return np.asarray(difference <= 0.5 * valuer.coder_.scale, bool)


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
