"""Domain adaptation: constructed cases with a known answer, input errors, real rows."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from dvrl import AdaptedClassifier, AdaptedRegressor, DataValuationWarning, load
from dvrl.adaptation.candidates import CONTROLS, Candidate, Domains, Plan, augmented, draw_rows
from dvrl.adaptation.crossfit import CrossFitting
from dvrl.adaptation.judging import adaptation_comparison
from dvrl.adaptation.outcomes import METRICS, make_outcome
from dvrl.adaptation.rows import RowEncoder
from dvrl.adaptation.selection import mix
from dvrl.adaptation.settings import AdaptationSettings, checked_settings
from dvrl.adaptation.values import density_ratio, label_agreement
from dvrl.cli import app
from dvrl.cli.options import ADAPTATION_METRICS
from dvrl.data.targets import ClassEncoder, TargetScaler

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHEAP = ("uniform", "label")
# Few fits, where the test is about something else than the choice.
FEW = {"sharpnesses": (1.0, 2.0), "ratios": (0.3, 1.0)}
QUICK = {"values": CHEAP, "n_folds": 3, "settings": FEW}
WEIGHTED = {"forms": ("weighted",)}


def quick(**settings):
    return QUICK | {"settings": FEW | settings}


SHORT = {"outer_iterations": 20}


def classes(n, seed=0, n_features=6):
    """Rows of a noisy linear rule."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features))
    y = (X @ np.arange(1, n_features + 1) + 3.0 * rng.normal(size=n) > 0).astype(int)
    return X, y


