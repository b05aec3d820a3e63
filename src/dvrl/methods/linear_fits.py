"""Solved linear fits by the hundred: any subsets from a common start, or growing chains.

All fits share the features, so that one step of all of them is two matrix products, ``X`` by the
directions and the transpose of ``X`` by the residuals; a step of Newton's method for each fit would
need a Hessian for each. The steps are those of conjugate gradients or of the quasi-Newton method of
Broyden, Fletcher, Goldfarb and Shanno; the steps of a fit need no line search, because the length
below lowers every objective of this kind.

Where subsets grow by one row at a time, each chain adds its next row as soon as its own fit has
converged: no chain waits for the slowest. What the quasi-Newton method has learnt of the curvature
stays with the chain, so that a row costs some three steps.

Arrays are (columns, fits, raw outputs) and (rows, fits, raw outputs): the columns of one matrix.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dvrl.predictors.base import Parameters
from dvrl.predictors.linear import INTERCEPT_PENALTY
from dvrl.predictors.links import raw_curvature, raw_residuals

__all__ = ["Chains", "Rows", "grow_chains", "parameters", "solve_subsets", "start_chains"]

# Steps of a batch of fits, and of a block of chains per row that is added: none was seen to need
# half of them.
MAX_STEPS = 200
MAX_STEPS_PER_ROW = 40
# A fit is done where no entry of its gradient is above the tolerance times its number of rows. The
# fits of a chain are subtracted from each other and must be more precise: they count no more rows
# than these. With 2e-4 the error is a hundredth of what a row adds, and the next fit corrects it.
CHAIN_TOLERANCE_ROWS = 50.0
# Rounding of a gradient summed in float32, as a share of the sum of absolute terms.
ROUNDING = 2e-7
# Entries of an inverse Hessian for each chain; beyond that its memory traffic costs more than the
# steps that it saves.
MAX_INVERSE_ENTRIES = 256**2
TINY = 1e-30
# Below it a logarithm of one plus a number is the number, to float32.
NEGLIGIBLE = 1e-4


class Rows(NamedTuple):
    """Training rows, the last column of `X` all ones, and the penalty of each column."""

    X: Float[Array, "rows columns"]
    Y: Float[Array, "rows outputs"]
    penalty: Float[Array, " columns"]

    @classmethod
    def of(cls, X: Array, Y: Array, l2: Array) -> Rows:
        """Rows with an intercept."""
        columns = jnp.concatenate([X, jnp.ones((X.shape[0], 1), X.dtype)], axis=1)
        return cls(columns, Y, jnp.full(columns.shape[1], l2).at[-1].set(INTERCEPT_PENALTY))

    def raw(self, theta: Array) -> Array:
        """Raw outputs (rows, fits, raw)."""
        return jnp.einsum("nd,dkq->nkq", self.X, theta)

    def residuals(self, raw: Array) -> Array:
        """Derivatives of the losses by the raw outputs."""
        return raw_residuals(raw, self.Y[:, None])

    def gradient(self, weights: Array, residuals: Array, theta: Array) -> Array:
        """Of each objective by its coefficients."""
        pulled = jnp.einsum("nd,nkq->dkq", self.X, weights[..., None] * residuals)
        return pulled + self.penalty[:, None, None] * theta

    def step_length(self, weights: Array, raw: Array, gradient: Array, direction: Array) -> _Step:
        """Length of a step that is sure to lower the objective of each fit.

        Along a line, the third derivative of the loss of a row is at most the second times the
        range of the row's raw direction (Bach, "Self-concordant analysis for logistic regression",
        Electronic Journal of Statistics 2010). The minimum of the bound that follows from it is
        Newton's length where that is short, and a logarithm of it where it is long.
        """
        raw_direction = self.raw(direction)
        n_outputs = self.Y.shape[1]
        bent = raw_direction * raw_curvature(raw, raw_direction, n_outputs)
        curvature = jnp.sum(weights * jnp.sum(bent, axis=-1), axis=0)
        curvature += jnp.sum(self.penalty[:, None, None] * direction**2, axis=(0, 2))
        newton = -_dot(gradient, direction) / jnp.maximum(curvature, TINY)
        if n_outputs == 1:  # a parabola
            return _Step(newton[:, None], raw_direction)
        if raw_direction.shape[-1] == 1:
            ranges = jnp.abs(raw_direction[..., 0])
        else:
            ranges = raw_direction.max(axis=-1) - raw_direction.min(axis=-1)
        reach = jnp.max(jnp.where(weights > 0, ranges, 0.0), axis=0)
        damped = jnp.log1p(reach * newton) / jnp.maximum(reach, TINY)
        length = jnp.where(reach * newton < NEGLIGIBLE, newton, damped)
        return _Step(length[:, None], raw_direction)

    def own_curvature(self, raw: Array) -> Array:
        """Second derivatives of the losses by each raw output alone."""
        n_raw = raw.shape[-1]
        return jnp.stack(
            [
                raw_curvature(raw, jnp.broadcast_to(unit, raw.shape), self.Y.shape[1])[..., q]
                for q, unit in enumerate(jnp.eye(n_raw))
            ],
            axis=-1,
        )

    def inverse_blocks(self, row_weights: Array, raw: Array) -> Array:
        """Inverses (raw, columns, columns) of a Hessian's blocks, one for each raw output."""

        def block(curvature: Array) -> Array:
            hessian = self.X.T @ (curvature[:, None] * self.X)
            # Padded columns have no curvature; rounding must not make a block indefinite.
            jitter = 1e-6 * jnp.max(jnp.diagonal(hessian)) + 1e-6
            return jnp.linalg.inv(hessian + jnp.diag(self.penalty + jitter))

        return jax.lax.map(block, self.own_curvature(raw).T * row_weights)


