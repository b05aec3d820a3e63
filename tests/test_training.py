"""The loop: determinism, interruption, stopping, presets, both engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dvrl import DVRLClassifier, DVRLRegressor
from dvrl.data.table import Table
from dvrl.files.archive import read_archive
from dvrl.learning.engines import HostEngine
from dvrl.learning.loop import Problem, Program, member_logits
from dvrl.learning.policy import BASELINES
from dvrl.learning.run import _validation_part, train
from dvrl.learning.schedule import Schedule
from dvrl.predictors.rewards import make_reward
from helpers import parameters, parts

pytestmark = pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")


def data(n_rows=100, n_validation=40):
    X, y = make_classification(n_rows + n_validation, 4, n_informative=3, n_redundant=0,
                               random_state=0)  # fmt: skip
    X = X.astype(np.float32)
    return (X[:n_rows], y[:n_rows]), {"X_val": X[n_rows:], "y_val": y[n_rows:]}


ROWS, VALIDATION = data()
SHORT = {"outer_iterations": 12, "ensemble_size": 2, "random_state": 0, "marginal": "trees"}
KINDS = {
    "through_fit": {},
    "antithetic": {"gradient": "antithetic", "n_selections": 4},
    # Keeps an average and its predictor.
    "mini-batches": {"gradient": "reinforce", "n_selections": 2, "inner_iterations": 10,
                     "predictor_start": "persistent", "baseline": "moving_average"},
    "scorer": {"metric": "f1", "n_selections": 2},
    "black box": {"predictor": LogisticRegression(), "n_selections": 2},
    "batches": {"batch_size": 64},
}  # fmt: skip


def fitted(**flat):
    given, going = parts({**SHORT, **flat})
    return DVRLClassifier(**given).fit(*ROWS, **VALIDATION, **going)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits(kind):
    first, second = fitted(**KINDS[kind]), fitted(**KINDS[kind])
    np.testing.assert_array_equal(first.data_values_, second.data_values_)
    np.testing.assert_array_equal(first.history_["reward"], second.history_["reward"])
    other = fitted(**KINDS[kind], **{"random_state": 1} if kind else {})
    assert not np.array_equal(first.data_values_, other.data_values_)


class Interrupted(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_ends_like_an_undisturbed_one(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("dvrl.learning.run.CHECKPOINT_SECONDS", 0.0)
    undisturbed = fitted(**KINDS[kind])
    path = tmp_path / "run.checkpoint"

    def stop(progress):
        if progress.iteration == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        fitted(**KINDS[kind], checkpoint=path, callback=stop)
    told = []
    resumed = fitted(**KINDS[kind], checkpoint=path, resume=True, callback=told.append)
    assert told[0].iteration > 1  # it did not start afresh
    np.testing.assert_array_equal(resumed.data_values_, undisturbed.data_values_)
    for name, values in undisturbed.history_.items():
        np.testing.assert_array_equal(resumed.history_[name], values, err_msg=name)
    assert resumed.diagnostics_.n_fits == undisturbed.diagnostics_.n_fits


KILLED = """
import sys, warnings
sys.path.insert(0, {folder!r})
warnings.simplefilter("ignore")
import dvrl.learning.run
from dvrl import DVRLClassifier
from sklearn.datasets import make_classification

X, y = make_classification(140, 4, n_informative=3, n_redundant=0, random_state=0)
X = X.astype("float32")
def tell(progress):
    print(progress.iteration, flush=True)
