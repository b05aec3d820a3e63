"""`dvrl apply`: the table as a review left it, exactly."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dvrl.actions.review import apply_review, read_review, row_names
from dvrl.cli import app
from dvrl.files.tables import read_table, write_table

TABLE = (
    "\ufeffcode,amount,remark,label\r\n"
    '007,1.50,"two\r\nlines",cat\r\n'
    "008,1e3, spaced ,dog\r\n"
    '009,,"say ""hi""",cat\r\n'
    "010,2.0,NA,cow"
)


def write_review(folder: Path, *lines: str) -> Path:
    path = folder / "review.csv"
    path.write_text("\n".join(["id,decision,new_label", *lines]) + "\n")
    return path


def apply(*arguments: object):
    return CliRunner().invoke(app, ["apply", *map(str, arguments)])


# ------------------------------------------------------------------------------ exactly that


def test_untouched_rows_of_a_text_table_keep_their_bytes(tmp_path: Path):
    table, cleaned = tmp_path / "table.csv", tmp_path / "cleaned.csv"
    table.write_bytes(TABLE.encode())
    review = write_review(tmp_path, "7,keep,", "8,drop,", '10,relabel,"dog, wild"')
    done = apply_review(table, review, cleaned, id_column="code", target="label")
    assert (done.n_rows, done.n_kept, done.n_relabelled, done.n_dropped) == (3, 1, 1, 1)
    assert done.unseen_labels == ("dog, wild",)
    assert cleaned.read_bytes().decode() == (
        "\ufeffcode,amount,remark,label\r\n"
        '007,1.50,"two\r\nlines",cat\r\n'
        '009,,"say ""hi""",cat\r\n'
        '010,2.0,NA,"dog, wild"\r\n'
    )


def test_the_last_row_gets_an_end_only_where_another_follows(tmp_path: Path):
    table, cleaned = tmp_path / "table.csv", tmp_path / "cleaned.csv"
    table.write_bytes(TABLE.encode())
    apply_review(table, write_review(tmp_path, "7,keep,"), cleaned, id_column="code")
    assert cleaned.read_bytes() == table.read_bytes()


def test_a_compressed_table_and_one_with_tabs(tmp_path: Path):
    packed, cleaned = tmp_path / "table.csv.gz", tmp_path / "cleaned.csv"
    packed.write_bytes(gzip.compress(b"a,y\n01,x\n02,z\n"))
    apply_review(packed, write_review(tmp_path, "0,drop,"), cleaned)
    assert cleaned.read_bytes() == b"a,y\n02,z\n"
    tabs, cleaned = tmp_path / "table.tsv", tmp_path / "cleaned.tsv"
    tabs.write_bytes(b"a\ty\n01\tx, x\n02\tz\n")
    apply_review(tabs, write_review(tmp_path, '1,relabel,"a\tb"'), cleaned, target="y")
    assert cleaned.read_bytes() == b'a\ty\n01\tx, x\n02\t"a\tb"\n'


TARGETS = {
    "int64": (pd.Series([3, 5, 7]), "9", 9),
    "int8, written as a float": (pd.Series([3, 5, 7], dtype="int8"), "9.0", 9),
    "nullable": (pd.Series([3, None, 7], dtype="Int64"), "-2", -2),
    "float32": (pd.Series([0.5, 1.5, 2.5], dtype="float32"), "0.25", 0.25),
    "bool": (pd.Series([True, False, True]), "false", False),
    "text": (pd.Series(["a", "b", "c"]), " b ", " b "),
    "text that looks like a number": (pd.Series(["1", "2", "x"]), "2", "2"),
    "categories": (pd.Series(["a", "b", "c"], dtype="category"), "d", "d"),
    "whole categories": (pd.Series([1, 2, 3], dtype="category"), "2", 2),
    "dates": (
        pd.Series(pd.to_datetime(["2020-01-01"] * 3)),
        "2021-05-06",
        pd.Timestamp(2021, 5, 6),
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_labels_take_the_type_of_the_target(tmp_path: Path, name: str):
    target, text, label = TARGETS[name]
    index = pd.Index([10, 20, 30], name="n")
    frame = pd.DataFrame({"x": [0.1, 0.2, 0.3], "y": target.set_axis(index)}, index=index)
    table, cleaned = tmp_path / "table.parquet", tmp_path / "cleaned.parquet"
    write_table(frame, table)
    apply_review(
        table, write_review(tmp_path, f"20,relabel,{text}", "30,drop,"), cleaned, target="y"
    )
    result, before = read_table(cleaned), read_table(table)
    assert list(result.index) == [10, 20]
    assert result.index.name == "n"
    assert result["y"].iloc[1] == label
    if name != "categories":  # which has one more
        assert result["y"].dtype == before["y"].dtype
    pd.testing.assert_frame_equal(result[["x"]], before[["x"]].iloc[:2])


def test_a_table_goes_from_text_to_parquet_and_back(tmp_path: Path):
    frame = pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "c"]})
    frame.to_csv(tmp_path / "table.csv", index=False)
    review = write_review(tmp_path, "0,drop,", "2,relabel,a")
    expected = pd.DataFrame({"x": [2, 3], "y": ["b", "a"]})
    for source, goal in (("table.csv", "one.parquet"), ("table.parquet", "two.csv")):
        frame.to_parquet(tmp_path / "table.parquet")
        apply_review(tmp_path / source, review, tmp_path / goal, target="y")
        pd.testing.assert_frame_equal(read_table(tmp_path / goal), expected)


