"""Saved estimators answer as before, to the bit; nobody's models are opened unasked."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer, StandardScaler

import dvrl
from dvrl import DVRLClassifier, DVRLRegressor
from dvrl.exceptions import DataValuationWarning
from dvrl.files.objects import NotOpened
from dvrl.predictors.stored import fitted_from_state, fitted_state
from helpers import parameters

N = 60
QUICK = {"outer_iterations": 3, "ensemble_size": 2, "random_state": 0}


def rows(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    if kind == "array":
        return X
    frame = pd.DataFrame(X, columns=list("abc"), index=[f"row {i}" for i in range(N)])
    frame["colour"] = rng.choice(["red", "green", None], N)
    frame["day"] = pd.date_range("2020-01-01", periods=N)
    return frame


def labels(task):
    first = rows("array")[:, 0]
    return np.where(first > 0, "yes", "no") if task == "classification" else 3.0 * first


def fitted(task, X, y, **settings):
    kind = DVRLClassifier if task == "classification" else DVRLRegressor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)  # too short to be trusted
        return kind(**parameters(**QUICK, **settings)).fit(X, y)


def assert_the_same(loaded, valuer, X, y):
    np.testing.assert_array_equal(loaded.predict(X), valuer.predict(X))
    np.testing.assert_array_equal(loaded.value(X, y), valuer.value(X, y))
    pd.testing.assert_frame_equal(loaded.to_frame(), valuer.to_frame())
    pd.testing.assert_frame_equal(loaded.suspects(0.5), valuer.suspects(0.5))


def predictor_of(name, task):
    if name == "pipeline":
        return make_pipeline(
            StandardScaler(), LogisticRegression() if task == "classification" else Ridge()
        )
    return name


@pytest.mark.parametrize("preset", ["paper", "released", "default"])
@pytest.mark.parametrize("kind", ["array", "frame"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("predictor", ["linear", "mlp", "pipeline"])
def test_saved_and_loaded(tmp_path, preset, kind, task, predictor):
    X, y = rows(kind), labels(task)
    if predictor == "pipeline" and kind == "frame":
        X = X[["a", "b", "c"]]
    settings = {} if preset == "default" else {"preset": preset}
    if predictor == "mlp":
        settings["inner_iterations"] = 3
    valuer = fitted(task, X, y, predictor=predictor_of(predictor, task), **settings)
    valuer.save(tmp_path / "a", with_rows=True)
    assert_the_same(dvrl.load(tmp_path / "a"), valuer, X, y)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_model_of_ones_own(tmp_path, task):
    X, y = rows("array"), labels(task)
    forest = RandomForestClassifier if task == "classification" else RandomForestRegressor
    valuer = fitted(task, X, y, predictor=forest(3))
    valuer.save(tmp_path / "a", with_rows=True)
    closed = dvrl.load(tmp_path / "a")
    np.testing.assert_array_equal(closed.value(X, y), valuer.value(X, y))
    pd.testing.assert_frame_equal(closed.suspects(), valuer.suspects())
    with pytest.raises(ValueError, match=r"trusted=\[") as caught:
        closed.predict(X)
    assert "not opened" in repr(closed.predictor)
    needed = re.findall(r"'([^']*)'", str(caught.value).split("trusted=")[1])
    with pytest.raises(ValueError, match="of this file"):
        dvrl.load(tmp_path / "a", trusted=needed[:-1])
    assert_the_same(dvrl.load(tmp_path / "a", trusted=needed), valuer, X, y)


def test_a_marginal_of_ones_own(tmp_path):
    X, y = rows("array"), labels("classification")
    valuer = fitted("classification", X, y, marginal=RandomForestClassifier(3, random_state=0))
    valuer.save(tmp_path / "a")
    closed = dvrl.load(tmp_path / "a")
    np.testing.assert_array_equal(closed.predict(X), valuer.predict(X))
    with pytest.raises(ValueError, match="marginal") as caught:
        closed.value(X, y)
    needed = re.findall(r"'([^']*)'", str(caught.value).split("trusted=")[1])
    assert_the_same(dvrl.load(tmp_path / "a", trusted=needed), valuer, X, y)


def test_what_could_not_be_loaded_again_is_named_before_the_file_is_touched(tmp_path):
    X, y = rows("array"), labels("classification")
    model = make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression())
    valuer = fitted("classification", X, y, final_predictor=model)
    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(TypeError, match=r"final_predictor \(Pipeline\) could not be loaded again"):
        valuer.save(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"before"


def test_dates_as_labels_and_names(tmp_path):
    X, days = rows("frame"), np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")
    times = pd.DatetimeIndex(list(pd.date_range("2020-01-01", periods=N, tz="Europe/Berlin")))
    X.index = pd.MultiIndex.from_arrays([range(N), pd.Index(times)], names=["n", "at"])
    y = days[(rows("array")[:, 0] > 0).astype(int)]
    valuer = fitted("classification", X, y)
    valuer.save(tmp_path / "a", with_rows=True)
    loaded = dvrl.load(tmp_path / "a")
    assert loaded.classes_.dtype == valuer.classes_.dtype
    assert_the_same(loaded, valuer, X, y)


@pytest.mark.parametrize("attack", ["no part", "type", "range", "class", "array"])
def test_records_and_arrays_are_looked_at(tmp_path, attack):
    """A file whose digest is right may still hold what cannot be."""
    from dvrl.files.archive import read_archive, write_archive

    path = tmp_path / "a"
    fitted("classification", rows("array"), labels("classification")).save(path)
    archive = read_archive(path)
    record, arrays = archive.record, dict(archive.arrays)
    if attack == "no part":
        del record["parts"]["coder"]
    elif attack == "type":
        record["valuation"]["n_members"] = "two"
    elif attack == "range":
        record["valuation"]["kept_share"] = float("nan")
    elif attack == "class":
        record["valuation"]["estimator"] = "os.system"
    else:
        arrays["run/values"] = np.full(N, 2.0)
    write_archive(path, record, arrays)
    with pytest.raises(ValueError, match="damaged"):
        dvrl.load(path)


class Mean:
    """A predictor of the user's own, and what its fit has learned."""

    def __init__(self, means=None):
        self.means = means

    def state(self):
        return {"note": "mean"}, {"means": self.means}

    def from_state(self, record, arrays):
        assert record == {"note": "mean"}
        return Mean(arrays["means"])


