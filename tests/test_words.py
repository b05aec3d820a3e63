"""Text columns: which they are, their words, and the components of these."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from dvrl import DVRLClassifier
from dvrl.data import words as words_module
from dvrl.data.encoder import FeatureEncoder
from dvrl.data.words import WordEncoder, is_text
from dvrl.files.archive import read_archive, write_archive

GOOD = ("great", "lovely", "moving", "funny")
BAD = ("dull", "awful", "boring", "silly")
FILLER = ("film", "plot", "actor", "scene", "music", "story", "camera", "script", "ending")


def reviews(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Make texts whose class shows in a few of their words."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    texts = [
        " ".join([*rng.choice(GOOD if label else BAD, 3), *rng.choice(FILLER, 9)])
        for label in labels
    ]
    return texts, labels


def text_frame(n: int = 300, kind: type = pd.DataFrame):
    texts, _ = reviews(n)
    gappy = [None if i % 10 == 0 else text for i, text in enumerate(reviews(n, seed=1)[0])]
    numbers = np.random.default_rng(2).normal(size=n).tolist()
    return kind({"review": texts, "number": numbers, "remark": gappy, "sex": ["f", "m"] * (n // 2)})


# ---- which columns are texts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (reviews(100)[0], True),
        (["this one text has six words"], True),
        (reviews(3)[0], True),
        ([f"First{i} Last{i}" for i in range(100)], False),  # names
        ([f"{i} Long Street, Town, Country" for i in range(100)], False),  # addresses
        ([f"AB-{i}" for i in range(100)], False),  # codes
        (["a category whose name has many words", "and another one, much like it"] * 50, False),
        ([*reviews(100)[0], 7], False),
        ([b"bytes are no text but may be many"] * 3, False),
        ([""] * 10, False),
        ([], False),
    ],
)
def test_which_columns_are_texts(cells, expected):
    assert is_text(cells) is expected


def test_long_columns_are_judged_by_some_of_their_cells(monkeypatch):
    monkeypatch.setattr(words_module, "_CELLS_LOOKED_AT", 10)
    cells = [text if i % 2 == 0 else i for i, text in enumerate(reviews(100)[0])]
    assert is_text(cells)  # every tenth cell is looked at


@pytest.mark.parametrize("dtype", [object, "str", "string"])
def test_texts_of_any_string_type(dtype):
    frame = pd.DataFrame({"review": pd.Series(reviews(60)[0], dtype=dtype)})
    assert FeatureEncoder().fit(frame).text_columns_.tolist() == [0]


def test_categories_stay_categories():
    frame = pd.DataFrame({"review": pd.Series(reviews(60)[0]).astype("category")})
    encoder = FeatureEncoder().fit(frame)
    assert encoder.text_columns_.tolist() == []
    assert encoder.words(frame) is None
    assert encoder.n_components_ == 0


# ---- words and components ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_frames_with_text(kind):
    frame = text_frame(kind=kind)
    encoder = FeatureEncoder()
    table = encoder.fit_encode(frame)
    assert encoder.text_columns_.tolist() == [0, 2]
    n_plain = len(encoder.columns_out_) - encoder.n_components_
    assert {"number", "remark_missing"} <= set(encoder.columns_out_[:n_plain])
    assert encoder.columns_out_[n_plain:] == [f"words_{i}" for i in range(encoder.n_components_)]
    assert table.features.dtype == table.words.dtype == np.float32
    assert table.features.flags.c_contiguous
    assert table.features.shape == (300, len(encoder.columns_out_))
    assert table.targets.shape == (300, 0)
    assert table.words.shape == (300, encoder.word_encoder_.n_terms_)
    # Every row of each of the two texts has length 1 before both are put side by side.
    lengths = np.sqrt((table.words.power(2)).sum(axis=1))
    assert_allclose(lengths, np.where(np.arange(300) % 10 == 0, 0.5**0.5, 1.0), rtol=1e-5)
    components = table.features[:, n_plain:]
    assert_allclose(components.mean(axis=0), 0.0, atol=1e-5)
    assert_allclose(components.var(axis=0).mean(), 1.0, rtol=1e-4)
    # One scale for all: they keep their proportion.
    assert components[:, 1].var() > 2 * components[:, -1].var()
    gaps = table.features[:, encoder.columns_out_.index("remark_missing")] > 0
    assert_array_equal(gaps, np.arange(300) % 10 == 0)
    # The same rows give the same numbers, whoever asks and however many.
    for again in (encoder.encode(frame), FeatureEncoder().fit_encode(frame)):
        assert_array_equal(again.features, table.features)
        assert (again.words != table.words).nnz == 0
    assert_array_equal(encoder.transform(frame[40:45]), table.features[40:45])
    assert (encoder.words(frame[40:45]) != table.words[40:45]).nnz == 0


def test_both_kinds_of_frames_agree():
    left, right = FeatureEncoder(), FeatureEncoder()
    one = left.fit_encode(text_frame()[["review", "remark"]])
    two = right.fit_encode(text_frame(kind=pl.DataFrame)[["review", "remark"]])
    assert_array_equal(one.features, two.features)
    assert (one.words != two.words).nnz == 0
    assert left.columns_out_ == right.columns_out_


def test_words_tell_the_class():
    from sklearn.linear_model import LogisticRegression

    texts, labels = reviews(400)
    frame = pd.DataFrame({"review": texts})
    table = FeatureEncoder().fit_encode(frame)
    for matrix in (table.words, table.features):
        model = LogisticRegression().fit(matrix[:200], labels[:200])
        assert model.score(matrix[200:], labels[200:]) > 0.97


def test_new_gaps_and_unknown_words():
    frame = text_frame()
    encoder = FeatureEncoder().fit(frame)
    new = frame.assign(review=None, remark="nothing like this was ever seen")
    table = encoder.encode(new)
    assert table.words.nnz == 0
    assert np.isfinite(table.features).all()
    assert (encoder.encode(frame.assign(review=np.nan)).words.sum(axis=1) > 0).mean() == 0.9
    as_polars = pl.from_pandas(frame).with_columns(review=pl.lit(None))
    encoded = FeatureEncoder().fit(pl.from_pandas(frame)).encode(as_polars)
    assert (encoded.words.sum(axis=1) > 0).mean() == 0.9


def test_other_kinds_of_cells_are_refused():
    frame = text_frame()
    encoder = FeatureEncoder().fit(frame)
    with pytest.raises(ValueError, match="'review' held text in the training rows but"):
        encoder.transform(frame.assign(review=1.0))
    only_text = FeatureEncoder().fit(frame[["review"]])
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="column 'review' was not numeric"),
    ):
        only_text.transform(np.ones((1, 1)))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows(n):
    frame = pd.DataFrame({"review": reviews(n)[0]})
    encoder = FeatureEncoder()
    table = encoder.fit_encode(frame)
    assert table.features.shape == (n, n)
    assert np.isfinite(table.features).all()
    assert table.words.shape[0] == n
    # A table of one row has nothing to tell apart.
    assert (np.abs(table.features).max() > 0) == (n > 1)


def test_texts_without_words():
    empty = ["! ? ! ? ! ? " + "!" * i for i in range(60)]
    assert is_text(empty)
    frame = pd.DataFrame({"text": empty, "number": np.arange(60.0)})
    encoder = FeatureEncoder()
    table = encoder.fit_encode(frame)
    assert encoder.columns_out_ == ["number"]
    assert table.features.shape == (60, 1)
    assert table.words.shape == (60, 0)
    assert encoder.encode(frame.assign(text=reviews(60)[0])).words.shape == (60, 0)
    beside = FeatureEncoder().fit_encode(frame.assign(review=reviews(60)[0]))
    assert beside.words.shape[1] > 0
    with pytest.raises(ValueError, match="no column with anything in it"):
        FeatureEncoder().fit(frame[["text"]])


def test_texts_that_are_all_alike():
    encoder = WordEncoder()
    words = encoder.fit([["the very same text again"] * 50])
    assert_array_equal(encoder.components(words), np.zeros((50, encoder.n_components_)))


def test_large_tables_are_fitted_on_some_of_their_rows(monkeypatch):
    monkeypatch.setattr(words_module, "_FITTED_ROWS", 50)
    monkeypatch.setattr(words_module, "_MOST_TERMS", 20)
    texts, _ = reviews(400)
    encoder = WordEncoder()
    words = encoder.fit([texts])
    assert words.shape == (400, 20)
    assert encoder.components(words).shape == (400, 20)


def test_threads_change_nothing():
    # Beyond some thousand rows BLAS would use its threads.
    texts, _ = reviews(3000)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            encoder = WordEncoder()
            words = encoder.fit([texts])
            found.append((words.data, encoder.components(words)))
    for one, two in zip(*found, strict=True):
        assert_array_equal(one, two)


def test_saved_without_pickle(tmp_path):
    texts, _ = reviews(100)
    frame = pd.DataFrame({"review": texts, "empty": [f"? ? ? ? ? ? {'?' * i}" for i in range(100)]})
    encoder = FeatureEncoder()
    table = encoder.fit_encode(frame)
    path = tmp_path / "encoder.dvrl"
    write_archive(path, *encoder.state())
    archive = read_archive(path)
    restored = FeatureEncoder.from_state(archive.record, archive.arrays)
    again = restored.encode(frame)
    assert_array_equal(again.features, table.features)
    assert (again.words != table.words).nnz == 0
    unseen = pd.DataFrame({"review": ["a great film of unknown make"], "empty": [None]})
    assert_array_equal(restored.transform(unseen), encoder.transform(unseen))


@pytest.mark.filterwarnings("ignore:The run was too short")
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_the_share_of_wrong_labels_of_clear_texts(seed):
    rng = np.random.default_rng(seed)
    words = {"good": ["great", "fine", "lovely", "happy"], "bad": ["poor", "slow", "rude"]}
    fillers = ["the", "a", "it", "was", "and", "with", "my", "order", "from", "shop"]

    def texts(n):
        y = np.where(rng.random(n) < 0.5, "good", "bad")
        rows = [" ".join([*rng.choice(words[each], 2), *rng.choice(fillers, 5)]) for each in y]
        return pd.DataFrame({"text": rows}), y

    (X, y), (X_val, y_val) = texts(400), texts(100)
    wrong = rng.random(400) < 0.1
    y[wrong] = np.where(y[wrong] == "good", "bad", "good")
    valuer = DVRLClassifier(random_state=0, settings={"outer_iterations": 1, "ensemble_size": 1})
    valuer.fit(X, y, X_val, y_val)
    assert valuer.diagnostics_.estimated_noise_rate == pytest.approx(wrong.mean(), abs=0.04)
