"""A whole run: outer iterations until a limit is reached."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from ..predictors.base import Parameters
from .checkpoint import restore_state, save_state, spec_of
from .engines import MAX_CHUNK, Engine
from .loop import RECORD_NAMES, Member, Problem, Program
from .network import DataValueEstimator
from .schedule import Progress, RunState, Schedule, TrainingResult

__all__ = ["train"]


# Least time between two checkpoints: a kill loses no more than this, and writing costs little.
CHECKPOINT_SECONDS = 2.0
PROGRESS_STEPS = 20


def _initial_members(program: Program, problem: Problem, schedule: Schedule) -> Member:
    """Members with a leading axis, each from a random stream of its own."""
    n_features = int(problem.used_features)
    n_padded = problem.X.shape[1] - n_features
    n_outputs = problem.Y.shape[1]
    members = []
    for index in range(schedule.ensemble_size):
        rng = np.random.default_rng((schedule.seed, index))
        estimator = DataValueEstimator.draw(
            rng,
            n_features=n_features,
            n_padded=n_padded,
            n_outputs=n_outputs,
            n_differences=problem.differences.shape[1],
            zero_output=program.zero_output,
            bound=program.residual_bound,
        )
        members.append(
            Member(
                key=np.asarray(rng.integers(2**32, size=2), np.uint32),
                validation_mask=_validation_part(program, problem, schedule, index),
                estimator=estimator,
                average=estimator,
                optimizer=optax.adam(0.0).init(estimator),
                predictor=(
                    () if program.predictor is None else problem.start_of(program.predictor, rng)
                ),
                baseline=np.zeros((), np.float32),
            )
        )
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *members)


def _validation_part(
    program: Program, problem: Problem, schedule: Schedule, index: int
) -> NDArray[np.float32]:
    """Mask of the validation rows that reward a member: a share of every class, or all rows."""
    mask = np.asarray(problem.validation_mask, np.float32)
    if schedule.ensemble_size == 1 or schedule.validation_share == 1:
        return mask
    rng = np.random.default_rng((schedule.seed, index, 1))
    order = rng.permutation(np.flatnonzero(mask > 0))
    targets = np.asarray(problem.Y_validation)[order]
    groups = targets.argmax(axis=1) if program.classification else np.zeros(len(order), int)
    part = np.zeros_like(mask)
    for group in np.unique(groups):
        rows = order[groups == group]
        chosen = rows[: int(np.ceil(schedule.validation_share * len(rows)))]
        part[chosen] = mask[chosen]
    return part


def train(
    engine: Engine,
    schedule: Schedule,
    *,
    pretrained: Parameters | None = None,
) -> TrainingResult:
    """Learn the data value estimators of an ensemble.

    Parameters
    ----------
    engine : FusedEngine or HostEngine
    schedule : Schedule
    pretrained : pytree, optional
        Predictor parameters to start from instead of fresh ones.

    Returns
    -------
    TrainingResult
        The same for the same seed, machine and library versions, to the bit, however often the
        run was interrupted and resumed.
    """
    spec = {} if schedule.checkpoint is None else spec_of(engine, schedule, pretrained)
    run = _start(engine, schedule, pretrained)
    if schedule.resume and schedule.checkpoint is not None and schedule.checkpoint.exists():
        restore_state(run, schedule.checkpoint, spec, engine)
    started = time.perf_counter() - run.seconds
    saved_at = time.perf_counter()
    interval = min(MAX_CHUNK, max(1, -(-schedule.outer_iterations // PROGRESS_STEPS)))
    stop_reason = _stop_reason(run, schedule)
    while not stop_reason:
        n_steps = min(interval, schedule.outer_iterations - run.iteration)
        chunk_started = time.perf_counter()
        rows = _rows_of_chunk(engine.problem, schedule, run.iteration, n_steps)
        run.members, records = engine.run(run.members, rows, run.iteration, n_steps)
        run.iteration += n_steps
        run.pace = (time.perf_counter() - chunk_started) / n_steps
        for name, values in records.items():
            run.history[name].append(values)
        run.seconds = time.perf_counter() - started
        stop_reason = _stop_reason(run, schedule)
        if schedule.checkpoint is not None and (
            stop_reason or time.perf_counter() - saved_at > CHECKPOINT_SECONDS
        ):
            save_state(run, schedule.checkpoint, spec, engine)
            saved_at = time.perf_counter()
        if schedule.callback is not None:
            schedule.callback(_progress(run, schedule))
    return TrainingResult(
        estimators=run.members.average,
        history={name: np.concatenate(chunks) for name, chunks in run.history.items()},
        n_iterations=run.iteration,
        stop_reason=stop_reason,
        seconds=run.seconds,
        n_fits=engine.n_fits,
        validation_masks=np.asarray(run.members.validation_mask),
    )


def _start(engine: Engine, schedule: Schedule, pretrained: Parameters | None) -> RunState:
    members = _initial_members(engine.program, engine.problem, schedule)
    if pretrained is not None:
        members = members._replace(
            predictor=jax.tree.map(
                lambda leaf, have: jnp.broadcast_to(leaf, have.shape),
                pretrained,
                members.predictor,
            )
        )
    if engine.program.baseline == "all_rows" and engine.program.gradient == "reinforce":
        reward, _ = engine.reward(np.asarray(engine.problem.mask), None)
        members = members._replace(baseline=jnp.full_like(members.baseline, reward))
    return RunState(members, {name: [] for name in RECORD_NAMES})


def _rows_of_chunk(
    problem: Problem, schedule: Schedule, first: int, n_steps: int
) -> NDArray[np.int32] | None:
    """Row numbers (steps, members, batch), drawn without replacement; None for all rows.

    Each draw depends on the seed, the iteration and the member alone, and costs the same
    whatever the number of training rows.
    """
    n_rows = int(np.sum(problem.mask))
    if n_rows <= schedule.batch_size:
        return None
    rows = np.empty((n_steps, schedule.ensemble_size, schedule.batch_size), np.int32)
    for step in range(n_steps):
        for member in range(schedule.ensemble_size):
            generator = np.random.default_rng((schedule.seed, first + step, member))
            rows[step, member] = generator.choice(
                n_rows, schedule.batch_size, replace=False, shuffle=False
            )
    return rows


def _stop_reason(run: RunState, schedule: Schedule) -> str:
    if run.iteration >= schedule.outer_iterations:
        return "iterations"
    if schedule.max_seconds is not None and run.seconds >= schedule.max_seconds:
        return "time"
    return ""


def _progress(run: RunState, schedule: Schedule) -> Progress:
    left: float | None = None
    if len(run.history["reward"]) > 1:
        left = run.pace * (schedule.outer_iterations - run.iteration)
        if schedule.max_seconds is not None:
            left = min(left, max(0.0, schedule.max_seconds - run.seconds))
    return Progress(
        iteration=run.iteration,
        total=schedule.outer_iterations,
        reward=float(np.mean(run.history["reward"][-1])),
        seconds_elapsed=run.seconds,
        seconds_left=left,
    )
