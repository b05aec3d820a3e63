"""Features and targets on their way to matrices."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from dvrl.data.columns import OtherColumn
from dvrl.data.encoder import FeatureEncoder
from dvrl.data.rows import n_rows, row_index, take_rows
from dvrl.data.split import check_validation, hold_out_validation
from dvrl.data.targets import ClassEncoder, TargetScaler
from dvrl.files.archive import read_archive, write_archive

few = settings(max_examples=25, deadline=None)
finite = st.floats(allow_nan=False, allow_infinity=False)


def mixed_columns(n: int = 60) -> dict[str, list[object]]:
    """Make columns of every kind a caller may hold, each with gaps but the first."""
    start = datetime.datetime(2024, 1, 1)
    return {
        "number": [float(i) for i in range(n)],
        "gappy": [None if i % 5 == 0 else float(i % 7) for i in range(n)],
        "flag": [None if i % 9 == 0 else i % 2 == 0 for i in range(n)],
        "colour": [("red", "green", "blue", None)[i % 4] for i in range(n)],
        "note": [None if i == 3 else f"remark number {i} of many" for i in range(n)],
        "day": [None if i == 7 else start + datetime.timedelta(days=11 * i) for i in range(n)],
        "wait": [None if i == 2 else datetime.timedelta(minutes=i) for i in range(n)],
        "empty": [None] * n,
    }


@pytest.fixture(params=["pandas", "polars"])
def mixed(request: pytest.FixtureRequest) -> pd.DataFrame | pl.DataFrame:
    columns = mixed_columns()
    return pd.DataFrame(columns) if request.param == "pandas" else pl.DataFrame(columns)


def through_a_file(folder, state):
    """Write a state and read it again."""
    write_archive(folder / "state", *state)
    archive = read_archive(folder / "state")
    return archive.record, archive.arrays


class OwnEstimator(BaseEstimator):
    """Stands for a meta-estimator that encodes on its own behalf."""


# ---- arrays ------------------------------------------------------------------------------


@parametrize_with_checks([FeatureEncoder()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@few
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=finite))
def test_arrays_stay_finite_and_keep_their_shape(X):
    original = X.copy()
    encoder = FeatureEncoder()
    encoded = encoder.fit_transform(X)
    assert encoded.dtype == np.float32
    assert encoded.shape == X.shape
    assert encoded.flags.c_contiguous
    assert np.isfinite(encoded).all()
    assert_allclose(encoded.mean(axis=0, dtype=np.float64), 0.0, atol=1e-5)
    spreads = encoded.std(axis=0, dtype=np.float64)
    assert (np.isclose(spreads, 1.0, atol=1e-4) | (spreads == 0.0)).all()
    assert_array_equal(encoder.transform(X), encoded)
    assert_array_equal(X, original)


@few
@given(
    hnp.arrays(np.float64, (4, 3), elements=finite), hnp.arrays(np.float64, (5, 3), elements=finite)
)
def test_rows_never_seen_stay_finite(X, X_new):
    encoded = FeatureEncoder().fit(X).transform(X_new)
    assert encoded.shape == X_new.shape
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= 1e6


def test_standardises_by_training_rows():
    X = np.array([[1.0, 7.0, 1e300], [3.0, 7.0, -1e300]])
    encoder = FeatureEncoder().fit(X)
    assert_array_equal(encoder.transform(X), [[-1, 0, 1], [1, 0, -1]])
    assert_allclose(encoder.transform([[5.0, 9.0, 0.0]]), [[3, 0, 0]])
    assert encoder.columns_out_ == ["x0", "x1", "x2"]


def test_large_offset_does_not_spoil_small_spread():
    X = 1e9 + np.arange(100.0)[:, np.newaxis]
    assert_allclose(FeatureEncoder().fit_transform(X).std(), 1.0, rtol=1e-5)


def test_many_blocks_are_like_one(monkeypatch):
    X = np.random.default_rng(0).normal(size=(101, 3)).astype(np.float32)
    whole = FeatureEncoder().fit_transform(X)
    monkeypatch.setattr("dvrl.data.rows.BLOCK_ELEMENTS", 12)
    assert_allclose(FeatureEncoder().fit_transform(X), whole, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_, np.float16, np.float32, object])
def test_number_types(kind):
    X = np.array([[0, 1], [1, 0], [1, 1]]).astype(kind)
    expected = FeatureEncoder().fit_transform(X.astype(np.float64))
    assert_array_equal(FeatureEncoder().fit_transform(X), expected)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.array([[1.0, np.nan]]), ValueError, "Input X contains NaN.\nFeatureEncoder does not"),
        (np.array([[1.0, np.inf]]), ValueError, "Input X contains infinity"),
        (pd.DataFrame({"a": [1.0, np.inf]}), ValueError, "infinity .* in column 'a'"),
        (np.arange(3.0), ValueError, "Expected 2D array, got 1D"),
        (pd.Series([1.0, 2.0]), ValueError, "Expected a 2-dimensional container"),
        (np.empty((0, 2)), ValueError, r"0 sample\(s\)"),
        (np.empty((2, 0)), ValueError, r"0 feature\(s\)"),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\)"),
        (pd.DataFrame(index=[0, 1]), ValueError, r"0 feature\(s\)"),
        (np.array([[1j, 2.0]]), ValueError, "Complex data not supported"),
        (pd.DataFrame({"a": [1j, 2.0]}), ValueError, "Complex data not supported"),
        (scipy.sparse.csr_matrix(np.eye(3)), TypeError, "(?i)sparse"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), TypeError, "(?i)sparse"),
        (["some", "text"], ValueError, "frame with one column"),
        (pd.Series(["some", "text"]), ValueError, "frame with one column"),
        (pl.Series(["some", "text"]), ValueError, "frame with one column"),
        (np.array(["some", "text"]), ValueError, "frame with one column"),
        ("text", ValueError, "one text column"),
        (pl.LazyFrame({"a": [1]}), TypeError, r"call X\.collect\(\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "more than one column named 'a'"),
        (pd.DataFrame({"a": [None, None]}), ValueError, "only gaps"),
    ],
)
def test_bad_input_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        FeatureEncoder().fit(X)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        FeatureEncoder().transform(np.eye(2))


def test_speaks_for_its_owner():
    owner, encoder = OwnEstimator(), FeatureEncoder()
    frame = pd.DataFrame(np.eye(3), columns=["a", "b", "c"])
    encoder.fit(frame, estimator=owner)
    for fitted in (owner, encoder):
        assert fitted.n_features_in_ == 3
        assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="missing:\n- b"):
        encoder.transform(frame.drop(columns="b"), estimator=owner)
    with pytest.raises(ValueError, match="unseen at fit time:\n- d"):
        encoder.transform(frame.assign(d=1), estimator=owner)
    with pytest.raises(ValueError, match="same order"):
        encoder.transform(frame[["b", "a", "c"]], estimator=owner)
    encoder.fit(np.eye(3), estimator=owner)
    assert not hasattr(owner, "feature_names_in_")
    assert not hasattr(encoder, "feature_names_in_")
    with pytest.raises(ValueError, match="2 features, but OwnEstimator is expecting 3"):
        encoder.transform(np.ones((1, 2)), estimator=owner)
    with pytest.raises(ValueError, match="OwnEstimator does not accept missing values"):
        encoder.transform(np.full((1, 3), np.nan), estimator=owner)


# ---- frames ------------------------------------------------------------------------------


def copy_of(frame):
    return frame.copy(deep=True) if isinstance(frame, pd.DataFrame) else frame.clone()


def test_mixed_frames(mixed):
    original = copy_of(mixed)
    encoder = FeatureEncoder()
    encoded = encoder.fit_transform(mixed)
    assert encoded.dtype == np.float32
    assert encoded.flags.c_contiguous
    assert encoded.shape == (60, len(encoder.columns_out_))
    assert np.isfinite(encoded).all()
    assert_allclose(encoded.mean(axis=0), 0.0, atol=1e-5)
    assert mixed.equals(original)
    assert_array_equal(encoder.transform(mixed), encoded)
    names = encoder.columns_out_
    assert {"number", "gappy", "gappy_missing", "flag_missing", "wait", "colour_red"} <= set(names)
    assert "number_missing" not in names
    assert not any(name.startswith("empty") for name in names)
    gaps = np.arange(60) % 5 == 0
    assert_allclose(encoded[gaps, names.index("gappy")], 0.0, atol=1e-7)
    assert (encoded[gaps, names.index("gappy_missing")] > 0).all()
    assert (encoded[~gaps, names.index("gappy_missing")] < 0).all()
    assert_array_equal(FeatureEncoder().fit_transform(mixed), encoded)
    assert_array_equal(encoder.transform(mixed[10:13]), encoded[10:13])


def test_both_kinds_of_frames_agree():
    columns = mixed_columns()
    del columns["note"], columns["day"]
    left = FeatureEncoder().fit(pd.DataFrame(columns))
    right = FeatureEncoder().fit(pl.DataFrame(columns))
    assert [name for name in left.columns_out_ if "colour" not in name] == [
        name for name in right.columns_out_ if "colour" not in name
    ]
    positions = [i for i, name in enumerate(left.columns_out_) if "colour" not in name]
    assert_allclose(
        left.transform(pd.DataFrame(columns))[:, positions],
        right.transform(pl.DataFrame(columns))[:, positions],
        atol=1e-6,
    )


def test_unknown_categories_and_new_gaps(mixed):
    encoder = FeatureEncoder().fit(mixed)
    columns = mixed_columns()
    columns["colour"] = ["never seen"] * 60
    columns["number"] = [None] * 60
    columns["day"] = [None] * 60
    columns["wait"] = [None] * 60
    new = pd.DataFrame(columns) if isinstance(mixed, pd.DataFrame) else pl.DataFrame(columns)
    encoded = encoder.transform(new)
    assert np.isfinite(encoded).all()
    assert (encoded[:, encoder.columns_out_.index("number")] == 0).all()
    colours = [i for i, name in enumerate(encoder.columns_out_) if name.startswith("colour_")]
    # Zero in every indicator is below the mean of every indicator.
    assert len(colours) >= 4
    assert (encoded[:, colours] < 0).all()


def test_numeric_frame_is_like_its_array():
    X = np.random.default_rng(0).normal(size=(20, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    encoder = FeatureEncoder().fit(frame)
    assert_array_equal(encoder.transform(frame), FeatureEncoder().fit_transform(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert_array_equal(encoder.transform(X), encoder.transform(frame))


def test_nullable_and_object_numbers():
    frame = pd.DataFrame(
        {
            "nullable": pd.array([1, None, 3, 5], dtype="Int64"),
            "object": np.array([1, None, 3.0, 5], dtype=object),
            "plain": [1.0, np.nan, 3.0, 5.0],
        }
    )
    encoded = FeatureEncoder().fit_transform(frame)
    assert encoded.shape == (4, 6)
    assert_array_equal(encoded[:, 0], encoded[:, 1])
    assert_array_equal(encoded[:, 0], encoded[:, 2])
    assert_array_equal(encoded[:, 3], encoded[:, 5])


def test_integer_column_names_are_no_feature_names():
    frame = pd.DataFrame({0: [1.0, 2.0], 1: ["a", "b"]})
    encoder = FeatureEncoder().fit(frame)
    assert not hasattr(encoder, "feature_names_in_")
    assert np.isfinite(encoder.transform(frame)).all()


def test_columns_of_another_kind_are_refused():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    encoder = FeatureEncoder().fit(frame)
    with pytest.raises(ValueError, match="'a' held numbers in the training rows"):
        encoder.transform(frame.assign(a=["one", "two"]))
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="column 'b' was not numeric"),
    ):
        encoder.transform(np.ones((1, 2)))


@few
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), finite),
            st.one_of(st.none(), st.text(max_size=3)),
            st.one_of(st.none(), st.booleans()),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_frame_is_encoded(rows):
    columns = dict(zip(("a", "b", "c"), map(list, zip(*rows, strict=True)), strict=True))
    frame = pd.DataFrame({**columns, "d": np.arange(len(rows))})
    original = frame.copy(deep=True)
    encoder = FeatureEncoder()
    encoded = encoder.fit_transform(frame)
    assert encoded.shape == (len(rows), len(encoder.columns_out_))
    assert np.isfinite(encoded).all()
    assert_allclose(encoded.mean(axis=0, dtype=np.float64), 0.0, atol=1e-5)
    assert frame.equals(original)


def test_restored_from_its_state(tmp_path, mixed):
    encoder = FeatureEncoder().fit(mixed)
    restored = FeatureEncoder.from_state(*through_a_file(tmp_path, encoder.state()))
    assert_array_equal(restored.transform(mixed), encoder.transform(mixed))
    assert restored.columns_out_ == encoder.columns_out_
    assert restored.feature_names_in_.tolist() == encoder.feature_names_in_.tolist()


def test_damaged_states_are_refused():
    record, arrays = FeatureEncoder().fit(pd.DataFrame(mixed_columns())).state()
    for name, array in arrays.items():
        shorter = array[:-1] if len(array) else None
        other = np.zeros(len(array), complex) if len(array) else None
        for damaged in (shorter, other, array[np.newaxis], None):
            changed = {each: a for each, a in (arrays | {name: damaged}).items() if a is not None}
            with pytest.raises(ValueError, match="damaged"):
                FeatureEncoder.from_state(record, changed)
    beyond = np.array([*arrays["numeric_columns_"][:-1], 99])
    with pytest.raises(ValueError, match="'numeric_columns_' holds numbers that cannot be"):
        FeatureEncoder.from_state(record, arrays | {"numeric_columns_": beyond})


def columns_of_all_kinds(n):
    """Make columns that skrub's TableVectorizer reads as numbers, dates, categories and strings."""
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-01")
    yield "word", rng.choice(["red", "green", "blue", None], n)
    yield "day", pd.date_range(start, periods=n)
    yield "hour", pd.Series(pd.date_range(start, periods=n, freq="7h")).where(rng.random(n) > 0.1)
    yield "zone", pd.date_range(start, periods=n, freq="7h", tz="Europe/Berlin")
    yield "day_text", pd.Series(pd.date_range(start, periods=n).strftime("%Y-%m-%d"))
    yield "day_first", pd.Series(pd.date_range(start, periods=n).strftime("%d/%m/%Y %H:%M"))
    yield "date", [(start + pd.Timedelta(days=i)).date() for i in range(n)]
    yield "street", [f"street {rng.integers(900)} house {i}" if i % 9 else None for i in range(n)]
    yield "category", pd.Categorical(rng.choice(["p", "q"], n), ["z", "q", "p"])
    yield "number_category", pd.Categorical(rng.choice([3, 1, 2], n))
    yield "large_category", pd.Categorical([f"c{i % 77}" for i in range(n)])
    yield "number_text", [f"{i}.5" if i % 8 else "N/A" for i in range(n)]
    yield "mixed", pd.Series([1 if i % 2 else "a" for i in range(n)], dtype=object)
    yield "gaps_in_words", rng.choice(["?", "N/A", " ", "x", "y"], n)
    yield "only_gaps", ["?"] * n
    yield "code", [str(i % 60) if i % 9 else "x1" for i in range(n)]
    yield "few_letters", [chr(97 + i % 20) * 2 + chr(97 + i // 20) for i in range(n)]


@pytest.mark.parametrize("place", range(17))
def test_columns_become_the_numbers_of_skrub(tmp_path, place):
    """What replaced skrub's encoders gives the same names and, to the bit, the same numbers."""
    skrub = pytest.importorskip("skrub")
    name, cells = list(columns_of_all_kinds(200))[place]
    frame = pd.DataFrame({name: cells})
    known, new = frame.iloc[:150], frame.iloc[150:]
    vectorizer = skrub.TableVectorizer(
        low_cardinality=OneHotEncoder(
            handle_unknown="ignore", sparse_output=False, dtype=np.float32
        ),
        high_cardinality=skrub.StringEncoder(random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = vectorizer.fit_transform(known), vectorizer.transform(new)
    column = OtherColumn.fit(name, known[name])
    restored = OtherColumn.from_state(*through_a_file(tmp_path, column.state()))
    assert restored.names == list(expected[0].columns)
    for rows, matrix in zip((known, new), expected, strict=True):
        numbers = restored.transform(rows[name])
        assert len(numbers) == matrix.shape[1]
        for found, wanted in zip(numbers, matrix.columns, strict=True):
            assert_array_equal(found, matrix[wanted].to_numpy(float, na_value=np.nan))


# ---- targets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        ["no", "yes", "no", "maybe"],
        np.array(["no", "yes", "no"], dtype=object),
        [3, 1, 3, 2],
        [0.0, 1.0, 0.0],
        [True, False, True],
        pd.Series(["a", "b", "a"]),
        pd.Series(["a", "b", "a"], dtype="category"),
        pd.Series([1, 2, 1], dtype="Int64"),
        pd.Series([True, False, True], dtype="boolean"),
        np.array([1, 2, 1], dtype=object),
        pl.Series(["a", "b", "a"]),
        pl.Series([2, 1, 2]),
        np.array(["2020-01-02", "2021-01-01"], "datetime64[D]"),
        ["a\x00b", "", "\n", "\ud800", "$float", "ö"],
    ],
)
def test_labels_round_trip(tmp_path, labels):
    coder = ClassEncoder().fit(labels)
    encoded = coder.encode(labels)
    expected = list(labels)
    assert coder.n_outputs == len(set(expected))
    assert encoded.dtype == np.float32
    assert encoded.shape == (len(expected), coder.n_outputs)
    assert_array_equal(encoded.sum(axis=1), 1.0)
    assert coder.decode(encoded).tolist() == expected
    restored = ClassEncoder.from_state(*through_a_file(tmp_path, coder.state()))
    assert restored.classes_.dtype == coder.classes_.dtype
    assert restored.decode(encoded).tolist() == expected
    assert type(restored.decode(encoded)[0]) is type(coder.decode(encoded)[0])
    assert (coder.task, coder.center, coder.scale) == ("classification", 0.0, 1.0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, 1], "only one class is present.*1; pass"),
        ([0.3, 1.7, 2.2], "Unknown label type: continuous"),
        ([1.0, np.nan, 2.0], "Input y contains NaN.\n1 of its values .* row 1"),
        (["a", None, "b"], "missing, the first in row 1"),
        (pd.Series(["a", pd.NA, "b"]), "missing, the first in row 1"),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), "missing, the first in row 1"),
        (pl.Series(["a", None, "b"]), "missing, the first in row 1"),
        (np.array(["a", 1, "b"], dtype=object), "mixed type .numbers and text."),
        (np.array(["a", True], dtype=object), "mixed type .booleans and text."),
    ],
)
def test_bad_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        ClassEncoder().fit(labels)


