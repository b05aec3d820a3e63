"""Predictors fitted on many subsets of the training rows, and what they say about other rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from dvrl.data.preparation import Prepared
from dvrl.data.table import Table
from dvrl.learning.assembly import by_name, inner_learning_rate
from dvrl.learning.evaluators import Judge, evaluated
from dvrl.learning.settings import RunSettings
from dvrl.numerics.padding import pad, padded_size
from dvrl.predictors.base import Parameters, Traced, initial_parameters, is_traced
from dvrl.predictors.linear import LinearPredictor
from dvrl.predictors.registry import on_host
from dvrl.predictors.rewards import Reward
from dvrl.predictors.traced import fit_traced, n_columns_of

from .linear_fits import Rows, grow_chains, parameters, solve_subsets, start_chains

__all__ = ["Fitter", "HostFitter", "TracedFitter", "make_fitter"]

Floats = NDArray[np.float32]
Counts = NDArray[np.integer[Any]] | NDArray[np.bool_]

# Subsets per compiled batch: more gain nothing on a CPU.
BATCH_SUBSETS = 64
# Of solved fits. Utilities then are as precise as those of scikit-learn's fits with its defaults:
# off by some hundredths of their spread between random subsets.
TOLERANCE = 2e-4
# Entries of a batch of subsets (subsets x rows x outputs) that fit comfortably into memory.
BATCH_ENTRIES = 1 << 25
# Where scores are asked for and nothing is judged.
_NO_REWARD = Reward("none", lambda *_: 0.0, differentiable=False, on_host=False)


class Fitter(Protocol):
    """Fits one predictor per subset, `batch_subsets` of them together at most."""

    batch_subsets: int
    predictor: Any
    sees: str

    def scores(self, counts: Counts, reward: Reward | None = None) -> list[Any]:
        """Scores (rows, outputs) for the scored rows, by one predictor per subset.

        Parameters
        ----------
        counts : (k, n_rows) int or bool
            How often each subset holds each row; `k` is at most `batch_subsets`.
        reward : Reward, optional
            Of the host: asked by predictors that judge where they are fitted.

        Returns
        -------
        list
            Arrays; or numbers of a reward of the host; or None where no fit is possible; or a
            Failure.
        """
        ...


def make_fitter(
    data: Prepared,
    *,
    predictor: Any,
    task: str,
    seed: int,
    n_jobs: int | None = None,
    tolerance: float | None = None,
    on_training_rows: bool = False,
) -> Fitter:
    """Fitter of a predictor.

    Parameters
    ----------
    data : Prepared
    predictor : str or object
        As for :class:`dvrl.DVRLClassifier`.
    task : {"classification", "regression"}
    seed : int
        Of initial parameters, mini-batches and black boxes: the same for every subset.
    n_jobs : int, optional
        Fits of a black box at once.
    tolerance : float, optional
        Of solved fits, see :class:`dvrl.predictors.linear.LinearPredictor`; by default
        `TOLERANCE`.
    on_training_rows : bool
        Score the training rows rather than the validation rows.
    """
    settings = RunSettings()
    chosen = by_name(predictor, task, settings)
    scored = data.training if on_training_rows else data.validation
    if not is_traced(chosen):
        # A copy: what the caller does to the predictor later must not change utilities halfway.
        host = on_host(clone(chosen, safe=False), data.coder, n_jobs=n_jobs, seed=seed)
        return HostFitter(host, data.training, scored, data.coder, seed)
    if getattr(chosen, "linear_fits", False):
        chosen = replace(chosen, tolerance=TOLERANCE if tolerance is None else tolerance)
    return TracedFitter(chosen, data.X, data.Y, scored.features, settings, seed)


class HostFitter:
    """Subsets on the host."""

    batch_subsets = BATCH_SUBSETS

    def __init__(self, predictor: Any, rows: Table, scored: Table, coder: Any, seed: int) -> None:
        self.predictor, self.rows, self.seed = predictor, rows, seed
        self.sees: str = predictor.sees
        self.judge = Judge(_NO_REWARD, coder, scored, predictor.sees)

    def scores(self, counts: Counts, reward: Reward | None = None) -> list[Any]:
        """See :class:`Fitter`."""
        judge = replace(self.judge, reward=_NO_REWARD if reward is None else reward)
        return evaluated(self.predictor, self.rows, counts, judge, seed=self.seed)


class TracedFitter:
    """Subsets in compiled batches."""

    sees = "features"

    def __init__(
        self,
        predictor: Traced,
        X: Floats,
        Y: Floats,
        X_scored: Floats,
        settings: RunSettings,
        seed: int,
    ) -> None:
        n, d = X.shape
        self.n_rows, n_rows, n_columns = n, padded_size(n), n_columns_of(predictor, d)
        self.predictor, self.n_scored, self.n_outputs = predictor, len(X_scored), Y.shape[1]
        self.is_solved = bool(getattr(predictor, "linear_fits", False))
        self.tolerance = float(getattr(predictor, "tolerance", 0.0))
        largest = max(n_rows, padded_size(self.n_scored)) * self.n_outputs
        self.batch_subsets = int(np.clip(BATCH_ENTRIES // largest, 1, BATCH_SUBSETS))
        self.X, self.Y, self.mask, self.X_scored = map(
            jnp.asarray,
            (
                pad(X, n_rows, n_columns),
                pad(Y, n_rows),
                pad(np.ones(n, np.float32), n_rows),
                pad(X_scored, padded_size(self.n_scored), n_columns),
            ),
        )
        self.hyper = {
            "inner_learning_rate": jnp.float32(inner_learning_rate(predictor, settings)),
            "l2": jnp.float32(settings.l2),
        }
        self.key = jax.random.key(seed)
        self.initial = initial_parameters(
            predictor, np.random.default_rng(seed), d, n_columns, Y.shape[1]
        )
        self.fit_exactly = partial(
            fit_traced, LinearPredictor(), Table(X, Y), l2=settings.l2, seed=seed
        )

    @cached_property
    def start(self) -> Parameters:
        """Where the fits start: a solved fit may start anywhere, and all rows are near most."""
        if not self.is_solved:
            return self.initial
        return self.fit_exactly(weights=np.ones(self.n_rows, np.float32)).params

    def scores(self, counts: Counts, reward: Reward | None = None) -> list[Any]:
        """See :class:`Fitter`."""
        missing = self.batch_subsets - len(counts)
        full = np.concatenate([counts, np.repeat(counts[:1], missing, axis=0)])
        scores = _batch_scores(
            self.predictor,
            self.n_outputs,
            self.start,
            self.X,
            self.Y,
            _padded_columns(full, len(self.mask)),
            self.mask,
            self.key,
            self.hyper,
            self.X_scored,
        )
        return list(np.asarray(scores)[: len(counts), : self.n_scored])

    def prefix_scores(self, orders: NDArray[np.intp], block: int) -> Iterator[NDArray[np.float32]]:
        """Scores (block, k, n_scored, outputs) of fits on growing prefixes of each order (k, n).

        Each fit starts from that of the prefix that is one row shorter; solved linear predictors
        only. The last block repeats its last prefix.
        """
        assert self.is_solved
        k, n = orders.shape
        rows = Rows.of(self.X, self.Y, self.hyper["l2"])
        chains = start_chains(rows, self.initial, k)
        for first in range(0, n, block):
            added = orders[:, first : first + block].T
            added = np.concatenate([added, np.repeat(added[-1:], block - len(added), axis=0)])
            chains, found = grow_chains(rows, chains, added, self.tolerance)
            scores = _prefix_scores(self.predictor, self.n_outputs, found, self.X_scored)
            yield np.asarray(scores)[:, :, : self.n_scored]


def _padded_columns(counts: Counts, n_columns: int) -> Floats:
    padded = np.zeros((len(counts), n_columns), np.float32)
    padded[:, : counts.shape[1]] = counts
    return padded


@partial(jax.jit, static_argnames=("predictor", "n_outputs"))
def _batch_scores(
    predictor: Traced,
    n_outputs: int,
    start: Parameters,
    X: jax.Array,
    Y: jax.Array,
    weights: jax.Array,
    mask: jax.Array,
    key: jax.Array,
    hyper: dict[str, Any],
    X_scored: jax.Array,
) -> jax.Array:
    if getattr(predictor, "linear_fits", False):
        rows = Rows.of(X, Y, hyper["l2"])
        linear: Any = predictor
        fitted = parameters(solve_subsets(rows, start, weights, linear.tolerance))
    else:
        fitted = predictor.solve(start, X, Y, weights, mask, key, hyper)
    return _scores_of_all(predictor, n_outputs, fitted, X_scored)


def _scores_of_all(
    predictor: Traced, n_outputs: int, fitted: Parameters, X: jax.Array
) -> jax.Array:
    scores: jax.Array = jax.vmap(lambda params: predictor.apply(params, X, n_outputs))(fitted)
    return scores


@partial(jax.jit, static_argnames=("predictor", "n_outputs"))
def _prefix_scores(
    predictor: Traced, n_outputs: int, found: jax.Array, X_scored: jax.Array
) -> jax.Array:
    """Scores (block, chains, rows, outputs) of coefficients (block, chains, columns, raw)."""
    flat = found.reshape(-1, *found.shape[2:])
    params = parameters(jnp.moveaxis(flat, 0, 1))
    scores = _scores_of_all(predictor, n_outputs, params, X_scored)
    return scores.reshape(*found.shape[:2], *scores.shape[1:])
