"""Columns that are neither numbers nor texts, as numbers: categories, dates, short strings."""

from __future__ import annotations

import datetime
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..files.state import State, checked, joined, part
from .words import Terms

__all__ = ["OtherColumn"]

# With fewer values each gets an indicator of its own.
MOST_CATEGORIES = 40
# Cells that tell how dates are written.
DATES_LOOKED_AT = 30
DATE_PARTS = ("year", "month", "day")
# How gaps are written in tables of text.
GAPS = (
    *("null", "NULL", "NA", "<NA>", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "none", "None"),
    *("nan", "-nan", "NaN", "-NaN", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND", "?", "...", ""),
)


@dataclass(frozen=True)
class Kind:
    """What a column holds.

    Attributes
    ----------
    kind : {"gaps", "number", "date", "category", "string"}
        ``"gaps"`` where no cell says anything.
    format : str, optional
        How dates are written, where they are text.
    time_zone : str, optional
        Zone in which dates are split into their parts.
    with_hour : bool
        Whether dates have a time of day.
    categories : tuple of str or None
        Values with an indicator; None stands for gaps.
    """

    kind: Literal["gaps", "number", "date", "category", "string"]
    format: str | None = None
    time_zone: str | None = None
    with_hour: bool = False
    categories: tuple[str | None, ...] = ()


class OtherColumn:
    """One column to numbers with NaN for gaps.

    A column of text that reads as numbers, or as dates, is taken as such. Dates become year,
    month, day, hour and seconds. Of less than 40 values each gets an indicator; values never seen
    have none. Other strings become up to 30 components of their parts of 3 and 4 letters, of all
    the same scale.

    Attributes
    ----------
    name : str
    kind : Kind
    terms : Terms or None
        Of strings.
    """

    def __init__(self, name: str, kind: Kind, terms: Terms | None = None) -> None:
        self.name, self.kind, self.terms = name, kind, terms

    @classmethod
    def fit(cls, name: str, column: Any) -> Self:
        """Learn what a column, a pandas series, holds."""
        column = _without_words_for_gaps(column)
        if column.isna().all():
            return cls(name, Kind("gaps"))
        dates, written = _as_dates(column)
        if dates is not None:
            zone = None if dates.dt.tz is None else str(dates.dt.tz)
            filled = dates.dropna()
            with_hour = not bool((filled.dt.normalize() == filled).all())
            return cls(name, Kind("date", written, zone, with_hour))
        if not _is_categorical(column) and _numbers(column, strict=True) is not None:
            return cls(name, Kind("number"))
        cells = _strings(column)
        values = {cell for cell in cells if cell is not None}
        if len(values) < MOST_CATEGORIES:
            gap = (None,) if None in cells else ()
            return cls(name, Kind("category", categories=(*sorted(values), *gap)))
        return cls(name, Kind("string"), Terms.of_letters([cell or "" for cell in cells]))

    @property
    def names(self) -> list[str]:
        """Names of the numbers."""
        kind = self.kind
        if kind.kind == "date":
            parts = [*DATE_PARTS, *(["hour"] if kind.with_hour else []), "total_seconds"]
        elif kind.kind == "category":
            parts = ["nan" if each is None else each for each in kind.categories]
        elif self.terms is not None:
            n = self.terms.n_components
            parts = [str(number).zfill(len(str(n - 1))) for number in range(n)]
        else:
            return [self.name] if kind.kind == "number" else []
        return [f"{self.name}_{each}" for each in parts]

    def transform(self, column: Any) -> list[NDArray[np.float64]]:
        """The numbers of each name."""
        kind = self.kind
        column = _without_words_for_gaps(column)
        if kind.kind == "number":
            return [_numbers(column, strict=False).astype(np.float64)]
        if kind.kind == "date":
            return self._date_parts(column)
        if kind.kind == "gaps":
            return []
        cells = _strings(column)
        if self.terms is not None:
            components = self.terms.components(self.terms.weights([cell or "" for cell in cells]))
            return list(components.T.astype(np.float64))
        places = {category: place for place, category in enumerate(kind.categories)}
        found = np.array([places.get(cell, -1) for cell in cells], dtype=np.intp)
        return [(found == place).astype(np.float64) for place in range(len(places))]

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        own: State = {"name": self.name, "kind": asdict(self.kind)}, {}
        if self.terms is None:
            return own
        record, arrays = joined(terms=self.terms.state())
        return own[0] | record, arrays

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        kind = checked(Kind, record["kind"])
        is_string = kind.kind == "string"
        terms = Terms.from_state(*part(record, arrays, "terms")) if is_string else None
        return cls(str(record["name"]), kind, terms)

    def _date_parts(self, column: Any) -> list[NDArray[np.float64]]:
        import pandas as pd

        kind = self.kind
        dates = _with_dates(column)
        if not pd.api.types.is_datetime64_any_dtype(dates):
            utc = kind.format is None or "%z" in kind.format
            dates = pd.to_datetime(dates, format=kind.format, errors="coerce", utc=utc)
        if kind.time_zone is None:
            dates = dates if dates.dt.tz is None else dates.dt.tz_convert(None)
        else:
            localized = dates if dates.dt.tz is not None else dates.dt.tz_localize("UTC")
            dates = localized.dt.tz_convert(kind.time_zone)
        at = dates.dt
        epoch = pd.Timestamp(0, tz=dates.dt.tz)
        seconds = (dates - epoch) / pd.Timedelta("1s")
        parts = [at.year, at.month, at.day, *([at.hour] if kind.with_hour else []), seconds]
        # In single precision, as all that follows.
        return [part.to_numpy(np.float32, na_value=np.nan).astype(np.float64) for part in parts]


def _is_categorical(column: Any) -> bool:
    import pandas as pd

    return isinstance(column.dtype, pd.CategoricalDtype)


def _holds_strings(column: Any) -> bool:
    """Whether all cells that are no gaps are strings, and the column no categorical one."""
    import pandas as pd

    if _is_categorical(column):
        return False
    return bool(pd.api.types.is_string_dtype(column[~column.isna()]))


def _without_words_for_gaps(column: Any) -> Any:
    """A column of text or objects with gaps in the place of words for them."""
    if column.dtype != object and not _holds_strings(column):
        return column
    is_gap = [isinstance(cell, str) and cell.strip() in GAPS for cell in column]
    return column.mask(is_gap) if any(is_gap) else column


def _with_dates(column: Any) -> Any:
    """A column of ``datetime.date`` objects as one of dates."""
    import pandas as pd

    if column.dtype != object:
        return column
    filled = column.dropna().head(DATES_LOOKED_AT)
    if not len(filled) or not all(type(cell) is datetime.date for cell in filled):
        return column
    try:
        return pd.to_datetime(column)
    except (ValueError, TypeError):
        return column


def _as_dates(column: Any) -> tuple[Any, str | None]:
    """Dates, and how they are written where they are text; None where they are no dates."""
    import pandas as pd

    column = _with_dates(column)
    if pd.api.types.is_datetime64_any_dtype(column):
        return column, None
    if not _holds_strings(column):
        return None, None
    filled = column.dropna()
    sample = filled.sample(min(DATES_LOOKED_AT, len(filled)), random_state=0)
    for day_first in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = {
                pd.tseries.api.guess_datetime_format(cell, dayfirst=day_first) for cell in sample
            }
        written = found.pop() if len(found) == 1 else None
        if written is not None:
            try:
                return pd.to_datetime(column, format=written, utc="%z" in written), written
            except (ValueError, TypeError, OverflowError):
                return None, None
    return None, None


def _numbers(column: Any, *, strict: bool) -> Any:
    """Numbers in single precision; None if strict and a cell is no number."""
    import pandas as pd

    try:
        numbers = pd.to_numeric(column, errors="raise" if strict else "coerce")
        with np.errstate(over="ignore"):
            return numbers.to_numpy(np.float32, na_value=np.nan)
    except (ValueError, TypeError):
        return None


def _strings(column: Any) -> list[str | None]:
    """Cells as strings, None for gaps."""
    return [
        None if is_gap else cell if isinstance(cell, str) else str(cell)
        for cell, is_gap in zip(column, column.isna(), strict=True)
    ]
