"""`DVRLClassifier` and `DVRLRegressor` as scikit-learn estimators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dvrl import DVRLClassifier, DVRLRegressor, Settings, load
from dvrl.learning.learn import PRIOR_SHARPNESS
from helpers import parameters

# A few iterations and a quick marginal are enough for the interface, and too few to converge.
pytestmark = pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")
QUICK = {"outer_iterations": 3, "ensemble_size": 1, "random_state": 0, "marginal": "trees"}
DEFAULT_MARGINAL = {**QUICK, "marginal": None}


@parametrize_with_checks(
    [DVRLClassifier(**parameters(**QUICK)), DVRLRegressor(**parameters(**QUICK))]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        DVRLClassifier(**parameters(**DEFAULT_MARGINAL)),
        DVRLRegressor(**parameters(**DEFAULT_MARGINAL)),
    ]
)
def test_scikit_learn_contract_with_the_default_marginal(estimator, check):
    check(estimator)


def classes(n_rows=100, seed=0):
    X, y = make_classification(
        n_rows, 4, n_informative=3, n_redundant=0, n_classes=3, n_clusters_per_class=1,
        random_state=seed,
    )  # fmt: skip
    return X.astype(np.float32), np.array(["a", "b", "c"])[y]


def numbers(n_rows=100, seed=0):
    X, y = make_regression(n_rows, 4, noise=5.0, random_state=seed)
    return X.astype(np.float32), y


def mixed_frame(n_rows=100):
    rng = np.random.default_rng(0)
    size = rng.normal(size=n_rows)
    colour = rng.choice(["red", "green", "blue"], n_rows)
    y = np.where(size + 0.5 * (colour == "red") + 0.3 * rng.normal(size=n_rows) > 0, "yes", "no")
    size[::7] = np.nan
    index = [f"row {number}" for number in range(n_rows)]
    return pd.DataFrame({"size": size, "colour": colour}, index=index), y


def test_parameters_are_only_stored():
    settings = {"kl_weight": -1.0}
    valuer = DVRLClassifier("mlp", preset="nonsense", settings=settings)
    assert clone(valuer).get_params() == valuer.get_params()
    assert valuer.settings is settings
    assert valuer.set_params(preset="paper").preset == "paper"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kl_weight": 1}, "kl_weight is a setting: pass settings={'kl_weight': 1}."),
        ({"pretrained": np.ones(3)}, "pretrained is a setting: pass settings={'pretrained': ...}."),
        ({"resume": True}, "resume is an argument of fit: pass it to fit."),
        ({"callback": print}, "callback is an argument of fit: pass it to fit."),
    ],
)
def test_parameters_that_moved_say_where_they_are(given, message):
    for refused in (lambda: DVRLRegressor(**given), lambda: DVRLRegressor().set_params(**given)):
        with pytest.raises(TypeError) as caught:
            refused()
        assert str(caught.value) == message


def test_unknown_parameters_get_a_hint():
    with pytest.raises(TypeError, match=r"no parameter 'marginals'\. Did you mean 'marginal'"):
        DVRLClassifier(marginals="trees")
    with pytest.raises(ValueError, match="Invalid parameter 'marginals'"):
        DVRLClassifier().set_params(marginals="trees")
    with pytest.raises(ValueError, match="Invalid parameter 'kl_wieght'"):
        DVRLClassifier().set_params(settings__kl_wieght=1.0)


@pytest.mark.parametrize("settings", [None, {"l2": 2.0}, Settings(l2=2.0)])
def test_single_settings_are_reached_by_nested_names(settings):
    valuer = clone(DVRLClassifier(settings=settings)).set_params(settings__kl_weight=3.0)
    expected = {"kl_weight": 3.0} | ({} if settings is None else {"l2": 2.0})
    assert valuer.settings.given() == expected
    copied = clone(valuer)
    assert copied.settings is not valuer.settings
    assert copied.get_params()["settings__kl_weight"] == 3.0
    assert isinstance(settings, Settings) or settings in (None, {"l2": 2.0})  # not changed
    both = valuer.set_params(settings={"l2": 5.0}, settings__averaging=False)
    assert both.settings.given() == {"l2": 5.0, "averaging": False}


def test_a_record_and_a_dict_give_the_same_bits():
    X, y = classes()
    given = parameters(**QUICK)
    one = DVRLClassifier(**given).fit(X, y)
    other = DVRLClassifier(**given | {"settings": Settings(**given["settings"])}).fit(X, y)
    np.testing.assert_array_equal(one.data_values_, other.data_values_)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.slow
def test_pipelines_cross_validation_and_grid_search():
    X, y = classes()
    pipeline = make_pipeline(StandardScaler(), DVRLClassifier(**parameters(**QUICK)))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.6  # three balanced classes
    grid = {"dvrlclassifier__settings__kl_weight": [1.0, 3.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_["dvrlclassifier__settings__kl_weight"] in (1.0, 3.0)
    assert search.predict(X).shape == y.shape
    assert search.best_estimator_[-1].settings.outer_iterations == QUICK["outer_iterations"]


def test_frames_with_categories_and_gaps_keep_their_index():
    X, y = mixed_frame()
    valuer = DVRLClassifier(**parameters(**QUICK)).fit(
        X.iloc[:80], y[:80], X_val=X.iloc[80:], y_val=y[80:]
    )
    frame = valuer.to_frame()
    assert list(frame.index) == list(X.index[:80])
    np.testing.assert_array_equal(frame["data_value"], valuer.data_values_)
    assert sorted(frame["rank"]) == list(range(1, 81))
    suspects = valuer.suspects(fraction=0.1)
    assert list(suspects.index) == list(frame.sort_values("data_value").index[:8])
    assert set(suspects["label"]) <= {"yes", "no"}
    assert suspects["label_probability"].between(0, 1).all()
    assert suspects["reason"].str.match(r"Labelled '(yes|no)'.*probability 0\.\d\d\).*\.$").all()
    with pytest.raises(ValueError, match="fraction"):
        valuer.suspects(fraction=0)


def test_polars_frames_give_the_same_values_as_pandas():
    polars = pytest.importorskip("polars")
    X, y = mixed_frame()
    values = [
        DVRLClassifier(**parameters(**QUICK)).fit(table, y).data_values_
        for table in (X, polars.from_pandas(X))
    ]  # fmt: skip
    np.testing.assert_array_equal(*values)


def test_without_validation_rows_a_stratified_part_is_held_out():
    X, y = classes(150)
    valuer = DVRLClassifier(**parameters(validation_fraction=0.2, **QUICK)).fit(X, y)
    held = valuer.validation_indices_
    assert len(held) == 30
    shares = [np.mean(y[held] == label) - np.mean(y == label) for label in "abc"]
    assert np.abs(shares).max() < 0.05
    assert valuer.data_values_.shape == (150,)
    given = DVRLClassifier(**parameters(**QUICK)).fit(X, y, X_val=X[:20], y_val=y[:20])
    assert given.validation_indices_ is None


def test_values_of_unseen_rows():
    X, y = classes(160)
    rng = np.random.default_rng(0)
    noisy, flipped = y.copy(), rng.choice(160, 30, replace=False)
    noisy[flipped] = np.array(["a", "b", "c"])[
        (np.searchsorted(["a", "b", "c"], y[flipped]) + 1) % 3
    ]
    valuer = DVRLClassifier(random_state=0, settings={"ensemble_size": 2, "outer_iterations": 40})
    valuer.fit(X[:100], y[:100], X_val=X[100:130], y_val=y[100:130])
    values = valuer.value(X, noisy)
    assert values.shape == (160,)
    assert values.min() >= 0
    assert values.max() <= 1
    is_flipped = np.isin(np.arange(160), flipped)
    # Wrong labels get lower values on rows that were in no part of the training.
    unseen = np.arange(160) >= 130
    assert values[unseen & is_flipped].mean() < values[unseen & ~is_flipped].mean() - 0.2
    with pytest.raises(ValueError, match="label"):
        valuer.value(X[:2], ["a", "unheard of"])
    with pytest.raises(ValueError, match="features"):
        valuer.value(X[:2, :3], y[:2])


@pytest.mark.parametrize("predictor", ["linear", "logistic", "mlp"])
def test_classifiers_by_name(predictor):
    X, y = classes()
    valuer = DVRLClassifier(predictor, **parameters(inner_iterations=None, **QUICK)).fit(X, y)
    assert valuer.score(X, y) > 0.7
    probabilities = valuer.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_array_equal(valuer.predict(X), valuer.classes_[probabilities.argmax(axis=1)])


@pytest.mark.parametrize("predictor", ["linear", "ridge", "mlp"])
def test_regressors_by_name(predictor):
    X, y = numbers()
    valuer = DVRLRegressor(predictor, **parameters(**QUICK)).fit(X, y)
    assert valuer.score(X, y) > 0.7


def test_unknown_names_say_which_exist():
    X, y = classes()
    for wrong in (
        {"predictor": "ridge"},
        {"preset": "quick"},
        {"metric": "loss"},
        {"marginal": "woods"},
        {"gradient": "exact"},
        {"baseline": "none"},
    ):
        with pytest.raises(ValueError, match=r"use|one of|known"):
            DVRLClassifier(**parameters(**{**QUICK, **wrong})).fit(X, y)


@pytest.mark.parametrize(
    "predictor",
    [
        LogisticRegression(),
        KNeighborsClassifier(3),  # takes no weights
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=["logistic", "neighbours", "pipeline"],
)
@pytest.mark.filterwarnings("ignore:KNeighborsClassifier takes no weights")
def test_black_boxes(predictor):
    X, y = classes()
    valuer = DVRLClassifier(predictor, **parameters(n_selections=2, **QUICK)).fit(X, y)
    assert valuer.score(X, y) > 0.7
    assert valuer.diagnostics_.n_fits >= 6
    assert not hasattr(predictor, "classes_")


def test_a_pipeline_sees_the_callers_own_columns():
    X, y = mixed_frame()
    X["size"] = X["size"].fillna(0.0)
    pipeline = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    valuer = DVRLClassifier(pipeline, **parameters(n_selections=2, **QUICK)).fit(X[["colour"]], y)
    assert set(valuer.predict(X[["colour"]])) <= {"yes", "no"}


def test_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    X, y = classes(200)
    model = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1)
    valuer = DVRLClassifier(model, **parameters(n_selections=2, **QUICK)).fit(X, y)
    assert valuer.score(X, y) > 0.7


@pytest.mark.parametrize("metric", ["auc", "f1_macro"])
def test_metrics_of_classifiers(metric):
    X, y = classes()
    valuer = DVRLClassifier(**parameters(metric=metric, n_selections=2, **QUICK)).fit(X, y)
    assert np.isfinite(valuer.history_["reward"]).all()


@pytest.mark.parametrize("metric", ["rmspe", "neg_median_absolute_error"])
def test_metrics_of_regressors(metric):
    X, y = numbers()
    valuer = DVRLRegressor(**parameters(metric=metric, n_selections=2, **QUICK)).fit(X, y + 1000.0)
    assert np.isfinite(valuer.history_["reward"]).all()


def test_a_callable_metric_gets_estimator_and_rows():
    X, y = classes()

    def share_of_a(estimator, X, y):
        assert len(X) == len(y)
        return float(np.mean(estimator.predict(X) == "a"))

    valuer = DVRLClassifier(**parameters(metric=share_of_a, n_selections=2, **QUICK)).fit(X, y)
    assert ((valuer.history_["reward"] >= 0) & (valuer.history_["reward"] <= 1)).all()


@pytest.mark.parametrize("marginal", ["none", "auto", "validation", "trees"])
def test_marginals(marginal):
    X, y = classes()
    valuer = DVRLClassifier(**parameters(**{**QUICK, "marginal": marginal})).fit(X, y)
    assert hasattr(valuer, "marginal_values_") == (marginal != "none")
    assert ("marginal" in valuer.to_frame()) == (marginal != "none")
    assert valuer.value(X[:5], y[:5]).shape == (5,)


def test_first_policy_is_the_prior():
    X, y = classes()
    valuer = DVRLClassifier(**parameters(learning_rate=1e-9, **QUICK)).fit(X, y)
    prior = expit(PRIOR_SHARPNESS * logit(valuer.marginal_values_))
    np.testing.assert_allclose(valuer.data_values_, prior, atol=1e-4)


def test_the_bound_limits_the_change_of_the_odds():
    X, y = classes()
    valuer = DVRLClassifier(
        random_state=0,
        settings={
            "learning_rate": 0.5,
            "residual_bound": 0.3,
            "kl_weight": 0.0,
            "outer_iterations": 30,
            "ensemble_size": 1,
        },
    ).fit(X, y)

    change = logit(valuer.data_values_) - PRIOR_SHARPNESS * logit(valuer.marginal_values_)
    assert np.abs(change).max() <= 0.3 + 1e-3
    assert np.abs(change).max() > 0.2  # with such steps the bound is reached


@pytest.mark.parametrize("cls", [DVRLClassifier, DVRLRegressor])
@pytest.mark.parametrize("predictor", ["linear", "mlp"])
def test_saved_and_loaded(tmp_path, cls, predictor):
    X, y = classes() if cls is DVRLClassifier else numbers()
    valuer = cls(predictor, **parameters(**QUICK)).fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    path = tmp_path / "valuer.dvrl"
    valuer.save(path)
    loaded = load(path)
    np.testing.assert_array_equal(loaded.data_values_, valuer.data_values_)
    assert loaded.diagnostics_ == valuer.diagnostics_
    assert loaded.get_params() == valuer.get_params()
    assert list(loaded.history_) == list(valuer.history_)
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("ignore:KNeighborsClassifier takes no weights")
def test_a_final_predictor_of_another_kind():
    X, y = classes()
    valuer = DVRLClassifier(**parameters(final_predictor=KNeighborsClassifier(3), **QUICK)).fit(
        X, y
    )
    assert type(valuer.predictor_.estimator_) is KNeighborsClassifier
    assert valuer.score(X, y) > 0.7


@pytest.mark.parametrize("final", [None, LogisticRegression()])
def test_validation_rows_in_the_final_fit(final):
    X, y = classes()
    rows = {"X": X[:60], "y": y[:60], "X_val": X[60:], "y_val": y[60:]}
    plain, both = (
        DVRLClassifier(**parameters(final_predictor=final, final_rows=which, **QUICK)).fit(**rows)
        for which in ("training", "both")
    )
    np.testing.assert_array_equal(plain.data_values_, both.data_values_)
    weights = np.append(both.data_values_, np.ones(len(X) - 60))
    expected = LogisticRegression().fit(both.encoder_.transform(X), y, sample_weight=weights)
    np.testing.assert_allclose(
        both.predict_proba(X), expected.predict_proba(both.encoder_.transform(X)), atol=1e-3
    )
    assert np.abs(plain.predict_proba(X) - both.predict_proba(X)).max() > 0.01
    held_out = [
        DVRLClassifier(**parameters(final_predictor=final, final_rows=which, **QUICK))
        .fit(X, y)
        .predict_proba(X)
        for which in ("training", "both")
    ]
    np.testing.assert_array_equal(*held_out)  # rows held out are among the training rows already
    with pytest.raises(ValueError, match="use one of training, both"):
        DVRLClassifier(**parameters(final_rows="all", **QUICK)).fit(X, y)


def test_ensemble_spread():
    X, y = classes()
    single = DVRLClassifier(**parameters(**QUICK)).fit(X, y)
    assert np.isnan(single.data_values_std_).all()
    several = DVRLClassifier(**parameters(**{**QUICK, "ensemble_size": 3})).fit(X, y)
    assert (several.data_values_std_ >= 0).all()
    assert several.data_values_std_.max() > 0
    assert several.n_members_ == 3


def test_progress_is_told(capsys):
    X, y = classes()
    told = []
    DVRLClassifier(**parameters(verbose=1, **QUICK)).fit(X, y, callback=told.append)
    assert [progress.iteration for progress in told] == [1, 2, 3]
    assert all(progress.total == 3 for progress in told)
    assert "outer iteration 3/3" in capsys.readouterr().err
