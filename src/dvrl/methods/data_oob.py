"""Data-OOB: how well models that never saw a row predict its label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dvrl.data.preparation import Prepared
from dvrl.learning.evaluators import Skipped
from dvrl.predictors.blackbox import Failure

from .base import Deadline, Outcome, ValuationMethod
from .fitters import make_fitter

__all__ = ["DataOOB"]


@dataclass(eq=False, repr=False, kw_only=True)
class DataOOB(ValuationMethod):
    """Mean score of a row under the models whose bootstrap sample left it out.

    For classes, the share of right labels; for numbers, the negative squared error in units of
    the target's spread (Kwon and Zou, "Data-OOB", ICML 2023). Validation rows are not used.

    Parameters
    ----------
    predictor : str or object, default="linear"
        As for :class:`dvrl.DVRLClassifier`.
    n_models : int, default=1000
    task, validation_fraction, n_jobs, max_seconds, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    predictor: Any = field(default="linear", kw_only=False)
    n_models: int = 1000
    n_jobs: int | None = None
    max_seconds: float | None = None

    def _check(self) -> None:
        if self.n_models < 1:
            raise ValueError(f"n_models={self.n_models!r} must be 1 or more.")

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        deadline = Deadline(self.max_seconds)
        fitter = make_fitter(
            data,
            predictor=self.predictor,
            task=task,
            seed=seed,
            n_jobs=self.n_jobs,
            on_training_rows=True,
        )
        rng, skipped = np.random.default_rng(seed), Skipped()
        n, n_fits = len(data.X), 0
        total, squares, counts = np.zeros(n), np.zeros(n), np.zeros(n)
        while n_fits < self.n_models and not (n_fits and deadline.passed):
            size = min(fitter.batch_subsets, self.n_models - n_fits)
            bags = rng.multinomial(n, np.full(n, 1 / n), size=size)
            n_fits += size
            found = fitter.scores(bags)
            skipped.note(found)
            for bag, scores in zip(bags, found, strict=True):
                if scores is None or isinstance(scores, Failure):  # a sample of a single class
                    continue
                outside = bag == 0
                points = np.where(outside, _points(task, data.Y, scores), 0.0)
                total, squares, counts = total + points, squares + points**2, counts + outside
        seen = np.maximum(counts, 1)
        # A row in every sample has no score of its own: it gets the mean of the others.
        known = total.sum() / max(counts.sum(), 1)
        values = np.where(counts > 0, total / seen, known)
        spread = np.sqrt(np.maximum(squares / seen - values**2, 0) / seen)
        details = {"n_models": n_fits, "stopped_early": n_fits < self.n_models}
        return Outcome(values, spread, n_fits, details)


def _points(task: str, Y: Any, scores: Any) -> Any:
    if task == "classification":
        return (Y.argmax(axis=1) == scores.argmax(axis=1)).astype(np.float64)
    return -((Y[:, 0] - scores[:, 0]).astype(np.float64) ** 2)
