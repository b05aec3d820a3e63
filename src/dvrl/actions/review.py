"""Decisions of a person about rows (keep, relabel, drop), applied to a table.

A text table that stays a text table of the same kind is edited as text: every row that is kept as
it is keeps its bytes. Otherwise the table goes through a frame.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Applied", "Decision", "apply_review", "read_review", "row_names"]

HEADER = ("id", "decision", "new_label")
KEEP, RELABEL, DROP = "keep", "relabel", "drop"
DECISIONS = (KEEP, RELABEL, DROP)
DELIMITERS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t"}
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Decision:
    """What a person decided about a row.

    Attributes
    ----------
    name : str
        The row's id, as text.
    decision : {"keep", "relabel", "drop"}
    new_label : str
        Empty unless the row is relabelled.
    """

    name: str
    decision: str
    new_label: str


@dataclass(frozen=True)
class Applied:
    """What was done to a table.

    Attributes
    ----------
    n_rows : int
        Rows of the cleaned table.
    n_kept, n_relabelled, n_dropped : int
        Decisions of each kind.
    unseen_labels : tuple of str
        New labels that no row of the table had before; perhaps mistyped.
    """

    n_rows: int
    n_kept: int
    n_relabelled: int
    n_dropped: int
    unseen_labels: tuple[str, ...]


def row_names(index: pd.Index[Any]) -> list[str]:
    """Row ids as text, as reports and reviews write them.

    Parameters
    ----------
    index : pandas.Index of shape (n_rows,)

    Returns
    -------
    list of str

    Examples
    --------
    >>> import pandas as pd
    >>> row_names(pd.Index([7, 8])), row_names(pd.Index(["a", "b"]))
    (['7', '8'], ['a', 'b'])
    """
    return [str(name) for name in index.tolist()]


def read_review(path: str | os.PathLike[str]) -> list[Decision]:
    """Read the decisions that a report exported.

    Parameters
    ----------
    path : path-like
        A CSV file with the columns ``id``, ``decision`` (keep, relabel or drop) and ``new_label``
        (filled where the decision is relabel, and nowhere else).

    Returns
    -------
    list of Decision
        At least one; ids differ.

    Raises
    ------
    FileNotFoundError, ValueError
        With one sentence about what is wrong, and in which line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}; check the path.")
    try:
        content = path.read_bytes().decode("utf-8-sig")
        # A record may span lines; errors name the line where it ends.
        reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
        missing = [name for name in HEADER if name not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(
                f"{path} has no column {missing[0]!r}; a review has the columns "
                f"{', '.join(HEADER)}."
            )
        decisions = [_decision(record, f"{path}, line {reader.line_num}") for record in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as a review ({error}); export it from the report again."
        ) from error
    if not decisions:
        raise ValueError(f"{path} holds no decision; review some rows and export again.")
    repeated = [name for name, count in Counter(d.name for d in decisions).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{path} decides more than once about row {repeated[0]!r}; leave one line for each row."
        )
    return decisions


def _decision(record: dict[str | Any, Any], where: str) -> Decision:
    if None in record or any(record[name] is None for name in HEADER):
        raise ValueError(f"{where}: the number of cells differs from that of the first line.")
    name, decision, label = (record[column] for column in HEADER)
    if decision not in DECISIONS:
        raise ValueError(
            f"{where}: {decision!r} is not a decision; write {', '.join(DECISIONS[:-1])} or "
            f"{DECISIONS[-1]}."
        )
    if decision == RELABEL and not label.strip():
        raise ValueError(f"{where}: row {name!r} is to be relabelled, but new_label is empty.")
    if decision != RELABEL and label.strip():
        raise ValueError(
            f"{where}: row {name!r} has a new label, but the decision is {decision}; write "
            "relabel, or empty new_label."
        )
    return Decision(name, decision, label)


def apply_review(
    table: str | os.PathLike[str],
    review: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    id_column: str | None = None,
    target: str | None = None,
) -> Applied:
    """Write the table as a review left it.

    Dropped rows are gone, relabelled rows carry the new label in the target's own type, and
    everything else is as it was, in the same order. Where input and output are text of the same
    kind, the lines of all other rows are the same to the byte.

    Parameters
    ----------
    table : path-like
        ``.csv``, ``.csv.gz``, ``.tsv`` or ``.parquet``.
    review : path-like
        See :func:`read_review`.
    output : path-like
        ``.csv``, ``.tsv`` or ``.parquet``; an existing file is replaced in one step.
    id_column : str, optional
        Column whose text is the row's id; by default the index that a Parquet file keeps, or the
        number of the row, counted from 0.
    target : str, optional
        Column of the labels; needed when rows are relabelled.

    Returns
    -------
    Applied

    Raises
    ------
    FileNotFoundError, ValueError
        With one sentence about the cause and the fix; nothing is written then.
    """
    from dvrl.files.tables import read_table, write_table

    decisions = read_review(review)
    frame = read_table(table)
    edit = _Edit.of(frame, decisions, id_column, target, Path(table))
    if Path(output).suffix.lower() in DELIMITERS:
        _refuse_gaps(edit)
    lines = _text_rows(Path(table), Path(output), frame)
    if lines is not None:
        _write_text(lines, edit, Path(output))
    else:
        write_table(edit.frame(), output)
    counts = Counter(decision.decision for decision in decisions)
    return Applied(
        n_rows=len(frame) - counts[DROP],
        n_kept=counts[KEEP],
        n_relabelled=counts[RELABEL],
        n_dropped=counts[DROP],
        unseen_labels=edit.unseen_labels(),
    )


# ------------------------------------------------------------------------------ what to change


@dataclass(frozen=True)
class _Edit:
    """Decisions as positions in a table."""

    original: pd.DataFrame
    target: str | None
    dropped: NDArray[np.intp]
    labels: dict[int, Any]  # position -> new label, in the type of the target

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        decisions: Sequence[Decision],
        id_column: str | None,
        target: str | None,
        path: Path,
    ) -> _Edit:
        for name, option in ((id_column, "--id"), (target, "--target")):
            known = name is None or name in frame.columns
            if not known and not (option == "--id" and name == frame.index.name):
                shown = ", ".join(repr(column) for column in list(frame.columns)[:10])
                raise ValueError(f"{path} has no column {name!r} ({option}); it has {shown}.")
        places = _places(frame, id_column)
        found: dict[int, Decision] = {}
        for decision in decisions:
            rows = places.get(decision.name, [])
            if len(rows) != 1:
                raise ValueError(_not_one_row(decision.name, len(rows), id_column, path))
            found[rows[0]] = decision
        relabelled = {row: d for row, d in found.items() if d.decision == RELABEL}
        if relabelled and target is None:
            raise ValueError(
                f"The review relabels {len(relabelled)} rows; name the column of the labels with "
                "--target."
            )
        dropped = np.array(sorted(r for r, d in found.items() if d.decision == DROP), np.intp)
        if len(dropped) == len(frame):
            raise ValueError(f"The review drops every row of {path}; keep at least one.")
        labels = {row: _typed(frame[target], d) for row, d in relabelled.items()}
        return cls(frame, target, dropped, labels)

    def frame(self) -> pd.DataFrame:
        """The edited table."""
        import pandas as pd

        edited = self.original.copy()
        if self.target is not None and self.labels:
            edited[self.target] = _with_labels(edited[self.target], self.labels)
        kept = np.delete(np.arange(len(edited)), self.dropped)
        plain = isinstance(edited.index, pd.RangeIndex) and edited.index.name is None
        edited = edited.iloc[kept]
        # A numbering without gaps is no information of the table's own.
        return edited.reset_index(drop=True) if plain else edited

    def unseen_labels(self) -> tuple[str, ...]:
        if not self.labels or self.target is None:
            return ()
        known = set(self.original[self.target].dropna().tolist())
        new = dict.fromkeys(str(label) for label in self.labels.values() if label not in known)
        # Measurements differ from row to row; only names of classes can be mistyped.
        return () if self.original[self.target].dtype.kind == "f" else tuple(new)