@pytest.mark.parametrize("unknown", [["c", "d", "a"], [1, 2], [True, False]])
def test_unknown_labels_are_named(unknown):
    coder = ClassEncoder().fit(["a", "b"])
    with pytest.raises(ValueError, match=r"y_val holds labels .* do not have: .*drop these rows"):
        coder.encode(unknown, name="y_val")


def test_at_most_five_unknown_labels_are_named():
    with pytest.raises(ValueError, match=r"'r', 's', 't', 'u', 'v' and 2 more"):
        ClassEncoder().fit(["a", "b"]).encode(list("rstuvwx"))


def test_column_of_labels_warns():
    with pytest.warns(DataConversionWarning):
        ClassEncoder().fit(np.array([["a"], ["b"]]))
    with pytest.warns(DataConversionWarning):
        TargetScaler().fit(np.array([[1.0], [2.0]]))


@few
@given(hnp.arrays(np.float64, st.integers(1, 20), elements=finite))
def test_targets_stay_finite(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = TargetScaler().fit(y)
        encoded = scaler.encode(y)
        decoded = scaler.decode(encoded)
    assert encoded.shape == (len(y), 1)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    assert np.isfinite(decoded).all()
    assert scaler.scale > 0


def test_scaling_is_robust():
    y = np.random.default_rng(0).normal(10.0, 2.0, size=2000)
    y[:50] = 1e6
    scaler = TargetScaler().fit(y)
    assert scaler.center_ == pytest.approx(10.0, abs=0.3)
    assert scaler.scale_ == pytest.approx(2.0, rel=0.1)
    assert_allclose(scaler.decode(scaler.encode(y)), y, rtol=1e-5)
    restored = TargetScaler.from_state(*scaler.state())
    assert_array_equal(restored.encode(y), scaler.encode(y))
    assert (scaler.task, scaler.n_outputs) == ("regression", 1)


def test_mostly_constant_target_uses_standard_deviation():
    scaler = TargetScaler().fit([0.0] * 9 + [10.0])
    assert scaler.scale == pytest.approx(3.0)
    assert not scaler.constant_


def test_constant_target():
    scaler = TargetScaler().fit([0.1] * 7)
    assert scaler.constant_
    assert scaler.scale == 1.0
    assert_array_equal(scaler.encode([0.1, 0.1]), [[0.0], [0.0]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1.0, np.nan], "Input y contains NaN"),
        (pd.Series([1, None], dtype="Int64"), "Input y contains NaN"),
        (pl.Series([1.0, None]), "Input y contains NaN"),
        ([1.0, -np.inf], "Input y contains infinity"),
        ([1j, 2.0], "Complex data not supported"),
        (["low", "high"], "must hold numbers"),
        ([], "empty"),
    ],
)
def test_bad_targets_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        TargetScaler().fit(y)


