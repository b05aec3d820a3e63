"""The outer loop: Algorithm 1 of Yoon, Arik and Pfister (ICML 2020), for a whole ensemble.

Read :func:`value_batch`, :func:`propose`, :func:`evaluate` and :func:`improve` from top to bottom:
together they are one outer iteration of one ensemble member. :func:`dvrl.learning.run.train`
repeats them, either fused and compiled (:class:`dvrl.learning.engines.FusedEngine`, traced
predictors) or with the fits on the host (:class:`dvrl.learning.engines.HostEngine`, anything
else), and owns stopping, checkpoints and progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ..numerics.axes import map_axis
from ..predictors.base import Parameters, Traced, initial_parameters
from ..predictors.rewards import Reward
from .network import DataValueEstimator, policy_logits
from .policy import (
    BASELINES,
    antithetic_gradient,
    draw_selections,
    exploration_penalty,
    kl_divergence,
    reinforce_gradient,
)

__all__ = ["Problem", "Program", "member_logits"]

# Weight t**AVERAGING_POWER on iteration t: the last part of the run counts, wherever it ends.
AVERAGING_POWER = 3.0


@dataclass(frozen=True)
class Program:
    """What is fixed at compile time."""

    predictor: Traced | None
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

    ``validation_mask`` holds the weights of the validation rows, 0 for padding.

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

    def start_of(self, predictor: Traced, rng: np.random.Generator) -> Parameters:
        """Unfitted parameters of a predictor for these columns."""
        used, n_columns, n_outputs = int(self.used_features), self.X.shape[1], self.Y.shape[1]
        return initial_parameters(predictor, rng, used, n_columns, n_outputs)


class Batch(NamedTuple):
    """The rows of one outer iteration."""

    X: Float[Array, "batch features"]
    Y: Float[Array, "batch outputs"]
    differences: Float[Array, "batch differences"]
    prior_logits: Float[Array, " batch"]
    mask: Float[Array, " batch"]


class Member(NamedTuple):
    """All that one ensemble member learns and remembers.

    ``validation_mask`` holds the weights of the validation rows that reward this member, else 0;
    what is judged on the host does not look at it, and is rewarded by all.
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
        fitted = predictor.solve(
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
        scores = predictor.apply(params, problem.X_validation, n_outputs)
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
    baseline, baseline_state = BASELINES[program.baseline](
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
    updates, optimizer = optax.adam(hyper["learning_rate"]).update(descent, member.optimizer)
    estimator = optax.apply_updates(member.estimator, updates)
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


def outer_iteration(
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