def _places(frame: pd.DataFrame, id_column: str | None) -> dict[str, list[int]]:
    """Positions of the rows by their id."""
    import pandas as pd

    if id_column is not None and id_column in frame.columns:
        index = pd.Index(frame[id_column])
    elif frame.index.nlevels > 1:  # a row carries one name; the number stands for several
        index = pd.RangeIndex(len(frame))
    else:
        index = frame.index
    places: dict[str, list[int]] = {}
    for place, name in enumerate(row_names(index)):
        places.setdefault(name, []).append(place)
    return places


def _not_one_row(name: str, count: int, id_column: str | None, path: Path) -> str:
    ids = "row numbers" if id_column is None else f"column {id_column!r}"
    if count:
        return f"{path} has {count} rows with the id {name!r} ({ids}); ids must differ."
    hint = "; name the column of the ids with --id" if id_column is None else ""
    return f"{path} has no row with the id {name!r} among its {ids}{hint}."


def _typed(target: pd.Series[Any], decision: Decision) -> Any:
    """A new label in the type of the target column."""
    from pandas.api import types

    text, dtype = decision.new_label, target.dtype
    if isinstance(dtype, _categorical()):
        return _typed(target.astype(target.cat.categories.dtype), decision)
    try:
        if types.is_bool_dtype(dtype):
            return TRUTH[text.strip().lower()]
        if types.is_integer_dtype(dtype):
            number = int(text) if text.strip().lstrip("+-").isdigit() else float(text)
            if number != int(number):
                raise ValueError
            low_high = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
            if not low_high.min <= number <= low_high.max:
                raise ValueError
            return int(number)
        if types.is_float_dtype(dtype):
            number = float(text)
            if not np.isfinite(number):
                raise ValueError
            return number
        if types.is_datetime64_any_dtype(dtype):
            import pandas as pd

            return pd.Timestamp(text)
    except (KeyError, ValueError, OverflowError):
        raise ValueError(
            f"The new label {text!r} of row {decision.name!r} does not fit the column "
            f"{target.name!r}, which holds {dtype}; correct it in the review."
        ) from None
    if types.is_string_dtype(dtype):
        return text
    others = {type(value) for value in target.dropna()} - {str}
    if others:
        raise ValueError(
            f"The column {target.name!r} holds values of type {others.pop().__name__}, which "
            "cannot be relabelled; turn it into text, numbers or yes/no first."
        )
    return text


