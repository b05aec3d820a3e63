"""Predictors fitted on many subsets of the training rows, and what they say about other rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from dvrl.data.preparation import Prepared
from dvrl.learning.assembly import inner_learning_rate, shows_original_rows, traceable_predictor
from dvrl.learning.settings import Settings
from dvrl.numerics.padding import pad, padded_size
from dvrl.predictors.base import Parameters, TraceablePredictor
from dvrl.predictors.blackbox import BlackBoxPredictor
from dvrl.predictors.linear import LinearPredictor
from dvrl.predictors.traceable import fit_traceable

from .linear_fits import Rows, grow_chains, parameters, solve_subsets, start_chains

__all__ = ["BlackBoxFitter", "Fitter", "TraceableFitter", "make_fitter"]

Floats = NDArray[np.float32]
Counts = NDArray[np.integer[Any]] | NDArray[np.bool_]

# Subsets per compiled batch: more gain nothing on a CPU.
BATCH_SUBSETS = 64
# Of solved fits. Utilities then are as precise as those of scikit-learn's fits with its defaults:
# off by some hundredths of their spread between random subsets.
TOLERANCE = 2e-4
# Entries of a batch of subsets (subsets x rows x outputs) that fit comfortably into memory.
BATCH_ENTRIES = 1 << 25


class Fitter(Protocol):
    """Fits one predictor per subset.

    Attributes
    ----------
    batch_subsets : int
        Subsets that are fitted together.
    """

    batch_subsets: int

    def scores(self, counts: Counts, scorer: Any = None) -> list[Any]:
        """Scores (rows, outputs) for the scored rows, by one predictor per subset.

        Parameters
        ----------
        counts : (k, n_rows) int or bool
            How often each subset holds each row; `k` is at most `batch_subsets`.
        scorer : callable, optional
            ``(estimator, X, y) -> float``, used by black boxes in place of scores.

        Returns
        -------
        list
            Arrays; or numbers from the scorer; or None where no fit is possible.
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
    settings = Settings()
    traceable = traceable_predictor(predictor, task, settings)
    if traceable is None:
        original = shows_original_rows(predictor)
        X = data.own_X if original else data.X
        X_validation = data.own_X_validation if original else data.X_validation
        return BlackBoxFitter(
            BlackBoxPredictor(predictor, data.coder, n_jobs=n_jobs, random_state=seed),
            X,
            data.own_y,
            X if on_training_rows else X_validation,
            data.own_y if on_training_rows else data.own_y_validation,
        )
    if isinstance(traceable, LinearPredictor):
        traceable = replace(traceable, tolerance=TOLERANCE if tolerance is None else tolerance)
    scored = data.X if on_training_rows else data.X_validation
    return TraceableFitter(traceable, data.X, data.Y, scored, settings, seed)


class BlackBoxFitter:
    """Subsets through joblib."""

    batch_subsets = BATCH_SUBSETS

    def __init__(
        self, predictor: BlackBoxPredictor, X: Any, y: Any, X_scored: Any, y_scored: Any
    ) -> None:
        self.predictor, self.X, self.y = predictor, X, y
        self.X_scored, self.y_scored = X_scored, y_scored

    def scores(self, counts: Counts, scorer: Any = None) -> list[Any]:
        """See :class:`Fitter`."""
        numbers = np.arange(counts.shape[1])
        subsets = [np.repeat(numbers, row.astype(np.intp)) for row in counts]
        return list(
            self.predictor.evaluate(self.X, self.y, subsets, self.X_scored, self.y_scored, scorer)
        )


class TraceableFitter:
    """Subsets in compiled batches."""

    def __init__(
        self,
        predictor: TraceablePredictor,
        X: Floats,
        Y: Floats,
        X_scored: Floats,
        settings: Settings,
        seed: int,
    ) -> None:
        n, d = X.shape
        n_rows, n_columns = padded_size(n), padded_size(d)
        self.predictor, self.n_scored, self.n_outputs = predictor, len(X_scored), Y.shape[1]
        self.is_solved = getattr(predictor, "steps", 0) is None
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
        self.initial = predictor.init(np.random.default_rng(seed), d, n_columns - d, Y.shape[1])
        self.start = self.initial
        if self.is_solved:
            # A solved fit does not depend on its start, and all rows are near most subsets.
            weights = np.ones(n, np.float32)
            exact = LinearPredictor()
            self.start = fit_traceable(exact, X, Y, weights, l2=settings.l2, seed=seed).params

    def scores(self, counts: Counts, scorer: Any = None) -> list[Any]:
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
        """Scores of predictors fitted on growing prefixes of each order, block by block.

        Each fit starts from that of the prefix that is one row shorter; solved linear predictors
        only.

        Parameters
        ----------
        orders : (k, n_rows) int
            Orders of the rows.
        block : int
            Prefixes that are fitted between two yields.

        Yields
        ------
        (block, k, n_scored, n_outputs) float32
            The last block repeats its last prefix.
        """
        assert isinstance(self.predictor, LinearPredictor)
        k, n = orders.shape
        rows = Rows.of(self.X, self.Y, self.hyper["l2"])
        chains = start_chains(rows, self.initial, k)
        for first in range(0, n, block):
            added = orders[:, first : first + block].T
            added = np.concatenate([added, np.repeat(added[-1:], block - len(added), axis=0)])
            chains, found = grow_chains(rows, chains, added, self.predictor.tolerance)
            scores = _prefix_scores(self.predictor, self.n_outputs, found, self.X_scored)
            yield np.asarray(scores)[:, :, : self.n_scored]


def _padded_columns(counts: Counts, n_columns: int) -> Floats:
    padded = np.zeros((len(counts), n_columns), np.float32)
    padded[:, : counts.shape[1]] = counts
    return padded


@partial(jax.jit, static_argnames=("predictor", "n_outputs"))
def _batch_scores(
    predictor: TraceablePredictor,
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
    if isinstance(predictor, LinearPredictor) and predictor.steps is None:
        rows = Rows.of(X, Y, hyper["l2"])
        fitted = parameters(solve_subsets(rows, start, weights, predictor.tolerance))
    else:
        fitted = predictor.fit(start, X, Y, weights, mask, key, hyper)
    return _scores_of_all(predictor, n_outputs, fitted, X_scored)


def _scores_of_all(
    predictor: TraceablePredictor, n_outputs: int, fitted: Parameters, X: jax.Array
) -> jax.Array:
    scores: jax.Array = jax.vmap(lambda params: predictor.scores(params, X, n_outputs))(fitted)
    return scores


@partial(jax.jit, static_argnames=("predictor", "n_outputs"))
def _prefix_scores(
    predictor: TraceablePredictor, n_outputs: int, found: jax.Array, X_scored: jax.Array
) -> jax.Array:
    """Scores (block, chains, rows, outputs) of coefficients (block, chains, columns, raw)."""
    flat = found.reshape(-1, *found.shape[2:])
    params = parameters(jnp.moveaxis(flat, 0, 1))
    scores = _scores_of_all(predictor, n_outputs, params, X_scored)
    return scores.reshape(*found.shape[:2], *scores.shape[1:])
