"""Black-box predictors: many fits, aligned scores, weights, errors that say what failed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from threadpoolctl import threadpool_info

from dvrl.data.table import Table
from dvrl.predictors.blackbox import BlackBox, Failure
from dvrl.predictors.estimators import single_threaded
from dvrl.predictors.weighted_fit import _heavy_rows, _way


def table(X, y):
    """Rows that look the same to all predictors."""
    return Table(X, np.zeros((len(X), 0), np.float32), own=X, labels=np.asarray(y))


class BlackBoxPredictor(BlackBox):
    """A black box that takes rows and labels, and raises the first failure."""

    def evaluate(self, X, y, subsets, X_val, y_val, scorer=None):
        subsets = [np.asarray(each, dtype=int) for each in subsets]
        outcomes = super().evaluate(table(X, y), subsets, table(X_val, y_val), scorer)
        for each in outcomes:
            if isinstance(each, Failure):
                raise each.as_error() from each.cause
        return outcomes

    def fit(self, X, y, weights):
        fitted = super().fit(table(X, y), np.asarray(weights)[np.newaxis])
        scores = fitted.scores
        return SimpleNamespace(
            estimator_=fitted.estimator_,
            note=fitted.note,
            scores=lambda X: scores(table(X, np.zeros(len(X))))[0],
        )


def labels(*classes):
    """Stand in for `dvrl.data.targets.ClassEncoder`."""
    return SimpleNamespace(
        task="classification",
        classes_=np.asarray(classes),
        n_outputs=len(classes),
        center=0.0,
        scale=1.0,
    )


# Stands in for `dvrl.data.targets.TargetScaler`.
TARGETS = SimpleNamespace(task="regression", n_outputs=1, center=10.0, scale=4.0)


def class_data(n_rows=120, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_rows)
    X = rng.normal(size=(n_rows, 5)) + 1.5 * np.eye(5)[y]
    return X, np.array(["a", "b", "c"])[y]


def frame_data(n_rows=120):
    X, y = class_data(n_rows, n_classes=2)
    return pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "word": np.where(X[:, 2] > 0, "p", "q")}), y


def subsets_of(n_rows, count=6, size=60):
    rng = np.random.default_rng(1)
    return [rng.choice(n_rows, size, replace=False) for _ in range(count)]


class LabelsOnly(ClassifierMixin, BaseEstimator):
    """Knows the most frequent label of its fit, and nothing but labels."""

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.label_ = self.classes_[counts.argmax()]
        return self

    def predict(self, X):
        return np.full(len(X), self.label_)


class Unsound(LabelsOnly):
    def fit(self, X, y):
        raise OSError("the disk\nis on fire")


def test_scores_are_those_of_single_fits():
    X, y = class_data()
    subsets = subsets_of(100)
    predictor = BlackBoxPredictor(LogisticRegression(), labels("a", "b", "c"), random_state=0)
    results = predictor.evaluate(X[:100], y[:100], subsets, X[100:], y[100:])
    for rows, scores in zip(subsets, results, strict=True):
        expected = LogisticRegression().fit(X[rows], y[rows]).predict_proba(X[100:])
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_scorer_judges_the_fitted_estimator():
    X, y = class_data()
    subsets = subsets_of(100)
    scorer = get_scorer("balanced_accuracy")
    predictor = BlackBoxPredictor(KNeighborsClassifier(), labels("a", "b", "c"))
    results = predictor.evaluate(X[:100], y[:100], subsets, X[100:], y[100:], scorer)
    expected = [
        scorer(KNeighborsClassifier().fit(X[rows], y[rows]), X[100:], y[100:]) for rows in subsets
    ]
    assert results == expected
    assert all(type(result) is float for result in results)


def test_selections_that_cannot_be_fitted_are_none():
    X, y = class_data()
    one_class = np.flatnonzero(y == "b")
    subsets = [np.array([], dtype=int), one_class, np.arange(50), []]
    predictor = BlackBoxPredictor(LogisticRegression(), labels("a", "b", "c"))
    results = predictor.evaluate(X, y, subsets, X[:7], y[:7])
    assert [result is None for result in results] == [True, True, False, True]
    regressor = BlackBoxPredictor(LinearRegression(), TARGETS)
    target = X[:, 0]
    first, second = regressor.evaluate(X, target, [np.array([], int), np.arange(9)], X[:7], None)
    assert first is None
    assert second.shape == (7, 1)


def test_classes_missing_from_a_fit_get_probability_zero():
    X, y = class_data()
    rows = np.flatnonzero(y != "b")
    for model in (LogisticRegression(), LinearSVC(), LabelsOnly()):
        predictor = BlackBoxPredictor(model, labels("a", "b", "c"))
        (scores,) = predictor.evaluate(X, y, [rows], X, y)
        assert scores.shape == (120, 3)
        assert (scores[:, 1] == 0).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


def test_decision_functions_become_probabilities():
    X, y = class_data()
    coder = labels("a", "b", "c")
    (scores,) = BlackBoxPredictor(LinearSVC(), coder).evaluate(X, y, [np.arange(120)], X, y)
    model = LinearSVC().fit(X, y)
    np.testing.assert_array_equal(coder.classes_[scores.argmax(axis=1)], model.predict(X))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    rows = np.flatnonzero(y != "c")
    (scores,) = BlackBoxPredictor(LinearSVC(), labels("a", "b")).evaluate(X, y, [rows], X, y)
    decision = LinearSVC().fit(X[rows], y[rows]).decision_function(X)
    np.testing.assert_allclose(scores[:, 1], 1 / (1 + np.exp(-decision)), rtol=1e-5)


def test_labels_alone_become_one_hot():
    X, y = class_data()
    coder = labels("a", "b", "c")
    # Four classes' worth of pairs would be six columns: those say less than the labels.
    pairwise = SVC(decision_function_shape="ovo")
    X4, y4 = np.vstack([X, X[:20] + 9]), np.concatenate([y, np.full(20, "d")])
    four = labels("a", "b", "c", "d")
    for model, features, target, used in ((LabelsOnly(), X, y, coder), (pairwise, X4, y4, four)):
        (scores,) = BlackBoxPredictor(model, used).evaluate(
            features, target, [np.arange(len(target))], features, target
        )
        expected = type(model)(**model.get_params()).fit(features, target).predict(features)
        np.testing.assert_array_equal(scores, used.classes_ == expected[:, None])


def test_regression_scores_are_scaled():
    X, _ = class_data()
    y = 10 + X[:, 0]
    (scores,) = BlackBoxPredictor(LinearRegression(), TARGETS).evaluate(
        X, y, [np.arange(120)], X, y
    )
    np.testing.assert_allclose(scores[:, 0], X[:, 0] / 4, atol=1e-6)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_with_text_go_through_pipelines(kind):
    frame, y = frame_data()
    if kind == "polars":
        frame = pytest.importorskip("polars").from_pandas(frame)
    pipeline = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["word"]), remainder=StandardScaler(), verbose_feature_names_out=False
        ),
        LogisticRegression(),
    )
    predictor = BlackBoxPredictor(pipeline, labels("a", "b"))
    rows = np.arange(0, 120, 2)
    (scores,) = predictor.evaluate(frame, y, [rows], frame[:30], y[:30])
    fitted = predictor.fit(frame, y, np.linspace(0.1, 1, 120))
    assert scores.shape == fitted.scores(frame[:30]).shape == (30, 2)
    assert np.mean(np.array(["a", "b"])[scores.argmax(axis=1)] == y[:30]) > 0.7


@pytest.mark.parametrize("kind", ["array", "frame"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_lightgbm_fits_without_a_warning(kind, task):
    lightgbm = pytest.importorskip("lightgbm")
    X, y = class_data()
    X = pd.DataFrame(X, columns=list("vwxyz")) if kind == "frame" else X
    classifies = task == "classification"
    settings = {"n_estimators": 5, "verbose": -1, "min_child_samples": 5}
    model = (lightgbm.LGBMClassifier if classifies else lightgbm.LGBMRegressor)(**settings)
    target = y if classifies else np.arange(120.0)
    coder = labels("a", "b", "c") if classifies else TARGETS
    predictor = BlackBoxPredictor(model, coder, random_state=0)
    results = predictor.evaluate(X, target, subsets_of(120, 2), X[:20], target[:20])
    fitted = predictor.fit(X, target, np.linspace(0, 1, 120))
    for scores in (*results, fitted.scores(X[:20])):
        assert scores.shape == (20, coder.n_outputs)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("model", "coder"),
    [
        (LogisticRegression(), labels("a", "b", "c")),
        (RandomForestClassifier(10), labels("a", "b", "c")),
        (RandomForestRegressor(10, max_features=2), TARGETS),
    ],
    ids=["logistic", "forest", "forest-regressor"],
)
def test_two_processes_give_the_bits_of_one(model, coder):
    X, y = class_data()
    target = y if coder.task == "classification" else X[:, 0] * 3 + 10
    subsets = subsets_of(120, 5)
    results = [
        BlackBoxPredictor(model, coder, n_jobs=n_jobs, random_state=7).evaluate(
            X, target, subsets, X[:20], target[:20]
        )
        for n_jobs in (1, 2, None)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_selections_share_their_random_numbers():
    X, y = class_data()
    rows = np.arange(60)
    coder = labels("a", "b", "c")
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5))

    def scores(seed, model=forest):
        predictor = BlackBoxPredictor(model, coder, random_state=seed)
        return predictor.evaluate(X, y, [rows, rows], X, y)

    first, second = scores(0)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, scores(0)[0])
    assert not np.array_equal(first, scores(1)[0])
    # A state that the caller chose stays.
    chosen = RandomForestClassifier(5, random_state=3)
    np.testing.assert_array_equal(scores(0, chosen), scores(1, chosen))


def test_the_callers_estimator_and_arrays_stay_as_they_are():
    X, y = class_data()
    copies = X.copy(), y.copy()
    model = RandomForestClassifier(3)
    predictor = BlackBoxPredictor(model, labels("a", "b", "c"), n_jobs=2)
    predictor.evaluate(X, y, subsets_of(120, 2), X, y)
    predictor.fit(X, y, np.ones(120))
    assert not hasattr(model, "classes_")
    assert model.random_state is None
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(y, copies[1])


def probe():
    """Return an estimator that says how many threads its fit may use.

    Its class is local: worker processes cannot import test modules, and get it by value.
    """

    class Probe(LogisticRegression):
        def fit(self, X, y):
            super().fit(X, y)
            self.threads_ = max(pool["num_threads"] for pool in threadpool_info())
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), self.threads_, dtype=float)

    return Probe()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_fit_has_one_thread_and_raises_no_warning(n_jobs):
    X, y = frame_data()
    X = X[["x", "z"]].to_numpy()

    def score(estimator, X_val, y_val):
        return float(estimator.predict_proba(X_val)[0, 0])

    predictor = BlackBoxPredictor(probe(), labels("a", "b"), n_jobs=n_jobs)
    assert predictor.evaluate(X, y, subsets_of(120, 4), X, y, score) == [1.0] * 4


def test_numbers_of_jobs_inside_the_estimator():
    lightgbm = pytest.importorskip("lightgbm")
    for model, kept, parallel in (
        (RandomForestClassifier(n_jobs=4), 4, None),
        (RandomForestClassifier(), None, None),
        (lightgbm.LGBMClassifier(n_jobs=4), 4, 1),
        (lightgbm.LGBMClassifier(), 1, 1),
    ):
        for keep, expected in ((True, kept), (False, parallel)):
            pipeline = make_pipeline(StandardScaler(), model)
            changed = single_threaded(pipeline, keep_chosen=keep)
            assert changed.steps[-1][1].n_jobs == expected
            model = changed.steps[-1][1].set_params(n_jobs=4 if kept == 4 else None)


# --- weights ------------------------------------------------------------------------------------


def test_weights_reach_estimators_and_the_last_step_of_pipelines():
    X, y = class_data()
    weights = np.random.default_rng(0).uniform(size=120)
    coder = labels("a", "b", "c")
    expected = LogisticRegression().fit(X, y, sample_weight=weights).predict_proba(X)
    plain = BlackBoxPredictor(LogisticRegression(), coder).fit(X, y, weights)
    np.testing.assert_allclose(plain.scores(X), expected, rtol=1e-5)
    model = make_pipeline("passthrough", make_pipeline(LogisticRegression()))
    assert _way(model) == "routed"
    nested = BlackBoxPredictor(model, coder).fit(X, y, weights)
    np.testing.assert_allclose(nested.scores(X), expected, rtol=1e-5)
    assert nested.estimator_.steps[-1][0] == "pipeline"


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_without_weights_the_heavy_rows_are_fitted(in_pipeline):
    X, y = class_data()
    weights = np.random.default_rng(0).uniform(size=120)
    model = KNeighborsClassifier()
    predictor = BlackBoxPredictor(
        make_pipeline("passthrough", model) if in_pipeline else model, labels("a", "b", "c")
    )
    rows = weights >= 0.5
    expected = KNeighborsClassifier().fit(X[rows], y[rows]).predict_proba(X)
    np.testing.assert_array_equal(
        predictor.fit(X, y, weights).scores(X), expected.astype(np.float32)
    )


def test_heavy_rows_keep_every_class():
    weights = np.array([0.9, 0.1, 0.4, 0.3, 0.5])
    y = np.array(["a", "b", "b", "c", "a"])
    assert _heavy_rows(weights, y, classes=True).tolist() == [0, 2, 3, 4]
    target = np.arange(5.0)
    assert _heavy_rows(weights, target, classes=False).tolist() == [0, 4]
    assert _heavy_rows(weights / 2, target, classes=False).tolist() == [0, 4]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_equal_weights_mean_all_rows(level):
    X, y = class_data()
    weights = np.full(120, level)
    for model in (LogisticRegression(), KNeighborsClassifier()):
        fitted = BlackBoxPredictor(model, labels("a", "b", "c")).fit(X, y, weights)
        expected = type(model)().fit(X, y).predict_proba(X)
        np.testing.assert_allclose(fitted.scores(X), expected, rtol=1e-5)
    regressor = BlackBoxPredictor(KNeighborsRegressor(), TARGETS).fit(X, X[:, 0], weights)
    assert regressor.estimator_.n_samples_fit_ == 120


@pytest.mark.parametrize("weights", [np.ones(3), [-1.0] + [1.0] * 119, [np.nan] + [1.0] * 119])
def test_unusable_weights_are_refused(weights):
    X, y = class_data()
    with pytest.raises(ValueError, match="weights has"):
        BlackBoxPredictor(LogisticRegression(), labels("a", "b", "c")).fit(X, y, weights)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_failing_fit_says_what_it_was_given(n_jobs):
    X, y = class_data()
    X[5, 2] = np.nan
    rows = np.arange(60)
    a, b, c = (int(np.sum(y[rows] == label)) for label in "abc")
    predictor = BlackBoxPredictor(LogisticRegression(), labels("a", "b", "c"), n_jobs=n_jobs)
    words = rf"LogisticRegression failed on 60 rows \(class counts 'a': {a}, 'b': {b}, 'c': {c}\)"
    with pytest.raises(ValueError, match=words) as caught:
        predictor.evaluate(X, y, [np.arange(6, 60), rows], X[100:], y[100:])
    assert isinstance(caught.value.__cause__, ValueError)
    assert "contains NaN" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="failed on 120 rows") as caught:
        predictor.fit(X, y, np.linspace(0, 1, 120))
    assert "contains NaN" in str(caught.value.__cause__)


def test_other_errors_are_runtime_errors():
    X, y = class_data()
    predictor = BlackBoxPredictor(Unsound(), labels("a", "b", "c"))
    with pytest.raises(RuntimeError, match="Unsound failed on 120 rows") as caught:
        predictor.evaluate(X, y, [np.arange(120)], X, y)
    assert isinstance(caught.value.__cause__, OSError)


def test_scorers_and_predictions_must_be_finite():
    X, y = class_data()
    predictor = BlackBoxPredictor(LogisticRegression(), labels("a", "b", "c"))
    with pytest.raises(ValueError, match="returned nan"):
        predictor.evaluate(X, y, [np.arange(120)], X, y, lambda *_: float("nan"))

    class Infinite(LinearRegression):
        def predict(self, X):
            return np.full(len(X), np.inf)

    with pytest.raises(ValueError, match="NaN or infinite"):
        BlackBoxPredictor(Infinite(), TARGETS).evaluate(X, X[:, 0], [np.arange(9)], X, None)


@pytest.mark.parametrize("estimator", [LogisticRegression, StandardScaler(), object()])
def test_unusable_estimators_are_refused(estimator):
    with pytest.raises(TypeError, match="The predictor"):
        BlackBoxPredictor(estimator, TARGETS)


def test_objects_that_are_no_scikit_learn_estimators_work():
    class Plain:
        def fit(self, X, y):
            self.mean = y.mean()

        def predict(self, X):
            return np.full(len(X), self.mean)

    X, _ = class_data()
    predictor = BlackBoxPredictor(Plain(), TARGETS)
    (scores,) = predictor.evaluate(X, np.full(120, 14.0), [np.arange(5)], X, None)
    np.testing.assert_array_equal(scores, np.ones((120, 1), np.float32))
    assert predictor.fit(X, np.full(120, 14.0), np.ones(120)).scores(X).shape == (120, 1)
