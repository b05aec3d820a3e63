"""Valuation methods against games with known values, brute force and retraining."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from dvrl import methods
from dvrl.actions import detection_scores
from dvrl.data.noise import flip_labels
from dvrl.data.preparation import prepare
from dvrl.methods.ame import average_marginal_effects
from dvrl.methods.banzhaf import SampleReuse
from dvrl.methods.beta_shapley import beta_weights
from dvrl.methods.knn_shapley import (
    _sorted_rows,
    knn_shapley_classification,
    knn_shapley_regression,
)
from dvrl.methods.permutations import RunningMeans, contributions
from dvrl.methods.utility import Utility

# --- games --------------------------------------------------------------------------------------


class Game:
    """Stands in for a `Utility`: any function of a set of rows."""

    def __init__(self, n_rows, worth):
        self.n_rows, self.worth = n_rows, worth

    def empty(self):
        return self.worth(frozenset())

    def full(self):
        return self.worth(frozenset(range(self.n_rows)))

    def prefixes(self, orders):
        for first in range(0, self.n_rows, 2):
            stops = range(first + 1, min(first + 2, self.n_rows) + 1)
            yield np.array([[self.worth(frozenset(o[:stop])) for stop in stops] for o in orders])


WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0, 0.0])
COSTS = np.array([1.0, 2.0, 2.0, 4.0, 7.0])
N = 5


def airport_values():
    """Rows share the cost of each part of the runway that they need (Littlechild, Owen, 1973)."""
    steps = np.diff(np.r_[0.0, COSTS])
    return np.cumsum(steps / np.arange(N, 0, -1))


GAMES = {
    "additive": (lambda s: float(WEIGHTS[list(s)].sum()), WEIGHTS),
    "unanimity": (lambda s: float({1, 3} <= s), np.array([0, 0.5, 0, 0.5, 0])),
    "airport": (lambda s: float(max((COSTS[i] for i in s), default=0.0)), airport_values()),
    # A majority of votes where row 0 has three and the others one each: of seven, four win.
    "voting": (
        lambda s: float(sum(3 if i == 0 else 1 for i in s) >= 4),
        np.array([0.6, 0.1, 0.1, 0.1, 0.1]),
    ),
}
ORDERS = np.array(list(itertools.permutations(range(N))))


def semivalue(worth, weights):
    """Values from the definition: mean over sizes of the mean contribution to sets of that size."""
    values = np.zeros(N)
    for row in range(N):
        others = [each for each in range(N) if each != row]
        for size in range(N):
            gains = [
                worth(frozenset((*chosen, row))) - worth(frozenset(chosen))
                for chosen in itertools.combinations(others, size)
            ]
            values[row] += weights[size] * np.mean(gains) / N
    return values


@pytest.mark.parametrize("name", GAMES)
def test_shapley_values_of_games(name):
    worth, expected = GAMES[name]
    np.testing.assert_allclose(semivalue(worth, np.ones(N)), expected, atol=1e-12)
    samples = contributions(Game(N, worth), ORDERS, np.ones(N), truncation=0.0)
    np.testing.assert_allclose(samples.mean(axis=0), expected, atol=1e-12)


@pytest.mark.parametrize("name", GAMES)
def test_beta_shapley_values_of_games(name):
    worth, _ = GAMES[name]
    weights = beta_weights(N, 4.0, 1.0)
    assert weights.mean() == pytest.approx(1.0)
    assert (np.diff(weights) < 0).all()  # contributions to small sets weigh more
    samples = contributions(Game(N, worth), ORDERS, weights, truncation=0.0)
    np.testing.assert_allclose(samples.mean(axis=0), semivalue(worth, weights), atol=1e-12)


def test_beta_one_one_is_shapley():
    np.testing.assert_allclose(beta_weights(1000, 1.0, 1.0), 1.0, rtol=1e-9)


@pytest.mark.parametrize("name", GAMES)
def test_banzhaf_values_of_games(name):
    worth, _ = GAMES[name]
    subsets = np.array(list(itertools.product([False, True], repeat=N)))
    utilities = np.array([worth(frozenset(np.flatnonzero(subset).tolist())) for subset in subsets])
    binomial = np.array([math.comb(N - 1, size) for size in range(N)]) / 2 ** (N - 1) * N
    sample = SampleReuse(N)
    sample.add(subsets[:11], utilities[:11])
    sample.add(subsets[11:], utilities[11:])
    np.testing.assert_allclose(sample.values, semivalue(worth, binomial), atol=1e-12)


def test_errors_of_sampled_banzhaf_values():
    """Added in parts or at once, the same; and the errors are those of the values."""
    worth, _ = GAMES["airport"]
    binomial = np.array([math.comb(N - 1, size) for size in range(N)]) / 2 ** (N - 1) * N
    expected = semivalue(worth, binomial)
    rng = np.random.default_rng(0)
    misses = []
    for _ in range(100):
        subsets = rng.random((300, N)) < 0.5
        utilities = np.array([worth(frozenset(np.flatnonzero(each).tolist())) for each in subsets])
        parts, whole = SampleReuse(N), SampleReuse(N)
        for part in np.array_split(np.arange(300), 7):
            parts.add(subsets[part], utilities[part])
        whole.add(subsets, utilities)
        np.testing.assert_allclose(parts.values, whole.values, atol=1e-12)
        np.testing.assert_allclose(parts.agreement(), whole.agreement(), atol=0.1)
        misses.append((whole.values - expected) / whole.standard_error)
    assert np.abs(np.mean(misses, axis=0)).max() < 0.4
    assert np.sqrt(np.mean(np.square(misses), axis=0)) == pytest.approx(np.ones(N), abs=0.25)


@pytest.mark.parametrize("name", GAMES)
def test_average_marginal_effects_of_games(name):
    """With many subsets the regression gives the semivalue of the chances of inclusion."""
    worth, _ = GAMES[name]
    chances = np.array([0.2, 0.4, 0.6, 0.8])
    weights = np.zeros(N)
    for size in range(N):
        likely = chances**size * (1 - chances) ** (N - 1 - size)
        weights[size] = N * math.comb(N - 1, size) * likely.mean()
    rng = np.random.default_rng(0)
    chance = rng.choice(chances, size=40_000)[:, None]
    subsets = rng.random((40_000, N)) < chance
    codes, inverse = np.unique(subsets, axis=0, return_inverse=True)
    worths = np.array([worth(frozenset(np.flatnonzero(each).tolist())) for each in codes])
    effects = average_marginal_effects(subsets, chance, worths[inverse.reshape(-1)])
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(effects, semivalue(worth, weights), atol=0.02 * np.ptp(worths))


def test_truncation_drops_the_end_of_an_order():
    """Twelve rows, of which any three are worth everything."""
    game = Game(12, lambda s: float(min(len(s), 3)))
    orders = np.array([np.random.default_rng(seed).permutation(12) for seed in range(8)])
    exact = contributions(game, orders, np.ones(12), truncation=0.0)
    cut = contributions(game, orders, np.ones(12), truncation=0.1)
    np.testing.assert_array_equal(exact, cut)
    assert (cut.sum(axis=1) == 3).all()


def test_sampled_values_are_within_their_errors():
    worth, expected = GAMES["airport"]
    rng = np.random.default_rng(0)
    means = RunningMeans.of_size(N)
    orders = np.array([rng.permutation(N) for _ in range(2000)])
    samples = contributions(Game(N, worth), orders, np.ones(N), truncation=0.0)
    for half in (0, 1):
        means.add(samples[half::2], half)
    np.testing.assert_array_less(np.abs(means.mean - expected), 4 * means.standard_error + 1e-9)
    np.testing.assert_allclose(means.standard_error, samples.std(axis=0) / 2000**0.5, rtol=1e-2)
    assert means.agreement() > 0.8  # ties of five rows apart, the ranks are the same


# --- nearest neighbours -------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 9])
@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_knn_shapley_against_brute_force(n_rows, k):
    rng = np.random.default_rng(n_rows)
    targets, agrees, wanted = rng.normal(size=n_rows), rng.random(n_rows) < 0.5, 0.7

    def brute(worth):
        values = np.zeros(n_rows)
        for order in itertools.permutations(range(n_rows)):
            for place, row in enumerate(order):
                values[row] += worth(order[: place + 1]) - worth(order[:place])
        return values / math.factorial(n_rows)

    def nearest(rows):
        return sorted(rows)[:k]  # rows are numbered by distance

    expected = brute(lambda rows: sum(agrees[row] for row in nearest(rows)) / k)
    np.testing.assert_allclose(knn_shapley_classification(agrees[None], k)[0], expected, atol=1e-12)
    expected = brute(lambda rows: -((sum(targets[row] for row in nearest(rows)) / k - wanted) ** 2))
    ours = knn_shapley_regression(targets[None], np.array([wanted]), k)[0]
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_rows_are_sorted_by_distance_and_then_in_order():
    rng = np.random.default_rng(0)
    numbers = np.float32([0.0, -0.0, 1.5, -2.0, 1e-42, -1e-42, 3e38, -3e38])
    distances = np.concatenate(
        [rng.choice(numbers, (20, 50)), rng.normal(size=(20, 50)).astype(np.float32)]
    )
    expected = np.argsort(distances, axis=1, kind="stable")
    np.testing.assert_array_equal(_sorted_rows(distances), expected)


def test_knn_shapley_of_hand_worked_rows():
    """One neighbour, three rows, of which the nearest and the farthest agree."""
    values = knn_shapley_classification(np.array([[True, False, True]]), 1)[0]
    np.testing.assert_allclose(values, [5 / 6, -1 / 6, 1 / 3])


# --- the utility --------------------------------------------------------------------------------


def digits(n_train=150, n_validation=100, n_classes=2, flips=0.2):
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[: n_train + n_validation]
    X, y = X[order] + 4 * np.random.default_rng(1).normal(size=X[order].shape), y[order]
    noisy, is_flipped = flip_labels(y[:n_train], flips, rng=0)
    return (X[:n_train], noisy, X[n_train:], y[n_train:]), is_flipped


ROWS, FLIPPED = digits()


def prepared(rows=ROWS):
    return prepare(
        BaseEstimator(), *rows, task="classification", validation_fraction=0.2, seed=0
    )  # fmt: skip


def test_utility_is_that_of_retraining():
    data = prepared()
    utility = Utility(data, task="classification", tolerance=1e-7)
    subsets = np.random.default_rng(0).random((6, 150)) < 0.5
    labels, wanted = data.Y.argmax(axis=1), data.Y_validation.argmax(axis=1)
    for subset, ours in zip(subsets, utility(subsets), strict=True):
        model = LogisticRegression(tol=1e-8, max_iter=5000).fit(data.X[subset], labels[subset])
        likelihood = model.predict_log_proba(data.X_validation)[np.arange(len(wanted)), wanted]
        assert ours == pytest.approx(likelihood.mean(), abs=2e-3)


@pytest.mark.parametrize("predictor", ["linear", "mlp", LogisticRegression()], ids=str)
def test_utilities_are_counted_cached_and_the_same_in_any_batch(predictor):
    tight = {"task": "classification", "predictor": predictor, "tolerance": 1e-7}
    utility = Utility(prepared(), **tight)
    subsets = np.random.default_rng(0).random((5, 150)) < 0.5
    together = utility(subsets)
    assert utility.n_fits == 5
    np.testing.assert_array_equal(utility(subsets[[3, 1]]), together[[3, 1]])
    assert utility.n_fits == 5
    alone = Utility(prepared(), **tight)
    np.testing.assert_allclose(alone(subsets[3]), together[3], atol=2e-4)
    assert utility.empty() == pytest.approx(-math.log(2), abs=1e-5)
    with pytest.raises(ValueError, match="one column per training row"):
        utility(subsets[:, :3])


def test_a_cached_utility_is_found_again_only_by_all_that_decides_it():
    tree, deeper = DecisionTreeClassifier(max_depth=2), DecisionTreeClassifier(max_depth=3)
    own = {"data": prepared(), "predictor": tree, "metric": "accuracy", "seed": 0}
    subset = np.arange(150) % 2 == 0
    before = Utility(task="classification", **own)
    before(subset)

    def fits(**changed):
        after = Utility(task="classification", **own | changed)
        after._cache = before._cache
        after(subset)
        return after.n_fits

    assert fits() == fits(n_jobs=2) == 0
    rows = dict(zip(("X", "y", "Xv", "yv"), ROWS, strict=True))
    relabelled = rows | {"y": np.r_[1 - rows["y"][:1], rows["y"][1:]]}
    moved = rows | {"X": rows["X"] + (np.arange(150) == 0)[:, None]}
    judged = rows | {"yv": np.r_[1 - rows["yv"][:1], rows["yv"][1:]]}
    others = [{"predictor": deeper}, {"predictor": "linear"}, {"metric": "auc"}, {"seed": 1}]
    others += [{"data": prepared(tuple(each.values()))} for each in (relabelled, moved, judged)]
    assert [fits(**each) for each in others] == [1] * len(others)
    own["predictor"] = "linear"
    before = Utility(task="classification", **own)
    before(subset)
    assert fits() == 0
    assert fits(tolerance=1e-6) == 1


def test_a_utility_does_not_follow_its_callers_estimator():
    tree = DecisionTreeClassifier(max_depth=1)
    utility = Utility(prepared(), task="classification", predictor=tree, metric="accuracy")
    subsets = np.random.default_rng(0).random((2, 150)) < 0.5
    tree.set_params(max_depth=9)
    late = utility(subsets)
    tree.set_params(max_depth=1)
    again = Utility(prepared(), task="classification", predictor=tree, metric="accuracy")
    np.testing.assert_array_equal(late, again(subsets))


def test_prefixes_are_the_utilities_of_prefixes():
    utility = Utility(prepared(), task="classification", tolerance=1e-6)
    orders = np.array([np.random.default_rng(seed).permutation(150) for seed in range(3)])
    grown = np.concatenate(list(utility.prefixes(orders)), axis=1)
    assert grown.shape == (3, 150)
    for order, utilities in zip(orders, grown, strict=True):
        for size in (1, 10, 75, 150):
            subset = np.isin(np.arange(150), order[:size])
            assert utilities[size - 1] == pytest.approx(utility(subset)[0], abs=5e-4)


def test_default_precision_is_far_below_the_spread_of_utilities():
    """What looser fits leave open must not matter next to what differs between subsets."""
    data = prepared()
    default, exact = (
        Utility(data, task="classification", tolerance=tolerance) for tolerance in (None, 1e-7)
    )
    subsets = np.random.default_rng(0).random((40, 150)) < 0.5
    wanted = exact(subsets)
    error = default(subsets) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.05 * wanted.std()
    orders = np.array([np.random.default_rng(seed).permutation(150) for seed in range(4)])
    loose, tight = (
        np.concatenate(list(utility.prefixes(orders)), axis=1) for utility in (default, exact)
    )
    gains = np.diff(tight)
    error = np.diff(loose) - gains
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(gains**2))
    # Late gains are small: the precision must follow.
    late = np.abs(error[:, 100:]).mean()
    assert late < 0.1 * np.abs(gains[:, 100:]).mean()


@pytest.mark.parametrize("n_classes", [3, 10])
@pytest.mark.parametrize("memory", ["inverse", "gradients"])
def test_fits_of_many_classes_and_columns(n_classes, memory, monkeypatch):
    """Both ways of the solver, for subsets and for chains, against retraining."""
    from dvrl.methods import linear_fits

    monkeypatch.setattr(linear_fits, "MAX_INVERSE_ENTRIES", 1e9 if memory == "inverse" else 1)
    linear_fits.grow_chains.clear_cache()
    rows, _ = digits(n_train=70, n_classes=n_classes)
    keep = slice(20, 29)
    data = prepared((rows[0][:, keep], rows[1], rows[2][:, keep], rows[3]))
    utility = Utility(data, task="classification", tolerance=1e-6)
    labels, wanted = data.Y.argmax(axis=1), data.Y_validation.argmax(axis=1)

    def retrained(chosen):
        model = LogisticRegression(tol=1e-8, max_iter=5000).fit(data.X[chosen], labels[chosen])
        known = np.isin(wanted, model.classes_)
        assert known.all()
        likelihood = model.predict_log_proba(data.X_validation)[np.arange(len(wanted)), wanted]
        return likelihood.mean()

    subset = np.arange(70) % 5 > 0
    assert utility(subset)[0] == pytest.approx(retrained(subset), abs=5e-3)
    order = np.r_[np.flatnonzero(subset), np.flatnonzero(~subset)]
    grown = np.concatenate(list(utility.prefixes(order[None])), axis=1)[0]
    assert grown.shape == (70,)
    assert grown[subset.sum() - 1] == pytest.approx(utility(subset)[0], abs=1e-3)
    assert grown[-1] == pytest.approx(utility.full(), abs=1e-3)
    linear_fits.grow_chains.clear_cache()


def test_ridge_chains_are_exact():
    rng = np.random.default_rng(0)
    X, coefficients = rng.normal(size=(60, 4)), [1.0, 2.0, 0.0, -1.0]
    y = X @ coefficients + rng.normal(size=60)
    data = prepare(
        BaseEstimator(), X[:40], y[:40], X[40:], y[40:],
        task="regression", validation_fraction=0.2, seed=0,
    )  # fmt: skip
    utility = Utility(data, task="regression", metric="mse", tolerance=1e-6)
    order = rng.permutation(40)
    grown = np.concatenate(list(utility.prefixes(order[None])), axis=1)[0]
    columns, wanted = np.c_[data.X, np.ones(40)], data.Y[:, 0]
    penalty = np.diag([1.0] * 4 + [1e-3])
    for size in (1, 7, 40):
        A, b = columns[order[:size]].astype(float), wanted[order[:size]]
        theta = np.linalg.solve(A.T @ A + penalty, A.T @ b)
        predicted = np.c_[data.X_validation, np.ones(20)] @ theta
        error = np.mean((predicted - data.Y_validation[:, 0]) ** 2)
        assert -grown[size - 1] == pytest.approx(error, rel=2e-3)


def test_influence_functions_against_retraining():
    """Leaving a row out changes the reward by the influence, to first order."""
    X, y, X_val, y_val = ROWS
    few = X[:, 20:26], y, X_val[:, 20:26], y_val  # few columns: no row has much leverage
    influence = methods.InfluenceFunctions().fit(*few).data_values_
    left_out = methods.LeaveOneOut().fit(*few).data_values_
    assert np.corrcoef(influence, left_out)[0, 1] > 0.97
    assert np.polyfit(influence, left_out, 1)[0] == pytest.approx(1.0, abs=0.15)


# --- all methods --------------------------------------------------------------------------------

METHODS = {
    "random": methods.RandomValues(random_state=0),
    "marginal": methods.MarginalOnly(random_state=0),
    "leave one out": methods.LeaveOneOut(),
    "shapley": methods.DataShapley(n_permutations=16, convergence=None, random_state=0),
    "beta shapley": methods.BetaShapley(n_permutations=16, convergence=None, random_state=0),
    "banzhaf": methods.DataBanzhaf(n_subsets=2000, convergence=None, random_state=0),
    "knn": methods.KNNShapley(),
    "oob": methods.DataOOB(n_models=100, random_state=0),
    "ame": methods.AME(n_subsets=1000, random_state=0),
    "influence": methods.InfluenceFunctions(),
    "gradients": methods.GradientSimilarity(n_steps=30),
    "lava": methods.LAVA(random_state=0),
    "confident": methods.ConfidentLearning(random_state=0),
}
NEEDS = {"lava": "ot", "confident": "cleanlab"}
# What each finds of 20 % flipped labels on easy digits; generous floors, .5 is chance.
FLOORS = {
    "random": 0.0,
    "leave one out": 0.6,
    "ame": 0.6,
    "lava": 0.6,
    "influence": 0.7,
    "beta shapley": 0.65,
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_find_flipped_labels(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    first = clone(METHODS[name]).fit(*ROWS)
    assert first.data_values_.shape == (150,)
    assert np.isfinite(first.data_values_).all()
    auroc = detection_scores(first.data_values_, FLIPPED)["auroc"]
    assert auroc > FLOORS.get(name, 0.8), auroc
    assert list(first.to_frame().columns) == ["data_value", "data_value_std", "rank"]


@pytest.mark.parametrize("name", [each for each in METHODS if each != "confident"])
def test_methods_value_regressions(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, 2.0, 0.0] + 0.1 * rng.normal(size=60)
    quick = {"n_permutations": 4, "n_subsets": 40, "n_models": 10}
    has = METHODS[name].get_params()
    method = clone(METHODS[name]).set_params(**{k: quick[k] for k in quick if k in has})
    fitted, again = (clone(method).fit(X[:40], y[:40], X[40:], y[40:]) for _ in range(2))
    np.testing.assert_array_equal(fitted.data_values_, again.data_values_)
    assert fitted.task_ == "regression"
    assert np.isfinite(fitted.data_values_).all()


def test_confident_learning_repeats_itself():
    pytest.importorskip("cleanlab")
    first, again = (clone(METHODS["confident"]).fit(*ROWS).data_values_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_held_out_rows_have_no_value():
    X, y = ROWS[:2]
    fitted = methods.KNNShapley(validation_fraction=0.2, random_state=0).fit(X, y)
    held = np.isnan(fitted.data_values_)
    np.testing.assert_array_equal(np.flatnonzero(held), fitted.validation_indices_)
    assert held.sum() == 30


def test_time_limits_keep_what_there_is():
    for method in (
        methods.DataShapley(max_seconds=1e-3, convergence=None, random_state=0),
        methods.DataBanzhaf(max_seconds=1e-3, convergence=None, random_state=0),
    ):
        fitted = method.fit(*ROWS)
        assert np.isfinite(fitted.data_values_).all()
        assert fitted.n_fits_ < 20_000
        assert fitted.details_["agreement_of_halves"] <= 1


def test_settings_that_cannot_be_used():
    for method, match in (
        (methods.KNNShapley(0), "n_neighbors"),
        (methods.DataShapley(n_permutations=1), "n_permutations"),
        (methods.DataShapley(truncation=2), "truncation"),
        (methods.BetaShapley(alpha=0), "alpha"),
        (methods.DataBanzhaf(n_subsets=1), "n_subsets"),
        (methods.AME(n_subsets=1), "n_subsets"),
        (methods.DataOOB(n_models=0), "n_models"),
        (methods.InfluenceFunctions(LogisticRegression()), "built-in"),
        (methods.InfluenceFunctions(metric="accuracy"), "derivative"),
        (methods.GradientSimilarity(n_steps=0), "n_steps"),
        (methods.RandomValues(task="clustering"), "task"),
    ):
        with pytest.raises(ValueError, match=match):
            method.fit(*ROWS)


@parametrize_with_checks([methods.RandomValues(random_state=0), methods.KNNShapley(random_state=0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)