class Stateless:
    """Nothing of it can be kept."""


def test_a_predictor_of_ones_own_is_handed_in_again():
    state, models = fitted_state(Mean(np.arange(2.0)))
    assert not models
    found = fitted_from_state(*state, {}, coder=None, handed=Mean())
    np.testing.assert_array_equal(found.means, [0.0, 1.0])
    absent = fitted_from_state(*state, {}, coder=None)
    with pytest.raises(ValueError, match=r"Mean was not saved .* dvrl\.load\(path, predictor="):
        absent.scores(None)
    state, _ = fitted_state(Stateless())
    absent = fitted_from_state(*state, {}, coder=None, handed=Stateless())
    assert isinstance(absent, NotOpened)
    with pytest.raises(ValueError, match="Stateless was not saved in this file; fit again"):
        absent.scores(None)


def test_settings_that_a_record_cannot_hold_do_not_take_the_others_along(tmp_path):
    X, y = rows("array"), labels("classification")
    given = dvrl.Settings(outer_iterations=3, kl_weight=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        valuer = DVRLClassifier(settings=given, random_state=0).fit(X, y)
    # An object to start from, which the fit is done with.
    valuer.settings = {**given.given(), "pretrained": valuer.predictor_}
    valuer.save(tmp_path / "a")
    assert dvrl.load(tmp_path / "a").settings == {"outer_iterations": 3, "kl_weight": 0.5}


@pytest.mark.parametrize("own", [StandardScaler(), QuantileTransformer(n_quantiles=10)])
def test_an_encoder_of_ones_own(tmp_path, own):
    X, y = rows("frame")[["a", "b", "c"]], labels("classification")
    valuer = fitted("classification", X, y, encoder=own)
    valuer.save(tmp_path / "a", with_rows=True)
    trusted = [f"{type(own).__module__}.{type(own).__name__}"]
    if isinstance(own, QuantileTransformer):  # the other one is numbers
        closed = dvrl.load(tmp_path / "a")
        with pytest.raises(ValueError, match=rf"encoder of this file.*{trusted[0]}"):
            closed.predict(X)
    loaded = dvrl.load(tmp_path / "a", trusted=trusted)
    assert_the_same(loaded, valuer, X, y)
    assert repr(loaded.encoder) == repr(own)
    np.testing.assert_array_equal(loaded.feature_names_in_, valuer.feature_names_in_)
