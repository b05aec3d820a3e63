"""Logistic, softmax and ridge regression: solved to convergence or by mini-batches.

The converged fit minimises ``sum_i w_i loss_i + l2 / 2 * |coefficients|^2`` (the objective of
scikit-learn's ``LogisticRegression(C=1 / l2)``) by Newton's method, each Newton system solved by
conjugate gradients. One preconditioner, the Hessian's block of each raw output at the start with
the curvature averaged over selections, serves all selections, scaled by each one's diagonal.

The gradient through the fit comes from the implicit function theorem: with the Hessian ``H`` at
the solution, ``d theta / d w_i = -H^{-1} grad loss_i`` (as in influence functions; Koh and Liang,
2017), so it costs one more linear system and no memory for the steps of the solver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .base import Parameters
from .links import (
    affine,
    n_raw_outputs,
    raw_curvature,
    raw_residuals,
    raw_row_losses,
)
from .networks import Minibatches

__all__ = ["LinearPredictor"]

MAX_NEWTON_STEPS = 30
MAX_CONJUGATE_STEPS = 100
# The intercept is free in effect, but a selection of a single class must keep a finite optimum.
INTERCEPT_PENALTY = 1e-3
GRADIENT_TOLERANCE = 1e-5
# Relative residuals of the linear systems: a Newton direction may be rough, a gradient less so.
NEWTON_TOLERANCE = 0.1
ADJOINT_TOLERANCE = 1e-3
STEP_LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.01)
# Relative rounding of an objective summed in float32.
ROUNDING = 1e-5
TINY = float(np.finfo(np.float32).tiny)

CGState = tuple[Array, Array, Array, Array, Array]
NewtonState = tuple[Array, Array, Array, Array, Array]


@dataclass(frozen=True, kw_only=True)
class LinearPredictor(Minibatches):
    """A linear model with an intercept.

    Attributes
    ----------
    steps : int or None
        Mini-batch steps per fit; None solves to convergence.
    batch_size : int
        Rows per mini-batch.
    optimizer : {"sgd", "adam"}
        Of the mini-batch steps.
    tolerance : float
        Largest entry of the gradient, per unit of weight, at which a solved fit has converged.
    """

    steps: int | None = None
    optimizer: str = "sgd"
    tolerance: float = GRADIENT_TOLERANCE

    @property
    def linear_fits(self) -> bool:
        """Whether fits are solved, so that methods for such fits may be used."""
        return self.steps is None

    def for_one_fit(self, n_rows: int) -> LinearPredictor:
        """The predictor of a fit that is done once: solved."""
        return replace(self, steps=None)

    def init(self, rng: np.random.Generator, n_features: int, n_outputs: int) -> Parameters:
        """All coefficients zero."""
        n_raw = n_raw_outputs(n_outputs)
        return {
            "weight": np.zeros((n_features, n_raw), np.float32),
            "bias": np.zeros(n_raw, np.float32),
        }

    def widened(self, params: Parameters, n_columns: int) -> Parameters:
        """The same model with zero coefficients for columns of padding."""
        missing = n_columns - len(params["weight"])
        return {**params, "weight": np.pad(params["weight"], ((0, missing), (0, 0)))}

    def raw(self, params: Parameters, X: Float[Array, "rows features"]) -> Float[Array, "rows raw"]:
        """Raw outputs, see :mod:`dvrl.predictors.links`."""
        return affine(X, params["weight"], params["bias"])

    def solve(
        self,
        params: Parameters,
        X: Float[Array, "rows features"],
        Y: Float[Array, "rows outputs"],
        weights: Float[Array, "selections rows"],
        mask: Float[Array, " rows"],
        key: PRNGKeyArray,
        hyper: dict[str, Float[Array, ""]],
    ) -> Parameters:
        """See :class:`dvrl.predictors.base.Traced`.

        Solved fits may also start from one set of parameters per selection.
        """
        if self.steps is None:
            columns = _with_intercept(X)
            solved = _solve(self.tolerance, _stacked(params), columns, Y, weights, hyper["l2"])
            return _parameters(solved)
        return super().solve(params, X, Y, weights, mask, key, hyper)


def _with_intercept(X: Array) -> Array:
    return jnp.concatenate([X, jnp.ones((X.shape[0], 1), X.dtype)], axis=1)


def _stacked(params: Parameters) -> Array:
    """Coefficients with the intercept as their last row."""
    return jnp.concatenate([params["weight"], params["bias"][..., None, :]], axis=-2)


def _parameters(theta: Array) -> Parameters:
    return {"weight": theta[:, :-1], "bias": theta[:, -1]}


class _System(NamedTuple):
    """What one weighted fit is made of; theta is (selections, columns, raw)."""

    X: Float[Array, "rows columns"]
    Y: Float[Array, "rows outputs"]
    weights: Float[Array, "selections rows"]
    penalty: Float[Array, " columns"]

    def raw(self, theta: Array) -> Array:
        return jnp.einsum("nd,kdq->knq", self.X, theta)

    def pull_back(self, raw: Array) -> Array:
        return jnp.einsum("nd,knq->kdq", self.X, raw)

    def gradient(self, theta: Array, raw: Array) -> Array:
        residuals = self.weights[..., None] * raw_residuals(raw, self.Y)
        return self.pull_back(residuals) + self.penalty[:, None] * theta

    def hessian_product(self, raw: Array, direction: Array) -> Array:
        curved = raw_curvature(raw, self.raw(direction), self.Y.shape[1])
        return self.pull_back(self.weights[..., None] * curved) + (
            self.penalty[:, None] * direction
        )

    def objective(self, theta: Array, raw: Array) -> Array:
        losses = jnp.sum(self.weights * raw_row_losses(raw, self.Y), axis=-1)
        return losses + 0.5 * jnp.sum(self.penalty[:, None] * theta**2, axis=(-2, -1))

    def curvature(self, raw: Array) -> Array:
        """Weighted second derivatives of the losses by each raw output alone."""
        if raw.shape[-1] == 1:
            own = raw_curvature(raw, jnp.ones_like(raw), self.Y.shape[1])
        else:
            probability = jax.nn.softmax(raw, axis=-1)
            own = probability * (1 - probability)
        return self.weights[..., None] * own

    def diagonal(self, raw: Array) -> Array:
        """Diagonals (selections, columns, raw) of the Hessians at raw outputs `raw`."""
        squares = jnp.einsum("nd,knq->kdq", self.X**2, self.curvature(raw))
        return squares + self.penalty[:, None]

    def factor(self, raw: Array) -> _Factor:
        """Cholesky factors of the Hessian's blocks at raw outputs `raw`, mean over selections."""
        row_weights = jnp.mean(self.curvature(raw), axis=0)
        blocks = jax.vmap(lambda weights: self.X.T @ (weights[:, None] * self.X), in_axes=1)(
            row_weights
        )
        # Padded columns have no curvature; rounding must not make a block indefinite.
        jitter = 1e-6 * jnp.max(jnp.diagonal(blocks, axis1=1, axis2=2), axis=1) + 1e-6
        blocks = blocks + jax.vmap(jnp.diag)(self.penalty + jitter[:, None])
        return _Factor(jnp.linalg.cholesky(blocks), jnp.diagonal(blocks, axis1=1, axis2=2).T)


