"""Reference models: each family alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from dvrl.data.folds import deal_folds
from dvrl.data.table import Table
from dvrl.exceptions import DataValuationWarning
from dvrl.predictors import growing
from dvrl.references import boosting
from dvrl.references.boosting import LADDER, BoostedTrees
from dvrl.references.forest import Forest
from dvrl.references.kinds import FAMILIES, chosen_families, most_rows
from dvrl.references.linear import Linear
from dvrl.references.neighbours import Neighbours
from dvrl.references.own import OwnModel

ALL = [*FAMILIES, "own"]


def table(n=300, c=2, share=0.2, seed=0):
    """Make rows whose targets follow two features and a word; a share of the targets is wrong."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    raw = X[:, :2] @ rng.normal(size=(2, max(c, 2)))
    other = sparse.random_array((n, 20), density=0.3, rng=rng, dtype=np.float32)
    words = sparse.hstack([(raw[:, :1] > 0).astype(np.float32), other], format="csr")
    wrong = rng.random(n) < share
    if c == 1:
        y = raw[:, :1] + 0.1 * rng.normal(size=(n, 1))
        y[wrong] = rng.permutation(y[wrong]) + 2.0
    else:
        labels = raw.argmax(axis=1)
        labels[wrong] = (labels[wrong] + rng.integers(1, c, wrong.sum())) % c
        y = np.eye(c)[labels]
    return Table(X, y.astype(np.float32), sparse.csr_array(words)), wrong


def make(name, n_jobs=None):
    if name == "own":
        return OwnModel(DecisionTreeClassifier(max_depth=3), n_jobs=n_jobs)
    return FAMILIES[name](n_jobs=n_jobs)


def folds_of(rows, seed=0):
    return deal_folds(rows.targets, 5, np.random.default_rng(seed))


@pytest.mark.parametrize("c", [2, 4])
@pytest.mark.parametrize("name", ALL)
def test_every_family_finds_wrong_labels(name, c):
    rows, wrong = table(c=c)
    reference = make(name)
    scores = reference.cross_fit(rows, None, folds_of(rows), 0)
    assert scores.shape == (300, c)
    assert scores.dtype == np.float32
    assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)
    # 60 wrong of 300: an AUROC without any knowledge has a standard deviation of .04.
    assert roc_auc_score(~wrong, (scores * rows.targets).sum(axis=1)) > 0.8
    reference.finish(rows, None, 0)
    fresh, _ = table(c=c, seed=0)
    right = reference.scores(fresh).argmax(axis=1) == fresh.targets.argmax(axis=1)
    assert right.mean() > 0.65


@pytest.mark.parametrize("name", [*FAMILIES])
def test_every_family_predicts_numbers(name):
    rows, wrong = table(c=1)
    scores = make(name).cross_fit(rows, None, folds_of(rows), 0)
    assert scores.shape == (300, 1)
    error = np.abs(scores - rows.targets)[:, 0]
    assert roc_auc_score(wrong, error) > 0.7


@pytest.mark.parametrize("name", ALL)
def test_a_rows_own_label_has_no_say_in_its_score(name, monkeypatch):
    rows, _ = table(n=150)
    changed = rows.targets.copy()
    changed[7] = changed[7, ::-1]
    folds = folds_of(rows)
    # Trees may choose another capacity by the changed loss, so the ladder has one rung.
    monkeypatch.setattr(boosting, "LADDER", LADDER[1:2])
    monkeypatch.setattr(boosting, "FIRST_RUNGS", ((0, 0),))
    before, after = (
        make(name).cross_fit(replace(rows, targets=targets), None, folds, 0)
        for targets in (rows.targets, changed)
    )
    if name == "neighbours":  # the mean of all labels has one vote
        assert_allclose(before[7], after[7], atol=1e-3)
    elif name != "words":  # whose penalty is chosen by all rows
        assert_array_equal(before[7], after[7])
    assert (before != after).any()


