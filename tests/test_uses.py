"""Removal, robust training, reasons for suspects, groups of rows: cases with known answers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from dvrl import DataValuationWarning, DVRLClassifier, DVRLRegressor
from dvrl.actions import (
    choose_fraction,
    explain_values,
    prune,
    removal_curve,
    robust_comparison,
    train_robust,
)
from dvrl.data.encoder import FeatureEncoder, with_encoding
from dvrl.data.noise import flip_labels
from dvrl.data.targets import ClassEncoder, TargetScaler
from dvrl.diagnostics import suspects as suspects_module
from dvrl.diagnostics.suspects import explain_suspects
from dvrl.predictors.registry import MODEL_NAMES, model_by_name
from dvrl.predictors.scoring import log_likelihood, row_scores

# ------------------------------------------------------------------------------------ removal


@pytest.fixture
def majority():
    """60 rows say "a" and have the lowest values, 40 say "b"; only "b" is right.

    A predictor of the more frequent label (the first, when they are even) is right as soon as
    more than a fifth of the rows is gone, lowest first.
    """
    y = np.array(["a"] * 60 + ["b"] * 40)
    values = np.concatenate([np.linspace(0, 0.4, 60), np.linspace(0.6, 1, 40)])
    order = np.random.default_rng(0).permutation(100)
    return values[order], np.zeros((100, 1)), y[order], np.zeros((10, 1)), np.array(["b"] * 10)


def test_removal_curve_of_a_case_with_a_known_answer(majority):
    curve = removal_curve(
        *majority,
        predictor=DummyClassifier(strategy="most_frequent"),
        shares=[0.0, 0.1, 0.2, 0.25, 0.5],
        repeats=2,
        subsample=1.0,
    )
    assert list(curve) == ["order", "removed", "repeat", "score"]
    assert len(curve) == 3 * 5 * 2
    by_order = curve.groupby(["order", "removed"])["score"].agg(["min", "max"])
    assert by_order.loc["lowest first"].to_numpy().T.tolist() == [[0, 0, 0, 1, 1]] * 2
    assert by_order.loc["highest first"].to_numpy().T.tolist() == [[0, 0, 0, 0, 0]] * 2


def test_removal_curve_repeats_itself_and_differs_between_repeats(rng):
    X = rng.normal(size=(80, 2))
    y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    options = {"predictor": LogisticRegression(), "shares": [0.0, 0.5], "repeats": 3}
    first = removal_curve(X[:60, 1], X[:60], y[:60], X[60:], y[60:], **options, random_state=4)
    second = removal_curve(X[:60, 1], X[:60], y[:60], X[60:], y[60:], **options, random_state=4)
    pd.testing.assert_frame_equal(first, second)
    assert first.groupby("repeat")["score"].apply(tuple).nunique() > 1
    # With nothing removed, every order is the same fit.
    none = first[first["removed"] == 0].pivot(index="repeat", columns="order", values="score")
    assert none.nunique(axis=1).eq(1).all()


def test_equal_values_are_removed_in_random_order():
    # The rows in front are all of one class: their order must not decide what is left.
    y = np.repeat(["a", "b"], 50)
    curve = removal_curve(
        np.ones(100),
        np.zeros((100, 1)),
        y,
        np.zeros((2, 1)),
        np.array(["a", "b"]),
        predictor=DummyClassifier(strategy="prior"),
        shares=[0.5],
        orders=["lowest first"],
        repeats=3,
        subsample=1.0,
        scorer=lambda model, X, y: float(model.class_prior_[0]),
    )
    assert curve["score"].between(0.25, 0.75).all()


def test_a_single_class_that_is_left_can_still_be_scored():
    curve = removal_curve(
        [0.1, 0.2, 0.8, 0.9],
        np.arange(4.0)[:, None],
        ["a", "a", "b", "b"],
        np.zeros((4, 1)),
        ["a", "b", "b", "b"],
        predictor=LogisticRegression(),
        shares=[0.5],
        orders=["lowest first"],
        repeats=1,
        subsample=1.0,
    )
    assert curve["score"].tolist() == [0.75]


def test_the_callers_own_seed_stays_and_others_are_drawn(majority):
    def seeds(predictor):
        said = []
        removal_curve(
            *majority, predictor=predictor, shares=[0.0], orders=["random"], repeats=3,
            scorer=lambda model, X, y: said.append(model.random_state) or 0.0,
        )  # fmt: skip
        return said

    assert seeds(DummyClassifier(strategy="uniform", random_state=7)) == [7, 7, 7]
    assert len(set(seeds(DummyClassifier(strategy="uniform")))) == 3


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"shares": [1.0]}, "below 1"),
        ({"shares": []}, "below 1"),
        ({"orders": ["upwards"]}, "lowest first"),
        ({"repeats": 0}, "1 or more"),
        ({"subsample": 0.0}, "subsample"),
    ],
)
def test_removal_says_what_is_wrong(majority, options, cause):
    with pytest.raises(ValueError, match=cause):
        removal_curve(*majority, predictor=DummyClassifier(), **options)


@pytest.mark.parametrize("values", [[0.1, 0.2], [0.1, np.nan, 0.3]])
def test_removal_needs_a_finite_value_for_every_row(values):
    X, y = np.zeros((3, 1)), [0, 1, 0]
    for function in (removal_curve, choose_fraction):
        with pytest.raises(ValueError, match=r"shape|NaN"):
            function(values, X, y, X, y, predictor=DummyClassifier())
    with pytest.raises(ValueError, match=r"shape|NaN"):
        prune(values, X, y, 0.5)


def test_the_smallest_share_that_is_as_good_as_the_best_is_chosen(majority):
    choice = choose_fraction(
        *majority,
        predictor=DummyClassifier(strategy="most_frequent"),
        shares=[0.0, 0.1, 0.2, 0.25, 0.4, 0.5],
        repeats=5,
        subsample=1.0,
    )
    assert choice.fraction == 0.25
    assert choice.table["behind_best"].tolist()[3:] == [0.0, 0.0, 0.0]
    assert (choice.table["behind_best"].iloc[:3] > 0.5).all()


def _noisy_problem(n_train=200, noise=0.2):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_train + 300, 3))
    y = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "yes", "no")
    noisy, is_corrupted = flip_labels(y[:n_train], noise, rng)
    return X, y, noisy, is_corrupted


def test_perfect_values_remove_the_wrong_rows_and_random_ones_nothing(rng):
    X, y, noisy, is_corrupted = _noisy_problem()
    rows = (X[:200], noisy, X[200:300], y[200:300])
    options = {"predictor": LogisticRegression(), "repeats": 10}
    assert choose_fraction(1.0 - is_corrupted, *rows, **options).fraction in (0.15, 0.2)
    clean = (X[:200], y[:200], X[200:300], y[200:300])
    assert choose_fraction(rng.random(200), *clean, **options).fraction == 0.0


def test_numbers_are_pruned_by_their_own_score(rng):
    X = rng.normal(size=(200, 2))
    y = X[:, 0].copy()
    y[:30] = 10 * rng.normal(size=30)
    values = np.where(np.arange(150) < 30, 0.0, 1.0)
    choice = choose_fraction(
        values, X[:150], y[:150], X[150:], y[150:], predictor=LinearRegression(), repeats=5
    )
    # A fifth of the rows is wrong, and in some of the repeats' subsets a little more.
    assert choice.fraction in (0.2, 0.25)


def test_a_choice_needs_two_repeats(majority):
    with pytest.raises(ValueError, match="2 or more"):
        choose_fraction(*majority, predictor=DummyClassifier(), repeats=1)


def test_log_likelihood_is_scikit_learns_and_bears_unknown_labels(rng):
    X, y = rng.normal(size=(60, 2)), rng.choice(["a", "b", "c"], 60)
    model = GaussianNB().fit(X, y)
    assert log_likelihood(model, X, y) == pytest.approx(-log_loss(y, model.predict_proba(X)))
    assert log_likelihood(model, X[:1], ["z"]) == pytest.approx(np.log(1e-7))


def saying(probabilities, classes):
    """A classifier that says what it was made to say."""
    return SimpleNamespace(predict_proba=lambda X: probabilities, classes_=np.asarray(classes))


def test_row_scores_ask_what_a_model_tells_apart_not_how_sure_it_is(rng):
    classes = np.array(["a", "b", "c"])
    logits = rng.normal(size=(400, 3))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(classes, p=row) for row in right])

    def scores(temperature):
        said = np.exp(logits / temperature)
        model = saying(said / said.sum(axis=1, keepdims=True), classes)
        return row_scores(model, None, y).mean(), log_likelihood(model, None, y)

    by_temperature = [scores(temperature) for temperature in (0.5, 1.0, 3.0)]
    calibrated, plain = zip(*by_temperature, strict=True)
    assert np.ptp(calibrated) < 1e-4
    assert np.ptp(plain) > 0.05
    assert all(one > other - 1e-6 for one, other in by_temperature)
    unknown = saying(right[:1], classes)
    assert row_scores(unknown, None, ["z"]) == pytest.approx([np.log(1e-7)])


def test_wrong_rows_go_where_right_labels_are_a_matter_of_chance_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1400, 4))
    chance = 1.0 / (1.0 + np.exp(-1.5 * (X[:, 0] + X[:, 1])))
    y = np.where(rng.random(1400) < chance, "yes", "no")
    noisy, is_corrupted = flip_labels(y[:400], 0.2, rng)
    rows = (1.0 - is_corrupted, X[:400], noisy, X[400:], y[400:])
    options = {"predictor": HistGradientBoostingClassifier(max_iter=50), "repeats": 10}
    assert 0.15 <= choose_fraction(*rows, **options).fraction <= 0.3
    # The mean of another score, and its own way to a standard error.
    by_hand = choose_fraction(*rows, **options, scorer=log_likelihood)
    assert by_hand.fraction <= by_hand.best
    assert (by_hand.table["standard_error"] >= 0).all()


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_prune_keeps_the_rest_in_its_order(container, rng):
    X = rng.normal(size=(10, 2))
    before = X.copy()
    kept = prune(X[:, 0], container(X), np.arange(10), 0.3)
    expected = np.sort(np.argsort(X[:, 0])[3:])
    assert kept.rows.tolist() == expected.tolist()
    assert kept.y.tolist() == expected.tolist()
    assert np.array_equal(np.asarray(kept.X), X[expected])
    assert np.array_equal(X, before)


def test_prune_warns_of_lost_classes_and_refuses_to_remove_everything():
    with pytest.warns(DataValuationWarning, match="every row labelled 'a'"):
        prune([0.1, 0.8, 0.9], np.zeros((3, 1)), ["a", "b", "b"], 0.34)
    with pytest.raises(ValueError, match="leaves no row"):
        prune([0.1, 0.2], np.zeros((2, 1)), ["a", "b"], 0.9)


# ------------------------------------------------------------------------------------- robust


@pytest.mark.parametrize("scheme", ["weights", "pruning"])
def test_robust_training_undoes_the_noise_with_perfect_values(scheme):
    X, y, noisy, is_corrupted = _noisy_problem(noise=0.4)
    valuer = SimpleNamespace(data_values_=1.0 - is_corrupted)
    rows = X[:200], noisy
    model = train_robust(
        valuer, *rows, LogisticRegression(), scheme=scheme, X_val=X[200:300], y_val=y[200:300]
    )
    clean = train_robust(
        SimpleNamespace(data_values_=np.ones(200)), X[:200], y[:200], LogisticRegression()
    )
    assert model.score(X[300:], y[300:]) >= clean.score(X[300:], y[300:]) - 0.02
    plain = train_robust(SimpleNamespace(data_values_=np.ones(200)), *rows, LogisticRegression())
    assert model.score(X[300:], y[300:]) > plain.score(X[300:], y[300:]) + 0.02


@pytest.mark.parametrize("scheme", ["weights", "pruning"])
def test_robust_training_on_validation_rows_too(scheme):
    X, y, noisy, is_corrupted = _noisy_problem(noise=0.4)
    values = np.where(is_corrupted, 0.2, 0.9)
    model = train_robust(
        SimpleNamespace(data_values_=values), X[:200], noisy, LogisticRegression(), scheme=scheme,
        fraction=0.4, final_rows="both", X_val=X[200:300], y_val=y[200:300],
    )  # fmt: skip
    kept = ~is_corrupted if scheme == "pruning" else np.ones(200, bool)
    weights = np.ones(kept.sum()) if scheme == "pruning" else values
    expected = with_encoding(LogisticRegression()).fit(
        np.vstack([X[:200][kept], X[200:300]]),
        np.concatenate([noisy[kept], y[200:300]]),
        model__sample_weight=np.append(weights, np.ones(100)),
    )
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-3)


def test_robust_training_takes_frames_and_models_without_weights(small_table):
    X, y = small_table.drop(columns="label"), small_table["label"]
    values = np.where(np.arange(60) < 20, 0.1, 0.9)
    final = KNeighborsClassifier(3)
    model = train_robust(SimpleNamespace(data_values_=values), X, y, final)
    assert set(model.predict(X)) <= {"yes", "no"}
    assert model[-1].n_samples_fit_ == 40
    assert not hasattr(final, "n_samples_fit_")  # a copy was fitted


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"scheme": "hope"}, "weights, pruning"),
        ({"final_rows": "all"}, "'training' or 'both'"),
        ({"final_rows": "both"}, "pass X_val and y_val"),
        ({"scheme": "pruning"}, "validation rows"),
    ],
)
def test_robust_training_says_what_is_wrong(options, cause):
    valuer = SimpleNamespace(data_values_=np.ones(4))
    with pytest.raises(ValueError, match=cause):
        train_robust(valuer, np.eye(4), [0, 1, 0, 1], LogisticRegression(), **options)
    with pytest.raises(ValueError, match="fitted on 4 rows"):
        train_robust(valuer, np.eye(3), [0, 1, 0], LogisticRegression())


def test_robust_comparison_can_choose_the_fraction_on_validation_rows():
    X, y, noisy, is_corrupted = _noisy_problem()
    valuer = SimpleNamespace(data_values_=1.0 - is_corrupted, score=lambda X, y: 0.0)
    rows = (X[:200], noisy, X[200:300], y[200:300], X[300:], y[300:])
    table = robust_comparison(valuer, *rows, predictor=LogisticRegression(), prune_fraction="auto")
    assert set(table["scheme"]) & {"lowest 20% removed", "lowest 25% removed"}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_models_by_name(name, task):
    if name == ("ridge" if task == "classification" else "logistic"):
        with pytest.raises(ValueError, match="mlp, random_forest"):
            model_by_name(name, task)
        return
    model = model_by_name(name, task, random_state=3)
    assert hasattr(model, "predict_proba") == (task == "classification")
    assert model.get_params().get("random_state", 3) in (3, None)


# ----------------------------------------------------------------------------------- suspects


def _fitted(kind, X, y, values, expected, index=None):
    """An estimator as after `fit`, with values of our own."""
    classes = kind is DVRLClassifier
    valuer = kind()
    valuer.encoder_ = FeatureEncoder().fit(X)
    valuer.coder_ = (ClassEncoder() if classes else TargetScaler()).fit(y)
    valuer.data_values_ = np.asarray(values, dtype=float)
    valuer.data_values_std_ = np.zeros(len(y))
    if classes:
        valuer.marginal_values_ = np.full(len(y), 0.25)
    valuer._label_scores = valuer.coder_.encode(expected)
    valuer._labels, valuer._index = np.asarray(y), index
    return valuer


def _nearest(matrix, row, candidates):
    if not len(candidates):
        return None
    return candidates[np.linalg.norm(matrix[candidates] - matrix[row], axis=1).argmin()]


@pytest.mark.parametrize("block", [1 << 22, 40])
def test_suspects_name_the_nearest_rows_of_high_value(rng, monkeypatch, block):
    monkeypatch.setattr(suspects_module, "BLOCK_DISTANCES", block)
    X, y = rng.normal(size=(60, 4)), rng.choice(["a", "b", "c"], 60)
    values = rng.permutation(60) / 60
    index = pd.Index([f"r{number}" for number in range(60)], name="who")
    valuer = _fitted(DVRLClassifier, X, y, values, y, index)
    table = explain_suspects(valuer, X, y, 0.5, trusted_fraction=0.6)
    assert table.index.tolist() == [f"r{row}" for row in np.argsort(values)[:30]]
    matrix = valuer.encoder_.transform(X).astype(float)
    trusted = np.argsort(values)[-36:]
    for name, row in table.iterrows():
        place = int(name[1:])
        others = trusted[trusted != place]
        assert (
            row["nearest_agreeing"] == f"r{_nearest(matrix, place, others[y[others] == y[place]])}"
        )
        assert (
            row["nearest_disagreeing"]
            == f"r{_nearest(matrix, place, others[y[others] != y[place]])}"
        )


def test_suspects_of_numbers_agree_within_half_a_spread(rng):
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    values = rng.permutation(50) / 50
    valuer = _fitted(DVRLRegressor, X, y, values, y + 1)
    table = explain_suspects(valuer, X, y, 0.2)
    matrix = valuer.encoder_.transform(X).astype(float)
    trusted = np.argsort(values)[-25:]
    for place, row in table.iterrows():
        close = np.abs(y[trusted] - y[place]) < 0.5 * valuer.coder_.scale_
        assert row["nearest_agreeing"] == _nearest(matrix, place, trusted[close])
        assert row["nearest_disagreeing"] == _nearest(matrix, place, trusted[~close])
        assert row["reason"].startswith(f"Its target is {y[place]:.4g}, but the reference model")


def test_reasons_say_what_speaks_against_the_label():
    X = np.array([[0.0], [0.1], [5.0], [5.1], [0.05], [5.05]])
    y = ["cat", "cat", "dog", "dog", "dog", "dog"]
    expected = ["cat", "cat", "dog", "dog", "cat", "dog"]
    valuer = _fitted(DVRLClassifier, X, y, [0.9, 0.8, 0.9, 0.8, 0.1, 0.2], expected)
    wrong, odd = explain_suspects(valuer, X, y, 0.34)["reason"]
    assert wrong == (
        "Labelled 'dog', but the reference model expects 'cat' ('dog' has probability 0.25); "
        "the most similar row of high value, 0, is labelled 'cat'."
    )
    assert odd.startswith("Labelled 'dog' as the reference model expects")
    assert odd.endswith("is labelled 'dog' too.")


def test_a_number_that_reads_like_the_expected_one_is_as_expected():
    X, y = np.arange(6.0)[:, None], np.arange(1.0, 7.0)
    valuer = _fitted(DVRLRegressor, X, y, np.linspace(0, 1, 6), y + 1e-5)
    assert valuer.suspects(0.2)["reason"].tolist() == [
        "Its target is 1 as the reference model expects, but its value is among the lowest 20%."
    ]


def test_suspects_without_a_counterpart_have_gaps():
    X, y = np.arange(4.0)[:, None], ["a", "b", "b", "b"]
    valuer = _fitted(DVRLClassifier, X, y, [0.1, 0.7, 0.8, 0.9], y)
    table = explain_suspects(valuer, X, y, 0.25)
    assert table["nearest_agreeing"].isna().all()
    assert table["nearest_disagreeing"].tolist() == [2] or table[
        "nearest_disagreeing"
    ].tolist() == [1]


def test_suspects_refuse_other_rows():
    X, y = np.arange(4.0)[:, None], ["a", "b", "b", "b"]
    valuer = _fitted(DVRLClassifier, X, y, [0.1, 0.7, 0.8, 0.9], y)
    with pytest.raises(ValueError, match="fitted on 4 rows"):
        explain_suspects(valuer, X[:3], y[:3])
    with pytest.raises(ValueError, match="trusted_fraction"):
        explain_suspects(valuer, X, y, trusted_fraction=0.0)


# -------------------------------------------------------------------------------------- groups


def _people(rng, n_rows):
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n_rows),
            "education": rng.choice(["Masters", "HS", "BA"], n_rows),
            "noise": rng.random(n_rows),
        }
    )


@pytest.mark.parametrize("container", [pd.DataFrame, pl.from_pandas])
def test_a_planted_group_is_found_and_named(rng, container):
    people = _people(rng, 1000)
    inside = (people["age"] > 47) & (people["education"] == "Masters")
    values = 0.6 + 0.2 * inside.to_numpy() + 0.05 * rng.normal(size=1000)
    found = explain_values(values, container(people))
    first = found.table.iloc[0]
    assert set(first["group"].split(" and ")) == {"education Masters", "age above 47.5"}
    assert first["rows"] == inside.sum()
    assert first["mean_value"] == pytest.approx(values[inside].mean())
    assert found.overall == pytest.approx(values.mean())
    assert not found.table["group"].str.contains("noise").any()
    assert found.sentences[0] == (
        f"Rows with {first['group']}: mean value {first['mean_value']:.2f} against "
        f"{found.overall:.2f} overall, {inside.sum()} rows."
    )


def test_labels_are_a_column_too(rng):
    y = rng.choice(["spam", "ham"], 300)
    values = np.where(y == "spam", 0.7, 0.5) + 0.1 * rng.random(300)
    found = explain_values(values, rng.random((300, 2)), y=y)
    assert found.table["group"].tolist() == ["the label spam", "the label ham"] or found.table[
        "group"
    ].tolist() == ["the label ham", "the label spam"]


def test_the_only_class_that_is_left_is_named(rng):
    size, y = rng.random(1000), rng.choice(["ham", "spam"], 1000)
    values = 0.3 + 0.2 * (y == "spam") + 0.3 * ((y == "ham") & (size > 0.5))
    found = explain_values(values + 0.02 * rng.normal(size=1000), size[:, None], y=y)
    assert not found.table["group"].str.contains("not").any()
    words = [set(group.split(" and ")) for group in found.table["group"]]
    assert {"the label ham", "feature 0 above 0.5005"} in words


def test_noise_gives_a_group_no_more_often_than_stated():
    """At alpha = .2, 60 runs have 12 wrong alarms at most on average; above 22 is unlikely."""
    alarms, tested = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = explain_values(rng.beta(2, 1, 200), _people(rng, 200), alpha=0.2, random_state=seed)
        alarms += len(found.table) > 0
        tested += found.n_tested
    # Without adjustment nearly every run would raise an alarm: there are that many groups.
    assert tested / 60 > 8
    assert 1 <= alarms <= 22


def test_no_group_is_said_in_a_sentence(rng):
    found = explain_values(np.full(100, 0.5), rng.random((100, 2)))
    assert found.table.empty
    assert found.sentences == [
        "No group of rows has values that differ from the rest by more than chance."
    ]


def test_groups_bear_gaps_dates_and_constant_columns(rng):
    frame = pd.DataFrame(
        {
            "gaps": np.where(rng.random(200) < 0.3, np.nan, rng.random(200)),
            "only gaps": np.full(200, np.nan),
            "constant": 1,
            "when": pd.Timestamp("2020-06-01") + pd.to_timedelta(rng.integers(0, 900, 200), "D"),
            "kind": pd.Categorical(rng.choice(["x", None], 200)),
            "yes": rng.random(200) < 0.5,
        }
    )
    values = np.where(frame["when"].dt.year == 2021, 0.9, 0.3) + 0.1 * rng.random(200)
    found = explain_values(values, frame)
    assert found.table["group"].iloc[0] == "when 2021"


@pytest.mark.parametrize(
    ("options", "cause"), [({"alpha": 0.0}, "alpha"), ({"min_rows": 1}, "min_rows")]
)
def test_groups_say_what_is_wrong(options, cause):
    with pytest.raises(ValueError, match=cause):
        explain_values([0.1, 0.2], np.zeros((2, 1)), **options)
    with pytest.raises(ValueError, match="one value per row"):
        explain_values([0.1], np.zeros((2, 1)))
    with pytest.raises(ValueError, match="NaN"):
        explain_values([0.1, np.nan], np.zeros((2, 1)))
