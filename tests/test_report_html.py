"""What the report's file holds; tests/test_report_browser.py opens it."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dvrl import DataValuationWarning
from dvrl.files import atomic as storage
from dvrl.report import charts, page_rows, report_of, write_report

HOSTILE = "</script><script>alert(1)</script><!--"


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "data_value": [0.9, 0.1, 0.5],
            "label": ["cat", "dog", "cat"],
            "expected_label": ["cat", "cat", "cat"],
            "nearest_agreeing": ["c", None, ["a", "nobody"]],
        },
        index=["a", "b", "c"],
    )


def write(path: Path, rows: pd.DataFrame, **sections: Any) -> str:
    sections = {"title": "Title", "headline": "Headline.", **sections}
    return write_report(path / "report.html", rows=rows, **sections).read_text()


class _Elements(HTMLParser):
    """Opening tags with their attributes, and the text of the data element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data
            self._inside = False


def data_of(page: str) -> dict[str, Any]:
    return json.loads(_Elements(page).data)


def column(data: dict[str, Any], title: str) -> list[Any]:
    found = next(c for c in data["columns"] if c["title"] == title)
    if "codes" in found:
        return [None if code < 0 else found["words"][code] for code in found["codes"]]
    return found["values"]


# ------------------------------------------------------------------------------- what is in it


def test_rows_are_sorted_by_value_and_neighbours_become_positions(tmp_path: Path, rows):
    data = data_of(write(tmp_path, rows))
    assert data["ids"] == ["b", "c", "a"]
    assert column(data, "Data value") == [0.1, 0.5, 0.9]
    assert column(data, "Given label") == ["dog", "cat", "cat"]
    assert data["near"]["agreeing"] == [None, [2], [1]]
    assert data["labels"] == ["cat", "dog"]


def test_only_the_sections_that_were_passed_are_there(tmp_path: Path, rows):
    bare = {tag["id"] for _, tag in _Elements(write(tmp_path, rows)).tags if "id" in tag}
    optional = {"history", "removal", "discovery", "comparison", "insights", "facts"}
    assert not bare & optional
    assert "values" in bare
    full = write(
        tmp_path,
        rows,
        warnings=["Careful."],
        facts={"Rows": "3"},
        history={"iteration": np.arange(3), "reward": np.arange(3.0)},
        removal=pd.DataFrame({"order": ["random"] * 2, "removed": [0, 0.5], "score": [1.0, 0.5]}),
        discovery=pd.DataFrame({"share": [0.0, 1.0], "found": [0.0, 1.0]}),
        comparison=pd.DataFrame({"scheme": ["a"], "rows": [3], "score": [0.5]}),
        insights=["Cats."],
    )
    assert optional <= {tag["id"] for _, tag in _Elements(full).tags if "id" in tag}
    assert full.index("Headline.") < full.index("Careful.") < full.index('id="values"')
    empty = {"iteration": np.array([]), "reward": np.array([])}
    assert 'id="history"' not in write(tmp_path, rows, history=empty)


def test_numbers_gaps_and_odd_columns_survive(tmp_path: Path, rows):
    fields = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "real": [0.123456789, np.nan, -1e-9],
            "infinite": [np.inf, 1.0, 2.0],
            "huge": [2**60, 1, 2],
            "flag": [True, False, True],
            "day": pd.to_datetime(["2020-01-02", None, "2021-01-01"]),
            "broken": pd.Series(["\ud800", "b", None], dtype=object),
        }
    )
    data = data_of(write(tmp_path, rows, fields=fields))
    # in the order b, c, a
    assert column(data, "whole") == [None, 3, 1]
    assert column(data, "real") == [None, -1e-9, 0.123457]
    assert column(data, "infinite") == ["1.0", "2.0", "inf"]
    assert column(data, "huge") == ["1", "2", str(2**60)]
    assert column(data, "flag") == ["False", "True", "True"]
    assert column(data, "day") == [None, "2021-01-01 00:00:00", "2020-01-02 00:00:00"]
    assert column(data, "broken") == ["b", None, "?"]


def test_measurements_are_numbers_and_classes_are_names(tmp_path: Path, rows):
    classes = data_of(write(tmp_path, rows.assign(label=[3, 5, 3], expected_label=[3, 3, 3])))
    assert column(classes, "Given label") == ["5", "3", "3"]
    assert classes["labels"] == ["3", "5"]
    counts = rows.assign(label=[3, 5, 3], expected_label=[2.5, 3.5, 3.0])
    numbers = data_of(write(tmp_path, counts))
    assert column(numbers, "Given label") == [5, 3, 3]
    assert numbers["labels"] == []
    assert numbers["whole_labels"]  # a new label is rounded, for a column of whole numbers


