"""The outer loop: Algorithm 1 of Yoon, Arik and Pfister (ICML 2020), for a whole ensemble.

Read :func:`value_batch`, :func:`propose`, :func:`evaluate` and :func:`improve` from top to bottom:
together they are one outer iteration of one ensemble member. :func:`train` repeats them, either
fused and compiled (:class:`FusedEngine`, traceable predictors) or with the fits on the host
(:class:`HostEngine`, anything else), and owns stopping, checkpoints and progress.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from .axes import map_axis
from .estimator import DataValueEstimator, policy_logits
from .policy import (
    BASELINES,
    antithetic_gradient,
    draw_selections,
    exploration_penalty,
    kl_divergence,
    reinforce_gradient,
)
from .predictors.base import Parameters, TraceablePredictor
from .predictors.traceable import fit_once
from .rewards import Reward
from .storage import read_archive, write_archive

__all__ = [
    "Engine",
    "FusedEngine",
    "HostEngine",
    "Problem",
    "Program",
    "Progress",
    "Schedule",
    "TrainingResult",
    "member_logits",
    "train",
]

MAX_CHUNK = 100
PROGRESS_STEPS = 20
# Least time between two checkpoints: a kill loses no more than this, and writing costs little.
CHECKPOINT_SECONDS = 2.0
# Weight t**AVERAGING_POWER on iteration t: the last part of the run counts, wherever it ends.
AVERAGING_POWER = 3.0


@dataclass(frozen=True)
class Program:
    """What is fixed at compile time."""

    predictor: TraceablePredictor | None
    reward: Reward
    gradient: str
    baseline: str
    n_selections: int
    persistent: bool
    classification: bool
    zero_output: bool
    residual_bound: float | None
    averaging: bool


class Problem(NamedTuple):
    """The data of a run, padded; ``mask`` is 1 for rows and 0 for padding.

    Attributes
    ----------
    X, Y : (n, d), (n, c) float32
    differences : (n, c) or (n, 0) float32
        The marginal input of the data value estimator.
    prior_logits : (n,) float32
    mask : (n,) float32
    X_validation, Y_validation, validation_mask : (m, d), (m, c), (m,) float32
    used_features : () float32
        Feature columns that are not padding.
    center, scale : () float32
        Of the target; 0 and 1 for classes.
    """

    X: Any
    Y: Any
    differences: Any
    prior_logits: Any
    mask: Any
    X_validation: Any
    Y_validation: Any
    validation_mask: Any
    used_features: Any
    center: Any
    scale: Any


class Batch(NamedTuple):
    """The rows of one outer iteration."""

    X: Float[Array, "batch features"]
    Y: Float[Array, "batch outputs"]
    differences: Float[Array, "batch differences"]
    prior_logits: Float[Array, " batch"]
    mask: Float[Array, " batch"]


class Member(NamedTuple):
    """All that one ensemble member learns and remembers.

    ``validation_mask`` is 1 for the validation rows that reward this member.
    """

    key: Any
    validation_mask: Any
    estimator: DataValueEstimator
    average: DataValueEstimator
    optimizer: Any
    predictor: Parameters
    baseline: Any


class Proposal(NamedTuple):
    """The weights that predictors are asked to train with, for one batch."""

    weights: Float[Array, "selections batch"]
    redrawn: Int[Array, ""]


class Evaluation(NamedTuple):
    """What the predictors trained with the proposed weights are worth."""

    rewards: Float[Array, " selections"]
    weight_gradient: Float[Array, "selections batch"]
    predictor: Parameters


Hyper = dict[str, Float[Array, ""]]
Record = dict[str, Array]

RECORD_NAMES = ("reward", "baseline", "mean_value", "kl_divergence", "redrawn")


# ---------------------------------------------------------------- one outer iteration


def take_batch(problem: Problem, rows: Int[Array, " batch"] | None) -> Batch:
    """Rows of the batch; None takes all rows, padding included."""
    columns = (problem.X, problem.Y, problem.differences, problem.prior_logits, problem.mask)
    if rows is None:
        return Batch(*columns)
    return Batch(*(column[rows] for column in columns))


def iteration_keys(member: Member, iteration: Int[Array, ""]) -> tuple[Array, Array]:
    """Keys for the selections and for the mini-batches, from the iteration number alone."""
    key = jax.random.fold_in(jax.random.wrap_key_data(member.key), iteration)
    selection_key, fit_key = jax.random.split(key)
    return selection_key, fit_key


def value_batch(
    member: Member, batch: Batch
) -> tuple[Float[Array, " batch"], Callable[[Array], tuple[DataValueEstimator]]]:
    """w_j = h_phi(x_j, y_j) for the batch, as log-odds, and the way back to phi."""

    def logits(estimator: DataValueEstimator) -> Array:
        return policy_logits(estimator, batch.X, batch.Y, batch.differences, batch.prior_logits)

    return jax.vjp(logits, member.estimator)


def propose(
    program: Program,
    member: Member,
    batch: Batch,
    logits: Float[Array, " batch"],
    iteration: Int[Array, ""],
) -> Proposal:
    """s_j ~ Bernoulli(w_j).

    The gradient through the fit needs no coins: its weights are the probabilities themselves.
    """
    if program.gradient == "through_fit":
        return Proposal((jax.nn.sigmoid(logits) * batch.mask)[None], jnp.asarray(0))
    selection_key, _ = iteration_keys(member, iteration)
    return Proposal(
        *draw_selections(
            selection_key,
            logits,
            batch.mask,
            batch.Y,
            n_selections=program.n_selections,
            antithetic=program.gradient == "antithetic",
            classification=program.classification,
        )
    )


def evaluate(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    member: Member,
    batch: Batch,
    weights: Float[Array, "selections batch"],
    iteration: Int[Array, ""],
) -> Evaluation:
    """N_I inner iterations for every selection, then the reward on the validation rows."""
    predictor = program.predictor
    assert predictor is not None
    _, fit_key = iteration_keys(member, iteration)

    def rewards_of(weights: Array) -> tuple[Array, Parameters]:
        fitted = predictor.fit(
            member.predictor, batch.X, batch.Y, weights, batch.mask, fit_key, hyper
        )
        return judge(program, problem, fitted), fitted

    if program.gradient == "through_fit":
        rewards, pull_back, fitted = jax.vjp(rewards_of, weights, has_aux=True)
        (weight_gradient,) = pull_back(jnp.ones_like(rewards))
    else:
        rewards, fitted = rewards_of(weights)
        weight_gradient = jnp.zeros_like(weights)
    return Evaluation(rewards, weight_gradient, mean_of_selections(fitted))


def mean_of_selections(fitted: Parameters) -> Parameters:
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), fitted)


def judge(program: Program, problem: Problem, fitted: Parameters) -> Float[Array, " selections"]:
    """Reward of every fitted predictor on the validation rows."""
    predictor = program.predictor
    assert predictor is not None
    n_outputs = problem.Y.shape[1]

    def reward_of(params: Parameters) -> Array:
        scores = predictor.scores(params, problem.X_validation, n_outputs)
        return reward_of_scores(program, problem, scores)

    return map_axis(reward_of)(fitted)


def reward_of_scores(program: Program, problem: Problem, scores: Array) -> Float[Array, ""]:
    reward: Array = program.reward.function(
        problem.Y_validation, scores, problem.validation_mask, problem.center, problem.scale
    )
    return reward


def improve(
    program: Program,
    hyper: Hyper,
    member: Member,
    batch: Batch,
    logits: Float[Array, " batch"],
    pull_back: Callable[[Array], tuple[DataValueEstimator]],
    proposal: Proposal,
    evaluation: Evaluation,
    iteration: Int[Array, ""],
) -> tuple[Member, Record]:
    """Phi <- phi + beta * grad of (expected reward - penalties); then update the baseline."""
    rewards = evaluation.rewards
    baseline, baseline_state = BASELINES[program.baseline].apply(
        rewards, member.baseline, hyper["baseline_window"]
    )
    gradient = reward_gradient(program, logits, proposal, evaluation, rewards - baseline)

    def penalties(logits: Array) -> tuple[Array, Array]:
        n_rows = jnp.sum(batch.mask)
        divergence = jnp.sum(kl_divergence(logits, batch.prior_logits) * batch.mask) / n_rows
        exploration = exploration_penalty(logits, batch.mask)
        total = hyper["kl_weight"] * divergence + hyper["exploration_weight"] * exploration
        return total, divergence

    penalty_gradient, divergence = jax.grad(penalties, has_aux=True)(logits)
    (descent,) = pull_back((penalty_gradient - gradient) * batch.mask)
    updates, optimizer = optax.scale_by_adam().update(descent, member.optimizer)
    estimator = jax.tree.map(lambda p, u: p - hyper["learning_rate"] * u, member.estimator, updates)
    record = {
        "reward": jnp.mean(rewards),
        "baseline": jnp.mean(baseline),
        "mean_value": jnp.sum(jax.nn.sigmoid(logits) * batch.mask) / jnp.sum(batch.mask),
        "kl_divergence": divergence,
        "redrawn": proposal.redrawn.astype(jnp.float32),
    }
    member = member._replace(
        estimator=estimator,
        average=update_average(program, member.average, estimator, iteration),
        optimizer=optimizer,
        predictor=evaluation.predictor if program.persistent else member.predictor,
        baseline=baseline_state,
    )
    return member, record


def reward_gradient(
    program: Program,
    logits: Float[Array, " batch"],
    proposal: Proposal,
    evaluation: Evaluation,
    advantages: Float[Array, " selections"],
) -> Float[Array, " batch"]:
    """Gradient of the expected reward by the logits, by the chosen estimator."""
    if program.gradient == "through_fit":
        probabilities = jax.nn.sigmoid(logits)
        return jnp.mean(evaluation.weight_gradient, axis=0) * probabilities * (1 - probabilities)
    if program.gradient == "antithetic":
        return antithetic_gradient(proposal.weights, logits, evaluation.rewards)
    return reinforce_gradient(proposal.weights, logits, advantages)


def update_average(
    program: Program,
    average: DataValueEstimator,
    estimator: DataValueEstimator,
    iteration: Int[Array, ""],
) -> DataValueEstimator:
    """Polynomial-decay average of the parameters (Shamir and Zhang, ICML 2013)."""
    if not program.averaging:
        return estimator
    share = (AVERAGING_POWER + 1.0) / (iteration + 1.0 + AVERAGING_POWER)
    return jax.tree.map(lambda a, p: a + share * (p - a), average, estimator)


# ---------------------------------------------------------------- compiled pieces


def _outer_iteration(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    iteration: Int[Array, ""],
    member: Member,
    rows: Int[Array, " batch"] | None,
) -> tuple[Member, Record]:
    batch = take_batch(problem, rows)
    logits, pull_back = value_batch(member, batch)
    proposal = propose(program, member, batch, logits, iteration)
    own = problem._replace(validation_mask=member.validation_mask)
    evaluation = evaluate(program, own, hyper, member, batch, proposal.weights, iteration)
    return improve(
        program, hyper, member, batch, logits, pull_back, proposal, evaluation, iteration
    )


@partial(jax.jit, static_argnames=("program",))
def _fused_chunk(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    members: Member,
    rows: Int[Array, "steps members batch"] | None,
    first: Int[Array, ""],
    n_steps: Int[Array, ""],
) -> tuple[Member, Record]:
    """Run `n_steps` outer iterations of all members, without leaving the device."""
    n_members = members.baseline.shape[0]

    def step(t: Array, carry: tuple[Member, Record]) -> tuple[Member, Record]:
        members, history = carry
        chosen = None if rows is None else rows[t]
        run = partial(_outer_iteration, program, problem, hyper, first + t)
        members, record = map_axis(run)(members, chosen)
        return members, {name: history[name].at[t].set(record[name]) for name in history}

    history = {name: jnp.zeros((MAX_CHUNK, n_members)) for name in RECORD_NAMES}
    return jax.lax.fori_loop(0, n_steps, step, (members, history))


@partial(jax.jit, static_argnames=("program",))
def _propose_all(
    program: Program,
    problem: Problem,
    members: Member,
    rows: Int[Array, "members batch"] | None,
    iteration: Int[Array, ""],
) -> Proposal:
    def run(member: Member, rows: Array | None) -> Proposal:
        batch = take_batch(problem, rows)
        logits, _ = value_batch(member, batch)
        return propose(program, member, batch, logits, iteration)

    return jax.vmap(run)(members, rows)


@partial(jax.jit, static_argnames=("program",))
def _improve_all(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    members: Member,
    rows: Int[Array, "members batch"] | None,
    proposals: Proposal,
    evaluations: Evaluation,
    iteration: Int[Array, ""],
) -> tuple[Member, Record]:
    def run(
        member: Member, rows: Array | None, proposal: Proposal, evaluation: Evaluation
    ) -> tuple[Member, Record]:
        batch = take_batch(problem, rows)
        logits, pull_back = value_batch(member, batch)
        return improve(
            program, hyper, member, batch, logits, pull_back, proposal, evaluation, iteration
        )

    return jax.vmap(run)(members, rows, proposals, evaluations)


@partial(jax.jit, static_argnames=("program",))
def fit_and_score(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    start: Parameters,
    rows: Int[Array, " batch"] | None,
    weights: Float[Array, "selections batch"],
    key: Array,
) -> tuple[Array, Parameters]:
    """Validation scores of predictors trained with `weights`, and the mean of their parameters."""
    predictor = program.predictor
    assert predictor is not None
    batch = take_batch(problem, rows)
    fitted = predictor.fit(start, batch.X, batch.Y, weights, batch.mask, key, hyper)
    scores = jax.vmap(
        lambda params: predictor.scores(params, problem.X_validation, problem.Y.shape[1])
    )(fitted)
    return scores, mean_of_selections(fitted)


def judge_weights(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    rows: NDArray[np.int32] | None,
    weights: NDArray[np.float32],
) -> tuple[float, NDArray[np.float32]]:
    """Reward and validation scores of one traceable predictor trained afresh with `weights`."""
    predictor = program.predictor
    assert predictor is not None
    used = int(problem.used_features)
    start = predictor.init(
        np.random.default_rng(0), used, problem.X.shape[1] - used, problem.Y.shape[1]
    )
    batch = take_batch(problem, None if rows is None else jnp.asarray(rows))
    # Compiled once for this and for the final predictor.
    fit_hyper = {name: hyper[name] for name in ("inner_learning_rate", "l2")}
    params = fit_once(
        predictor, start, batch.X, batch.Y, weights, batch.mask, jax.random.key(0), fit_hyper
    )
    reward, scores = _judge_one(program, problem, params)
    return float(reward), np.asarray(scores)


@partial(jax.jit, static_argnames=("program",))
def _judge_one(program: Program, problem: Problem, params: Parameters) -> tuple[Array, Array]:
    """Reward (0 for metrics of the host) and validation scores."""
    assert program.predictor is not None
    scores = program.predictor.scores(params, problem.X_validation, problem.Y.shape[1])
    if program.reward.on_host:
        return jnp.zeros(()), scores
    return reward_of_scores(program, problem, scores), scores


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
        zeros = jax.tree.map(np.zeros_like, estimator)
        members.append(
            Member(
                key=np.asarray(rng.integers(2**32, size=2), np.uint32),
                validation_mask=_validation_part(program, problem, schedule, index),
                estimator=estimator,
                average=estimator,
                optimizer=optax.ScaleByAdamState(np.zeros((), np.int32), zeros, zeros),
                predictor=(
                    ()
                    if program.predictor is None
                    else program.predictor.init(rng, n_features, n_padded, n_outputs)
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
        part[rows[: int(np.ceil(schedule.validation_share * len(rows)))]] = 1.0
    return part


@jax.jit
def member_logits(
    estimators: DataValueEstimator,
    X: Float[Array, "rows features"],
    Y: Float[Array, "rows outputs"],
    differences: Float[Array, "rows differences"],
    prior_logits: Float[Array, " rows"],
) -> Float[Array, "members rows"]:
    """Log-odds that each member gives to each row."""
    return jax.vmap(policy_logits, in_axes=(0, None, None, None, None))(
        estimators, X, Y, differences, prior_logits
    )


# ---------------------------------------------------------------- two engines, one loop


class Engine(Protocol):
    """Runs outer iterations; the loop around it does not know where predictors are fitted."""

    program: Program
    problem: Problem
    hyper: Hyper
    n_fits: int

    def run(
        self, members: Member, rows: NDArray[np.int32] | None, first: int, n_steps: int
    ) -> tuple[Member, dict[str, NDArray[np.float32]]]:
        """Take outer iterations `first` to ``first + n_steps - 1``.

        `rows` is (n_steps, n_members, batch) row numbers, or None where each batch is all rows.
        """
        ...

    def reward(
        self,
        weights: NDArray[np.float32],
        rows: NDArray[np.int32] | None,
        *,
        held_back: bool = False,
    ) -> tuple[float, NDArray[np.float32]]:
        """Reward and scores of one predictor trained with soft `weights`, one for each of `rows`.

        On the validation rows, or on those held back to decide when to stop.
        """
        ...


@dataclass
class FusedEngine:
    """All of an outer iteration in one compiled program; for traceable predictors.

    Attributes
    ----------
    program, problem, hyper
        See :class:`Program` and :class:`Problem`; `hyper` are numbers that need no compilation.
    held_back : dict of arrays, optional
        The validation fields of `problem` for the rows that only decide when to stop.
    n_fits : int
        Predictor fits so far.
    """

    program: Program
    problem: Problem
    hyper: Hyper
    held_back: dict[str, Any] | None = None
    n_fits: int = 0

    def run(
        self, members: Member, rows: NDArray[np.int32] | None, first: int, n_steps: int
    ) -> tuple[Member, dict[str, NDArray[np.float32]]]:
        """See :class:`Engine`."""
        if rows is not None:  # the compiled program always gets the rows of a full chunk
            rows = np.concatenate([rows, np.repeat(rows[:1], MAX_CHUNK - n_steps, axis=0)])
        members, history = _fused_chunk(
            self.program, self.problem, self.hyper, members, rows, first, n_steps
        )
        self.n_fits += n_steps * members.baseline.shape[0] * self.program.n_selections
        return members, {name: np.asarray(h)[:n_steps] for name, h in history.items()}

    def reward(
        self,
        weights: NDArray[np.float32],
        rows: NDArray[np.int32] | None,
        *,
        held_back: bool = False,
    ) -> tuple[float, NDArray[np.float32]]:
        """See :class:`Engine`."""
        program, problem = self.program, self.problem
        if held_back:
            assert self.held_back is not None
            problem = problem._replace(**self.held_back)
        rewards, scores = judge_weights(program, problem, self.hyper, rows, weights)
        self.n_fits += 1
        return rewards, scores


class Evaluator(Protocol):
    """Fits or judges predictors on the host: see :mod:`dvrl.evaluators`."""

    def __call__(
        self,
        members: Member,
        rows: NDArray[np.int32] | None,
        weights: NDArray[np.float32],
        iteration: int,
    ) -> tuple[NDArray[np.float32], Parameters]:
        """Rewards (members, selections), and the start of the members' next fits.

        `rows` is (members, batch), or None for all rows; `weights` (members, selections, batch).
        """
        ...

    def reward(
        self,
        rows: NDArray[np.int32] | None,
        weights: NDArray[np.float32],
        *,
        held_back: bool,
    ) -> tuple[float, NDArray[np.float32]]:
        """See :meth:`Engine.reward`."""
        ...


@dataclass
class HostEngine:
    """Selections and updates compiled, predictors fitted or judged on the host."""

    program: Program
    problem: Problem
    hyper: Hyper
    evaluator: Evaluator
    n_fits: int = 0

    def run(
        self, members: Member, rows: NDArray[np.int32] | None, first: int, n_steps: int
    ) -> tuple[Member, dict[str, NDArray[np.float32]]]:
        """See :class:`Engine`."""
        records: list[Record] = []
        for step in range(n_steps):
            chosen = None if rows is None else rows[step]
            members, record = self._iterate(members, chosen, first + step)
            records.append(record)
        return members, {
            name: np.stack([np.asarray(record[name]) for record in records])
            for name in RECORD_NAMES
        }

    def _iterate(
        self, members: Member, rows: NDArray[np.int32] | None, iteration: int
    ) -> tuple[Member, Record]:
        proposals = _propose_all(self.program, self.problem, members, rows, iteration)
        weights = np.asarray(proposals.weights)
        rewards, predictor = self.evaluator(members, rows, weights, iteration)
        evaluations = Evaluation(jnp.asarray(rewards), jnp.zeros_like(proposals.weights), predictor)
        self.n_fits += rewards.size
        return _improve_all(
            self.program,
            self.problem,
            self.hyper,
            members,
            rows,
            proposals,
            evaluations,
            iteration,
        )

    def reward(
        self,
        weights: NDArray[np.float32],
        rows: NDArray[np.int32] | None,
        *,
        held_back: bool = False,
    ) -> tuple[float, NDArray[np.float32]]:
        """See :class:`Engine`."""
        self.n_fits += 1
        return self.evaluator.reward(rows, weights, held_back=held_back)


# ---------------------------------------------------------------- the loop


@dataclass(frozen=True)
class Progress:
    """Where a run stands; handed to the caller's callback.

    Attributes
    ----------
    iteration, total : int
        Outer iterations done and planned.
    reward : float
        Mean reward of the last iterations, higher is better.
    seconds_elapsed : float
    seconds_left : float or None
        None after the first chunk, whose time is mostly compilation.
    """

    iteration: int
    total: int
    reward: float
    seconds_elapsed: float
    seconds_left: float | None


@dataclass(frozen=True)
class Schedule:
    """When a run stops, and where it is kept.

    Attributes
    ----------
    outer_iterations : int
    ensemble_size : int
    batch_size : int
        Rows per outer iteration; all rows where there are no more than that.
    max_seconds : float or None
        Wall-clock limit, checked after every chunk of iterations.
    patience : int or None
        Stop after so many iterations without a better reward on the held-back validation rows.
    seed : int
    checkpoint : Path or None
    resume : bool
    callback : callable or None
        Called with a :class:`Progress`.
    validation_share : float
        Share of the validation rows, drawn class by class, that rewards each member of an
        ensemble (predictors fitted on the device only; elsewhere all rows reward).
    """

    outer_iterations: int
    ensemble_size: int
    batch_size: int
    seed: int
    max_seconds: float | None = None
    patience: int | None = None
    checkpoint: Path | None = None
    resume: bool = False
    callback: Callable[[Progress], object] | None = None
    validation_share: float = 1.0


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of :func:`train`.

    Attributes
    ----------
    estimators : DataValueEstimator
        Averaged (or last) parameters, with a leading axis of members.
    history : dict of (n_iterations, n_members) float32 arrays
    held_back : (n_checks, 2) float64
        Iteration and reward on the held-back validation rows, where there are any.
    n_iterations : int
    stop_reason : {"iterations", "time", "plateau"}
    seconds : float
        Over all parts of a resumed run.
    n_fits : int
    validation_masks : (n_members, n_validation_rows) float32
        1 for the validation rows that rewarded the member; padding is 0.
    """

    estimators: DataValueEstimator
    history: dict[str, NDArray[np.float32]]
    held_back: NDArray[np.float64]
    n_iterations: int
    stop_reason: str
    seconds: float
    n_fits: int
    validation_masks: NDArray[np.float32]