class _Step(NamedTuple):
    length: Array
    raw_direction: Array


def _dot(left: Array, right: Array) -> Array:
    """Inner product for each fit."""
    return jnp.sum(left * right, axis=(0, 2))


class ConjugateGradients(NamedTuple):
    """Nonlinear conjugate gradients (Polak and Ribiere), with one preconditioner for all fits."""

    # Approximate inverse of a typical Hessian, without the part between raw outputs.
    blocks: Float[Array, "raw columns columns"]
    direction: Float[Array, "columns fits raw"]
    # Product of the last gradient with its preconditioned self.
    size: Float[Array, " fits"]

    @classmethod
    def start(cls, blocks: Array, theta: Array) -> ConjugateGradients:
        """Before the first step."""
        return cls(blocks, jnp.zeros_like(theta), jnp.zeros(theta.shape[1]))

    def next(
        self, step: Array, change: Array, gradient: Array, is_new: Array
    ) -> tuple[Array, ConjugateGradients]:
        """The next direction, given the last step and what it changed in the gradient.

        Where `is_new`, the objective itself has changed since.
        """
        conditioned = jnp.einsum("qde,ekq->dkq", self.blocks, gradient)
        ratio = jnp.maximum(_dot(conditioned, change) / jnp.maximum(self.size, TINY), 0.0)
        ratio = jnp.where(is_new | (self.size == 0), 0.0, ratio)
        direction = -conditioned + ratio[:, None] * self.direction
        falls = _dot(gradient, direction) < 0
        direction = jnp.where(falls[:, None], direction, -conditioned)
        return direction, self._replace(direction=direction, size=_dot(gradient, conditioned))


class QuasiNewton(NamedTuple):
    """The method of Broyden, Fletcher, Goldfarb and Shanno; an inverse Hessian for each fit."""

    inverse: Float[Array, "fits columns*raw columns*raw"]

    @classmethod
    def start(cls, rows: Rows, theta: Array) -> QuasiNewton:
        """Before any row: the inverse of the penalty, which has no less curvature than a row."""
        _, n_fits, n_raw = theta.shape
        scale = jnp.repeat(1.0 / jnp.maximum(rows.penalty, 1.0), n_raw)
        return cls(jnp.tile(jnp.diag(scale), (n_fits, 1, 1)))

    def next(
        self, step: Array, change: Array, gradient: Array, is_new: Array
    ) -> tuple[Array, QuasiNewton]:
        """See :meth:`ConjugateGradients.next`; curvature that was learnt outlives new rows."""
        s, y, g = map(_by_fit, (step, change, gradient))
        # One pass over the inverses, before they are updated; they are symmetric.
        both = jnp.einsum("kce,ked->kcd", jnp.stack([y, g], axis=1), self.inverse)
        inverse_y, inverse_g = both[:, 0], both[:, 1]
        gain = jnp.sum(s * y, axis=1, keepdims=True)
        rho = jnp.where(gain > TINY, 1.0 / jnp.maximum(gain, TINY), 0.0)
        own = rho * (rho * jnp.sum(y * inverse_y, axis=1, keepdims=True) + 1.0)
        side = rho * inverse_y - 0.5 * own * s
        along, across = (jnp.sum(each * g, axis=1, keepdims=True) for each in (s, side))
        direction = -(inverse_g - side * along - s * across)
        falls = jnp.sum(direction * g, axis=1, keepdims=True) < 0
        direction = jnp.where(falls, direction, -g)
        inverse = self.inverse - side[:, :, None] * s[:, None] - s[:, :, None] * side[:, None]
        return _of_fits(direction, gradient), QuasiNewton(inverse)


