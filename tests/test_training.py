"""The loop: determinism, interruption, stopping, presets, both engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression

from dvrl import DVRLClassifier, DVRLRegressor
from dvrl.storage import read_archive

pytestmark = pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")


def data(n_rows=100, n_validation=40):
    X, y = make_classification(n_rows + n_validation, 4, n_informative=3, n_redundant=0,
                               random_state=0)  # fmt: skip
    X = X.astype(np.float32)
    return (X[:n_rows], y[:n_rows]), {"X_val": X[n_rows:], "y_val": y[n_rows:]}


ROWS, VALIDATION = data()
SHORT = {"outer_iterations": 12, "ensemble_size": 2, "random_state": 0}
KINDS = {
    "through_fit": {},
    "antithetic": {"gradient": "antithetic", "n_selections": 4},
    "mini-batches": {"gradient": "reinforce", "n_selections": 2, "inner_iterations": 10,
                     "predictor_start": "persistent"},
    "scorer": {"metric": "f1", "n_selections": 2},
    "black box": {"predictor": LogisticRegression(), "n_selections": 2},
    "batches": {"batch_size": 64},
}  # fmt: skip


def fitted(**settings):
    return DVRLClassifier(**{**SHORT, **settings}).fit(*ROWS, **VALIDATION)


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
    monkeypatch.setattr("dvrl.training.CHECKPOINT_SECONDS", 0.0)
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
    np.testing.assert_array_equal(resumed.history_["reward"], undisturbed.history_["reward"])
    assert resumed.diagnostics_.n_fits == undisturbed.diagnostics_.n_fits


KILLED = """
import sys, warnings
sys.path.insert(0, {folder!r})
warnings.simplefilter("ignore")
import dvrl.training
from dvrl import DVRLClassifier
from sklearn.datasets import make_classification

X, y = make_classification(140, 4, n_informative=3, n_redundant=0, random_state=0)
X = X.astype("float32")
def tell(progress):
    print(progress.iteration, flush=True)