@dataclass
class _Run:
    """The mutable state of a run between chunks: all that a checkpoint must hold."""

    members: Member
    best: DataValueEstimator
    history: dict[str, list[NDArray[np.float32]]]
    held_back: list[tuple[int, float]] = field(default_factory=list)
    iteration: int = 0
    seconds: float = 0.0
    pace: float = 0.0


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
    fingerprint = _fingerprint(engine, schedule) if schedule.checkpoint is not None else ""
    run = _start(engine, schedule, pretrained)
    if schedule.resume and schedule.checkpoint is not None and schedule.checkpoint.exists():
        _restore(run, schedule.checkpoint, fingerprint, engine)
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
        _remember_best(run, engine, schedule)
        run.seconds = time.perf_counter() - started
        stop_reason = _stop_reason(run, schedule)
        if schedule.checkpoint is not None and (
            stop_reason or time.perf_counter() - saved_at > CHECKPOINT_SECONDS
        ):
            _save(run, schedule.checkpoint, fingerprint, engine)
            saved_at = time.perf_counter()
        if schedule.callback is not None:
            schedule.callback(_progress(run, schedule))
    return TrainingResult(
        estimators=run.best,
        history={name: np.concatenate(chunks) for name, chunks in run.history.items()},
        held_back=np.asarray(run.held_back, dtype=np.float64).reshape(-1, 2),
        n_iterations=run.iteration,
        stop_reason=stop_reason,
        seconds=run.seconds,
        n_fits=engine.n_fits,
        validation_masks=np.asarray(run.members.validation_mask),
    )


