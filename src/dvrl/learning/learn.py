"""Learning what rows are worth: the references first, then the policy beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.preparation import Prepared
from ..data.table import Table
from ..numerics.padding import pad, padded_size
from ..references.marginal import Marginal
from .assembly import Assembly
from .engines import Engine
from .loop import member_logits
from .network import DataValueEstimator
from .schedule import Progress, TrainingResult
from .settings import DEFAULT_METRICS, RunSettings

__all__ = ["PRIOR_SHARPNESS", "Learned", "Policy", "learn", "network_log_odds", "values_of"]

Floats = NDArray[np.float32]

VALUED_ROWS = 65_536
LINEAR_NAMES = ("linear", "logistic", "ridge")
# The prior's log-odds are those of the marginal times this: rows that are likely wrong then weigh
# less, and the order of rows stays the same (docs/implementation-details.md).
PRIOR_SHARPNESS = 1.5


@dataclass(frozen=True)
class Policy:
    """How likely each row is selected for training: the values of any encoded rows.

    Attributes
    ----------
    marginal : Marginal
        Fitted references.
    estimators : DataValueEstimator
        Parameters with a leading axis of members.
    has_prior : bool
        Whether the policy starts at the marginal's probability of the label.
    kept_share : float
        Share of the learned change of the log-odds that counts.
    """

    marginal: Marginal
    estimators: DataValueEstimator
    has_prior: bool
    kept_share: float = 1.0

    def prior_logits(self, rows: Table, scores: Floats) -> Floats:
        """Log-odds (n,) of the prior, for rows and the marginal's scores of them."""
        return prior_logits(self.marginal, self.has_prior, rows, scores)

    def log_odds(self, rows: Table, scores: Floats) -> NDArray[np.float64]:
        """Log-odds (n_members, n) of rows, with all that was learned."""
        return network_log_odds(
            self.estimators,
            rows.features,
            rows.targets,
            self.marginal.differences(rows.targets, scores),
            self.prior_logits(rows, scores),
        )

    def values(self, rows: Table, scores: Floats) -> Floats:
        """Values (n_members, n) of rows."""
        log_odds = self.log_odds(rows, scores)
        return values_of(log_odds, self.prior_logits(rows, scores), self.kept_share)


@dataclass(frozen=True)
class Learned:
    """What a run leaves.

    Attributes
    ----------
    policy : Policy
        With all that was learned.
    engine : Engine
        Fits and judges predictors as in the run.
    result : TrainingResult
    """

    policy: Policy
    engine: Engine
    result: TrainingResult

    @property
    def history(self) -> dict[str, NDArray[Any]]:
        """Numbers of each outer iteration, the mean over members."""
        means = {name: values.mean(axis=1) for name, values in self.result.history.items()}
        return {"iteration": np.arange(1, self.result.n_iterations + 1), **means}


def learn(
    data: Prepared,
    settings: RunSettings,
    *,
    predictor: Any,
    seed: int,
    n_jobs: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    callback: Callable[[Progress], object] | None = None,
) -> Learned:
    """Fit the references, and train the data value estimators.

    Parameters
    ----------
    data : Prepared
    settings : RunSettings
    predictor : str or object
    seed : int
    n_jobs : int, optional
    checkpoint : path-like, optional
        File that keeps the run while it goes on.
    resume : bool
        Go on from `checkpoint` where it exists.
    callback : callable, optional
        Called with a :class:`dvrl.learning.schedule.Progress`.

    Returns
    -------
    Learned

    Raises
    ------
    ValueError, TypeError
        For settings that do not go together, or a checkpoint of another run.
    """
    task = data.coder.task
    assembly = Assembly(
        task=task,
        coder=data.coder,
        settings=settings,
        metric=_metric(settings.metric, task, data.coder.n_outputs),
        predictor=predictor,
        n_jobs=n_jobs,
        seed=seed,
    )
    marginal = Marginal(
        settings.marginal,
        task=task,
        for_linear=isinstance(predictor, str) and predictor in LINEAR_NAMES,
        n_jobs=n_jobs,
        random_state=seed,
    ).fit(data.training, data.validation)
    has_prior, scores = settings.prior == "marginal", marginal.train_scores_
    engine = assembly.engine(
        data.training,
        data.validation,
        marginal.differences(data.Y, scores),
        prior_logits(marginal, has_prior, data.training, scores),
    )
    result = assembly.train(
        engine,
        pretrained=settings.pretrained,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        resume=resume,
        callback=callback,
    )
    return Learned(Policy(marginal, result.estimators, has_prior), engine, result)


def _metric(metric: Any, task: str, n_outputs: int) -> Any:
    """The reward's metric, where a preset leaves it to the task."""
    if isinstance(metric, str) and metric == "released":
        if task == "regression":
            return "rmspe"
        return "auc" if n_outputs == 2 else "accuracy"  # the released AUC knows two classes only
    return DEFAULT_METRICS[task] if metric is None else metric


def prior_logits(marginal: Marginal, has_prior: bool, rows: Table, scores: Floats) -> Floats:
    """Log-odds (n,) that a policy starts from: 0 without a prior."""
    if not has_prior:
        return np.zeros(len(rows), np.float32)
    probability = marginal.label_probability(rows.targets, scores).astype(np.float64)
    logits = PRIOR_SHARPNESS * np.log(probability / (1 - probability))
    return logits.astype(np.float32)


def network_log_odds(
    estimators: DataValueEstimator, X: Floats, Y: Floats, differences: Floats, prior: Floats
) -> NDArray[np.float64]:
    """Log-odds (n_members, n) of rows by block, from the log-odds (n,) of their prior.

    Parameters
    ----------
    estimators : DataValueEstimator
        Parameters with a leading axis of members.
    X, Y, differences, prior : (n, d), (n, c), (n, c or 0), (n,) float32
    """
    n_columns = estimators.hidden[0].weight.shape[-2] - Y.shape[1]
    parts = []
    for start in range(0, len(X), VALUED_ROWS):
        block = slice(start, start + VALUED_ROWS)
        size = len(X[block])
        padded = padded_size(size)
        logits = member_logits(
            estimators,
            pad(X[block], padded, n_columns),
            pad(Y[block], padded),
            pad(differences[block], padded),
            pad(prior[block], padded),
        )
        parts.append(np.asarray(logits)[:, :size])
    return np.concatenate(parts, axis=1).astype(np.float64)


def values_of(log_odds: NDArray[np.float64], prior: Floats, share: float) -> Floats:
    """Values of log-odds, with a share of their distance from the prior's."""
    if share < 1.0:
        log_odds = prior + share * (log_odds - prior)
    return (0.5 * (1.0 + np.tanh(0.5 * log_odds))).astype(np.float32)