class _Factor(NamedTuple):
    """A preconditioner: Cholesky factors (raw, columns, columns), and what they factor's diagonal.

    Scaling by each selection's own diagonal fits the shared factors to it: a rare category may
    have many rows in one selection and none in the next.
    """

    cholesky: Array
    diagonal: Array

    def solver(self, diagonal: Array) -> Callable[[Array], Array]:
        """Approximate inverse of Hessians with diagonals (selections, columns, raw)."""
        scale = jnp.sqrt(self.diagonal / diagonal)

        def solve(residual: Array) -> Array:
            columns = jnp.moveaxis(scale * residual, (2, 1, 0), (0, 1, 2))
            solved = jax.vmap(
                lambda block, right: jax.scipy.linalg.cho_solve((block, True), right)
            )(self.cholesky, columns)
            return scale * jnp.moveaxis(solved, (0, 1, 2), (2, 1, 0))

        return solve


def _dot(left: Array, right: Array) -> Array:
    """Inner product of each selection's (columns, raw) matrices, shaped to broadcast."""
    return jnp.sum(left * right, axis=(-2, -1), keepdims=True)


def _conjugate_gradients(
    product: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    right: Array,
    tolerance: float,
) -> Array:
    """Solve ``product(x) = right`` for all selections, to a relative residual."""
    target = tolerance**2 * _dot(right, right)

    def unfinished(carry: CGState) -> Array:
        _, residual, _, _, step = carry
        return jnp.any(_dot(residual, residual) > target) & (step < MAX_CONJUGATE_STEPS)

    def advance(carry: CGState) -> CGState:
        x, residual, direction, rho, step = carry
        image = product(direction)
        # Selections that are done have a zero direction: no division by zero for them.
        length = rho / jnp.maximum(_dot(direction, image), TINY)
        active = _dot(residual, residual) > target
        length = jnp.where(active, length, 0.0)
        x = x + length * direction
        residual = residual - length * image
        conditioned = precondition(residual)
        rho_next = _dot(residual, conditioned)
        ratio = rho_next / jnp.maximum(rho, TINY)
        return x, residual, conditioned + ratio * direction, rho_next, step + 1

    conditioned = precondition(right)
    start = (
        jnp.zeros_like(right),
        right,
        conditioned,
        _dot(right, conditioned),
        jnp.asarray(0),
    )
    return jax.lax.while_loop(unfinished, advance, start)[0]