def numbers(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    return X, X @ np.array([3.0, -2.0, 1.0, 0.5, 0.0]) + rng.normal(size=n)


def adapt_quietly(estimator, *rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        return estimator.fit(*rows)


# ----------------------------------------------------------------------------- known answers


def test_a_source_like_the_target_counts_like_the_target_and_helps():
    X, y = classes(2500)
    adapted = AdaptedClassifier(**QUICK, random_state=0).fit(
        X[:800], y[:800], X[800:860], y[800:860]
    )
    alone = LogisticRegression(max_iter=1000).fit(X[800:860], y[800:860])
    assert 0.3 < adapted.source_scale_ < 3.0
    assert adapted.score(X[860:], y[860:]) > alone.score(X[860:], y[860:]) + 0.01
    assert adapted.message_.startswith("The source helps")


def test_inverted_labels_get_no_weight_and_leave_the_target_rows_alone():
    X, y = classes(1000)
    adapted = AdaptedClassifier(
        make_pipeline(LogisticRegression()),
        **{**QUICK, "values": ("uniform", "density")},
        random_state=0,
    )
    with pytest.warns(DataValuationWarning, match="does not help"):
        adapted.fit(X[:500], 1 - y[:500], X[500:600], y[500:600])
    alone = LogisticRegression().fit(X[500:600], y[500:600])
    assert adapted.source_scale_ == 0.0
    assert not adapted.source_weights_.any()
    np.testing.assert_array_equal(adapted.predict(X[600:]), alone.predict(X[600:]))


def test_inverted_numbers_get_no_weight():
    X, y = numbers(900)
    rng = np.random.default_rng(1)
    adapted = adapt_quietly(
        AdaptedRegressor(values=("uniform", "density"), settings=WEIGHTED, random_state=0),
        X[:400], 10.0 * rng.normal(size=400), X[400:500], y[400:500],
    )  # fmt: skip
    assert adapted.source_scale_ == 0.0
    encoded = [adapted.row_encoder_.transform(rows, adapted).own for rows in (X[400:500], X[500:])]
    alone = Ridge().fit(encoded[0], y[400:500])
    np.testing.assert_allclose(adapted.predict(X[500:]), alone.predict(encoded[1]))


@pytest.mark.parametrize(
    "values",
    [("uniform", "label"), pytest.param(("uniform", "learned"), marks=pytest.mark.slow)],
)
def test_bad_source_rows_get_low_values(values):
    X, y = classes(1000)
    is_bad = np.arange(600) % 2 == 0
    given = np.where(is_bad, 1 - y[:600], y[:600])
    adapted = adapt_quietly(
        AdaptedClassifier(values=values, settings=WEIGHTED, valuation=SHORT, random_state=0),
        X[:600], given, X[600:800], y[600:800],
    )  # fmt: skip
    found = adapted.source_values_
    assert found[~is_bad].mean() > found[is_bad].mean() + 0.2
    weights = adapted.source_weights_
    assert weights[is_bad].sum() <= 0.5 * weights[~is_bad].sum()


def test_a_shifted_level_is_learned_as_the_error_of_the_source_model():
    X, y = numbers(1500)
    adapted = AdaptedRegressor(values=("uniform",), random_state=0)
    adapt_quietly(adapted, X[:900], y[:900], X[900:940], y[900:940] + 50.0)
    report = adapted.report_.set_index("candidate")
    assert report.loc["offset (uniform)", "loss"] < report.loc["both", "loss"] / 10
    assert adapted.metric_score(X[940:], y[940:] + 50.0) < 1.5


def test_relative_errors_are_corrected_by_a_factor():
    X, y = numbers(1500)
    price = np.exp(2.0 + 0.3 * y)
    model = Ridge(alpha=1e-3)
    adapted = AdaptedRegressor(model, metric="rmspe", values=("uniform",), random_state=0)
    adapted.fit(X[:900], price[:900], X[900:960], 7.0 * price[900:960])
    assert adapted.outcome_.link == "log"
    assert adapted.metric_score(X[960:], 7.0 * price[960:]) < 0.4
    assert adapted.report_.set_index("candidate").loc["source only", "score"] > 0.7


# ------------------------------------------------------------------------------------- pieces


def test_density_ratio_prefers_rows_like_the_target():
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(400, 2)), rng.normal((2.0, 0.0), size=(100, 2))
    source, target = RowEncoder(False).fit(X_source, X_target, AdaptedClassifier())
    odds = density_ratio(LogisticRegression(), source, target, max_source_rows=1000, seed=0)
    assert np.corrcoef(np.log(odds), X_source[:, 0])[0, 1] > 0.99
    # Equal weights of the domains: the odds are near 1 half-way between them.
    assert abs(np.log(odds[np.argmin(np.abs(X_source - [1.0, 0.0]).sum(axis=1))])) < 0.5


def test_label_agreement_is_the_probability_of_the_label():
    X, y = classes(300)
    outcome = make_outcome("classification", "accuracy", ClassEncoder().fit(y))
    source, _ = RowEncoder(True).fit(X[:200], X[200:], AdaptedClassifier())
    model = LogisticRegression().fit(X[200:], y[200:])
    found = label_agreement(outcome, model, source, y[:200], 1.0)
    expected = model.predict_proba(X[:200])[np.arange(200), y[:200]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
def test_the_ratio_is_the_weight_of_the_source_by_that_of_the_target(ratio):
    X, y = numbers(300)
    rows = RowEncoder(False).fit(X[:200], X[200:], AdaptedRegressor())
    plan = Plan("regression", "rmspe", TargetScaler().fit(y), Ridge(), LogisticRegression(), 0)
    domains = Domains(plan, lambda: rows, y[:200], y[200:])
    outcome = domains.outcome
    candidate = Candidate("weighted", "density", 2.0, ratio)
    weights = domains.source_weights(candidate)
    total = (weights * outcome.base_weights(y[:200])).sum()
    assert total == pytest.approx(ratio * outcome.base_weights(y[200:]).sum())
    raised = domains.values("density") ** 2
    np.testing.assert_allclose(weights / weights.mean(), raised / raised.mean())


def cross_fitting(X, y, folds, **settings):
    """The fits of an estimator with the last rows as target rows, their folds as given."""
    task = "regression" if "rmspe" in settings.values() else "classification"
    kind, coder = {
        "classification": (AdaptedClassifier, ClassEncoder),
        "regression": (AdaptedRegressor, TargetScaler),
    }[task]
    estimator = kind(**QUICK, **settings, random_state=0)
    estimator.coder_, estimator._seed = coder().fit(y[:-90]), 0
    parts = X[:-90], y[:-90], X[-90:], y[-90:]
    return CrossFitting(
        estimator._plan(), *parts, folds=folds, values=CHEAP, original=False,
        settings=checked_settings(FEW, task), estimator=estimator,
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["balanced_accuracy", "rmspe"])
def test_target_rows_have_no_part_in_what_they_judge(metric):
    """Nonsense in the rows of a fold changes nothing of what is fitted and chosen without it."""
    X, y = classes(290) if metric == "balanced_accuracy" else numbers(290)
    if metric == "rmspe":
        y = np.exp(y / 5)
    folds, fold = np.arange(90) % 3, frozenset({1})
    bad = np.flatnonzero(np.r_[np.zeros(200), folds == 1])
    X_bad, y_bad = X.copy(), y.copy()
    rng = np.random.default_rng(1)
    X_bad[bad] = 1e3 * rng.normal(size=(len(bad), X.shape[1]))
    y_bad[bad] = 0 if metric == "balanced_accuracy" else -100.0
    clean, poisoned = (
        cross_fitting(*rows, folds, metric=metric) for rows in ((X, y), (X_bad, y_bad))
    )
    choices = [each.choose(fold) for each in (clean, poisoned)]
    for first, second in zip(*(each.judgements for each in choices), strict=True):
        assert first.candidate == second.candidate
        assert first.power == second.power
        np.testing.assert_array_equal(first.losses, second.losses)
    np.testing.assert_array_equal(*(each.weights for each in choices))
    for _, member in choices[0].members():
        predictions = [
            each.domains(fold)
            .fit(member.candidate)
            .predict(
                each.domains(fold).outcome, each.encoded(fold)[0].transform(X, each.estimator).own
            )
            for each in (clean, poisoned)
        ]
        np.testing.assert_array_equal(*predictions)
    np.testing.assert_array_equal(
        *(each.domains(fold).values("label") for each in (clean, poisoned))
    )
    # And it changes what is chosen with that fold: the comparison above could have failed.
    both = (each.judge(CONTROLS["both"]).prediction for each in (clean, poisoned))
    assert not np.array_equal(*both)


def test_the_gain_that_is_shown_is_none_where_there_is_none():
    """Targets are noise, and so is the source: over many tables nothing may seem to be gained."""
    differences, helped = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(160, 4))
        y = np.r_[10.0 * rng.normal(size=100), rng.normal(size=60)]
        adapted = adapt_quietly(
            AdaptedRegressor(**quick(forms=("weighted",)), random_state=seed),
            X[:100], y[:100], X[100:], y[100:],
        )  # fmt: skip
        differences.append(adapted.report_["difference"].iloc[-1])
        helped.append(adapted.source_scale_ > 0)
    error = np.std(differences, ddof=1) / len(differences) ** 0.5
    assert np.mean(differences) > -error
    assert np.mean(helped) < 0.2


def test_a_class_of_too_few_target_rows_cannot_be_judged():
    X, y = classes(60)
    rare = np.r_[y[:30], np.zeros(28, int), 1, 1]
    with pytest.raises(ValueError, match="2 of their second class; at least 3"):
        AdaptedClassifier().fit(X[:30], y[:30], X[30:], rare[30:])


def test_mixture_of_opposite_errors_is_half_and_half():
    y, predictions = np.zeros(4), np.array([[1.0] * 4, [-1.0] * 4, [3.0] * 4])
    weights = mix(lambda w: float(((y - w @ predictions) ** 2).mean()), 3)
    assert (weights @ predictions)[0] == pytest.approx(0.0, abs=0.15)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0.0


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_augmented_features_stand_for_all_and_for_each_domain(make):
    X = make(np.array([[1.0, 2.0]]))
    as_array = [
        each.toarray() if sparse.issparse(each) else each
        for each in (augmented(X, source=True), augmented(X, source=False))
    ]
    np.testing.assert_array_equal(as_array[0], [[1, 2, 1, 2, 0, 0]])
    np.testing.assert_array_equal(as_array[1], [[1, 2, 0, 0, 1, 2]])


def test_base_weights_are_what_the_metric_implies():
    labels = np.array([0] * 30 + [1] * 10)
    balanced = make_outcome("classification", "balanced_accuracy", ClassEncoder().fit(labels))
    weights = balanced.base_weights(labels)
    assert weights[:30].sum() == pytest.approx(weights[30:].sum())
    assert weights.mean() == pytest.approx(1.0)
    y = np.array([1.0, 2.0, 4.0])
    relative = make_outcome("regression", "rmspe", TargetScaler().fit(y))
    relative.fit(y, y)
    np.testing.assert_allclose(
        relative.base_weights(y) / relative.base_weights(y)[0], [1.0, 1 / 4, 1 / 16]
    )
    assert relative.score(y, 1.1 * y) == pytest.approx(0.1)


# --------------------------------------------------------------------------- the estimator's ways


@pytest.mark.parametrize(
    "values", [CHEAP, pytest.param(("uniform", "learned"), marks=pytest.mark.slow)]
)
def test_same_seed_same_bits(values):
    X, y = classes(400)
    rows = X[:300], y[:300], X[300:], y[300:]
    settings = {**QUICK, "values": values, "valuation": {"outer_iterations": 3}}
    estimator = AdaptedClassifier(**settings, random_state=3)
    first, second = (adapt_quietly(clone(estimator), *rows) for _ in range(2))
    np.testing.assert_array_equal(first.source_weights_, second.source_weights_)
    np.testing.assert_array_equal(first.source_values_, second.source_values_)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    pd.testing.assert_frame_equal(first.report_, second.report_)


def test_nothing_is_stored_or_changed_before_fit():
    estimator = AdaptedRegressor(Ridge(), metric="mae", settings={"ratios": (1.0,)})
    assert clone(estimator).settings == {"ratios": (1.0,)}
    X, y = numbers(120)
    rows = X[:80], y[:80], X[80:], y[80:]
    copies = [each.copy() for each in rows]
    adapt_quietly(estimator.set_params(**QUICK, random_state=0), *rows)
    for given, copy in zip(rows, copies, strict=True):
        np.testing.assert_array_equal(given, copy)
    assert not hasattr(estimator.predictor, "coef_")


def test_frames_keep_their_index_and_may_hold_text():
    X, y = classes(300)
    frame = pd.DataFrame(X, columns=list("abcdef"), index=[f"r{number}" for number in range(300)])
    frame["kind"] = np.where(X[:, 0] > 0, "new", "old")
    adapted = adapt_quietly(
        AdaptedClassifier(**QUICK, random_state=0),
        frame[:200], y[:200], frame[200:][list(frame.columns[::-1])], y[200:],
    )  # fmt: skip
    table = adapted.to_frame()
    assert list(table.index) == list(frame.index[:200])
    assert sorted(table["rank"]) == list(range(1, 201))
    assert adapted.score(frame[200:], y[200:]) > 0.7


def test_a_pipeline_sees_the_columns_of_frames_in_one_order():
    X, y = classes(300)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    turned = frame[list("fedcba")]
    estimator = AdaptedClassifier(make_pipeline(LogisticRegression()), **QUICK, random_state=0)
    rows = y[:200], frame[200:], y[200:]
    straight = adapt_quietly(clone(estimator), frame[:200], *rows)
    mixed = adapt_quietly(clone(estimator), frame[:200], rows[0], turned[200:], rows[2])
    np.testing.assert_array_equal(straight.predict_proba(frame), mixed.predict_proba(frame))


@pytest.mark.slow
def test_sparse_rows_of_text():
    X, y = classes(300)
    rows = sparse.csr_matrix(np.maximum(X, 0.0))
    adapted = adapt_quietly(
        AdaptedClassifier(
            values=("uniform", "learned"), settings=WEIGHTED, valuation=SHORT, random_state=0
        ),
        rows[:200], y[:200], rows[200:], y[200:],
    )  # fmt: skip
    assert adapted.predict_proba(rows).shape == (300, 2)
    with pytest.raises(ValueError, match="expecting 6 features"):
        adapted.predict(rows[:, :4])


def test_all_source_rows_are_valued_and_a_sample_is_trained_on():
    X, y = classes(500)
    sizes = []

    class Counting(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            sizes.append(len(y))
            return super().fit(X, y, sample_weight)

    adapted = adapt_quietly(
        AdaptedClassifier(Counting(), **quick(max_source_rows=150), random_state=0),
        X[:400], y[:400], X[400:], y[400:],
    )  # fmt: skip
    assert max(sizes) <= 150 + 100
    assert 150 in sizes
    assert (adapted.source_values_ > 0).all()
    assert sorted(adapted.to_frame()["rank"]) == list(range(1, 401))


def test_rows_are_drawn_by_weight_and_stand_for_all_rows():
    weights = np.r_[np.zeros(5), np.linspace(0.1, 1.0, 40), 20.0]
    total = np.zeros(len(weights))
    for seed in range(400):
        rows, drawn = draw_rows(weights, 12, seed)
        assert len(rows) == 12
        assert (np.diff(rows) > 0).all()
        assert weights[rows].all()
        assert drawn[-1] == 20.0  # a row so heavy is always in, with its own weight
        total[rows] += drawn / 400
    np.testing.assert_allclose(total.sum(), weights.sum(), rtol=0.02)
    assert np.corrcoef(total[5:-1], weights[5:-1])[0, 1] > 0.8
    rows, drawn = draw_rows(weights, 41, 0)
    np.testing.assert_array_equal(rows, np.arange(5, 46))
    np.testing.assert_array_equal(drawn, weights[5:])


def _kinds_of_fits():
    X, y = classes(300)
    words = np.where(y, "yes", "no")
    frame = pd.DataFrame(X, columns=list("abcdef"), index=[f"row {i}" for i in range(300)])
    yield AdaptedClassifier(**QUICK, random_state=0), frame, words
    pipeline = make_pipeline(LogisticRegression())
    yield AdaptedClassifier(pipeline, **quick(forms=("augmented",)), random_state=0), X, words
    yield AdaptedClassifier(**QUICK, random_state=0), sparse.csr_matrix(np.abs(X)), y
    X, y = numbers(300)
    yield AdaptedRegressor(**QUICK, metric="rmspe", random_state=0), X, np.exp(y / 4)


@pytest.mark.parametrize("case", range(4))
def test_saved_and_loaded(tmp_path, case):
    adapted, X, y = list(_kinds_of_fits())[case]
    parts = (X.iloc if hasattr(X, "iloc") else X)[:200], (X.iloc if hasattr(X, "iloc") else X)[200:]
    adapt_quietly(adapted, parts[0], y[:200], parts[1], y[200:])
    adapted.save(tmp_path / "adapted.dvrl")
    again = load(tmp_path / "adapted.dvrl")
    assert type(again) is type(adapted)
    np.testing.assert_array_equal(again.predict(X), adapted.predict(X))
    np.testing.assert_array_equal(again.predict_by_source(X), adapted.predict_by_source(X))
    assert again.metric_score(X, y) == adapted.metric_score(X, y)
    pd.testing.assert_frame_equal(again.to_frame(), adapted.to_frame())
    pd.testing.assert_frame_equal(again.report_, adapted.report_)
    assert again.message_ == adapted.message_
    assert tuple(again.settings["ratios"]) == adapted.settings["ratios"]
    (tmp_path / "again.dvrl").write_bytes(b"")
    again.save(tmp_path / "again.dvrl")  # once more, from what was read
    np.testing.assert_array_equal(load(tmp_path / "again.dvrl").predict(X), adapted.predict(X))


def test_labels_of_one_domain_only_are_classes_too():
    X, y = classes(300)
    words = np.array(["no", "yes"], dtype=object)[y]
    words[:20] = "maybe"
    adapted = adapt_quietly(
        AdaptedClassifier(**QUICK, random_state=0), X[:200], words[:200], X[200:], words[200:]
    )
    assert list(adapted.classes_) == ["maybe", "no", "yes"]
    assert set(adapted.predict(X)) <= {"maybe", "no", "yes"}
    np.testing.assert_allclose(adapted.predict_proba(X).sum(axis=1), 1.0)


def test_comparison_scores_the_controls_on_test_rows():
    X, y = classes(900)
    rows = X[:500], y[:500], X[500:600], y[500:600]
    adapted = adapt_quietly(
        AdaptedClassifier(
            make_pipeline(LogisticRegression()), metric="accuracy", **QUICK, random_state=0
        ),
        *rows,
    )
    table = adaptation_comparison(adapted, *rows, X[600:], y[600:]).set_index("scheme")["score"]
    expected = {
        "target only": LogisticRegression().fit(X[500:600], y[500:600]),
        "source only": LogisticRegression().fit(X[:500], y[:500]),
        "both": LogisticRegression().fit(X[:600], y[:600]),
    }
    for name, model in expected.items():
        assert table[name] == pytest.approx(model.score(X[600:], y[600:]))
    assert table["adapted"] == pytest.approx(adapted.score(X[600:], y[600:]))


# ---------------------------------------------------------------------------------- bad input


def rows_of(n_source=60, n_target=40):
    X, y = classes(n_source + n_target)
    return [X[:n_source], y[:n_source], X[n_source:], y[n_source:]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "auc"}, "metric='auc' is unknown"),
        ({"values": ("magic",)}, "values=.*cannot be used"),
        ({"values": ()}, "values=.*cannot be used"),
        ({"settings": {"forms": ("offset",)}}, "'offset' is for regression"),
        ({"settings": {"combine": "vote"}}, "combine=.*vote.*cannot be used"),
        ({"settings": {"ratios": (0.0,)}}, "ratios=.*above 0"),
        ({"settings": {"sharpnesses": ()}}, "sharpnesses=.*above 0"),
        ({"n_folds": 2}, "n_folds=2 must be a whole number of 3"),
        ({"settings": {"max_source_rows": 1.5}}, "max_source_rows=1.5"),
    ],
)
def test_settings_that_cannot_be_used(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaptedClassifier(**settings).fit(*rows_of())


def test_settings_are_reached_from_the_estimator_and_say_where_they_are():
    with pytest.raises(TypeError, match=r"ratios is a setting: pass settings=\{'ratios'"):
        AdaptedClassifier(ratios=(1.0,))
    with pytest.raises(TypeError, match="Did you mean 'values'"):
        AdaptedClassifier(value=CHEAP)
    with pytest.raises(ValueError, match=r"'ratio' is no setting\. Did you mean 'ratios'"):
        AdaptedClassifier(settings={"ratio": 1.0}).fit(*rows_of())
    estimator = AdaptedClassifier(settings=AdaptationSettings(ratios=(1.0,)))
    estimator.set_params(settings__combine="best")
    assert estimator.settings.given() == {"ratios": (1.0,), "combine": "best"}
    assert clone(estimator).settings.given() == estimator.settings.given()


def test_a_predictor_without_weights_is_refused():
    with pytest.raises(TypeError, match="KNeighborsClassifier takes no sample_weight"):
        AdaptedClassifier(KNeighborsClassifier()).fit(*rows_of())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: [r[0], r[1], r[2][:5], r[3][:5]], "There are 5 target rows; at least 10"),
        (lambda r: [r[0], r[1], r[2][:, :4], r[3]], "6 columns and X_target 4"),
        (lambda r: [r[0][:0], r[1][:0], r[2], r[3]], "X_source has no rows"),
        (lambda r: [r[0], r[1], r[2], np.zeros(len(r[3]))], "one class only"),
        (lambda r: [r[0], r[1][:-1], r[2], r[3]], "inconsistent numbers of samples"),
        (lambda r: [r[0], None, r[2], r[3]], "y_source is None"),
        (lambda r: [pd.DataFrame(r[0]), r[1], r[2], r[3]], "One of X_source and X_target"),
        (lambda r: [sparse.csr_matrix(r[0]), r[1], r[2], r[3]], "is a sparse matrix"),
        (lambda r: [r[0] * np.nan, r[1], r[2], r[3]], "NaN"),
    ],
)
def test_rows_that_cannot_be_used(change, message):
    with pytest.raises(ValueError, match=message):
        AdaptedClassifier().fit(*change(rows_of()))


