"""The rows of a report as its page holds them: in columns, as text and numbers."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "clean", "is_number", "plain"]

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


class Table:
    """The rows sorted by value; the arguments are those of `write_report`."""

    def __init__(
        self,
        rows: pd.DataFrame,
        fields: pd.DataFrame | None,
        images: NDArray[np.uint8] | None,
        text: str | None,
    ) -> None:
        from dvrl.actions.review import row_names  # its room loads scikit-learn

        self.order = np.argsort(rows["data_value"].to_numpy(float), kind="stable")
        self.rows = rows.iloc[self.order]
        self.fields = None if fields is None else fields.iloc[self.order]
        self.text = text
        self.images = images
        self.names = [clean(name) for name in row_names(self.rows.index)]
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
            "id_title": clean(self.rows.index.name or "Row"),
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
                {"title": clean(self.text), "role": "text", **_column(series, None, as_text=True)}
            )
        for place in places[:MOST_FIELDS]:
            column = _column(self._cut(self.fields.iloc[:, place]), None)
            columns.append({"title": clean(names[place]), "role": "field", **column})
        if len(places) > MOST_FIELDS:
            self.notes.append(f"The first {MOST_FIELDS} of {len(places):,} fields are shown.")
        return columns

    def _cut(self, series: pd.Series[Any]) -> pd.Series[Any]:
        """Shorten long texts, those of high values most, so that the file stays small."""
        import pandas as pd
        from pandas.api import types

        if types.is_numeric_dtype(series.dtype) or types.is_datetime64_any_dtype(series.dtype):
            return series
        cells = _texts(series)
        limits = np.where(np.arange(len(cells)) < LONG_TEXTS, LONG_TEXT, SHORT_TEXT)
        shortened = [
            cell if cell is None or len(cell) <= limit else f"{cell[: limit - 1]}…"
            for cell, limit in zip(cells, limits, strict=True)
        ]
        if shortened != cells:
            self.notes.append(
                f"Texts of {clean(series.name)} are cut after {LONG_TEXT:,} characters, and after "
                f"{SHORT_TEXT} beyond the {LONG_TEXTS:,} lowest rows, to keep this file small."
            )
        return pd.Series(shortened, dtype=object, name=series.name)

    def _numeric_labels(self) -> bool:
        """Whether labels are measurements rather than names of classes."""
        kinds = [
            self.rows[name] for name in ("label", "expected_label") if name in self.rows.columns
        ]
        if not kinds or not all(map(is_number, kinds)):
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
        words = {clean(plain(label)) for label in given[given.notna()].unique()}
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
            return by_text.get(clean(plain(name))) if found is None else found

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
        columns: list[dict[str, Any]] = [{"title": clean(self.rows.index.name or "Row")}]
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
    import pandas as pd
    from pandas.api import types

    if is_number(series) and not as_text and not types.is_complex_dtype(series.dtype):
        numbers = series.to_numpy(float, na_value=np.nan)
        if not np.isinf(numbers).any() and not (np.abs(numbers) > LARGEST_WHOLE).any():
            return {
                "number": True,
                "values": _numbers(numbers, decimals),
                **({} if decimals is None else {"digits": decimals}),
            }
    cells = _texts(series)
    codes, words = pd.factorize(np.array(cells, dtype=object))
    if len(words) <= len(cells) // 2:
        return {"number": False, "words": words.tolist(), "codes": codes.tolist()}
    return {"number": False, "values": cells}


def is_number(series: pd.Series[Any]) -> bool:
    """Whether a column holds numbers; yes and no are none."""
    from pandas.api import types

    return types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)


def _texts(series: pd.Series[Any]) -> list[str | None]:
    """Every cell as text; None for a gap."""
    gaps = series.isna().to_numpy()
    return [None if gap else clean(plain(cell)) for cell, gap in zip(series, gaps, strict=True)]


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


def plain(value: Any) -> Any:
    """A Python value in place of a NumPy scalar, whose text may differ."""
    return value.item() if isinstance(value, np.generic) else value


def clean(value: Any) -> str:
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
    named = f" --id {shlex.quote(clean(id_name))}" if id_name is not None else ""
    return f"dvrl apply TRAIN.csv --review review.csv{named} --target LABEL -o cleaned.csv"


def _json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