def _newton(
    theta: Array, system: _System, tolerance: float, factor: _Factor | None = None
) -> tuple[Array, Any]:
    """Minimise the objective of every selection, from a shared start `theta` or from one for each.

    The preconditioner is factored once, at the start: a few more steps of conjugate gradients are
    cheaper than new factors. Returns the solutions and the factors.
    """
    n_selections = system.weights.shape[0]
    theta = jnp.broadcast_to(theta, (n_selections, *theta.shape[-2:]))
    raw = system.raw(theta)
    factor = system.factor(raw) if factor is None else factor
    total = jnp.sum(system.weights, axis=1)[:, None, None]
    target = tolerance * (1.0 + total)

    def unfinished(carry: NewtonState) -> Array:
        _, _, gradient, _, step = carry
        return jnp.any(jnp.abs(gradient) > target) & (step < MAX_NEWTON_STEPS)

    def advance(carry: NewtonState) -> NewtonState:
        theta, raw, gradient, objective, step = carry
        direction = -_conjugate_gradients(
            partial(system.hessian_product, raw),
            factor.solver(system.diagonal(raw)),
            gradient,
            NEWTON_TOLERANCE,
        )
        raw_direction = system.raw(direction)
        length, objective = _step_length(system, theta, raw, direction, raw_direction, objective)
        theta, raw = theta + length * direction, raw + length * raw_direction
        return theta, raw, system.gradient(theta, raw), objective, step + 1

    start = (
        theta,
        raw,
        system.gradient(theta, raw),
        system.objective(theta, raw),
        jnp.asarray(0),
    )
    return jax.lax.while_loop(unfinished, advance, start)[0], factor


def _step_length(
    system: _System,
    theta: Array,
    raw: Array,
    direction: Array,
    raw_direction: Array,
    objective: Array,
) -> tuple[Array, Array]:
    """Step lengths, and the objectives there; the raw outputs are linear in the step.

    A full step where that does not raise the objective beyond rounding, else the best of a few.
    """

    def objective_at(length: Array) -> Array:
        return system.objective(theta + length * direction, raw + length * raw_direction)

    full = objective_at(jnp.asarray(1.0))
    is_worse = full > objective + ROUNDING * jnp.abs(objective)

    def shorten() -> tuple[Array, Array]:
        lengths = jnp.asarray(STEP_LENGTHS)
        objectives = jax.lax.map(objective_at, lengths)
        best = lengths[jnp.argmin(objectives, axis=0)]
        lowest = jnp.min(objectives, axis=0)
        return jnp.where(is_worse, best, 1.0), jnp.where(is_worse, lowest, full)

    length, objective = jax.lax.cond(
        jnp.any(is_worse), shorten, lambda: (jnp.ones_like(full), full)
    )
    return length[:, None, None], objective


def _system(X: Array, Y: Array, weights: Array, l2: Array) -> _System:
    penalty = jnp.full(X.shape[1], l2).at[-1].set(INTERCEPT_PENALTY)
    return _System(X, Y, weights, penalty)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve(tolerance: float, theta: Array, X: Array, Y: Array, weights: Array, l2: Array) -> Array:
    """Coefficients (selections, columns, raw) of the converged fits, from the start `theta`."""
    return _newton(theta, _system(X, Y, weights, l2), tolerance)[0]


def _solve_forward(
    tolerance: float, theta: Array, X: Array, Y: Array, weights: Array, l2: Array
) -> tuple[Array, Any]:
    solved, factor = _newton(theta, _system(X, Y, weights, l2), tolerance)
    return solved, (theta, solved, factor, X, Y, weights, l2)


def _solve_backward(tolerance: float, saved: Any, cotangent: Array) -> tuple[Array | None, ...]:
    """Implicit differentiation: only the weights get a derivative."""
    theta, solved, factor, X, Y, weights, l2 = saved
    system = _system(X, Y, weights, l2)
    raw = system.raw(solved)
    adjoint = _conjugate_gradients(
        partial(system.hessian_product, raw),
        factor.solver(system.diagonal(raw)),
        cotangent,
        ADJOINT_TOLERANCE,
    )
    by_weight = -jnp.sum(system.raw(adjoint) * raw_residuals(raw, Y), axis=-1)
    return jnp.zeros_like(theta), None, None, by_weight, None


_solve.defvjp(_solve_forward, _solve_backward)