valuer = DVRLClassifier(
    outer_iterations=4000, ensemble_size=2, random_state=0, checkpoint={path!r}, callback=tell
)
valuer.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
"""


def test_killed_and_resumed(tmp_path):
    """SIGKILL, twice; after each the checkpoint is whole, and the end is the same to the bit."""
    path = tmp_path / "run.checkpoint"
    script = KILLED.format(folder=str(tmp_path), path=str(path))
    script = script.replace("callback=tell", "callback=tell, resume=True").replace(
        "import dvrl.training\n",
        "import dvrl.training\ndvrl.training.CHECKPOINT_SECONDS = 0.05\n",
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
        assert read_archive(path).metadata["iteration"] > 0
    done = read_archive(path).metadata["iteration"]
    assert done < 4000
    settings = {"outer_iterations": 4000, "ensemble_size": 2, "random_state": 0}
    told = []
    resumed = DVRLClassifier(checkpoint=path, resume=True, callback=told.append, **settings)
    resumed.fit(*ROWS, **VALIDATION)
    assert told[0].iteration > done
    undisturbed = DVRLClassifier(**settings).fit(*ROWS, **VALIDATION)
    np.testing.assert_array_equal(resumed.data_values_, undisturbed.data_values_)


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.checkpoint"
    fitted(checkpoint=path)
    kept = path.read_bytes()
    for other in ({"learning_rate": 0.5}, {"random_state": 7}, {"outer_iterations": 13}):
        with pytest.raises(ValueError, match="other data or settings"):
            fitted(**other, checkpoint=path, resume=True)
    assert path.read_bytes() == kept
    X, y = ROWS
    with pytest.raises(ValueError, match="other data or settings"):
        DVRLClassifier(checkpoint=path, resume=True, **SHORT).fit(X + 1, 1 - y, **VALIDATION)


def test_a_finished_run_resumes_to_itself(tmp_path):
    path = tmp_path / "run.checkpoint"
    first = fitted(checkpoint=path)
    again = fitted(checkpoint=path, resume=True)
    np.testing.assert_array_equal(first.data_values_, again.data_values_)


def test_members_do_not_depend_on_the_size_of_the_ensemble():
    pair = fitted(ensemble_size=2)
    triple = fitted(ensemble_size=3)
    np.testing.assert_allclose(
        pair._trained_members, triple._trained_members[:2], atol=1e-5
    )  # fmt: skip


def test_a_time_limit_stops_the_run():
    valuer = fitted(outer_iterations=100_000, max_seconds=0.5)
    assert valuer.diagnostics_.stop_reason == "time"
    assert 0 < valuer.diagnostics_.n_iterations < 100_000


def test_patience_stops_on_held_back_rows():
    valuer = fitted(outer_iterations=20_000, patience=100, learning_rate=0.05, kl_weight=0.0)
    assert valuer.diagnostics_.stop_reason == "plateau"
    X, y = ROWS
    with pytest.raises(ValueError, match="patience"):
        DVRLClassifier(patience=5, **SHORT).fit(X, y, X_val=X[:1], y_val=y[:1])


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("predictor", ["linear", "mlp"])
def test_presets_run(preset, predictor):
    inner = {"inner_iterations": 5} if predictor == "mlp" else {}
    valuer = DVRLClassifier(
        predictor, preset=preset, outer_iterations=20, random_state=0, **inner
    ).fit(*ROWS, **VALIDATION)
    assert valuer.n_members_ == 1
    assert ((valuer.data_values_ >= 0) & (valuer.data_values_ <= 1)).all()
    baseline = valuer.history_["baseline"]
    if preset == "paper":  # from zero, towards the rewards
        assert baseline[0] == 0
        assert (np.diff(np.abs(baseline)) > 0).all()
    else:
        assert np.ptp(baseline) == 0
        assert baseline[0] != 0


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_presets_run_for_regression(preset):
    X, y = make_regression(140, 4, noise=5.0, random_state=0)
    valuer = DVRLRegressor(preset=preset, outer_iterations=20, random_state=0)
    valuer.fit(X[:100], y[:100] + 500.0, X_val=X[100:], y_val=y[100:] + 500.0)
    assert np.isfinite(valuer.data_values_).all()


@pytest.mark.parametrize("baseline", ["moving_average", "constant", "all_rows", "leave_one_out"])
def test_baselines_run(baseline):
    valuer = fitted(gradient="reinforce", baseline=baseline, n_selections=2)
    assert np.isfinite(valuer.history_["reward"]).all()


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
            marginal="none", prior="none", kl_weight=0.0, residual_bound=0.0, gradient=gradient,
            outer_iterations=200, learning_rate=3e-3, random_state=0, ensemble_size=1,
        ).fit(X, noisy, **validation)  # fmt: skip
        values = valuer.data_values_
        assert values[is_flipped].mean() < values[~is_flipped].mean() - 0.1


def test_jobs_do_not_change_the_values():
    X, y = ROWS
    one, two = (
        DVRLClassifier(LogisticRegression(), n_selections=4, n_jobs=n_jobs, **SHORT).fit(
            X, y, **VALIDATION
        )
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.data_values_, two.data_values_)


def test_pretrained_states():
    base = fitted()
    persistent = {"inner_iterations": 5, "predictor_start": "reset", "gradient": "reinforce",
                  "n_selections": 2}  # fmt: skip
    fresh = fitted(**persistent)
    warm = fitted(**persistent, pretrained="all_rows")
    handed = fitted(**persistent, pretrained=base.predictor_.params)
    # Five steps from zero reach less than five steps from a fitted state.
    assert warm.history_["reward"][0] > fresh.history_["reward"][0]
    assert handed.history_["reward"][0] > fresh.history_["reward"][0]
    with pytest.raises(ValueError, match="pretrained"):
        fitted(pretrained="nonsense")
    with pytest.raises(ValueError, match="pretrained"):
        fitted(pretrained={"weight": np.zeros((1, 1))})
    with pytest.raises(ValueError, match="built-in predictor"):
        fitted(predictor=LogisticRegression(), pretrained="all_rows")