@pytest.mark.parametrize("name", ALL)
def test_rows_of_hardly_any_weight_are_not_learned_from(name):
    rows, wrong = table(n=400, share=0.45)
    right = np.where(wrong[:, np.newaxis], rows.targets[:, ::-1], rows.targets)
    weights = np.where(wrong, 1e-6, 1.0)
    blind, told = (make(name).cross_fit(rows, each, folds_of(rows), 0) for each in (None, weights))
    own = [(scores * right).sum(axis=1).mean() for scores in (blind, told)]
    assert own[1] > own[0] + 0.08


@pytest.mark.parametrize("name", ALL)
def test_the_same_bits_for_any_number_of_threads(name, monkeypatch):
    monkeypatch.setattr("dvrl.references.forest.ROWS_PER_BLOCK", 64)
    monkeypatch.setattr("dvrl.references.boosting.ROWS_PER_BLOCK", 64)
    monkeypatch.setattr("dvrl.references.neighbours.CELLS_PER_BLOCK", 10_000)
    rows, _ = table(c=3)
    found = []
    for n_jobs in (1, 3):
        reference = make(name, n_jobs)
        scores = reference.cross_fit(rows, None, folds_of(rows), 0)
        reference.finish(rows, None, 0)
        found.append((scores, reference.scores(rows)))
    assert_array_equal(found[0][0], found[1][0])
    assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("c", [1, 2, 3])
@pytest.mark.parametrize("name", list(FAMILIES))
def test_restored_from_arrays(name, c):
    rows, _ = table(c=c)
    reference = make(name)
    reference.cross_fit(rows, None, folds_of(rows), 0)
    reference.finish(rows, None, 0)
    record, arrays = reference.state()
    assert all(array.dtype.kind in "fiub" for array in arrays.values())
    restored = FAMILIES[name].from_state(json.loads(json.dumps(record)), arrays, 6)
    assert_array_equal(restored.scores(rows), reference.scores(rows))
    assert restored.scores(rows.take(np.arange(0))).shape == (0, c)


@pytest.mark.parametrize(
    ("family", "name"),
    [(BoostedTrees, "leaf"), (Forest, "classes"), (Linear, "weight"), (Neighbours, "shares")],
)
def test_damaged_arrays_are_refused(family, name):
    rows, _ = table(n=60, c=3)
    reference = family()
    reference.cross_fit(rows, None, folds_of(rows), 0)
    reference.finish(rows, None, 0)
    record, arrays = reference.state()
    with pytest.raises(ValueError, match="damaged"):
        family.from_state(record, arrays | {name: arrays[name][:-1]}, 6)
    if family is BoostedTrees:
        with pytest.raises(ValueError, match="outputs, not 4"):
            family.from_state({"n_outputs": 4}, arrays, 6)


def test_capacity_grows_with_what_there_is_to_learn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4)).astype(np.float32)
    patches = np.sin(3 * X[:, 0]) * np.sin(3 * X[:, 1]) > 0
    lines = X[:, 0] > 0
    for labels, flips, is_high in ((patches, 0.0, True), (lines, 0.4, False)):
        given = np.where(rng.random(3000) < flips, ~labels, labels).astype(int)
        rows = Table(X, np.eye(2, dtype=np.float32)[given])
        trees = BoostedTrees()
        trees.cross_fit(rows, None, folds_of(rows), 0)
        assert trees.rung is not None
        # Sines over a plane need leaves by the dozen; one cut and 40 % noise do not.
        assert (trees.rung >= 3) == is_high


def test_the_climb_looks_at_some_rows_only(monkeypatch):
    monkeypatch.setattr(boosting, "CLIMBED_ROWS", 200)
    rows, wrong = table(n=600)
    trees = BoostedTrees()
    scores = trees.cross_fit(rows, None, folds_of(rows), 0)
    rung, n_fits = trees.rung, trees.n_fits
    assert roc_auc_score(~wrong, (scores * rows.targets).sum(axis=1)) > 0.85
    trees.cross_fit(rows, None, folds_of(rows, 1), 1)
    assert trees.rung == rung
    assert trees.n_fits == n_fits + 5  # no second climb


