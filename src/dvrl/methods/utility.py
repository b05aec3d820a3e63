"""u(S): what a predictor trained on the rows S is worth on the validation rows, for many S at once.

Every subset-based method asks this question, so one place answers it: traced predictors are
fitted in compiled batches of subsets, black boxes through joblib. Fits are counted, and no subset
is fitted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.data.preparation import Prepared
from dvrl.learning.evaluators import Judge, Skipped, rewards_of
from dvrl.learning.spec import run_spec
from dvrl.predictors.blackbox import Failure
from dvrl.predictors.rewards import make_reward

from .fitters import BATCH_ENTRIES, TracedFitter, make_fitter

__all__ = ["Utility"]

# What the cache of utilities may take.
CACHE_BYTES = 1 << 28
# Bytes of a cached utility beside its key.
CACHE_OVERHEAD = 170
# Prefixes per compiled block: enough to hide the call, few enough to stop soon after convergence.
PREFIX_BLOCK = 32


class Utility:
    """The utility of subsets of the training rows; higher is better.

    Parameters
    ----------
    data : Prepared
    task : {"classification", "regression"}
    predictor : str or object
        As for :class:`dvrl.DVRLClassifier`.
    metric : str or callable
    n_jobs : int or None
        Fits of a black box at once.
    seed : int
        Of black boxes, and of initial parameters and mini-batches: the same for every subset.
    tolerance : float or None
        Of solved fits, see :func:`dvrl.methods.fitters.make_fitter`.

    Attributes
    ----------
    n_rows : int
    n_fits : int
        Predictors fitted so far.
    """

    def __init__(
        self,
        data: Prepared,
        *,
        task: str,
        predictor: Any = "linear",
        metric: Any = "log_loss",
        n_jobs: int | None = None,
        seed: int = 0,
        tolerance: float | None = None,
    ) -> None:
        self.n_rows = len(data.X)
        self.n_fits = 0
        self._fitter = make_fitter(
            data, predictor=predictor, task=task, seed=seed, n_jobs=n_jobs, tolerance=tolerance
        )
        reward = make_reward(metric, task, data.coder.n_outputs)
        self._judge = Judge(reward, data.coder, data.validation, self._fitter.sees)
        self._skipped = Skipped()
        spec = run_spec(
            predictor=self._fitter.predictor,
            reward=reward,
            seed=seed,
            training=data.training,
            validation=data.validation,
        )
        # Utilities are found again by all that decides them, and the rows of the subset.
        self._spec = bytes.fromhex(joblib.hash(spec))
        self._cache: dict[bytes, float] = {}

    @property
    def batch_subsets(self) -> int:
        """Subsets that are fitted together: calls with fewer waste part of the work."""
        return self._fitter.batch_subsets

    def __call__(self, subsets: ArrayLike) -> NDArray[np.float64]:
        """Utility of each subset.

        Parameters
        ----------
        subsets : (k, n_rows) bool
            Which rows each subset holds.

        Returns
        -------
        (k,) float64
        """
        chosen = np.atleast_2d(np.asarray(subsets, dtype=bool))
        if chosen.ndim != 2 or chosen.shape[1] != self.n_rows:
            raise ValueError(
                f"subsets has shape {np.shape(subsets)}; pass one column per training row "
                f"({self.n_rows})."
            )
        keys = [self._spec + row.tobytes() for row in np.packbits(chosen, axis=1)]
        missing = {key: at for at, key in enumerate(keys) if key not in self._cache}
        fresh = dict(zip(missing, self._evaluate(chosen[list(missing.values())]), strict=True))
        utilities = [fresh[key] if key in fresh else self._cache[key] for key in keys]
        if len(self._cache) * (self.n_rows // 8 + CACHE_OVERHEAD) < CACHE_BYTES:
            self._cache.update(fresh)
        return np.array(utilities, dtype=np.float64)

    def empty(self) -> float:
        """Utility of a predictor that saw no rows: all classes alike, or the mean target."""
        return float(self._judge.of_scores([self._judge.nothing()])[0])

    def full(self) -> float:
        """Utility of all rows."""
        return float(self(np.ones((1, self.n_rows), bool))[0])

    def prefixes(self, orders: NDArray[np.intp]) -> Iterator[NDArray[np.float64]]:
        """Utilities (k, b) of the next `b` prefixes of orders (k, n_rows), block by block.

        Solved linear predictors start each fit from the last one, which makes a step cheap. A
        caller that has seen enough stops asking.
        """
        fitter = self._fitter
        if isinstance(fitter, TracedFitter) and fitter.is_solved:
            yield from self._warm_prefixes(fitter, orders)
            return
        k = len(orders)
        chosen = np.zeros((k, self.n_rows), bool)
        block = max(1, self.batch_subsets // k)
        for first in range(0, self.n_rows, block):
            subsets = []
            for position in range(first, min(first + block, self.n_rows)):
                chosen[np.arange(k), orders[:, position]] = True
                subsets.append(chosen.copy())
            yield self(np.concatenate(subsets)).reshape(len(subsets), k).T

    def _warm_prefixes(
        self, fitter: TracedFitter, orders: NDArray[np.intp]
    ) -> Iterator[NDArray[np.float64]]:
        k = len(orders)
        entries = k * max(1, self._judge.rows.targets.size)
        block = int(np.clip(BATCH_ENTRIES // entries, 1, PREFIX_BLOCK))
        done = 0
        for scores in fitter.prefix_scores(orders, block):
            n_new = min(block, self.n_rows - done)
            rewards = self._judge.of_scores(list(scores.reshape(-1, *scores.shape[2:])))
            done += n_new
            self.n_fits += n_new * k
            yield rewards.reshape(block, k)[:n_new].T.astype(np.float64)

    def _evaluate(self, subsets: NDArray[np.bool_]) -> list[float]:
        utilities: list[float] = []
        size = self.batch_subsets
        reward = self._judge.reward if self._judge.reward.on_host else None
        for start in range(0, len(subsets), size):
            block = subsets[start : start + size]
            utilities.extend(self._judged(self._fitter.scores(block, reward)))
            self.n_fits += len(block)
        return utilities

    def _judged(self, outcomes: list[Any]) -> list[float]:
        """Rewards; a subset that could not be fitted says as little as one of no rows."""
        self._skipped.note(outcomes)
        filled: list[Any] = [None if isinstance(each, Failure) else each for each in outcomes]
        if not any(np.ndim(each) == 0 and each is not None for each in filled):
            # Always the same number of scores, so that the rewards are compiled once.
            filled += filled[:1] * (self.batch_subsets - len(filled))
        return [float(each) for each in rewards_of(self._judge, filled)[: len(outcomes)]]