def _start(engine: Engine, schedule: Schedule, pretrained: Parameters | None) -> _Run:
    members = _initial_members(engine.program, engine.problem, schedule)
    if pretrained is not None:
        members = members._replace(
            predictor=jax.tree.map(
                lambda leaf, have: jnp.broadcast_to(leaf, have.shape),
                pretrained,
                members.predictor,
            )
        )
    if engine.program.baseline in ("constant", "all_rows") and (
        engine.program.gradient == "reinforce"
    ):
        members = members._replace(
            baseline=jnp.full_like(members.baseline, _constant_reward(engine, schedule))
        )
    return _Run(members, members.average, {name: [] for name in RECORD_NAMES})


def _constant_reward(engine: Engine, schedule: Schedule) -> float:
    """Reward of a predictor trained on unselected rows: all of them, or one batch."""
    problem = engine.problem
    rows = _rows_of_chunk(problem, schedule, 0, 1)
    if engine.program.baseline == "all_rows" or rows is None:
        return engine.reward(np.asarray(problem.mask), None)[0]
    return engine.reward(np.ones(rows.shape[-1], np.float32), rows[0, 0])[0]


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


def _stop_reason(run: _Run, schedule: Schedule) -> str:
    if run.iteration >= schedule.outer_iterations:
        return "iterations"
    if schedule.max_seconds is not None and run.seconds >= schedule.max_seconds:
        return "time"
    if schedule.patience is not None and run.held_back:
        best_at = max(run.held_back, key=lambda check: check[1])[0]
        if run.iteration - best_at >= schedule.patience:
            return "plateau"
    return ""