def test_frames_with_other_columns():
    X, y, X_target, y_target = rows_of()
    frames = pd.DataFrame(X, columns=list("abcdef")), pd.DataFrame(X_target, columns=list("abcdeg"))
    with pytest.raises(ValueError, match=r"X_target lacks \['f'\] and X_source lacks \['g'\]"):
        AdaptedClassifier().fit(frames[0], y, frames[1], y_target)


def test_relative_errors_of_zero():
    X, y = numbers(100)
    with pytest.raises(ValueError, match="targets of 0"):
        AdaptedRegressor(metric="rmspe").fit(X[:60], y[:60], X[60:], np.zeros(40))


# ------------------------------------------------------------------------------- command line


@pytest.fixture
def tables(tmp_path):
    X, y = classes(400)
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(label=np.where(y, "yes", "no"))
    parts = {"source": frame[:200], "valid": frame[200:260], "test": frame[260:]}
    for name, part in parts.items():
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def run(folder, *more):
    arguments = ["adapt", folder / "source.csv", "--target", "label", "--valid",
                 folder / "valid.csv", "--values", "uniform,label",
                 "-o", folder / "values.csv", *more]  # fmt: skip
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_a_saved_model_predicts_on_the_command_line(tables):
    result = run(
        tables, "--save", tables / "model.dvrl", "--predict", tables / "test.csv",
        "--predictions", tables / "predictions.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    scored = tables / "scored.csv"
    arguments = ["score", tables / "model.dvrl", tables / "test.csv", "--target", "label"]
    result = CliRunner().invoke(app, [str(each) for each in [*arguments, "-o", scored]])
    assert result.exit_code == 0, result.output
    assert "adapted to another domain: predictions only" in result.stdout
    expected = pd.read_csv(tables / "predictions.csv")["prediction"]
    assert pd.read_csv(scored)["prediction"].equals(expected)


def test_command_writes_weights_predictions_and_a_page(tables):
    result = run(
        tables, "--test", tables / "test.csv", "--predict", tables / "test.csv",
        "--predictions", tables / "predictions.csv", "--report", tables / "page.html",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = pd.read_csv(tables / "values.csv")
    assert list(written.columns) == ["row", "source_weight", "source_value", "rank"]
    assert len(written) == 200
    assert "The source helps" in result.stdout
    assert "On the test rows" in result.stdout
    predicted = pd.read_csv(tables / "predictions.csv")["prediction"]
    actual = pd.read_csv(tables / "test.csv")["label"]
    assert (predicted == actual).mean() > 0.75
    page = (tables / "page.html").read_text()
    assert "The source helps" in page
    assert "://" not in page


def test_command_says_when_the_source_does_not_help(tables):
    flipped = pd.read_csv(tables / "source.csv")
    flipped["label"] = np.where(flipped["label"] == "yes", "no", "yes")
    flipped.to_csv(tables / "source.csv", index=False)
    result = run(tables, "--values", "uniform", "--strict", "--quiet")
    assert result.exit_code == 1
    assert "warning: The source does not help" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--predictor", "mlp"], "takes no row weights"),
        (["--metric", "auc"], "metric='auc' is unknown"),
        (["--values", "magic"], "cannot be used"),
        (["--report", "page.txt"], "no known ending"),
    ],
)
def test_command_refuses_in_one_sentence(tables, more, message):
    result = run(tables, *more)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tables / "values.csv").exists()