def _by_fit(array: Array) -> Array:
    """(columns, fits, raw) as (fits, columns * raw)."""
    return jnp.moveaxis(array, 1, 0).reshape(array.shape[1], -1)


def _of_fits(flat: Array, like: Array) -> Array:
    columns, n_fits, n_raw = like.shape
    return jnp.moveaxis(flat.reshape(n_fits, columns, n_raw), 0, 1)


def parameters(theta: Float[Array, "columns fits raw"]) -> Parameters:
    """Parameters of a :class:`dvrl.predictors.linear.LinearPredictor`, fits first."""
    moved = jnp.moveaxis(theta, 1, 0)
    return {"weight": moved[:, :-1], "bias": moved[:, -1]}


def _stacked(params: Parameters) -> Array:
    return jnp.concatenate([params["weight"], params["bias"][None]], axis=0)


# ------------------------------------------------------------------------------------- subsets


class _Batch(NamedTuple):
    theta: Array
    raw: Array
    gradient: Array
    step: Array
    memory: QuasiNewton | ConjugateGradients
    is_done: Array
    n_steps: Array


def solve_subsets(
    rows: Rows, start: Parameters, weights: Float[Array, "fits rows"], tolerance: float
) -> Float[Array, "columns fits raw"]:
    """Coefficients of the converged fits, started at the parameters of one fit near all of them.

    The tolerance is that of the largest entry of a gradient per unit of weight.
    """
    w = weights.T
    first = _stacked(start)
    raw = jnp.broadcast_to((rows.X @ first)[:, None], (*w.shape, first.shape[1]))
    theta = jnp.broadcast_to(first[:, None], (first.shape[0], w.shape[1], first.shape[1]))
    memory = _memory_of_subsets(rows, w, raw)
    sizes = jnp.einsum("nd,nkq->dkq", jnp.abs(rows.X), w[..., None] * jnp.abs(rows.residuals(raw)))
    target = jnp.maximum(tolerance * (1.0 + jnp.sum(w, axis=0))[:, None], ROUNDING * sizes)

    def advance(batch: _Batch) -> _Batch:
        gradient = rows.gradient(w, rows.residuals(batch.raw), batch.theta)
        direction, memory = batch.memory.next(
            batch.step, gradient - batch.gradient, gradient, batch.n_steps == 0
        )
        length, raw_direction = rows.step_length(w, batch.raw, gradient, direction)
        is_done = jnp.all(jnp.abs(gradient) <= target, axis=(0, 2))
        step = jnp.where(is_done[:, None], 0.0, length) * direction
        return _Batch(
            batch.theta + step,
            batch.raw + jnp.where(is_done[:, None], 0.0, length) * raw_direction,
            gradient,
            step,
            memory,
            is_done,
            batch.n_steps + 1,
        )

    zero = jnp.zeros_like(theta)
    nobody = jnp.zeros(w.shape[1], bool)
    batch = _Batch(theta, raw, zero, zero, memory, nobody, jnp.asarray(0))
    return jax.lax.while_loop(
        lambda batch: ~jnp.all(batch.is_done) & (batch.n_steps < MAX_STEPS), advance, batch
    ).theta


def _memory_of_subsets(rows: Rows, weights: Array, raw: Array) -> QuasiNewton | ConjugateGradients:
    """What is known of the curvature before the first step, all fits at the same raw outputs.

    One Hessian, with weights averaged over the fits; for quasi-Newton steps scaled by the diagonal
    of each fit's own, because a rare category may have many rows in one subset and none in the
    next.
    """
    n_columns, n_fits, n_raw = rows.X.shape[1], weights.shape[1], raw.shape[-1]
    blocks = rows.inverse_blocks(jnp.mean(weights, axis=1), raw[:, 0])
    if (n_columns * n_raw) ** 2 > MAX_INVERSE_ENTRIES:
        return ConjugateGradients.start(blocks, jnp.zeros((n_columns, n_fits, n_raw)))
    curvature = weights[..., None] * rows.own_curvature(raw)
    diagonal = jnp.einsum("nd,nkq->kdq", rows.X**2, curvature) + rows.penalty[:, None]
    scale = jnp.sqrt(jnp.mean(diagonal, axis=0) / diagonal)
    inverse = jnp.einsum("qde,qr->dqer", blocks, jnp.eye(n_raw))
    inverse = scale[..., None, None] * inverse * scale[:, None, None]
    return QuasiNewton(inverse.reshape(n_fits, n_columns * n_raw, -1))


# -------------------------------------------------------------------------------------- chains


