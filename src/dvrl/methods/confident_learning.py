"""Confident learning: label quality by cleanlab, from out-of-sample probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dvrl.data.preparation import Prepared
from dvrl.references.marginal import Marginal

from .base import Outcome, ValuationMethod

__all__ = ["ConfidentLearning"]


@dataclass(eq=False, repr=False, kw_only=True)
class ConfidentLearning(ValuationMethod):
    """Label quality scores of cleanlab (Northcutt, Jiang and Chuang, JAIR 2021).

    Probabilities come from models that did not see the row. Needs cleanlab
    (``pip install "dvrl[cleanlab]"``); classes only.

    Parameters
    ----------
    score : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}
        See ``cleanlab.rank.get_label_quality_scores``.
    marginal : str or estimator, default="linear"
        Where the probabilities come from, see :class:`dvrl.references.marginal.Marginal`: models
        of training and validation rows.
    task, validation_fraction, n_jobs, random_state
        See :class:`dvrl.methods.base.UtilityMethod`.
    """

    score: str = field(default="normalized_margin", kw_only=False)
    marginal: Any = "linear"
    n_jobs: int | None = None

    def _check(self) -> None:
        _cleanlab()

    def _value(self, data: Prepared, task: str, seed: int) -> Outcome:
        if task != "classification":
            raise ValueError("Confident learning needs classes; use another method for numbers.")
        marginal = Marginal(self.marginal, task=task, n_jobs=self.n_jobs, random_state=seed)
        marginal.fit(data.training, data.validation)
        scores = marginal.train_scores_.astype(np.float64)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        quality = _cleanlab().get_label_quality_scores(
            data.Y.argmax(axis=1), probabilities, method=self.score
        )
        return Outcome(np.asarray(quality, dtype=np.float64), n_fits=marginal.n_fits_)


def _cleanlab() -> Any:
    try:
        from cleanlab import rank
    except ImportError:
        raise ImportError('Confident learning needs: pip install "dvrl[cleanlab]".') from None
    return rank