def test_the_spelling_of_the_table_is_used(tmp_path: Path):
    table, cleaned = tmp_path / "table.csv", tmp_path / "cleaned.csv"
    table.write_text("x,y\n1,TRUE\n2,FALSE\n3,TRUE\n")
    apply_review(table, write_review(tmp_path, "0,relabel,False"), cleaned, target="y")
    assert cleaned.read_text() == "x,y\n1,FALSE\n2,FALSE\n3,TRUE\n"


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
labels = st.sampled_from(["cat", 'a "dog"', "cow, big", "two\nlines"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data(), rows=st.lists(st.tuples(cells, labels), min_size=2, max_size=8))
def test_any_review_of_any_text_table(tmp_path: Path, data: st.DataObject, rows: list):
    """What csv reads from the cleaned table is the edited list of rows, whatever was in it."""
    table, cleaned = tmp_path / "table.csv", tmp_path / "cleaned.csv"
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("id", "text", "label"), *((f"r{i}", *row) for i, row in enumerate(rows))])
    table.write_text(stream.getvalue(), newline="")
    kinds = st.sampled_from(["keep", "relabel", "drop", "nothing"])
    decisions = data.draw(st.lists(kinds, min_size=len(rows), max_size=len(rows)))
    decisions[0] = "keep"  # not all dropped, not all without a decision
    new = data.draw(st.lists(labels, min_size=len(rows), max_size=len(rows)))
    review = tmp_path / "review.csv"
    with review.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("id", "decision", "new_label"))
        for i, decision in enumerate(decisions):
            if decision != "nothing":
                writer.writerow((f"r{i}", decision, new[i] if decision == "relabel" else ""))
    apply_review(table, review, cleaned, id_column="id", target="label")
    expected = [
        [f"r{i}", text, new[i] if decisions[i] == "relabel" else label]
        for i, (text, label) in enumerate(rows)
        if decisions[i] != "drop"
    ]
    with cleaned.open(newline="") as handle:
        assert list(csv.reader(handle))[1:] == expected


def test_row_names_are_the_text_of_the_ids():
    assert row_names(pd.RangeIndex(2)) == ["0", "1"]
    assert row_names(pd.Index([1.5, np.nan])) == ["1.5", "nan"]


# ------------------------------------------------------------------- refused in one sentence

REFUSED = {
    "an unknown id": (["nobody,drop,"], "'nobody'"),
    "an id twice": (["r1,drop,", "r1,keep,"], "more than once"),
    "an id of two rows": (["r3,drop,"], "2 rows"),
    "an unknown decision": (["r1,delete,"], "'delete'"),
    "a missing label": (["r1,relabel,"], "new_label is empty"),
    "a label too many": (["r1,keep,cat"], "has a new label"),
    "a label of another type": (["r1,relabel,cat"], "does not fit"),
    "a fraction for a whole number": (["r1,relabel,1.5"], "does not fit"),
    "no decision": ([], "no decision"),
    "a short line": (["r1,drop"], "number of cells"),
    "a long line": (["r1,drop,,"], "number of cells"),
    "everything dropped": (["r0,drop,", "r1,drop,", "r2,drop,"], "every row"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_review_is_one_sentence_and_writes_nothing(tmp_path: Path, name: str):
    lines, part = REFUSED[name]
    table, cleaned = tmp_path / "table.csv", tmp_path / "cleaned.csv"
    last = "" if name == "everything dropped" else "r3,4\nr3,5\n"
    table.write_text(f"id,y\nr0,1\nr1,2\nr2,3\n{last}")
    cleaned.write_text("what was there before")
    review = write_review(tmp_path, *lines)
    before = sorted(tmp_path.iterdir())
    result = apply(table, "--review", review, "--id", "id", "--target", "y", "-o", cleaned)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert part in result.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert cleaned.read_text() == "what was there before"


def test_wrong_options_are_one_sentence(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("id,y\n5,a\n6,b\n")
    review = write_review(tmp_path, "5,relabel,b")
    cases = [
        (["--id", "nom", "--target", "y"], "'nom'"),
        (["--id", "id", "--target", "z"], "'z'"),
        (["--id", "id"], "--target"),
        (["--target", "y"], "--id"),
        (["--id", "id", "--target", "y", "-o", table], "named twice"),
        (["--id", "id", "--target", "y", "-o", tmp_path / "no" / "c.csv"], "no folder"),
        (["--id", "id", "--target", "y", "-o", tmp_path / "c.xlsx"], "ending"),
    ]
    for options, part in cases:
        more = [] if "-o" in options else ["-o", tmp_path / "cleaned.csv"]
        result = apply(table, "--review", review, *options, *more)
        assert result.exit_code == 2, result.output
        assert part in result.stderr
        assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["review.csv", "table.csv"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"id,decision\n1,drop\n", "'new_label'"),
        (b"", "'id'"),
        (b'id,decision,new_label\n"1,drop,\n', "cannot be read"),
        (b"id,decision,new_label\n\xff,drop,\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_review(tmp_path: Path, content: bytes, part: str):
    path = tmp_path / "review.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=part):
        read_review(path)


def test_a_label_that_would_read_back_as_a_gap_is_refused(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("x,y\n1,a\n2,b\n")
    review = write_review(tmp_path, "0,relabel,NA")
    with pytest.raises(ValueError, match="gap"):
        apply_review(table, review, tmp_path / "cleaned.csv", target="y")
    apply_review(table, review, tmp_path / "cleaned.parquet", target="y")
    assert read_table(tmp_path / "cleaned.parquet")["y"].tolist() == ["NA", "b"]


def test_new_labels_that_no_row_had_are_pointed_out(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("x,y\n1,cat\n2,dog\n")
    review = write_review(tmp_path, "0,relabel,catt")
    result = apply(table, "--review", review, "--target", "y", "-o", tmp_path / "cleaned.csv")
    assert result.exit_code == 0, result.output
    assert "'catt'" in result.stderr
    assert "1 relabelled, 0 dropped" in result.stdout