class Chains(NamedTuple):
    """Growing subsets, each with its fit; weights are 1 for rows that are in."""

    theta: Float[Array, "columns chains raw"]
    weights: Float[Array, "rows chains"]
    memory: QuasiNewton | ConjugateGradients


class _Growing(NamedTuple):
    theta: Array
    raw: Array
    weights: Array
    gradient: Array
    step: Array
    memory: QuasiNewton | ConjugateGradients
    place: Int[Array, " chains"]
    is_done: Bool[Array, " chains"]
    found: Float[Array, "block chains columns raw"]
    n_steps: Array


def start_chains(rows: Rows, start: Parameters, n_chains: int) -> Chains:
    """Chains of no rows, from the parameters of one fit of none."""
    first = _stacked(start)
    theta = jnp.broadcast_to(first[:, None], (first.shape[0], n_chains, first.shape[1]))
    memory: QuasiNewton | ConjugateGradients
    if first.size**2 <= MAX_INVERSE_ENTRIES:
        memory = QuasiNewton.start(rows, theta)
    else:
        blocks = jnp.zeros((first.shape[1], first.shape[0], first.shape[0]))
        memory = ConjugateGradients.start(blocks, theta)
    return Chains(theta, jnp.zeros((rows.X.shape[0], n_chains)), memory)


@partial(jax.jit, static_argnames=("tolerance",), donate_argnames=("chains",))
def grow_chains(
    rows: Rows, chains: Chains, added: Int[Array, "block chains"], tolerance: float
) -> tuple[Chains, Float[Array, "block chains columns raw"]]:
    """Add rows to each chain one by one; coefficients of the fit after each.

    The chains are used up. A row that is in already changes nothing.
    """
    block, n_chains = added.shape
    numbers = jnp.arange(n_chains)
    weights = chains.weights.at[added[0], numbers].set(1.0)
    raw = rows.raw(chains.theta)
    memory = chains.memory
    if isinstance(memory, ConjugateGradients):
        # Chains of as many rows have like curvature.
        blocks = rows.inverse_blocks(jnp.mean(weights, axis=1), jnp.mean(raw, axis=1))
        memory = ConjugateGradients.start(blocks, chains.theta)
    zero = jnp.zeros_like(chains.theta)
    now = _Growing(
        chains.theta,
        raw,
        weights,
        zero,
        zero,
        memory,
        jnp.zeros(n_chains, jnp.int32),
        jnp.zeros(n_chains, bool),
        jnp.zeros((block, n_chains, *zero.shape[::2])),
        jnp.asarray(0),
    )
    now = jax.lax.while_loop(
        lambda now: ~jnp.all(now.is_done) & (now.n_steps < MAX_STEPS_PER_ROW * block),
        partial(_next_step, rows, added, tolerance),
        now,
    )
    # Were a chain to run out of steps, its last fit would stand for the rows not yet added.
    late = jnp.arange(block)[:, None] > now.place
    found = jnp.where(late[..., None, None], jnp.moveaxis(now.theta, 0, 1), now.found)
    weights = now.weights.at[added, numbers].set(1.0)
    return Chains(now.theta, weights, now.memory), found


def _next_step(
    rows: Rows, added: Int[Array, "block chains"], tolerance: float, now: _Growing
) -> _Growing:
    """One step of each chain; where its fit is solved, on to its next row."""
    numbers = jnp.arange(added.shape[1])
    residuals = rows.residuals(now.raw)
    gradient = rows.gradient(now.weights, residuals, now.theta)
    change = gradient - now.gradient
    n_rows = jnp.minimum(jnp.sum(now.weights, axis=0), CHAIN_TOLERANCE_ROWS)
    target = tolerance * n_rows[:, None]
    is_solved = jnp.all(jnp.abs(gradient) <= target, axis=(0, 2))
    found = now.found.at[now.place, numbers].set(jnp.moveaxis(now.theta, 0, 1))
    is_last = now.place == added.shape[0] - 1
    moves_on = is_solved & ~is_last
    place = now.place + moves_on
    # What the next row adds is known without another pass over all rows.
    new = added[place, numbers]
    gains = (moves_on * (1.0 - now.weights[new, numbers]))[:, None] * residuals[new, numbers]
    gradient = gradient + rows.X[new].T[..., None] * gains
    weights = now.weights.at[new, numbers].set(1.0)
    direction, memory = now.memory.next(now.step, change, gradient, moves_on)
    length, raw_direction = rows.step_length(weights, now.raw, gradient, direction)
    is_done = is_solved & is_last
    length = jnp.where(is_done[:, None], 0.0, length)
    step = length * direction
    return _Growing(
        now.theta + step,
        now.raw + length * raw_direction,
        weights,
        gradient,
        step,
        memory,
        place,
        is_done,
        found,
        now.n_steps + 1,
    )
