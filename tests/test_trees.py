"""Tree ensembles that keep arrays: estimators like scikit-learn's, safe to save."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from dvrl.files.archive import read_archive, write_archive
from dvrl.predictors import growing
from dvrl.predictors.stored import models_from_state, models_state
from dvrl.predictors.trees import (
    BoostedTreesClassifier,
    BoostedTreesRegressor,
    ForestClassifier,
    ForestRegressor,
)

CLASSIFIERS = [BoostedTreesClassifier, ForestClassifier]
REGRESSORS = [BoostedTreesRegressor, ForestRegressor]


def expected_to_fail(_):
    # A weight of 2 is not a row twice where leaves count rows or rows are drawn.
    return {"check_sample_weight_equivalence_on_dense_data": "leaves count rows"}


@parametrize_with_checks(
    [kind(n_trees=20, random_state=0) for kind in CLASSIFIERS + REGRESSORS],
    expected_failed_checks=expected_to_fail,
)
def test_they_are_estimators(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_classifiers_learn(kind, load):
    X, y = load(return_X_y=True)
    assert cross_val_score(kind(n_trees=50, random_state=0), X, y, cv=3).mean() > 0.92


@pytest.mark.parametrize("kind", REGRESSORS)
def test_regressors_learn_targets_of_any_size(kind):
    X, y = load_diabetes(return_X_y=True)
    small = kind(n_trees=50, random_state=0).fit(X[:300], y[:300])
    large = clone(small).fit(X[:300], 1e12 * y[:300])
    assert small.score(X[300:], y[300:]) > 0.25
    # Rounding decides between splits that are equally good.
    assert np.corrcoef(large.predict(X), small.predict(X))[0, 1] > 0.98
    assert_allclose(large.predict(X).mean(), 1e12 * small.predict(X).mean(), rtol=0.01)


def test_without_lightgbm(monkeypatch):
    monkeypatch.setattr(growing, "can_use_lightgbm", lambda: False)
    X, y = load_iris(return_X_y=True)
    assert BoostedTreesClassifier(random_state=0).fit(X[::2], y[::2]).score(X, y) > 0.9


def test_a_forest_is_scikit_learns():
    X, y = load_iris(return_X_y=True)
    ours = ForestClassifier(n_trees=30, random_state=7).fit(X, y)
    seed = int(np.random.RandomState(7).randint(2**31 - 1))
    # Rows of equal weights are drawn in another way than rows without weights.
    theirs = RandomForestClassifier(30, random_state=seed).fit(X, y, np.ones(150))
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_rows_without_weight_teach_nothing_and_their_class_stays(kind):
    X, y = load_iris(return_X_y=True)
    weights = (y < 2).astype(float)
    model = kind(n_trees=20, random_state=0).fit(X, y, weights)
    shares = model.predict_proba(X)
    assert shares.shape == (150, 3)
    assert shares[:, 2].max() < 0.01
    with pytest.raises(ValueError, match="zero"):
        kind().fit(X, y, np.zeros(150))


@pytest.mark.parametrize("kind", CLASSIFIERS + REGRESSORS)
def test_a_file_needs_no_trust_and_holds_no_foreign_trees(tmp_path, kind):
    X, y = load_iris(return_X_y=True)
    model = kind(n_trees=20, random_state=0).fit(X, y)
    write_archive(tmp_path / "model", *models_state({"model": model}))
    archive = read_archive(tmp_path / "model")
    loaded = models_from_state(archive.record, archive.arrays, ())["model"]
    assert_array_equal(loaded.predict(X), model.predict(X))


def test_damaged_trees_are_refused_when_they_are_read():
    X, y = load_iris(return_X_y=True)
    model = ForestClassifier(n_trees=3, random_state=0).fit(X, y)
    record, arrays = models_state({"model": model})
    left = arrays["model/trees/left"]
    circle = arrays | {"model/trees/left": np.where(left > 0, 0, left)}
    with pytest.raises(ValueError, match="a child does not come after its parent"):
        models_from_state(record, circle, ())
    other_classes = arrays | {"model/grown_classes_": np.array([0, 1, 7])}
    with pytest.raises(ValueError, match="its classes do not fit"):
        models_from_state(record, other_classes, ())
    with pytest.raises(ValueError, match="other outputs"):
        models_from_state(record, arrays | {"model/grown_classes_": np.array([0, 1])}, ())


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("unit", [1e300, 1e-300, 1.0])
def test_targets_of_any_size_are_predicted(kind, unit):
    X, y = load_diabetes(return_X_y=True)
    said = kind(n_trees=20, random_state=0).fit(X, y * unit).predict(X)
    assert np.isfinite(said).all()
    assert np.corrcoef(said / unit, y)[0, 1] > 0.7


@pytest.mark.parametrize("kind", REGRESSORS)
def test_one_target_beyond_all_others(kind):
    X, y = load_diabetes(return_X_y=True)
    said = kind(n_trees=20, random_state=0).fit(X, np.append(y[1:], 1.7e308)).predict(X)
    assert np.isfinite(said).all()


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_weights_and_numbers_of_any_size(kind):
    X, y = load_iris(return_X_y=True)
    plain = kind(n_trees=20, random_state=0).fit(X, y)
    heavy = kind(n_trees=20, random_state=0).fit(X, y, np.full(150, 1.7e308))
    assert_array_equal(plain.predict(X), heavy.predict(X))
    X[0, 0] = 1e39
    assert plain.fit(X, y).score(X, y) > 0.9
    with pytest.raises(ValueError, match="n_trees=0 must be 1 or more"):
        kind(n_trees=0).fit(X, y)
