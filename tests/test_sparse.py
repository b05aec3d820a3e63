"""Linear models on words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from dvrl.data.folds import deal_folds
from dvrl.data.table import Table
from dvrl.predictors.sparse import (
    PENALTIES,
    SparseLinear,
    choose_penalty,
    cross_fit,
    fit_sparse,
)

N_PLAIN = 4


def table_of(
    n: int = 300,
    n_classes: int = 2,
    n_terms: int = 60,
    noise: float = 0.5,
    density: float = 0.2,
) -> Table:
    """Make rows with 4 plain features, 3 components, and words, all related to the target."""
    rng = np.random.default_rng(0)
    words = sparse.random_array((n, n_terms), density=density, rng=rng, dtype=np.float32).tocsr()
    words = sparse.csr_array(words / np.maximum(sparse.linalg.norm(words, axis=1), 1e-9)[:, None])
    features = rng.normal(size=(n, N_PLAIN + 3)).astype(np.float32)
    raw = 3 * (words @ rng.normal(size=(n_terms, n_classes)))
    raw += features[:, :N_PLAIN] @ rng.normal(size=(N_PLAIN, n_classes))
    raw += noise * rng.normal(size=raw.shape)
    targets = raw if n_classes == 1 else np.eye(n_classes)[raw.argmax(axis=1)]
    return Table(features, targets.astype(np.float32), words, 3)


def plain_rows(table: Table) -> np.ndarray:
    return np.hstack([table.features[:, :N_PLAIN] / 2.0, table.words.toarray()]).astype(np.float64)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_fit_is_scikit_learns(n_classes):
    table = table_of(n_classes=n_classes)
    weights = np.random.default_rng(1).uniform(size=len(table))
    model = fit_sparse(table, weights, penalty=0.5)
    other = LogisticRegression(C=2.0, tol=1e-8, max_iter=1000)
    other.fit(plain_rows(table), table.targets.argmax(axis=1), sample_weight=weights)
    scores = model.scores(table)
    assert scores.dtype == np.float32
    assert_allclose(scores, other.predict_proba(plain_rows(table)), atol=2e-3)
    assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)


def test_ridge_fit_is_scikit_learns():
    table = table_of(n_classes=1)
    weights = np.random.default_rng(1).uniform(size=len(table))
    model = fit_sparse(table, weights, penalty=0.5)
    other = Ridge(alpha=0.5).fit(plain_rows(table), table.targets[:, 0], sample_weight=weights)
    expected = other.predict(plain_rows(table))[:, np.newaxis]
    assert_allclose(model.scores(table), expected, atol=2e-3)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_weights_are_like_copies_and_zeros_like_absence(n_classes):
    table = table_of(n_classes=n_classes)
    counts = np.random.default_rng(1).integers(3, size=len(table))
    weighted = fit_sparse(table, counts, penalty=0.5)
    copies = table.take(np.repeat(np.arange(len(table)), counts))
    repeated = fit_sparse(copies, penalty=0.5)
    assert_allclose(
        weighted.scores(table),
        repeated.scores(table),
        atol=2e-3,
    )


@pytest.mark.parametrize(("n_plain", "has_words"), [(0, True), (N_PLAIN, False)])
def test_either_kind_of_columns_may_be_absent(n_plain, has_words):
    table = table_of()
    n_components = table.features.shape[1] - n_plain
    words = table.words if has_words else None
    table = Table(table.features, table.targets, words, n_components)
    scores = fit_sparse(table, penalty=1.0).scores(table)
    assert (scores.argmax(axis=1) == table.targets.argmax(axis=1)).mean() > 0.7


def test_classes_without_rows():
    table = table_of(n_classes=4)
    classes = table.targets.argmax(axis=1)
    two = fit_sparse(table, np.isin(classes, [1, 3]), penalty=1.0)
    scores = two.scores(table)
    assert_array_equal(scores[:, [0, 2]], 0.0)
    kept = np.isin(classes, [1, 3])
    assert (scores.argmax(axis=1) == classes)[kept].mean() > 0.8
    one = fit_sparse(table, classes == 2, penalty=1.0)
    assert_array_equal(one.scores(table), np.eye(4)[np.full(len(table), 2)])
    with pytest.raises(ValueError, match="All weights are 0"):
        fit_sparse(table, np.zeros(len(table)), penalty=1.0)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_cross_fit_judges_rows_it_has_not_seen(n_classes):
    table = table_of(n_classes=n_classes)
    found = cross_fit(table, folds=deal_folds(table.targets, 5, np.random.default_rng(0)))
    assert found.scores.shape == table.targets.shape
    assert found.losses[found.penalty] == min(found.losses.values())
    assert list(found.losses) == list(PENALTIES)
    # Out of sample a model is less right than on the rows that it was fitted on.
    own = fit_sparse(table, penalty=found.penalty)
    loss = np.square(found.scores - table.targets).mean()
    assert np.square(own.scores(table) - table.targets).mean() < 0.8 * loss
    assert loss < 0.8 * np.square(table.targets - table.targets.mean(axis=0)).mean()


def test_a_rows_own_target_has_no_say_in_its_score():
    table = table_of(n_classes=1)
    changed = table.targets.copy()
    changed[7] = 5.0
    found, again = (
        cross_fit(
            replace(table, targets=targets),
            folds=np.arange(len(targets)) % 5,
            penalties=[1.0],
        ).scores
        for targets in (table.targets, changed)
    )
    assert again[7] == found[7]
    assert (again != found).any()


def test_rare_classes_are_cross_fitted():
    table = table_of(40, n_classes=3)
    targets = table.targets.copy()
    targets[:, 2] = 0
    targets[0] = (0, 0, 1)
    targets[1:][targets[1:].sum(axis=1) == 0] = (1, 0, 0)
    scores = cross_fit(
        replace(table, targets=targets), folds=deal_folds(targets, 5, np.random.default_rng(0))
    ).scores
    assert scores[0, 2] == 0.0
    assert np.isfinite(scores).all()


def test_noise_asks_for_a_stronger_penalty():
    rng = np.random.default_rng(0)
    clean = table_of(400, noise=0.0)
    flipped = clean.targets.copy()
    wrong = rng.permutation(400)[:120]
    flipped[wrong] = flipped[wrong][:, ::-1]
    noisy = replace(clean, targets=flipped)
    weak, _ = choose_penalty(clean, rng=rng)
    strong, sharpness = choose_penalty(noisy, rng=rng)
    assert weak < strong
    # What a strong penalty made too cautious is sharpened, and says the same class.
    model = fit_sparse(noisy, penalty=strong)
    sharper = model.sharpened(sharpness)
    before, after = (m.scores(clean) for m in (model, sharper))
    assert sharpness > 1
    assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert_allclose(after.sum(axis=1), 1.0, rtol=1e-5)
    raised = before.astype(np.float64) ** sharpness
    assert_allclose(after, raised / raised.sum(axis=1, keepdims=True), atol=1e-4)
    # Rows without weight have no say.
    weights = np.ones(400)
    weights[wrong] = 0
    assert choose_penalty(noisy, weights, rng=rng)[0] < strong


def test_penalty_of_many_rows_is_chosen_on_some(monkeypatch):
    monkeypatch.setattr("dvrl.predictors.sparse._ROWS_FOR_PENALTY", 100)
    table = table_of(300)
    penalty, _ = choose_penalty(table, rng=np.random.default_rng(0))
    assert penalty in PENALTIES


@pytest.mark.parametrize("n_classes", [1, 2])
def test_threads_change_nothing(n_classes):
    table = table_of(600, n_classes=n_classes, n_terms=20_000, density=0.005)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            model = fit_sparse(table, penalty=0.1)
            found.append((model.coefficients, model.scores(table)))
    for one, two in zip(*found, strict=True):
        assert_array_equal(one, two)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_state_round_trip(n_classes):
    table = table_of(n_classes=n_classes)
    model = fit_sparse(table, penalty=1.0)
    record, arrays = model.state()
    restored = SparseLinear.from_state(json.loads(json.dumps(record)), arrays)
    assert_array_equal(restored.scores(table), model.scores(table))
