"""Files: what goes in comes out, whole or not at all, and nothing is run."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors.numpy import save
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from dvrl.data.rows import index_from_state, index_state
from dvrl.files.archive import read_archive, write_archive
from dvrl.files.atomic import write_atomically
from dvrl.files.objects import NotOpened, open_object, pack_object
from dvrl.files.state import expect, joined, part
from dvrl.predictors.stored import models_from_state, models_state

WRITE_FOR_EVER = """
import sys
import numpy as np
from dvrl.files.archive import write_archive
i = 0
while True:
    write_archive(sys.argv[1], {"i": i}, {"a": np.full(200_000, i)})
    print(i, flush=True)
    i += 1
"""


def binary_data(n_rows=120):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4))
    return X, (X[:, 0] + 0.3 * rng.normal(size=n_rows) > 0).astype(int)


def round_trip(path, record=None, arrays=None):
    write_archive(path, record or {}, arrays or {})
    return read_archive(path)


# --- contents ---------------------------------------------------------------------------------


def test_arrays_keep_type_shape_and_bits(tmp_path):
    arrays = {
        "f32": np.array([[1.5, np.nan], [np.inf, -0.0]], np.float32),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(3, np.uint32),
        "text": np.array(["a", "öß", "", "\ud800", "x\0y", "\n$float"]),
        "no text": np.array([], str),
        "dates": np.array(["2020-01-01", "NaT"], "datetime64[D]"),
        "spans": np.array([[1], [2]], "timedelta64[s]"),
        "empty": np.empty((0, 4)),
        "flags": np.array([True, False]),
        "params/0/weight": np.ones(2, np.int8),
    }
    read = round_trip(tmp_path / "a.dvrl", arrays=arrays).arrays
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
    other_order = np.arange(3, dtype=">i4")
    assert_array_equal(
        round_trip(tmp_path / "a.dvrl", {}, {"a": other_order}).arrays["a"], [0, 1, 2]
    )


def test_objects_that_are_plain_keep_their_type(tmp_path):
    cells = np.empty(9, object)
    cells[:] = ["a", 1, True, None, 2.5, float("inf"), (1, "b"), [2], datetime(2020, 1, 1, 12)]
    read = round_trip(tmp_path / "a.dvrl", arrays={"cells": cells}).arrays["cells"]
    assert read.dtype == object
    assert read.tolist() == cells.tolist()
    assert [type(cell) for cell in read] == [type(cell) for cell in cells]


def test_records_survive(tmp_path):
    record = {
        "none": None,
        "yes": np.True_,
        "int": np.int64(2**40),
        "float": np.float32(0.5),
        "odd": [float("inf"), -float("inf"), (1, "zwei"), ()],
        "nested": {"a b": {"nan": float("nan")}},
    }
    read = round_trip(tmp_path / "a.dvrl", record).record
    assert np.isnan(read["nested"]["a b"].pop("nan"))
    assert read == {
        "none": None,
        "yes": True,
        "int": 2**40,
        "float": 0.5,
        "odd": [float("inf"), -float("inf"), (1, "zwei"), ()],
        "nested": {"a b": {}},
    }
    assert read["yes"] is True


keys = st.text().filter(lambda key: key not in ("$float", "$tuple", "$time"))
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(keys, inner),
    max_leaves=10,
)


@given(st.dictionaries(keys, json_like, max_size=4))
@settings(max_examples=30, deadline=None)
def test_any_json_like_record_survives(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("any") / "a.dvrl"
    assert round_trip(path, record).record == record


def test_the_same_content_gives_the_same_bytes(tmp_path):
    arrays = {name: np.arange(3) for name in "cab"} | {"t": np.array(["x"])}
    for name in map(str, range(5)):
        write_archive(tmp_path / name, {"x": 1, "y": 2}, arrays)
    assert len({(tmp_path / str(n)).read_bytes() for n in range(5)}) == 1


@pytest.mark.parametrize(
    ("record", "arrays", "words"),
    [
        ({"a": [1, {"b": object()}]}, {}, r"record\['a'\]\[1\]\['b'\] .* object"),
        ({"a": np.ones(2)}, {}, "`arrays`"),
        ({1: 2}, {}, "key 1"),
        ({"$float": 2}, {}, "float"),
        ({}, {"o": np.array([object()])}, r"o\[0\] is of type object"),
        ({}, {"o": np.array([["a"]])}, "'o' of dtype .* 2 dimensions"),
        ({}, {"o": np.ones(2, complex)}, "complex128"),
        ({}, {"": np.ones(1)}, "without leading"),
        ({}, {"__metadata__": np.ones(1)}, "without leading"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    tmp_path, record, arrays, words
):
    with pytest.raises(TypeError, match=words):
        write_archive(tmp_path / "a.dvrl", record, arrays)
    assert list(tmp_path.iterdir()) == []


def test_states_are_joined_and_taken_apart():
    states = {"a": ({"x": 1}, {"v": np.arange(2)}), "b": joined(c=({}, {"v": np.arange(3)}))}
    record, arrays = joined(**states)
    assert_array_equal(arrays["b/c/v"], np.arange(3))
    its = part(*part(record, arrays, "b"), "c")
    assert_array_equal(expect(its[1], "v", (3,), np.integer), np.arange(3))
    with pytest.raises(ValueError, match="no part 'x'"):
        part(record, arrays, "x")


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3),
        pd.Index([3, 1, 2], name="id"),
        pd.Index([1.5, np.nan, 2.0]),
        pd.Index([True, False, True]),
        pd.Index(["a", "ö\n", ""], name=("x", 1)),
        pd.Index(["a", None, "b"], dtype=object),
        pd.Index([1, "a", (2, "b")], dtype=object),
        pd.Index([1, None, 3], dtype="Int64"),
        pd.Index(["a", "b", "c"], dtype="string"),
        pd.DatetimeIndex(["2020-01-01", "2021-05-01 12:00:00.5", None], name="t"),
        pd.DatetimeIndex(["2020-01-01", "2021-05-01", "2021-10-31"], tz="Europe/Berlin"),
        pd.date_range("2020-01-01", periods=3, freq="MS"),
        pd.TimedeltaIndex(["1s", "2D", None]),
        pd.PeriodIndex(["2020-01", "2021-05", "2021-10"], freq="M", name="p"),
        pd.CategoricalIndex(["b", "a", None], categories=["b", "a", "c"], ordered=True),
        pd.MultiIndex.from_arrays([[1, 1, 2], ["a", "b", "a"]], names=["n", None]),
    ],
    ids=lambda index: f"{type(index).__name__}-{index.dtype}",
)
def test_names_of_rows_survive(tmp_path, index):
    archive = round_trip(tmp_path / "a.dvrl", *index_state(index))
    read = index_from_state(archive.record, archive.arrays)
    pd.testing.assert_index_equal(read, index, exact="equiv")
    assert read.names == index.names


def test_names_that_are_no_plain_cells_become_text(tmp_path):
    index = pd.Index([complex(1, 2), frozenset("a")], dtype=object)
    archive = round_trip(tmp_path / "a.dvrl", *index_state(index))
    read = index_from_state(archive.record, archive.arrays)
    assert read.tolist() == ["(1+2j)", "frozenset({'a'})"]


# --- models -----------------------------------------------------------------------------------


def through_a_file(path, model, trusted=()):
    archive = round_trip(path, *models_state({"predictor": model}))
    return models_from_state(archive.record, archive.arrays, trusted)["predictor"]


def test_linear_models_and_pipelines_of_them_are_numbers(tmp_path):
    X, y = binary_data()
    for model in (LogisticRegression(C=0.5), make_pipeline(StandardScaler(), LogisticRegression())):
        read = through_a_file(tmp_path / "a", model.fit(X, y))
        assert_array_equal(read.predict_proba(X), model.predict_proba(X))
        assert str(read.get_params()) == str(model.get_params())
        assert (
            through_a_file(tmp_path / "a", type(model)(**model.get_params(deep=False))) is not None
        )


def test_models_of_ones_own_are_opened_only_where_they_are_trusted(tmp_path):
    X, y = binary_data()
    model = RandomForestClassifier(3, random_state=0).fit(X, y)
    closed = through_a_file(tmp_path / "a", model)
    assert repr(closed) == "<sklearn.ensemble._forest.RandomForestClassifier, not opened>"
    with pytest.raises(ValueError, match=r"trusted=\['sklearn.*Tree") as caught:
        closed.predict(X)
    needed = re.findall(r"'(sklearn[^']*)'", str(caught.value))
    with pytest.raises(ValueError, match="The predictor of this file"):
        through_a_file(tmp_path / "a", model, needed[:1])
    read = through_a_file(tmp_path / "a", model, needed)
    assert_array_equal(read.predict_proba(X), model.predict_proba(X))
    with pytest.raises(TypeError, match=r"trusted=\['sklearn"):
        through_a_file(tmp_path / "a", model, "sklearn")
    # Saved again without having been opened.
    again = through_a_file(tmp_path / "a", closed, needed)
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))


class Shifted(LogisticRegression):
    """Not among the models that are numbers."""


@pytest.mark.parametrize(
    "step",
    [
        FunctionTransformer(lambda X: X),
        FunctionTransformer(functools.partial(np.add, 1.0)),
        FunctionTransformer(np.random.default_rng(0).normal),
        type("Local", (FunctionTransformer,), {})(),
    ],
    ids=["lambda", "partial", "method", "local class"],
)
def test_what_could_not_be_loaded_again_is_named_when_saving(step):
    model = make_pipeline(step, Shifted())
    with pytest.raises(TypeError, match=r"The predictor \(Pipeline\) could not be loaded again"):
        models_state({"predictor": model})


@pytest.mark.parametrize("function", [os.system, pd.read_pickle, np.testing.rundocs, eval])
def test_functions_that_run_things_need_trust(function):
    data = pack_object("t", FunctionTransformer(function))
    closed = open_object("t", data, ())
    assert isinstance(closed, NotOpened)
    assert f".{function.__name__}" in closed.why


@pytest.mark.parametrize("loader", ["MethodNode", "OperatorFuncNode", "PartialNode"])
def test_nodes_that_call_are_refused_even_where_all_is_trusted(tmp_path, loader):
    path = tmp_path / "evil"
    node = {"__class__": "list", "__module__": "builtins", "__loader__": loader, "content": []}
    root = {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode", "x": [node]}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", json.dumps(root))
    data = np.frombuffer(path.read_bytes(), np.uint8)
    with pytest.raises(ValueError, match=f"calls functions: {loader}"):
        open_object("predictor", data, ["builtins.dict", "builtins.list"])


def test_damaged_objects_get_one_sentence():
    whole = pack_object("model", Shifted().fit(*binary_data()))
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ValueError, match="damaged") as caught:
            open_object("model", whole[:size], ("tests.Shifted",))
        assert "\n" not in str(caught.value)


# --- broken and foreign files -------------------------------------------------------------------


def test_every_cut_gives_one_sentence(tmp_path):
    path = tmp_path / "a.dvrl"
    write_archive(path, {"a": 1}, {"x": np.arange(4.0), "t": np.array(["a"])})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.dvrl") as caught:
            read_archive(path)
        assert "\n" not in str(caught.value)


def test_every_flipped_byte_is_found(tmp_path):
    path = tmp_path / "a.dvrl"
    write_archive(path, {"a": 1}, {"x": np.arange(20.0), "t": np.array(["a"])})
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bits in (0x01, 0x55, 0x80):
            broken = bytearray(whole)
            broken[position] ^= bits
            path.write_bytes(bytes(broken))
            with pytest.raises(ValueError, match=r"a\.dvrl"):
                read_archive(path)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_bytes_get_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "a.dvrl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.dvrl"):
        read_archive(path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (None, "was not written by dvrl"),
        ({"format": "pt"}, "was not written by dvrl"),
        ({"dvrl": "99 0 {}"}, "version 99, this dvrl reads up to 2; upgrade"),
        ({"dvrl": ""}, "not a complete file"),
        ({"dvrl": "2 0 {}"}, "not a complete file"),
    ],
)
def test_foreign_files_get_one_sentence(tmp_path, entries, words):
    path = tmp_path / "a.dvrl"
    path.write_bytes(save({"x": np.ones(2)}, entries))
    with pytest.raises(ValueError, match=words):
        read_archive(path)


def test_files_of_dvrl_0_1_get_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.dvrl", "w") as file:
        file.writestr("metadata.json", "{}")
    with pytest.raises(ValueError, match=r"zip file, as dvrl 0\.1 wrote them"):
        read_archive(tmp_path / "a.dvrl")


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.dvrl")


# --- all or nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["content", "fsync", "rename"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "a.dvrl"
    write_archive(path, {"old": 1}, {})

    def fail(*_args, **_options):
        raise OSError("disk full")

    if moment == "content":
        monkeypatch.setattr("safetensors.numpy.save", fail)
    else:
        monkeypatch.setattr(os, {"fsync": "fsync", "rename": "replace"}[moment], fail)
    with pytest.raises(OSError, match="disk full"):
        write_archive(path, {"new": 1}, {})
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.dvrl"]
    assert read_archive(path).record == {"old": 1}


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "a.dvrl", tmp_path / "link.dvrl"
    write_archive(path, {}, {})
    path.chmod(0o640)
    link.symlink_to(path)
    write_archive(link, {"new": 1}, {})
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert read_archive(path).record == {"new": 1}


def test_write_atomically_writes_any_bytes(tmp_path):
    path = tmp_path / "report.html"
    write_atomically(path, lambda stream: stream.write(b"hello"))
    assert path.read_bytes() == b"hello"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.dvrl"
    for delay in (0.0, 0.003, 0.011, 0.02):
        with subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            written = process.stdout.readline()  # at least one file is there
            time.sleep(delay)
            process.kill()
            written += process.stdout.read()
        archive = read_archive(path)
        # The last file announced, or a later one.
        assert archive.record["i"] >= int(written.splitlines()[-1])
        np.testing.assert_array_equal(archive.arrays["a"], np.full(200_000, archive.record["i"]))