def test_pictures_of_the_lowest_and_highest_rows_and_neighbours(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(page_rows, "MOST_PICTURES_LOWEST", 2)
    monkeypatch.setattr(page_rows, "MOST_PICTURES_HIGHEST", 1)
    rows = pd.DataFrame({"data_value": np.linspace(0, 1, 10), "nearest_agreeing": [5, *range(9)]})
    images = np.zeros((10, 200, 100), np.uint8)
    page = write(tmp_path, rows, images=images)
    data = data_of(page)
    assert sorted(map(int, data["images"])) == [0, 1, 5, 9]
    assert all(uri.startswith("data:image/png;base64,") for uri in data["images"].values())
    assert "Pictures are kept for 4 of 10 rows" in page
    assert "made smaller, to 96 pixels" in page


def test_long_texts_and_many_fields_are_cut_and_it_says_so(tmp_path: Path, rows, monkeypatch):
    monkeypatch.setattr(page_rows, "LONG_TEXTS", 1)
    monkeypatch.setattr(page_rows, "LONG_TEXT", 50)
    monkeypatch.setattr(page_rows, "SHORT_TEXT", 10)
    fields = pd.DataFrame(np.zeros((3, 45))).add_prefix("f").assign(words=["x" * 40] * 3)
    page = write(tmp_path, rows, fields=fields, text="words")
    assert column(data_of(page), "words") == ["x" * 40, "x" * 9 + "…", "x" * 9 + "…"]
    assert "Texts of words are cut" in page
    assert "The first 40 of 45 fields are shown." in page


def test_repeated_ids_are_shown_but_not_reviewed(tmp_path: Path, rows):
    page = write(tmp_path, rows.set_axis(["a", "a", "b"]))
    assert not data_of(page)["review"]
    assert "Some row ids occur more than once" in page
    assert 'id="export"' not in page


# ------------------------------------------------------------------------- safe and repeatable


def test_nothing_in_the_data_becomes_markup(tmp_path: Path, rows):
    plain = _Elements(write(tmp_path, rows, fields=pd.DataFrame({"f": ["a", "b", "c"]}))).tags
    hostile = write(
        tmp_path,
        rows.assign(label=HOSTILE, reason=HOSTILE).set_axis([HOSTILE, "b", "c"]),
        fields=pd.DataFrame({HOSTILE: [HOSTILE, "b", "c"]}),
        title=HOSTILE,
        headline=HOSTILE,
    )
    scripts = [tag for tag in _Elements(hostile).tags if tag[0] == "script"]
    assert len(scripts) == sum(tag[0] == "script" for tag in plain) == 3
    assert "alert(1)</script>" not in hostile
    data = data_of(hostile)
    assert HOSTILE in data["ids"]
    assert HOSTILE in [c["title"] for c in data["columns"]]


def test_the_page_may_run_its_own_scripts_and_ask_for_nothing(tmp_path: Path, rows):
    page = write(tmp_path, rows)
    policy = next(
        a["content"] for t, a in _Elements(page).tags if t == "meta" and "http-equiv" in a
    )
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    attributes = [(name, value) for _, a in _Elements(page).tags for name, value in a.items()]
    asked = [v for n, v in attributes if n in ("src", "href", "xlink:href", "srcset") and v]
    assert all(value.startswith(("#", "data:")) for value in asked)
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert "sourceMappingURL" not in page
    assert not re.search(r"@import|url\((?!#)", page.split("</style>")[0])


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, rows):
    sections = {
        "history": {"iteration": np.arange(50), "reward": np.sin(np.arange(50.0))},
        "images": np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4),
        "fields": pd.DataFrame({"x": [1.5, 2.5, 3.5]}),
    }
    assert write(tmp_path, rows, **sections) == write(tmp_path, rows.copy(), **sections)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, rows, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old report")

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, rows)
    assert path.read_text() == "the old report"
    assert list(tmp_path.iterdir()) == [path]


def test_the_callers_tables_are_not_touched(tmp_path: Path, rows):
    fields = pd.DataFrame({"words": ["x" * 5000, "b", None]})
    before = rows.copy(), fields.copy()
    write(tmp_path, rows, fields=fields, text="words")
    pd.testing.assert_frame_equal(rows, before[0])
    pd.testing.assert_frame_equal(fields, before[1])


