"""Predictors from outside the package: what one needs is what the protocols say, and no more."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dvrl
from dvrl import DVRLClassifier
from dvrl.actions import removal_curve
from dvrl.methods import LeaveOneOut
from dvrl.predictors import registry
from dvrl.predictors.networks import TracedNetwork
from dvrl.predictors.weighted_fit import fit_weighted, takes_weights
from dvrl.report import report_of

# ---------------------------------------------------------------- (a) a pair of functions in JAX


def start(key, d, c):
    first = jax.random.fold_in(key, 1)
    return {
        "in": 0.3 * jax.random.normal(first, (d, 8)),
        "out": jnp.zeros((8, max(1, c * (c > 2)))),
    }


def outputs(params, X):
    return jnp.tanh(X @ params["in"]) @ params["out"]


NETWORK = TracedNetwork(start, outputs, steps=40, batch_size=32)


# ---------------------------------------------------------------- (b) two functions on the host


def fit_centroids(X, y, weights):
    classes = np.unique(y)
    return classes, [
        np.average(X[y == each], axis=0, weights=weights[y == each]) for each in classes
    ]


def distances(state, X):
    return np.stack([((X - centre) ** 2).sum(axis=1) for centre in state[1]], axis=1)


@dataclass(frozen=True)
class Centroids:
    sees = "features"

    def fit(self, rows, weights, *, seed):
        used = [each > 0 for each in weights]
        return FittedCentroids(
            [
                fit_centroids(rows.features[at], rows.targets[at].argmax(axis=1), each[at])
                for at, each in zip(used, weights, strict=True)
            ]
        )

    def from_state(self, record, arrays):
        return FittedCentroids([(None, each) for each in arrays["centres"]])


@dataclass(frozen=True)
class FittedCentroids:
    states: list

    def state(self):
        return {}, {"centres": np.stack([each[1] for each in self.states])}

    def scores(self, rows):
        shares = [np.exp(-0.5 * distances(each, rows.features)) for each in self.states]
        return np.stack([s / s.sum(axis=1, keepdims=True) for s in shares]).astype(np.float32)


# ---------------------------------------------------------------- (c) a network with a start


@dataclass(frozen=True)
class Softmax:
    """Softmax regression by gradient descent, in NumPy."""

    steps: int = 30
    sees = "own"

    def fit(self, rows, weights, *, seed, start=None):
        X, Y = np.asarray(rows.own, np.float64), rows.targets
        theta = np.zeros((X.shape[1], Y.shape[1])) if start is None else start.theta[0]
        fits = []
        for each in weights:
            now = theta.copy()
            for _ in range(self.steps):
                residual = each[:, None] * (FittedSoftmax([now]).scores(rows)[0] - Y)
                now -= 0.5 * X.T @ residual / len(X)
            fits.append(now)
        return FittedSoftmax(fits)

    def from_state(self, record, arrays):
        return FittedSoftmax(list(arrays["theta"]))


@dataclass(frozen=True)
class FittedSoftmax:
    theta: list

    def scores(self, rows):
        raw = np.stack([np.asarray(rows.own, np.float64) @ each for each in self.theta])
        raw = np.exp(raw - raw.max(axis=2, keepdims=True))
        return (raw / raw.sum(axis=2, keepdims=True)).astype(np.float32)

    def state(self):
        return {}, {"theta": np.stack(self.theta)}


# ---------------------------------------------------------------- all of them, all the way

PLUGINS = {"traced": NETWORK, "two functions": Centroids(), "with a start": Softmax()}
QUICK = {"outer_iterations": 6, "ensemble_size": 1, "n_selections": 4}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=180)
    X = rng.normal(size=(180, 4)) + 1.6 * np.where(y, 1.0, -1.0)[:, None] * [1, 1, 0, 0]
    wrong = np.zeros(180, bool)
    wrong[:120:6] = True
    return SimpleNamespace(X=X, y=np.where(wrong, 1 - y, y), wrong=wrong, truth=y)


def fitted(predictor, rows, settings=QUICK, **options):
    valuer = DVRLClassifier(predictor, settings=settings, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dvrl.DataValuationWarning)
        return valuer.fit(
            rows.X[:120], rows.y[:120], X_val=rows.X[120:], y_val=rows.y[120:], **options
        )


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_goes_all_the_way(name, rows, tmp_path):
    predictor = PLUGINS[name]
    valuer = fitted(predictor, rows)
    assert (valuer.predict(rows.X[120:]) == rows.truth[120:]).mean() > 0.85
    values = valuer.data_values_
    assert values[rows.wrong[:120]].mean() < values[~rows.wrong[:120]].mean() - 0.2
    assert valuer.suspects(0.1)["reason"].str.len().gt(10).all()

    path = tmp_path / "valuer.dvrl"
    valuer.save(path, with_rows=True)  # neighbours are among the references of so few rows
    again = dvrl.load(path, predictor=predictor)
    np.testing.assert_array_equal(again.data_values_, values)
    np.testing.assert_array_equal(again.predict(rows.X), valuer.predict(rows.X))
    np.testing.assert_array_equal(again.value(rows.X, rows.y), valuer.value(rows.X, rows.y))
    curve = removal_curve(
        values,
        *(rows.X[:120], rows.y[:120], rows.X[120:], rows.truth[120:]),
        predictor=LogisticRegression(),
        shares=[0.0, 0.2],
        repeats=2,
    )
    assert curve["score"].between(0, 1).all()
    report = tmp_path / "report.html"
    report_of(valuer, rows.X[:120], rows.y[:120], report)
    assert report.stat().st_size > 10_000


def test_without_the_predictor_all_but_predict_answers(rows, tmp_path):
    valuer = fitted(Softmax(), rows)
    valuer.save(tmp_path / "valuer", with_rows=True)
    again = dvrl.load(tmp_path / "valuer")
    np.testing.assert_array_equal(again.value(rows.X, rows.y), valuer.value(rows.X, rows.y))
    with pytest.raises(ValueError, match=r"dvrl.load\(path, predictor=...\)"):
        again.predict(rows.X)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_resumed_to_the_bit(name, rows, tmp_path):
    whole = fitted(PLUGINS[name], rows)

    def stop(progress):
        if progress.iteration >= 3:
            raise KeyboardInterrupt

    file = tmp_path / "run"
    half = {**QUICK, "outer_iterations": 6}
    with pytest.raises(KeyboardInterrupt):
        fitted(PLUGINS[name], rows, half, checkpoint=file, callback=stop)
    resumed = fitted(PLUGINS[name], rows, half, checkpoint=file, resume=True)
    np.testing.assert_array_equal(resumed.data_values_, whole.data_values_)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_serves_the_other_methods(name, rows):
    method = LeaveOneOut(PLUGINS[name], random_state=0)
    method.fit(rows.X[:40], rows.y[:40], X_val=rows.X[120:], y_val=rows.y[120:])
    assert np.isfinite(method.data_values_).all()


def test_fits_start_where_they_are_told(rows):
    short = Softmax(steps=1)
    cold = fitted(short, rows)
    warm = fitted(short, rows, {**QUICK, "pretrained": fitted(Softmax(300), rows).predictor_})
    assert warm.diagnostics_.reward_uniform > cold.diagnostics_.reward_uniform + 0.01
    with pytest.raises(ValueError, match="can start from an earlier one"):
        fitted(Centroids(), rows, {**QUICK, "pretrained": "all_rows"})


def test_registered_names_are_found(rows, monkeypatch):
    class Entry:
        name = "centroids"

        @staticmethod
        def load():
            return lambda task: Centroids()

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry] * (group == registry.GROUP))
    named, own = fitted("centroids", rows), fitted(Centroids(), rows)
    np.testing.assert_array_equal(named.data_values_, own.data_values_)
    with pytest.raises(ValueError, match=r"'centroid' is unknown.*centroids"):
        fitted("centroid", rows)


# ---------------------------------------------------------------- failures


@dataclass(frozen=True)
class Moody(Centroids):
    """Fails on some selections."""

    share: float = 0.4

    def fit(self, rows, weights, *, seed):
        for each in weights:
            if int(each.sum()) % 10 < 10 * self.share:
                raise RuntimeError("not this one")
        return super().fit(rows, weights, seed=seed)


@pytest.mark.filterwarnings("ignore:The run was too short")
def test_selections_that_fail_are_skipped_and_named(rows):
    options = {**QUICK, "n_selections": 8, "shrink_residual": False}
    with pytest.warns(dvrl.DataValuationWarning, match=r"skipped.*not this one"):
        valuer = DVRLClassifier(Moody(), settings=options, random_state=0).fit(
            rows.X[:117], rows.y[:117], X_val=rows.X[120:], y_val=rows.y[120:]
        )
    assert 0 < valuer.diagnostics_.n_skipped < 24
    assert np.isfinite(valuer.data_values_).all()


def test_a_predictor_that_mostly_fails_stops_the_run_with_its_cause(rows):
    with pytest.raises(RuntimeError, match=r"Moody failed on .* rows.*not this one"):
        fitted(Moody(share=1.0), rows)


# ---------------------------------------------------------------- weights inside of others


def scaled():
    return make_pipeline(StandardScaler(), LogisticRegression())


TAKES_WEIGHTS = {
    "pipeline": scaled(),
    "voting": VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
    "voting of pipelines": VotingClassifier([("a", scaled()), ("b", GaussianNB())], voting="soft"),
    "stacking": StackingClassifier([("a", scaled()), ("b", GaussianNB())], LogisticRegression()),
    "grid search": GridSearchCV(scaled(), {"logisticregression__C": [0.1, 1.0]}),
}


@pytest.mark.parametrize("name", TAKES_WEIGHTS)
def test_weights_reach_what_learns_inside_of_others(name, rows):
    """Rows of no weight with wrong labels do no harm; without weights they would."""
    model = TAKES_WEIGHTS[name]
    assert takes_weights(model)
    y = rows.truth.copy()
    y[:90] = 1 - y[:90]
    weights = np.r_[np.zeros(90), np.ones(90)] + 1e-6
    fitted_model = fit_weighted(model, rows.X, y, weights, classes=True)
    assert fitted_model.score(rows.X[:90], rows.truth[:90]) > 0.9


def test_where_a_part_takes_no_weights_rows_stand_for_them(rows):
    model = VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())])
    assert not takes_weights(model)
    weights = np.where(np.arange(180) < 90, 0.1, 0.9)
    y = np.where(np.arange(180) == 3, 2, rows.truth)  # a class of one light row
    fitted_model = fit_weighted(model, rows.X, y, weights, classes=True)
    assert fitted_model.classes_.tolist() == [0, 1, 2]


def test_the_final_fit_says_that_rows_stood_for_weights(rows):
    valuer = DVRLClassifier(
        final_predictor=KNeighborsClassifier(), settings={"kl_weight": 1.0}, random_state=0
    )
    with pytest.warns(UserWarning, match=r"KNeighborsClassifier takes no weights: .* of 120 rows"):
        valuer.fit(rows.X[:120], rows.y[:120], X_val=rows.X[120:], y_val=rows.truth[120:])


# ---------------------------------------------------------------- encoders


def test_any_transformer_encodes_rows(rows, tmp_path):
    texts = np.array(["red big" if label else "blue small" for label in rows.truth], object)
    texts[::9] += " odd"
    valuer = DVRLClassifier(encoder=TfidfVectorizer(), random_state=0)
    valuer.fit(texts[:120], rows.y[:120], X_val=texts[120:], y_val=rows.truth[120:])
    wrong = rows.wrong[:120]
    assert valuer.data_values_[wrong].max() < valuer.data_values_[~wrong].min()
    assert (valuer.predict(texts[120:]) == rows.truth[120:]).mean() > 0.95
    valuer.save(tmp_path / "valuer", with_rows=True)
    types = ("sklearn.feature_extraction.text.TfidfVectorizer",)
    again = dvrl.load(tmp_path / "valuer", trusted=types)
    np.testing.assert_array_equal(again.predict(texts), valuer.predict(texts))
    with pytest.raises(TypeError, match=r"encoder=.*no transformer"):
        DVRLClassifier(encoder=LogisticRegression()).fit(rows.X, rows.y)