def _remember_best(
    run: _Run,
    engine: Engine,
    schedule: Schedule,
) -> None:
    """Keep the newest estimators, or those best on the held-back validation rows."""
    if schedule.patience is None:
        run.best = run.members.average
        return
    rows = _rows_of_chunk(engine.problem, schedule, 0, 1)
    chosen = None if rows is None else rows[0, 0]
    batch = take_batch(engine.problem, chosen)
    logits = member_logits(
        run.members.average, batch.X, batch.Y, batch.differences, batch.prior_logits
    )
    weights = np.asarray(jnp.mean(jax.nn.sigmoid(logits), axis=0) * batch.mask)
    reward, _ = engine.reward(weights, chosen, held_back=True)
    if not run.held_back or reward > max(value for _, value in run.held_back):
        run.best = run.members.average
    run.held_back.append((run.iteration, reward))


def _progress(run: _Run, schedule: Schedule) -> Progress:
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


# ---------------------------------------------------------------- checkpoints


def _fingerprint(engine: Engine, schedule: Schedule) -> str:
    """Digest of all that decides the course of a run, the data included."""
    digest = hashlib.blake2b(digest_size=16)
    for leaf in engine.problem:
        digest.update(np.ascontiguousarray(leaf).data)
    hyper = {name: float(value) for name, value in engine.hyper.items()}
    settings = [
        repr(engine.program).split("function=")[0],
        engine.program.reward.name,
        hyper,
        schedule.outer_iterations,
        schedule.ensemble_size,
        schedule.batch_size,
        schedule.seed,
        schedule.patience,
        schedule.validation_share,
    ]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()


