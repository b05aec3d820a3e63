"""Where selections are fitted and judged: compiled together, or on the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from ..numerics.axes import map_axis
from ..predictors.base import Parameters
from ..predictors.traced import fit_once
from .loop import (
    RECORD_NAMES,
    Evaluation,
    Hyper,
    Member,
    Problem,
    Program,
    Proposal,
    Record,
    improve,
    mean_of_selections,
    outer_iteration,
    propose,
    reward_of_scores,
    take_batch,
    value_batch,
)

__all__ = ["Engine", "FusedEngine", "HostEngine", "fit_and_score", "judge_weights"]

MAX_CHUNK = 100


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
        run = partial(outer_iteration, program, problem, hyper, first + t)
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
    fitted = predictor.solve(start, batch.X, batch.Y, weights, batch.mask, key, hyper)
    scores = jax.vmap(
        lambda params: predictor.apply(params, problem.X_validation, problem.Y.shape[1])
    )(fitted)
    return scores, mean_of_selections(fitted)


def judge_weights(
    program: Program,
    problem: Problem,
    hyper: Hyper,
    rows: NDArray[np.int32] | None,
    weights: NDArray[np.float32],
) -> tuple[float, NDArray[np.float32]]:
    """Reward and validation scores of one traced predictor trained afresh with `weights`."""
    predictor = program.predictor
    assert predictor is not None
    start = problem.start_of(predictor, np.random.default_rng(0))
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
    scores = program.predictor.apply(params, problem.X_validation, problem.Y.shape[1])
    if program.reward.on_host:
        return jnp.zeros(()), scores
    return reward_of_scores(program, problem, scores), scores


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
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """Reward and validation scores of one predictor trained with soft `weights` of `rows`."""
        ...


@dataclass
class FusedEngine:
    """All of an outer iteration in one compiled program; for traced predictors.

    Attributes
    ----------
    program, problem, hyper
        See :class:`Program` and :class:`Problem`; `hyper` are numbers that need no compilation.
    n_fits : int
        Predictor fits so far.
    """

    program: Program
    problem: Problem
    hyper: Hyper
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
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """See :class:`Engine`."""
        self.n_fits += 1
        return judge_weights(self.program, self.problem, self.hyper, rows, weights)


class Evaluator(Protocol):
    """Fits or judges predictors on the host: see :mod:`dvrl.learning.evaluators`."""

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
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
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
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """See :class:`Engine`."""
        self.n_fits += 1
        return self.evaluator.reward(weights, rows)