def test_command_names_all_metrics():
    assert set(ADAPTATION_METRICS) == {name for names in METRICS.values() for name in names}


# --------------------------------------------------------------------------------- real rows


@pytest.mark.skipif(
    not (DATA / "mnist.npz").is_file(),
    reason="the folder shared/data beside the checkout is absent",
)
def test_mnist_helps_usps():
    with np.load(DATA / "mnist.npz") as mnist, np.load(DATA / "usps.npz") as usps:
        images, y_source = mnist["x_train"][:1500, 4:24, 4:24] / 255.0, mnist["y_train"][:1500]
        X_usps, y_usps = usps["x_train"][:3000], usps["y_train"][:3000].astype(int)
    # Means over 4x4 pixels of USPS and 5x5 of MNIST: 16 features for a quick test.
    X_source = images.reshape(-1, 4, 5, 4, 5).mean(axis=(2, 4)).reshape(-1, 16)
    X_usps = X_usps.reshape(-1, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(-1, 16)
    rows = X_source, y_source.astype(int), X_usps[:200], y_usps[:200]
    adapted = adapt_quietly(
        AdaptedClassifier(
            LogisticRegression(tol=1e-3, max_iter=500), metric="accuracy",
            **quick(forms=("weighted",)), random_state=0,
        ),
        *rows,
    )  # fmt: skip
    table = adaptation_comparison(adapted, *rows, X_usps[200:], y_usps[200:])
    scores = table.set_index("scheme")["score"]
    controls = ["target only", "source only", "both", "importance weighting"]
    assert scores["adapted"] > scores[controls].max() - 0.01