# ---- rows --------------------------------------------------------------------------------


def test_rows_of_any_container():
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"])
    assert row_index(frame).tolist() == ["x", "y", "z"]
    assert row_index(frame["a"]).tolist() == ["x", "y", "z"]
    assert row_index(frame.to_numpy()) is None
    assert row_index(pl.DataFrame({"a": [1]})) is None
    assert take_rows(frame, [2, 0])["a"].tolist() == [3, 1]
    assert take_rows(pl.DataFrame({"a": [1, 2, 3]}), np.array([2, 0]))["a"].to_list() == [3, 1]
    assert take_rows(pl.Series([1, 2, 3]), [1]).to_list() == [2]
    assert take_rows([[1], [2], [3]], [2]).tolist() == [[3]]
    assert take_rows(scipy.sparse.coo_matrix(np.eye(3)), [1]).toarray().tolist() == [[0, 1, 0]]
    for container in (frame, pl.DataFrame({"a": [1, 2, 3]}), [1, 2, 3], np.zeros((3, 2))):
        assert n_rows(container) == 3
    with pytest.raises(TypeError, match="Expected rows"):
        n_rows(3)


@few
@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 3),
)
def test_held_out_rows_are_stratified(labels, fraction, seed):
    rng = np.random.default_rng(seed)
    train, validation = hold_out_validation(labels, fraction, "classification", rng)
    assert len(train)
    assert len(validation)
    assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(labels)))
    assert_array_equal(train, np.sort(train))
    assert_array_equal(validation, np.sort(validation))
    counts = np.bincount(labels)
    if (counts > 1).any():
        assert set(np.asarray(labels)[train]) == set(labels)
        single = np.flatnonzero(counts == 1)
        assert not np.isin(np.asarray(labels)[validation], single).any()


def test_held_out_shares():
    labels = np.repeat(["a", "b"], [80, 20])
    rng = np.random.default_rng(0)
    _, validation = hold_out_validation(labels, 0.25, "classification", rng)
    assert np.unique(labels[validation], return_counts=True)[1].tolist() == [20, 5]
    train, validation = hold_out_validation(np.arange(10.0), 0.3, "regression", rng)
    assert (len(train), len(validation)) == (7, 3)


def test_too_few_rows_to_hold_out():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"1 sample\(s\)"):
        hold_out_validation([1], 0.5, "classification", rng)
    with pytest.raises(ValueError, match="between 0 and 1"):
        hold_out_validation([1, 2], 1.0, "regression", rng)


def test_validation_rows_are_checked():
    assert check_validation(None, None) is False
    assert check_validation([[1]], [0]) is True
    with pytest.raises(ValueError, match="X_val was given without y_val"):
        check_validation([[1]], None)
    with pytest.raises(ValueError, match="y_val was given without X_val"):
        check_validation(None, [1])
    with pytest.raises(ValueError, match="validation set is empty"):
        check_validation(np.empty((0, 2)), [])
    with pytest.raises(ValueError, match="X_val has 1 rows but y_val has 2"):
        check_validation([[1]], [0, 1])
