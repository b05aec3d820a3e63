"""CSV and Parquet files to pandas frames and back; files appear whole or not at all."""

from __future__ import annotations

import difflib
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["copy_rows", "read_table", "split_target", "write_table"]

_DELIMITERS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_WRITABLE = (".csv", ".tsv", *_PARQUET)
# Types of CSV columns are inferred from the first block only.
_WHOLE_FILE_BLOCK = 1 << 30


def _ending(path: Path, known: tuple[str, ...]) -> str:
    name = path.name.lower()
    for ending in known:
        if name.endswith(ending):
            return ending
    raise ValueError(
        f"The ending of {str(path)!r} is not one of {', '.join(known)}; convert the table, or "
        "rename the file if its content is of one of these kinds."
    )


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : str or path-like
        A file ending in ``.csv``, ``.csv.gz``, ``.tsv``, ``.parquet`` or ``.pq``. Text files are
        UTF-8 with a first line of column names; empty cells and the usual spellings of "not
        available" become gaps.

    Returns
    -------
    pandas.DataFrame
        Columns in the order of the file; at least one row and one column.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the ending is unknown, the file cannot be read as what its ending says, the table is
        empty, or two columns share a name.
    """
    import pyarrow as pa

    path = Path(path)
    ending = _ending(path, (*_DELIMITERS, *_PARQUET))
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}; check the path.")
    try:
        if ending in _PARQUET:
            from pyarrow import parquet

            # A file handle, because folders named like `year=2020` would become columns.
            with path.open("rb") as handle:
                table = parquet.ParquetFile(handle).read()
        else:
            table = _read_csv(path, _DELIMITERS[ending])
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        if "Empty CSV file" in str(error):
            raise ValueError(_empty_message(path)) from error
        cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(
            f"The file {str(path)!r} cannot be read as {ending[1:]} ({cause}); check that it is "
            "complete and of the kind that its ending says."
        ) from error
    repeated = [name for name, count in Counter(table.column_names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"The table {str(path)!r} has more than one column named "
            f"{', '.join(repr(name) for name in repeated)}; give every column its own name."
        )
    frame: pd.DataFrame = table.to_pandas(date_as_object=False)
    if 0 in frame.shape:
        raise ValueError(_empty_message(path))
    return frame


def _empty_message(path: Path) -> str:
    return f"The table {str(path)!r} is empty; pass a table of at least one row and one column."


def _read_csv(path: Path, delimiter: str) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    def read(**block: int) -> Any:
        return csv.read_csv(
            str(path),
            read_options=csv.ReadOptions(**block),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(strings_can_be_null=True),
        )

    try:
        table = read()
    except pa.ArrowInvalid as error:
        message = str(error)
        if "conversion error" not in message and "straddling" not in message:
            raise
        table = read(block_size=_WHOLE_FILE_BLOCK)
    for column in table.schema:
        # pyarrow hands out text that is not UTF-8 as bytes.
        if pa.types.is_binary(column.type):
            raise pa.ArrowInvalid(f"column {column.name!r} is not UTF-8 text")
    return table


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table, or leave everything as it was.

    The table is written under a temporary name in the same folder, brought to the disk, and then
    renamed, so that a reader or a crash never meets half a file.

    Parameters
    ----------
    frame : pandas.DataFrame
        An index other than 0, 1, 2, ... is kept: by Parquet as the index, in text files as the
        first column.
    path : str or path-like
        A name ending in ``.csv``, ``.tsv``, ``.parquet`` or ``.pq``; an existing file is replaced.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the ending is unknown.
    """
    import pandas as pd

    path = Path(path)
    ending = _ending(path, _WRITABLE)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r}; create it, or choose another path."
        )
    plain_index = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as handle:
            _write(frame, handle, ending, with_index=not plain_index)
            handle.flush()
            os.fsync(handle.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write(frame: pd.DataFrame, handle: BinaryIO, ending: str, *, with_index: bool) -> None:
    if ending in _PARQUET:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pandas(frame), handle, compression="zstd")
        return
    label: str | None = None
    if with_index and frame.index.nlevels == 1:
        label = str(frame.index.name) if frame.index.name is not None else "index"
    frame.to_csv(
        handle, sep=_DELIMITERS[ending], index=with_index, index_label=label, encoding="utf-8"
    )


