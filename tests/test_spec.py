"""A run is told by its spec: whatever changes its course changes the spec, and says which field."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from dvrl import DVRLClassifier
from dvrl.files.archive import read_archive
from dvrl.learning.schedule import Schedule
from dvrl.learning.spec import NOT_THE_COURSE, differences, run_spec
from helpers import parts


@dataclass(frozen=True)
class Inner:
    depth: int = 3


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    name: str = "a"
    share: float = 0.5
    flag: bool = False
    nothing: Any = None
    function: Any = np.mean
    numbers: Any = field(default_factory=lambda: np.arange(3.0))
    path: Any = field(default=None, metadata=NOT_THE_COURSE)


class Pair(NamedTuple):
    X: Any
    y: Any


CHANGED = {
    "inner": Inner(4),
    "name": "b",
    "share": 0.25,
    "flag": True,
    "nothing": 1,
    "function": np.median,
    "numbers": np.array([0.0, 1.0, 3.0]),
}


def test_the_same_records_have_the_same_spec():
    assert run_spec(record=Outer()) == run_spec(record=Outer())
    assert not differences(run_spec(record=Outer()), run_spec(record=Outer()))


@pytest.mark.parametrize("name", [each.name for each in fields(Outer) if each.name != "path"])
def test_each_field_counts_and_is_named(name):
    other = replace(Outer(), **{name: CHANGED[name]})
    told = differences(run_spec(record=Outer()), run_spec(record=other))
    assert f"record.{name}" in told
    assert ": checkpoint " in told


def test_fields_that_are_not_the_course_do_not_count():
    assert run_spec(record=Outer(path=1)) == run_spec(record=Outer(path=2))
    some = Schedule(outer_iterations=3, ensemble_size=1, batch_size=8, seed=0)
    other = replace(some, max_seconds=3.0, resume=True, callback=print)
    assert run_spec(schedule=some) == run_spec(schedule=other)


def test_arrays_named_tuples_and_estimators():
    X = np.zeros((4, 2))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    stronger = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
    assert "0.5" in differences(run_spec(model=pipeline), run_spec(model=stronger))
    wider = np.zeros((4, 2), np.float32)
    told = differences(run_spec(rows=Pair(X, 0)), run_spec(rows=Pair(wider, 0)))
    assert "rows.X: checkpoint float64 (4, 2)" in told


def fitted(**flat):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = (X[:, 0] + rng.normal(size=90) > 0).astype(int)
    given = {"outer_iterations": 3, "ensemble_size": 2, "random_state": 0, "marginal": "linear"}
    parameters, going = parts(given | flat)
    return DVRLClassifier(**parameters).fit(X[:60], y[:60], X[60:], y[60:], **going)


OTHERS = {
    "baseline": "moving_average",
    "n_selections": 6,
    "averaging": False,
    "residual_bound": 0.5,
    "learning_rate": 0.01,
    "kl_weight": 0.5,
    "exploration_weight": 0.5,
    "inner_l2": 0.5,
    "inner_iterations": 7,
    "metric": "accuracy",
    "gradient": "reinforce",
    "prior": "none",
    "batch_size": 30,
    "ensemble_size": 3,
    "outer_iterations": 4,
    "validation_share": 0.75,
    "random_state": 1,
    "marginal": "neighbours",
    "predictor": "mlp",
    "pretrained": "all_rows",
}


@pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")
def test_a_checkpoint_refuses_a_run_of_any_other_setting(tmp_path):
    base = {"gradient": "antithetic", "n_selections": 4}
    path = tmp_path / "run.checkpoint"
    fitted(**base, checkpoint=path)
    before = path.read_bytes()
    accepted = []
    for name, value in OTHERS.items():
        with contextlib.suppress(ValueError):
            fitted(**base | {name: value}, checkpoint=path, resume=True)
            accepted.append(name)
    assert not accepted
    with pytest.raises(ValueError, match="n_selections: checkpoint 4, this run 8"):
        fitted(**base | {"n_selections": 8}, checkpoint=path, resume=True)
    assert path.read_bytes() == before
    fitted(**base, checkpoint=path, resume=True)


@pytest.mark.filterwarnings("ignore::dvrl.exceptions.DataValuationWarning")
def test_a_checkpoint_refuses_another_black_box(tmp_path):
    path = tmp_path / "run.checkpoint"
    tree = DecisionTreeClassifier(max_depth=2)
    fitted(predictor=tree, checkpoint=path)
    assert "evaluator.predictor.estimator.max_depth" in read_archive(path).record["spec"]
    with pytest.raises(ValueError, match="max_depth: checkpoint 2, this run 3"):
        fitted(predictor=DecisionTreeClassifier(max_depth=3), checkpoint=path, resume=True)
