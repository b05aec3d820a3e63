"""Files to frames and back."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from dvrl.files.tables import copy_rows, read_table, split_target, write_table


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "b": [1.5, None, 0.1],
            "a": ["x", None, "two\nlines, and a comma"],
            "n": [1, 2, 3],
            "day": pd.to_datetime(["2024-01-01", "2024-02-01", None]),
            "flag": [True, False, True],
        }
    )


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.pq", "T.CSV"])
def test_round_trip(tmp_path, frame, name):
    write_table(frame, tmp_path / name)
    back = read_table(tmp_path / name)
    if not name.endswith(("parquet", "pq")):
        # Text does not say whether days are counted in seconds or microseconds.
        back["day"] = back["day"].astype(frame["day"].dtype)
    assert_frame_equal(back, frame)
    assert back["a"].isna().tolist() == [False, True, False]
    assert pd.api.types.is_datetime64_any_dtype(back["day"])
    assert os.listdir(tmp_path) == [name]


def test_compressed_text(tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wt") as handle:
        handle.write("a,b\n1,x\n2,\n")
    back = read_table(tmp_path / "t.csv.gz")
    assert back.columns.tolist() == ["a", "b"]
    assert back["a"].tolist() == [1, 2]
    assert back["b"].isna().tolist() == [False, True]


def test_type_that_shows_late(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("code,filler\n" + f"1,{'x' * 90}\n" * 15_000 + "A7,y\n")
    back = read_table(path)
    assert len(back) == 15_001
    assert back["code"].iloc[0] == "1"
    assert back["code"].iloc[-1] == "A7"


def test_index_is_kept(tmp_path):
    frame = pd.DataFrame({"value": [0.5, 0.25]}, index=pd.Index([7, 3], name="row"))
    write_table(frame, tmp_path / "t.parquet")
    assert_frame_equal(read_table(tmp_path / "t.parquet"), frame)
    write_table(frame, tmp_path / "t.csv")
    assert_frame_equal(read_table(tmp_path / "t.csv"), frame.reset_index())
    write_table(frame.rename_axis(None), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").columns.tolist() == ["index", "value"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"", "ending of .* is not one of .csv"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "is empty"),
        ("t.csv", b"a,a\n1,2\n", "more than one column named 'a'"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as csv"),
        ("t.csv", b"\xff\xfe\x00a,b\n\xff,2\n", "cannot be read as csv"),
        ("t.csv", b"a,b\n\xff,2\n", "column 'a' is not UTF-8"),
        ("t.csv.gz", b"not gzip", "cannot be read as csv.gz"),
        ("t.parquet", b"", "cannot be read as parquet"),
        ("t.parquet", b"not parquet at all", "cannot be read as parquet"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path, frame):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        write_table(frame, tmp_path / "absent" / "t.csv")
    with pytest.raises(ValueError, match="ending"):
        write_table(frame, tmp_path / "t.csv.gz")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_failure_leaves_the_old_file(tmp_path, frame, monkeypatch, name):
    path = tmp_path / name
    write_table(frame, path)
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table(frame.head(1), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_replaced_file_keeps_its_permissions(tmp_path, frame):
    path = tmp_path / "t.csv"
    write_table(frame, path)
    path.chmod(0o640)
    write_table(frame, path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_split_target(frame):
    original = frame.copy(deep=True)
    X, y, ids = split_target(frame, "flag", id_column="n")
    assert X.columns.tolist() == ["b", "a", "day"]
    assert y.tolist() == [True, False, True]
    assert ids.tolist() == [1, 2, 3]
    assert ids.name == "n"
    X, _, ids = split_target(frame, "flag")
    assert ids.equals(frame.index)
    assert "n" in X.columns
    named = frame.set_index("n")
    assert split_target(named, "flag", id_column="n")[2].tolist() == [1, 2, 3]
    assert_frame_equal(frame, original)


@pytest.mark.parametrize(
    ("target", "id_column", "message"),
    [
        ("FLAGS", None, "no target column 'FLAGS'; did you mean 'flag'"),
        ("income", None, "no target column 'income'; name one of its columns: 'b', 'a'"),
        ("flag", "nn", "no id column 'nn'; did you mean 'n'"),
        ("flag", "flag", "both the target and the id"),
        ("b", None, "'b' has gaps in 1 of 3 rows, the first in row 1 .*; drop these rows"),
    ],
)
def test_bad_columns(frame, target, id_column, message):
    with pytest.raises(ValueError, match=message):
        split_target(frame, target, id_column)


def test_no_feature_left(frame):
    with pytest.raises(ValueError, match="No feature is left beside 'n'"):
        split_target(frame[["n"]], "n")


# ------------------------------------------------------------------------------- copying rows


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_copied_rows_keep_their_bytes(tmp_path: Path, end):
    lines = ["id,price,note", '007,1.50,"two', 'lines, ""quoted"""', "008,,plain", "009,3,last"]
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_bytes(end.join(lines).encode())  # the last line has no end
    copy_rows(source, np.array([2, 0]), target)
    expected = [lines[0], lines[4], *lines[1:3]]
    assert target.read_bytes() == "".join(line + end for line in expected).encode()
    assert len(read_table(target)) == 2


def test_copied_rows_go_through_a_frame_where_the_kinds_differ(tmp_path: Path):
    source, target = tmp_path / "a.csv", tmp_path / "b.parquet"
    source.write_text("a,b\n1,x\n2,y\n3,z\n")
    copy_rows(source, np.array([0, 2]), target)
    assert read_table(target).to_dict("list") == {"a": [1, 3], "b": ["x", "z"]}


def test_copied_rows_of_a_parquet_file_keep_its_index(tmp_path: Path):
    source, target = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index(["x", "y", "z"], name="who")).to_parquet(source)
    copy_rows(source, np.array([2]), target)
    assert read_table(target).index.tolist() == ["z"]


@pytest.mark.parametrize("content", ["a,b\n\n1,x\n\n2,y\n", "\ufeffa,b\n1,x\n2,y\n"])
def test_copied_rows_bear_empty_lines_and_byte_order_marks(tmp_path: Path, content):
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text(content, encoding="utf-8")
    copy_rows(source, np.array([1]), target)
    assert read_table(target).to_numpy().tolist() == [[2, "y"]]
    assert list(read_table(target)) == list(read_table(source))