def _leaves(run: _Run) -> tuple[list[Any], Any]:
    """Arrays of the run's members and best estimators."""
    return jax.tree.flatten((run.members, run.best))


def _save(run: _Run, path: Path, fingerprint: str, engine: Engine) -> None:
    leaves, _ = _leaves(run)
    arrays = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    for name, chunks in run.history.items():
        arrays[f"history_{name}"] = np.concatenate(chunks)
    metadata = {
        "kind": "checkpoint",
        "fingerprint": fingerprint,
        "iteration": run.iteration,
        "seconds": run.seconds,
        "held_back": [list(check) for check in run.held_back],
        "n_fits": engine.n_fits,
    }
    write_archive(path, metadata=metadata, arrays=arrays)


def _restore(run: _Run, path: Path, fingerprint: str, engine: Engine) -> None:
    archive = read_archive(path)
    if archive.metadata.get("fingerprint") != fingerprint:
        raise ValueError(
            f"The checkpoint {path.name} belongs to a run with other data or settings; "
            "repeat that run's settings, or name another checkpoint file."
        )
    leaves, structure = _leaves(run)
    restored = [jnp.asarray(archive.arrays[f"state_{i}"]) for i in range(len(leaves))]
    run.members, run.best = jax.tree.unflatten(structure, restored)
    run.history = {name: [archive.arrays[f"history_{name}"]] for name in RECORD_NAMES}
    run.held_back = [(int(at), float(reward)) for at, reward in archive.metadata["held_back"]]
    run.iteration = int(archive.metadata["iteration"])
    run.seconds = float(archive.metadata["seconds"])
    engine.n_fits = int(archive.metadata["n_fits"])