# ------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"rows": pd.DataFrame({"label": [1]})}, "data_value"),
        ({"rows": pd.DataFrame({"data_value": []})}, "empty"),
        ({"rows": pd.DataFrame({"data_value": [np.nan]})}, "gaps"),
        ({"fields": pd.DataFrame({"x": [1]})}, "3 rows and fields 1"),
        ({"text": "absent"}, "'absent'"),
        ({"images": np.zeros((3, 2, 2))}, "uint8"),
        ({"images": np.zeros((2, 2, 2), np.uint8)}, "images 2"),
        ({"removal": pd.DataFrame({"order": ["random"]})}, "'removed'"),
        ({"discovery": pd.DataFrame({"share": [0.1]})}, "'found'"),
    ],
)
def test_wrong_input_is_one_sentence_and_writes_nothing(tmp_path: Path, rows, change, part):
    with pytest.raises(ValueError, match=part):
        write(tmp_path, **{"rows": rows, **change})
    assert list(tmp_path.iterdir()) == []


def test_wrong_paths(tmp_path: Path, rows):
    for path, error in (("report.pdf", ValueError), ("no/report.html", FileNotFoundError)):
        with pytest.raises(error):
            write_report(tmp_path / path, title="t", headline="h", rows=rows)


# ---------------------------------------------------------------------------------- charts


def test_charts_take_their_colours_from_the_page_and_have_names(rng: np.random.Generator):
    removal = pd.DataFrame(
        [
            (o, s, r, rng.random())
            for o in ("lowest first", "random")
            for s in (0, 0.1)
            for r in "ab"
        ],
        columns=["order", "removed", "repeat", "score"],
    )
    drawn = [
        charts.values_chart(rng.random(100)),
        charts.history_chart({"iteration": np.arange(5000), "reward": rng.random(5000)}),
        charts.removal_chart(removal),
        charts.discovery_chart(pd.DataFrame({"share": [0.0, 0.2], "found": [0.0, 0.9]})),
    ]
    ids = [name for svg in drawn for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in drawn:
        assert not re.search(r"#[0-9a-f]{6}\b", svg, flags=re.IGNORECASE)
        assert "<style" not in svg
        name = re.search(r'role="img" aria-label="([^"]+)"', svg)
        assert name
        references = re.findall(r'(?:url\(#|href="#)([^")]+)', svg)
        assert set(references) <= set(ids)
    assert "90 % of the known errors" in drawn[3]
    assert "lowest first: from" in drawn[2]
    assert len(drawn[1]) < 60_000  # a long history is thinned


# --------------------------------------------------------------------- from a fitted estimator


def fitted_briefly(valuer: Any, *rows: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)  # too short to be trusted
        valuer.fit(*rows)


def test_report_of_a_classifier(tmp_path: Path, small_table: pd.DataFrame):
    from dvrl import DVRLClassifier

    X = small_table.set_index("name")[["size", "colour"]]
    y = small_table["label"].to_numpy()
    valuer = DVRLClassifier(random_state=0, settings={"outer_iterations": 20, "ensemble_size": 1})
    fitted_briefly(valuer, X, y)
    valuer.diagnostics_ = dataclasses.replace(valuer.diagnostics_, messages=("Watch out.",))
    path = report_of(valuer, X, y, tmp_path / "report.html", title="Small")
    page = path.read_text()
    data = data_of(page)
    order = np.argsort(valuer.data_values_, kind="stable")
    assert data["ids"] == list(X.index[order])
    assert column(data, "Given label") == list(y[order])
    assert column(data, "size") == pytest.approx(X["size"].to_numpy()[order], rel=1e-5)
    assert "<li>Watch out.</li>" in page
    place = data["near"]["agreeing"][0][0]
    labels = column(data, "Given label")
    assert labels[place] == labels[0]
    assert labels[data["near"]["disagreeing"][0][0]] != labels[0]
    low = int((valuer.data_values_ < 0.5).sum())
    assert ("None of 60" if low == 0 else f"{low} of 60 training rows") in page
    with pytest.raises(ValueError, match="valued 60 rows and y has 59"):
        report_of(valuer, X[:-1], y[:-1], path)


def test_report_of_a_regressor_with_arrays(tmp_path: Path, rng: np.random.Generator):
    from dvrl import DVRLRegressor

    X = rng.normal(size=(60, 3))
    y = X @ np.array([1.0, 2.0, 3.0]) + 0.1 * rng.normal(size=60)
    y[:6] += 30
    valuer = DVRLRegressor(random_state=0, settings={"outer_iterations": 20, "ensemble_size": 1})
    fitted_briefly(valuer, X[:40], y[:40], X[40:], y[40:])
    page = report_of(valuer, X[:40], y[:40], tmp_path / "report.html").read_text()
    data = data_of(page)
    assert data["labels"] == []
    reasons = column(data, "Reason")
    assert all("but the reference model expects" in reason for reason in reasons[:4])
    assert reasons[4:] == [None] * 36  # the lowest tenth is explained
