"""Archives: what goes in comes out, whole or not at all, and nothing is run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from dvrl.files.archive import read_archive, write_archive
from dvrl.files.atomic import write_atomically
from dvrl.files.objects import _is_known

WRITE_FOR_EVER = """
import sys
import numpy as np
from dvrl.files.archive import write_archive
i = 0
while True:
    write_archive(sys.argv[1], metadata={"i": i}, arrays={"a": np.full(200_000, i)})
    print(i, flush=True)
    i += 1
"""


def binary_data(n_rows=120):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4))
    return X, (X[:, 0] + 0.3 * rng.normal(size=n_rows) > 0).astype(int)


def mixed_frame(n_rows=300):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n_rows),
            "gaps": np.where(rng.random(n_rows) < 0.2, np.nan, rng.normal(size=n_rows)),
            "word": rng.choice(["red", "green", "blue"], n_rows),
            "day": pd.date_range("2020-01-01", periods=n_rows, freq="D"),
            "day_text": pd.date_range("2020-01-01", periods=n_rows).strftime("%Y-%m-%d"),
            "text": [f"street {rng.integers(900)} house {i}" for i in range(n_rows)],
            "category": pd.Categorical(rng.choice(["p", "q"], n_rows)),
            "flag": rng.random(n_rows) > 0.5,
        }
    )
    frame.loc[::7, "word"] = None
    frame.loc[::11, "text"] = None
    return frame


def round_trip(path, *, metadata=None, arrays=None, objects=None, trusted=()):
    write_archive(path, metadata=metadata or {}, arrays=arrays or {}, objects=objects)
    return read_archive(path, trusted=trusted)


# --- contents ---------------------------------------------------------------------------------


def test_arrays_keep_type_shape_and_bits(tmp_path):
    arrays = {
        "f32": np.array([[1.5, np.nan], [np.inf, -0.0]], np.float32),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(3, np.uint32),
        "text": np.array(["a", "öß"]),
        "dates": np.array(["2020-01-01"], "datetime64[D]"),
        "empty": np.empty((0, 4)),
        "params/0/weight": np.ones(2, np.int8),
    }
    read = round_trip(tmp_path / "a.dvrl", arrays=arrays).arrays
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes("A") == array.tobytes("A")


def test_metadata_survives(tmp_path):
    metadata = {
        "none": None,
        "yes": np.True_,
        "int": np.int64(2**40),
        "float": np.float32(0.5),
        "odd": [float("inf"), -float("inf"), (1, "zwei")],
        "nested": {"a b": {"nan": float("nan")}},
    }
    read = round_trip(tmp_path / "a.dvrl", metadata=metadata).metadata
    assert np.isnan(read["nested"]["a b"].pop("nan"))
    assert read == {
        "none": None,
        "yes": True,
        "int": 2**40,
        "float": 0.5,
        "odd": [float("inf"), -float("inf"), [1, "zwei"]],
        "nested": {"a b": {}},
    }
    assert read["yes"] is True


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter("$float".__ne__), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1).filter("$float".__ne__), json_like, max_size=4))
@settings(max_examples=30, deadline=None)
def test_any_json_like_metadata_survives(tmp_path_factory, metadata):
    path = tmp_path_factory.mktemp("any") / "a.dvrl"
    assert round_trip(path, metadata=metadata).metadata == metadata


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_archive(tmp_path / name, metadata={"x": 1}, arrays={"v": np.arange(3)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metadata": {"a": [1, {"b": object()}]}}, r"metadata\['a'\]\[1\]\['b'\] .* object"),
        ({"metadata": {"a": np.ones(2)}}, "`arrays`"),
        ({"metadata": {1: 2}}, "key 1"),
        ({"metadata": {"$float": 2}}, "float"),
        ({"arrays": {"o": np.array([None])}}, "'o' has dtype object"),
        ({"arrays": {"": np.ones(1)}}, "non-empty"),
        ({"objects": {"f": (x for x in [])}}, "'f' .generator. cannot be stored"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path, changes, words):
    path = tmp_path / "a.dvrl"
    with pytest.raises(TypeError, match=words):
        write_archive(path, **{"metadata": {}, "arrays": {}, **changes})
    assert list(tmp_path.iterdir()) == []


# --- objects ----------------------------------------------------------------------------------


def test_fitted_models_answer_the_same(tmp_path):
    X, y = binary_data()
    model = LogisticRegression().fit(X, y)
    read = round_trip(tmp_path / "a.dvrl", objects={"model": model}).objects["model"]
    np.testing.assert_array_equal(read.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_table_vectorizer_answers_the_same(tmp_path, kind):
    from skrub import TableVectorizer

    frame = mixed_frame()
    new = frame.iloc[100:150]
    if kind == "polars":
        polars = pytest.importorskip("polars")
        frame, new = polars.from_pandas(frame), polars.from_pandas(new)
    vectorizer = TableVectorizer().fit(frame)
    read = round_trip(tmp_path / "a.dvrl", objects={"v": vectorizer}).objects["v"]
    before, after = vectorizer.transform(new), read.transform(new)
    assert list(before.columns) == list(after.columns)
    assert before.equals(after)


def test_types_of_other_packages_must_be_named(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    X, y = binary_data()
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, y)
    path = tmp_path / "a.dvrl"
    write_archive(path, metadata={}, arrays={}, objects={"model": model})
    with pytest.raises(ValueError, match=r"lightgbm\.basic\.Booster.*trusted=\["):
        read_archive(path)
    trusted = ["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]
    read = read_archive(path, trusted=trusted).objects["model"]
    np.testing.assert_array_equal(read.predict_proba(X), model.predict_proba(X))
    with pytest.raises(TypeError, match=r"trusted=\['lightgbm"):
        read_archive(path, trusted="lightgbm.basic.Booster")


@pytest.mark.parametrize("function", [os.system, pd.read_pickle, np.testing.rundocs, eval])
def test_functions_that_run_things_are_refused(tmp_path, function):
    path = tmp_path / "a.dvrl"
    objects = {"t": FunctionTransformer(function)}
    write_archive(path, metadata={}, arrays={}, objects=objects)
    with pytest.raises(ValueError, match="does not know"):
        read_archive(path)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("sklearn.calibration._CalibratedClassifier", True),
        ("skrub._table_vectorizer.TableVectorizer", True),
        ("skrub._dataframe._common.is_numeric", True),
        ("sklearn.neighbors._kd_tree.KDTree", False),  # Cython: raw memory from the file
        ("skrub._data_ops._data_ops.DataOp", False),
        ("sklearn.utils._testing.MinimalClassifier", False),
        ("sklearn.datasets.load_iris", False),  # a function
        ("sklearn.base.defaultdict", False),  # only imported there
        ("sklearn.no_such_module.Thing", False),
        ("sklearnevil.Thing", False),
        ("numpy.testing.runstring", False),
    ],
)
def test_which_types_are_known(name, known):
    assert _is_known(name) is known


def test_trees_of_scikit_learn_need_trust(tmp_path):
    """Their memory is filled from the file as it stands."""
    X, y = binary_data()
    X[:, 3] = np.digitize(X[:, 3], [-1, 0, 1])
    boosted = HistGradientBoostingClassifier(max_iter=2, categorical_features=[3])
    for model in (RandomForestClassifier(3), boosted):
        objects = {"model": model.fit(X, y)}
        with pytest.raises(ValueError, match=r"trusted=\['sklearn\..*Tree") as caught:
            round_trip(tmp_path / "a.dvrl", objects=objects)
        names = re.findall(r"'(sklearn[^']*)'", str(caught.value))
        read = round_trip(tmp_path / "a.dvrl", objects=objects, trusted=names).objects["model"]
        assert (read.predict(X) == model.predict(X)).all()


# --- broken and foreign files -------------------------------------------------------------------


def test_every_cut_gives_one_sentence(tmp_path):
    path = tmp_path / "a.dvrl"
    X, y = binary_data()
    model = LogisticRegression().fit(X, y)
    write_archive(path, metadata={"a": 1}, arrays={"x": X}, objects={"m": model})
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.dvrl") as caught:
            read_archive(path)
        assert "\n" not in str(caught.value)


def test_flipped_bytes_are_found_or_harmless(tmp_path):
    path = tmp_path / "a.dvrl"
    x = np.arange(20.0)
    write_archive(path, metadata={"a": 1}, arrays={"x": x})
    whole = path.read_bytes()
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 0x55
        path.write_bytes(bytes(broken))
        try:
            read = read_archive(path)
        except ValueError:
            continue
        # Times and attributes in the zip directory carry no content.
        assert read.metadata == {"a": 1}
        np.testing.assert_array_equal(read.arrays["x"], x)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "was not written by dvrl"),
        ({"metadata.json": "[1"}, "was not written by dvrl"),
        ({"metadata.json": "[]"}, "was not written by dvrl"),
        ({"metadata.json": json.dumps({"format": "x", "version": 1})}, "was not written by dvrl"),
        (
            {"metadata.json": json.dumps({"format": "dvrl-archive", "version": 99})},
            "version 99, this dvrl reads up to 1; upgrade",
        ),
        ({"metadata.json": json.dumps({"format": "dvrl-archive", "version": 1})}, "damaged"),
        (
            {
                "metadata.json": json.dumps(
                    {
                        "format": "dvrl-archive",
                        "version": 1,
                        "metadata": {},
                        "arrays": ["x"],
                        "objects": [],
                    }
                )
            },
            "damaged",
        ),
    ],
)
def test_foreign_files_get_one_sentence(tmp_path, content, words):
    path = tmp_path / "a.dvrl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    with pytest.raises(ValueError, match=words):
        read_archive(path)


def test_pickled_arrays_are_not_loaded(tmp_path):
    path = tmp_path / "a.dvrl"
    write_archive(path, metadata={}, arrays={})
    header = {"format": "dvrl-archive", "version": 1, "metadata": {}, "arrays": ["x"]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({**header, "objects": []}))
        with archive.open("arrays/x.npy", "w") as stream:
            np.lib.format.write_array(stream, np.array([None], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        read_archive(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.dvrl")


# --- all or nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["content", "fsync", "rename"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "a.dvrl"
    write_archive(path, metadata={"old": 1}, arrays={})

    def fail(*_args, **_options):
        raise OSError("disk full")

    if moment == "content":
        monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    else:
        monkeypatch.setattr(os, {"fsync": "fsync", "rename": "replace"}[moment], fail)
    with pytest.raises(OSError, match="disk full"):
        write_archive(path, metadata={"new": 1}, arrays={})
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.dvrl"]
    assert read_archive(path).metadata == {"old": 1}


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "a.dvrl", tmp_path / "link.dvrl"
    write_archive(path, metadata={}, arrays={})
    path.chmod(0o640)
    link.symlink_to(path)
    write_archive(link, metadata={"new": 1}, arrays={})
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert read_archive(path).metadata == {"new": 1}


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
        assert archive.metadata["i"] >= int(written.splitlines()[-1])
        np.testing.assert_array_equal(archive.arrays["a"], np.full(200_000, archive.metadata["i"]))