def _refuse_gaps(edit: _Edit) -> None:
    """Refuse labels that a text table could not hold apart from a gap."""
    from pyarrow import csv as arrow_csv

    gaps = set(arrow_csv.ConvertOptions().null_values)
    for label in edit.labels.values():
        if isinstance(label, str) and label in gaps:
            raise ValueError(
                f"The new label {label!r} would be read back as a gap from a text table; choose "
                "another label, or write a .parquet file."
            )


def _categorical() -> type:
    import pandas as pd

    return pd.CategoricalDtype


def _with_labels(target: pd.Series[Any], labels: dict[int, Any]) -> pd.Series[Any]:
    """The target column with new labels, in its own type."""
    if isinstance(target.dtype, _categorical()):
        new = [x for x in dict.fromkeys(labels.values()) if x not in target.cat.categories]
        target = target.cat.add_categories(new)
    else:
        target = target.copy()
    for row, label in labels.items():
        target.iloc[row] = label
    return target


# ------------------------------------------------------------------------- text stays as it is


@dataclass(frozen=True)
class _TextRows:
    """A text table as written: the raw text of every row, and its cells."""

    header: str
    columns: list[str]
    raw: list[str]
    cells: list[list[str]]
    delimiter: str


def _text_rows(table: Path, output: Path, frame: pd.DataFrame) -> _TextRows | None:
    """The table as text, where the output is text of the same kind."""
    delimiter = next((d for e, d in DELIMITERS.items() if table.name.lower().endswith(e)), None)
    if delimiter is None or DELIMITERS.get(output.suffix.lower()) != delimiter:
        return None
    content = table.read_bytes()
    if table.name.lower().endswith(".gz"):
        content = gzip.decompress(content)
    # Long texts are cells too.
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(content) + 1))
    try:
        records = list(_records(content.decode("utf-8"), delimiter))
    except csv.Error:
        return None  # as read through a frame
    finally:
        csv.field_size_limit(limit)
    (header, columns), rows = records[0], [r for r in records[1:] if r[1]]
    columns = [columns[0].removeprefix(BYTE_ORDER_MARK), *columns[1:]]
    # The frame has had a stricter reader; both must see the same rows.
    if columns != [str(c) for c in frame.columns] or len(rows) != len(frame):
        return None
    return _TextRows(header, columns, [r for r, _ in rows], [c for _, c in rows], delimiter)


def _records(content: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Each record of a text table: as written, and its cells; blank lines have none."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(content, newline=""):
            taken.append(line)
            yield line

    for cells in csv.reader(lines(), delimiter=delimiter):
        yield "".join(taken), cells
        taken.clear()


def _write_text(text: _TextRows, edit: _Edit, output: Path) -> None:
    from dvrl.files.atomic import write_atomically

    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(output.parent)!r}; create it, or choose another path."
        )
    raw = list(text.raw)
    end = next(e for e in ("\r\n", "\n", "\r", "") if text.header.endswith(e)) or "\n"
    if edit.target is not None:
        place = text.columns.index(edit.target)
        spelled = _spellings(edit, [cells[place] for cells in text.cells])
        for row, label in edit.labels.items():
            cells = list(text.cells[row])
            cells[place] = spelled.get(label, _written(label))
            raw[row] = _line(cells, text.delimiter, end)
    dropped = set(edit.dropped.tolist())
    kept = [line for row, line in enumerate(raw) if row not in dropped]
    # The last row of a file may lack its end; it needs one where another row follows.
    parts = [text.header, *kept]
    parts[:-1] = [part if part.endswith(("\n", "\r")) else part + end for part in parts[:-1]]
    content = "".join(parts).encode()
    write_atomically(output, lambda stream: stream.write(content))


def _spellings(edit: _Edit, cells: list[str]) -> dict[Any, str]:
    """How the table itself writes each label."""
    target = edit.original[edit.target]
    gaps = target.isna().to_numpy()
    return {
        value: cell
        for value, cell, gap in zip(target.tolist(), cells, gaps, strict=True)
        if not gap
    }


def _written(label: Any) -> str:
    return repr(label) if isinstance(label, float) else str(label)


def _line(cells: Sequence[str], delimiter: str, end: str) -> str:
    stream = io.StringIO()
    # With this terminator, cells that hold either of its characters are quoted.
    csv.writer(stream, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return stream.getvalue().removesuffix("\r\n") + end