def copy_rows(
    source: str | os.PathLike[str], rows: NDArray[np.intp], path: str | os.PathLike[str]
) -> None:
    """Write some rows of a table file to another one, or leave everything as it was.

    Between text files of one kind, the rows keep their bytes. Otherwise they go through a frame.

    Parameters
    ----------
    source : str or path-like
        A file that :func:`read_table` reads.
    rows : ndarray of int, shape (k,)
        Positions of the rows to copy, in the order to write.
    path : str or path-like
        As in :func:`write_table`.

    Raises
    ------
    FileNotFoundError, ValueError
        As in :func:`read_table` and :func:`write_table`.
    """
    import pandas as pd

    from dvrl.files.atomic import write_atomically

    source, path = Path(source), Path(path)
    frame = read_table(source)
    same_kind = source.suffix.lower() == path.suffix.lower() and path.suffix.lower() in (
        ".csv",
        ".tsv",
    )
    lines = _text_records(source.read_bytes()) if same_kind else []
    if len(lines) == len(frame) + 1:
        end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
        kept = [lines[0], *(lines[row + 1] for row in rows)]
        # The last line of a file may lack its end, and now stand elsewhere.
        content = b"".join(line if line.endswith(b"\n") else line + end for line in kept)
        write_atomically(path, lambda stream: stream.write(content))
        return
    part = frame.iloc[rows]
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        part = part.reset_index(drop=True)
    write_table(part, path)


def _text_records(content: bytes) -> list[bytes]:
    """Records of a delimited text, the header first; those in quotes may span lines."""
    records: list[bytes] = []
    open_record = b""
    for line in content.splitlines(keepends=True):
        open_record += line
        if open_record.count(b'"') % 2 == 0:  # a quote within quotes is doubled
            if open_record.strip(b"\r\n"):
                records.append(open_record)
            open_record = b""
    return [*records, open_record] if open_record else records


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk where the system allows opening folders."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def split_target(
    frame: pd.DataFrame, target: str, id_column: str | None = None
) -> tuple[pd.DataFrame, pd.Series[Any], pd.Index[Any]]:
    """Split a table into features, target and row ids.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (n, n_columns)
        Not modified.
    target : str
        Name of the column to predict.
    id_column : str, optional
        Name of a column, or of the index, that identifies the rows. It is not used as a feature.

    Returns
    -------
    X : pandas.DataFrame of shape (n, n_features)
    y : pandas.Series of shape (n,)
    ids : pandas.Index of shape (n,)
        The id column, or the index of the frame.

    Raises
    ------
    ValueError
        If a column is absent, the target has gaps, target and ids are the same column, or no
        feature is left.
    """
    import pandas as pd

    _check_column(frame, target, "target")
    if id_column is not None and id_column == target:
        raise ValueError(
            f"Column {target!r} cannot be both the target and the id column; name two columns."
        )
    ids: pd.Index[Any] = frame.index
    left_out = [target]
    if id_column is not None and id_column in frame.columns:
        ids = pd.Index(frame[id_column], name=id_column)
        left_out.append(id_column)
    elif id_column is not None and id_column != frame.index.name:
        _check_column(frame, id_column, "id")
    gaps = frame[target].isna()
    if gaps.any():
        raise ValueError(
            f"The target column {target!r} has gaps in {int(gaps.sum())} of {len(frame)} rows, the "
            f"first in row {int(gaps.to_numpy().argmax())} (counted from 0); drop these rows or "
            "fill in their targets."
        )
    X = frame.drop(columns=left_out)
    if X.shape[1] == 0:
        raise ValueError(
            f"No feature is left beside {' and '.join(repr(name) for name in left_out)}; pass a "
            "table with at least one more column."
        )
    return X, frame[target], ids


def _check_column(frame: pd.DataFrame, name: str, role: str) -> None:
    names = [str(column) for column in frame.columns]
    if name in frame.columns:
        return
    # Names that differ only in upper and lower case are the closest of all.
    by_lower = {column.lower(): column for column in names}
    close = [by_lower[key] for key in difflib.get_close_matches(str(name).lower(), by_lower, n=3)]
    if close:
        fix = f"did you mean {' or '.join(repr(column) for column in close)}?"
    else:
        shown = ", ".join(repr(column) for column in names[:10])
        fix = f"name one of its columns: {shown}{', ...' if len(names) > 10 else ''}."
    raise ValueError(f"The table has no {role} column {name!r}; {fix}")