valuer = DVRLClassifier(
    "linear", marginal="trees", random_state=0,
    settings={{"outer_iterations": 1500, "ensemble_size": 2}},
)
validation = {{"X_val": X[100:], "y_val": y[100:]}}
valuer.fit(X[:100], y[:100], **validation, checkpoint={path!r}, callback=tell)
"""


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """SIGKILL, twice; after each the checkpoint is whole, and the end is the same to the bit."""
    path = tmp_path / "run.checkpoint"
    script = KILLED.format(folder=str(tmp_path), path=str(path))
    script = script.replace("callback=tell", "callback=tell, resume=True").replace(
        "import dvrl.learning.run\n",
        "import dvrl.learning.run\ndvrl.learning.run.CHECKPOINT_SECONDS = 0.05\n",
    )
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # the loop is running
        until = time.monotonic() + 60
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert process.returncode == -signal.SIGKILL
        assert read_archive(path).record["iteration"] > 0
    done = read_archive(path).record["iteration"]
    assert done < 1500
    settings = {**SHORT, "outer_iterations": 1500}
    told = []
    resumed = DVRLClassifier(**parameters(**settings)).fit(
        *ROWS, **VALIDATION, checkpoint=path, resume=True, callback=told.append
    )
    assert told[0].iteration > done
    undisturbed = DVRLClassifier(**parameters(**settings)).fit(*ROWS, **VALIDATION)
    np.testing.assert_array_equal(resumed.data_values_, undisturbed.data_values_)


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.checkpoint"
    fitted(checkpoint=path)
    kept = path.read_bytes()
    for other in ({"learning_rate": 0.5}, {"random_state": 7}, {"outer_iterations": 13}):
        with pytest.raises(ValueError, match="belongs to another run"):
            fitted(**other, checkpoint=path, resume=True)
    assert path.read_bytes() == kept
    X, y = ROWS
    with pytest.raises(ValueError, match="belongs to another run"):
        DVRLClassifier(**parameters(**SHORT)).fit(
            X + 1, 1 - y, **VALIDATION, checkpoint=path, resume=True
        )


def test_a_finished_run_resumes_to_itself(tmp_path):
    path = tmp_path / "run.checkpoint"
    first = fitted(checkpoint=path)
    again = fitted(checkpoint=path, resume=True)
    np.testing.assert_array_equal(first.data_values_, again.data_values_)


def test_members_do_not_depend_on_the_size_of_the_ensemble():
    pair = fitted(ensemble_size=2)
    triple = fitted(ensemble_size=3)
    one, other = (
        each._policy.values(
            Table(each.encoder_.transform(ROWS[0]), each.coder_.encode(ROWS[1])),
            each.marginal_.train_scores_,
        )
        for each in (pair, triple)
    )
    np.testing.assert_allclose(one, other[:2], atol=1e-5)


def test_a_time_limit_stops_the_run():
    valuer = fitted(outer_iterations=100_000, max_seconds=0.5)
    assert valuer.diagnostics_.stop_reason == "time"
    assert 0 < valuer.diagnostics_.n_iterations < 100_000


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_presets_run_for_regression(preset):
    X, y = make_regression(140, 4, noise=5.0, random_state=0)
    valuer = DVRLRegressor(preset=preset, random_state=0, settings={"outer_iterations": 20})
    valuer.fit(X[:100], y[:100] + 500.0, X_val=X[100:], y_val=y[100:] + 500.0)
    assert np.isfinite(valuer.data_values_).all()


def test_the_policy_learns_to_leave_out_a_row_that_harms():
    """Without any marginal: wrong labels end lower than right ones by the reward alone."""
    (X, y), validation = data(100, 200)
    rng = np.random.default_rng(0)
    flipped = rng.choice(100, 20, replace=False)
    noisy = y.copy()
    noisy[flipped] = 1 - noisy[flipped]
    is_flipped = np.isin(np.arange(100), flipped)
    for gradient in ("through_fit", "antithetic"):
        valuer = DVRLClassifier(
            marginal="none",
            random_state=0,
            settings={
                "prior": "none",
                "kl_weight": 0.0,
                "residual_bound": 0.0,
                "gradient": gradient,
                "outer_iterations": 200,
                "learning_rate": 3e-3,
                "ensemble_size": 1,
                "inner_l2": 1.0,
            },
        ).fit(X, noisy, **validation)
        values = valuer.data_values_
        assert values[is_flipped].mean() < values[~is_flipped].mean() - 0.1


def test_pretrained_states():
    base = fitted()
    persistent = {"inner_iterations": 5, "predictor_start": "reset", "gradient": "reinforce",
                  "n_selections": 2, "inner_l2": 1.0, "validation_share": 1.0}  # fmt: skip
    fresh = fitted(**persistent)
    warm = fitted(**persistent, pretrained="all_rows")
    handed = fitted(**persistent, pretrained=base.predictor_)
    # Five steps from zero reach less than five steps from a fitted state.
    assert warm.history_["reward"][0] > fresh.history_["reward"][0]
    assert handed.history_["reward"][0] > fresh.history_["reward"][0]
    with pytest.raises(ValueError, match="pretrained"):
        fitted(pretrained="nonsense")
    with pytest.raises(ValueError, match="pretrained"):
        fitted(pretrained={"weight": np.zeros((1, 1))})
    with pytest.raises(ValueError, match="can start from an earlier one"):
        fitted(predictor=LogisticRegression(), pretrained="all_rows")


# --- killed while writing -----------------------------------------------------------------------

KILLED_WRITING = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import dvrl.learning.run
from dvrl import DVRLClassifier
from sklearn.datasets import make_classification

dvrl.learning.run.CHECKPOINT_SECONDS = 0.0
path, last_write = sys.argv[1], int(sys.argv[2])
replace, writes = os.replace, []
def replace_or_die(source, target):
    writes.append(target)
    if len(writes) == last_write:  # all bytes are written, the file is not yet in its place
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = replace_or_die
X, y = make_classification(140, 4, n_informative=3, n_redundant=0, random_state=0)
X = X.astype("float32")
valuer = DVRLClassifier(
    random_state=0, marginal="trees", settings={"outer_iterations": 12, "ensemble_size": 2}
)
valuer.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:], checkpoint=path)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")
@pytest.mark.parametrize("last_write", [1, 4])
def test_killed_in_the_middle_of_a_write(tmp_path, last_write):
    path = tmp_path / "run.checkpoint"
    command = [sys.executable, "-c", KILLED_WRITING, str(path), str(last_write)]
    process = subprocess.run(command, capture_output=True, timeout=300)
    assert process.returncode == -signal.SIGKILL, process.stderr
    if last_write == 1:
        assert not path.exists()
    else:  # the write before is whole
        assert read_archive(path).record["iteration"] == last_write - 1
    told = []
    resumed = fitted(checkpoint=path, resume=True, callback=told.append)
    assert told[0].iteration == last_write
    np.testing.assert_array_equal(resumed.data_values_, fitted().data_values_)


# --- more ways to stop and go on ----------------------------------------------------------------


def test_a_run_that_ran_out_of_time_goes_on_to_the_same_end(tmp_path):
    path = tmp_path / "run.checkpoint"
    short = fitted(checkpoint=path, max_seconds=1e-9)  # checked after a chunk, here of one
    assert short.diagnostics_.stop_reason == "time"
    assert short.diagnostics_.n_iterations == 1
    again = fitted(checkpoint=path, resume=True, max_seconds=1e-9)  # nothing is left of the time
    np.testing.assert_array_equal(again.data_values_, short.data_values_)
    rest = fitted(checkpoint=path, resume=True)
    assert rest.diagnostics_.stop_reason == "iterations"
    np.testing.assert_array_equal(rest.data_values_, fitted().data_values_)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    path = tmp_path / "run.checkpoint"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="damaged") as caught:
        fitted(checkpoint=path, resume=True)
    assert "\n" not in str(caught.value)


def test_without_resume_a_checkpoint_is_overwritten(tmp_path):
    path = tmp_path / "run.checkpoint"
    fitted(checkpoint=path, max_seconds=1e-9)
    told = []
    afresh = fitted(checkpoint=path, callback=told.append)
    assert [progress.iteration for progress in told] == list(range(1, 13))
    np.testing.assert_array_equal(afresh.data_values_, fitted().data_values_)
    assert read_archive(path).record["iteration"] == 12


# --- what rewards are compared with, against scikit-learn ---------------------------------------


def test_the_moving_average_is_that_of_the_rewards():
    history = fitted(preset="paper", inner_iterations=10, ensemble_size=1).history_
    expected = [0.0]
    for reward in history["reward"][:-1]:
        expected.append(19 / 20 * expected[-1] + reward / 20)
    np.testing.assert_allclose(history["baseline"], expected, rtol=1e-5)


def test_the_released_baseline_is_a_predictor_fitted_on_all_rows():
    valuer = fitted(preset="released", ensemble_size=1)
    X, y = ROWS
    model = LogisticRegression(C=1.0).fit(valuer.encoder_.transform(X), y)
    scores = model.predict_proba(valuer.encoder_.transform(VALIDATION["X_val"]))[:, 1]
    expected = roc_auc_score(VALIDATION["y_val"], scores)
    # Two validation rows nearly as probable as each other may change places: 1 of 400 pairs.
    np.testing.assert_allclose(valuer.history_["baseline"], expected, atol=3e-3)


def test_all_engines_tell_of_the_same_run():
    """Compiled, with the metric on the host, and as a black box: one set of selections."""

    def log_loss_on_the_host(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X).astype(np.float64))

    settings = {"gradient": "antithetic", "n_selections": 4, "learning_rate": 0.02,
                "inner_l2": 1.0, "validation_share": 1.0, "marginal": "forest"}  # fmt: skip
    fused = fitted(**settings)
    hosted = fitted(**settings, metric=log_loss_on_the_host)
    boxed = fitted(**settings, predictor=LogisticRegression(C=1.0, tol=1e-6))
    assert np.ptp(fused.history_["reward"]) > 0.005  # the selections do matter
    np.testing.assert_allclose(hosted.history_["reward"], fused.history_["reward"], atol=2e-4)
    # The built-in predictor keeps a penalty of .001 on the intercept.
    np.testing.assert_allclose(boxed.history_["reward"], fused.history_["reward"], atol=1e-3)
    for other in (hosted, boxed):
        np.testing.assert_allclose(other.data_values_, fused.data_values_, atol=5e-3)
        assert np.corrcoef(other.data_values_, fused.data_values_)[0, 1] > 0.999


def test_engines_share_their_mini_batches():
    """Solved fits look the same for any mini-batches; a few steps do not."""

    def log_loss_on_the_host(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X).astype(np.float64))

    settings = {"gradient": "antithetic", "n_selections": 4, "inner_iterations": 5,
                "inner_batch_size": 16, "outer_iterations": 5,
                "validation_share": 1.0}  # fmt: skip
    fused = fitted(**settings)
    hosted = fitted(**settings, metric=log_loss_on_the_host)
    assert np.ptp(fused.history_["reward"]) > 0.005
    np.testing.assert_allclose(hosted.history_["reward"], fused.history_["reward"], atol=1e-5)


@pytest.mark.filterwarnings("ignore:NearestMean takes no weights")
@pytest.mark.parametrize("kind", ["pipeline", "lightgbm", "class of a function"])
def test_black_boxes_give_the_same_bits_in_two_processes(kind):
    class NearestMean:
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            self.means_ = np.stack([X[y == each].mean(axis=0) for each in self.classes_])
            return self

        def predict(self, X):
            distances = ((X[:, None] - self.means_) ** 2).sum(axis=2)
            return self.classes_[distances.argmin(axis=1)]

    if kind == "pipeline":
        model = make_pipeline(StandardScaler(), LogisticRegression())
    elif kind == "lightgbm":
        lightgbm = pytest.importorskip("lightgbm")
        model = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1)
    else:
        model = NearestMean()
    settings = {"predictor": model, "n_selections": 4, "outer_iterations": 3}
    one, two = (fitted(**settings, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.data_values_, two.data_values_)
    np.testing.assert_array_equal(one.history_["reward"], two.history_["reward"])
    assert np.ptp(one.history_["reward"]) > 0


# --- the loop on a game with a known answer -----------------------------------------------------

N_PLAYERS = 16
IS_GOOD = np.arange(N_PLAYERS) % 2 == 0
WORTH = np.where(IS_GOOD, 1.5, -1.0) / N_PLAYERS  # all together: .25


class Game:
    """In place of predictors: half of the rows add to the reward, half take from it."""

    def __init__(self):
        self.seen = []

    def __call__(self, members, rows, weights, iteration):
        worth = np.tile(WORTH, (len(weights), 1)) if rows is None else WORTH[rows]
        self.seen.append((rows, np.array(weights)))
        return np.einsum("mkn,mn->mk", weights, worth).astype(np.float32), ()

    def reward(self, weights, rows):
        worth = WORTH if rows is None else WORTH[rows]
        return float(weights @ worth), np.zeros((8, 2), np.float32)


def play(game, *, gradient="antithetic", baseline="leave_one_out", n_selections=8, **schedule):
    program = Program(
        predictor=None, reward=make_reward("log_loss", "classification", 2), gradient=gradient,
        baseline=baseline, n_selections=n_selections, persistent=False, classification=True,
        zero_output=True, residual_bound=None, averaging=False,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_PLAYERS, 8)).astype(np.float32)
    X[:, 0] += np.where(IS_GOOD, 2.0, -2.0)
    labels = np.eye(2, dtype=np.float32)[rng.permutation(N_PLAYERS) % 2]
    ones, zeros = np.ones(N_PLAYERS, np.float32), np.zeros(N_PLAYERS, np.float32)
    problem = Problem(
        X=X, Y=labels, differences=np.zeros((N_PLAYERS, 0), np.float32), prior_logits=zeros,
        mask=ones, X_validation=X[:8], Y_validation=labels[:8], validation_mask=ones[:8],
        used_features=np.asarray(8), center=np.float32(0), scale=np.float32(1),
    )  # fmt: skip
    hyper = {"learning_rate": 0.01, "baseline_window": 20, "kl_weight": 0, "exploration_weight": 0}
    hyper = {name: jnp.float32(value) for name, value in hyper.items()}
    defaults = {"outer_iterations": 60, "ensemble_size": 2, "batch_size": 100, "seed": 0}
    result = train(HostEngine(program, problem, hyper, game), Schedule(**{**defaults, **schedule}))
    logits = member_logits(result.estimators, X, labels, problem.differences, zeros)
    return result, 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


@pytest.mark.parametrize(
    ("gradient", "baseline"),
    [("antithetic", "leave_one_out"), *(("reinforce", baseline) for baseline in BASELINES)],
)
def test_every_estimator_and_baseline_learns_the_game(gradient, baseline):
    result, values = play(Game(), gradient=gradient, baseline=baseline, ensemble_size=8)
    # All values start at 1/2. Of 24 other members at most 2 did not find the good rows (a network
    # can lose all its ReLUs); even 2 of these 8 would leave a difference of .6.
    assert values[:, IS_GOOD].mean() - values[:, ~IS_GOOD].mean() > 0.5
    assert result.n_fits == 60 * 8 * 8 + (baseline == "all_rows")
    first = result.history["baseline"][0]
    if baseline == "all_rows":
        np.testing.assert_allclose(result.history["baseline"], 0.25, atol=1e-6)
    elif baseline == "leave_one_out":
        np.testing.assert_allclose(first, result.history["reward"][0], atol=1e-6)
    else:
        np.testing.assert_array_equal(first, 0.0)


def test_members_see_the_same_batches_and_coins_in_any_ensemble():
    small, large = Game(), Game()
    play(small, ensemble_size=1, batch_size=12, outer_iterations=3)
    play(large, ensemble_size=3, batch_size=12, outer_iterations=3)
    for (rows, weights), (all_rows, all_weights) in zip(small.seen, large.seen, strict=True):
        assert weights.shape == (1, 8, 12)
        np.testing.assert_array_equal(rows[0], all_rows[0])
        np.testing.assert_array_equal(weights[0], all_weights[0])
        assert not np.array_equal(all_rows[0], all_rows[1])
        assert not np.array_equal(all_weights[0], all_weights[1])
        assert len(set(rows[0])) == 12  # without replacement


@pytest.mark.parametrize("n_selections", [1, 3])
def test_pairs_cannot_be_made_of_an_odd_number(n_selections):
    with pytest.raises(ValueError, match="n_selections"):
        fitted(predictor=LogisticRegression(), n_selections=n_selections, outer_iterations=2)


def test_members_of_an_ensemble_are_rewarded_by_parts_of_every_class():
    labels = np.zeros((10, 2), np.float32)
    labels[:7, 0] = 1
    labels[7:9, 1] = 1  # the last row is padding
    problem = SimpleNamespace(
        validation_mask=np.array([1] * 9 + [0], np.float32), Y_validation=labels
    )
    program = SimpleNamespace(classification=True)

    def parts(size, share):
        schedule = Schedule(
            outer_iterations=1, ensemble_size=size, batch_size=8, seed=0, validation_share=share
        )
        return [_validation_part(program, problem, schedule, i) for i in range(size)]

    np.testing.assert_array_equal(parts(1, 0.5)[0], problem.validation_mask)
    np.testing.assert_array_equal(parts(2, 1.0)[1], problem.validation_mask)
    for part in parts(5, 0.5):
        assert part[:7].sum() == 4
        assert part[7:9].sum() == 1
        assert part[9] == 0
    assert len({tuple(part) for part in parts(5, 0.5)}) > 1