@pytest.mark.parametrize("c", [1, 2, 3])
def test_scikit_learns_trees_take_lightgbms_place(c, monkeypatch):
    monkeypatch.setattr(growing, "can_use_lightgbm", lambda: False)
    rows, wrong = table(c=c)
    # One class, or one row of a class, in a fold and none in another.
    targets = rows.targets.copy()
    if c == 3:
        targets[targets[:, 2] == 1] = (1, 0, 0)
        targets[0] = (0, 0, 1)
    rows = replace(rows, targets=targets)
    reference = BoostedTrees()
    scores = reference.cross_fit(rows, np.linspace(0.5, 1.0, 300), folds_of(rows), 0)
    assert np.isfinite(scores).all()
    reference.finish(rows, None, 0)
    assert reference.scores(rows).shape == (300, c)
    if c == 2:
        assert roc_auc_score(~wrong, (scores * rows.targets).sum(axis=1)) > 0.8


def test_one_sentence_where_lightgbm_cannot_be_loaded(monkeypatch):
    growing.can_use_lightgbm.cache_clear()
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.warns(DataValuationWarning, match="install the system package libgomp1"):
        assert not growing.can_use_lightgbm()
    growing.can_use_lightgbm.cache_clear()


def test_own_models_are_cloned_and_seeded():
    rows, _ = table()
    model = DecisionTreeClassifier(max_features=1)
    found = [OwnModel(model).cross_fit(rows, None, folds_of(rows), 3) for _ in range(2)]
    assert_array_equal(*found)
    assert model.random_state is None
    assert not hasattr(model, "classes_")


def test_own_scores_are_those_of_models_that_did_not_see_the_row():
    rows, _ = table(n=80)
    folds = folds_of(rows)
    scores = OwnModel(LogisticRegression()).cross_fit(rows, None, folds, 0)
    inside, outside = folds != 2, folds == 2
    alone = LogisticRegression().fit(rows.features[inside], rows.targets[inside].argmax(axis=1))
    assert_allclose(scores[outside], alone.predict_proba(rows.features[outside]), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "c", "names"),
    [
        ((1400, 15), 2, ["trees"]),
        ((1400, 280), 2, ["trees"]),
        ((300, 15), 2, ["trees", "neighbours"]),
        ((90, 15), 2, ["trees", "forest", "linear", "neighbours"]),
        ((1400, 48), 11, ["trees"]),
        ((20_000, 16), 26, ["forest", "neighbours"]),
        ((1400, 784), 10, ["forest", "neighbours"]),
        ((1400, 15), 1, ["trees"]),
    ],
)
def test_families_by_kind_of_data(shape, c, names):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, size=shape).astype(np.float32)
    Y = X[:, :1] if c == 1 else np.eye(c, dtype=np.float32)[rng.integers(0, c, shape[0])]
    assert chosen_families(Table(X, Y)) == names


def test_dense_features_and_texts_are_seen():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 256)).astype(np.float32)
    Y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 1000)]
    assert chosen_families(Table(X, Y)) == ["linear", "neighbours"]
    words = sparse.csr_array(np.ones((1000, 3), np.float32))
    assert chosen_families(Table(X, Y, words, 256)) == ["words"]
    assert chosen_families(Table(X, Y, words, 250)) == ["words", "trees"]


def test_wide_tables_are_fitted_on_fewer_rows():
    assert most_rows(15) == 60_000
    assert most_rows(1000) == 8_000
    assert most_rows(10**7) == 2_000


def test_importing_references_does_not_import_jax_or_lightgbm():
    code = (
        "import sys, dvrl.references.marginal; "
        "print([name for name in ('jax', 'lightgbm', 'skrub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
