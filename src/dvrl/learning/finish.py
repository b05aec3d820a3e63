"""The end of a run: values of all rows, and the predictor that is trained with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.preparation import Prepared
from ..data.table import Table
from ..predictors.base import Fitted
from .assembly import fit_final_predictor
from .learn import Policy
from .settings import RunSettings

__all__ = ["Finished", "finish"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Finished:
    """Values of all rows that the caller passed for training, and the robust predictor.

    Attributes
    ----------
    values, spread : (n_rows,) float64
        Means over the members, and standard deviations; NaN for a single member.
    marginal_values : (n_rows,) float64 or None
        The marginal's probability of each label; None without a marginal.
    label_scores : (n_rows, c) float32
        What the marginal, or without one the robust predictor, expects of each row.
    predictor : Fitted
    """

    values: NDArray[np.float64]
    spread: NDArray[np.float64]
    marginal_values: NDArray[np.float64] | None
    label_scores: Floats
    predictor: Fitted


def finish(
    data: Prepared,
    policy: Policy,
    trained: Floats,
    settings: RunSettings,
    *,
    predictor: Any,
    final_rows: str,
    seed: int,
    n_jobs: int | None = None,
) -> Finished:
    """Value all rows, and train the robust predictor with the values as weights.

    Parameters
    ----------
    data : Prepared
    policy : Policy
    trained : (n_members, n) float32
        Its values of the training rows.
    settings : RunSettings
    predictor : str or object
    final_rows : {"training", "both"}
        Whether validation rows of the caller's are trained on, too, with weight 1.
    seed : int
    n_jobs : int, optional
    """
    marginal = policy.marginal
    members = np.empty((len(trained), len(data.every)), np.float32)
    control = np.empty(len(data.every), np.float32)
    label_scores = np.empty(data.every.targets.shape, np.float32)
    members[:, data.train] = trained
    control[data.train] = marginal.label_probability(data.Y, marginal.train_scores_)
    label_scores[data.train] = marginal.train_scores_
    if data.held is not None:  # valued as unseen rows
        scores = marginal.validation_scores_
        members[:, data.held] = policy.values(data.validation, scores)
        control[data.held] = marginal.label_probability(data.Y_validation, scores)
        label_scores[data.held] = scores
    values = members.mean(axis=0)
    rows = _final_rows(data, values, final_rows)
    fitted = fit_final_predictor(
        predictor,
        rows,
        rows.weights,
        task=data.coder.task,
        coder=data.coder,
        settings=settings,
        n_jobs=n_jobs,
        seed=seed,
    )
    if marginal.says_nothing:
        label_scores = fitted.scores(data.every)[0]
    return Finished(
        values=values.astype(np.float64),
        spread=(
            members.std(axis=0, ddof=1).astype(np.float64)
            if len(members) > 1
            else np.full(len(values), np.nan)
        ),
        marginal_values=None if marginal.says_nothing else control.astype(np.float64),
        label_scores=label_scores,
        predictor=fitted,
    )


def _final_rows(data: Prepared, values: Floats, final_rows: str) -> Table:
    """Training rows by their values; validation rows of the caller's where that is asked for."""
    rows = replace(data.every, weight=values)
    if final_rows == "training" or data.held is not None:
        return rows
    return rows.and_more(replace(data.validation, weight=data.validation.weights))
