"""Host-side evaluation of selections: predictors of the host, and metrics that are not JAX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..predictors.base import Fitted, Parameters, takes_start
from ..predictors.blackbox import Failure, can_be_fitted, shown
from ..predictors.rewards import Reward, StoredScores
from .engines import fit_and_score, judge_weights
from .loop import Hyper, Member, Problem, Program, iteration_keys
from .spec import NOT_THE_COURSE

__all__ = ["HostEvaluator", "Judge", "ScorerEvaluator", "Skipped", "evaluated"]

# Fits after which a run is stopped where most of them failed.
TRIED_FITS = 16


@partial(jax.jit, static_argnames=("reward",))
def _rewards_of_scores(
    reward: Reward, Y: Any, scores: Any, mask: Any, center: Any, scale: Any
) -> jax.Array:
    rewards: jax.Array = jax.vmap(lambda s: reward.function(Y, s, mask, center, scale))(scores)
    return rewards


def uninformed_scores(n_rows: int, n_outputs: int) -> NDArray[np.float32]:
    """What a predictor says that could not be trained: all classes alike, or the mean target."""
    return np.full((n_rows, n_outputs), 1.0 / n_outputs if n_outputs > 1 else 0.0, np.float32)


@dataclass(frozen=True)
class Judge:
    """Validation rows and the reward measured on them.

    Attributes
    ----------
    reward : Reward
    coder : ClassEncoder or TargetScaler
    rows : Table of m rows
        With targets, and labels as the caller wrote them.
    sees : {"own", "features"}
        Which of them scorers of the host are shown.
    """

    reward: Reward
    coder: Any = field(metadata=NOT_THE_COURSE)
    rows: Table = field(metadata=NOT_THE_COURSE)
    sees: str = "features"

    def of_scores(self, scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Rewards of predictors, each given by its validation scores."""
        if self.reward.on_host:
            stand_ins = [StoredScores(each, self.coder) for each in scores]
            return np.array([self.of_estimator(each) for each in stand_ins], np.float32)
        return np.asarray(
            _rewards_of_scores(
                self.reward,
                self.rows.targets,
                np.stack(scores),
                self.rows.weights,
                np.float32(self.coder.center),
                np.float32(self.coder.scale),
            )
        )

    def of_estimator(self, estimator: Any) -> float:
        """Number that a scorer of the host gives to an estimator."""
        return float(self.scorer(estimator, shown(self.sees, self.rows), self.rows.labels))

    @property
    def scorer(self) -> Any:
        """The scorer of the host, with the weights of the rows; None for other rewards."""
        if not self.reward.on_host:
            return None
        if self.rows.weight is None:
            return self.reward.function
        return partial(self.reward.function, sample_weight=self.rows.weight)

    def nothing(self) -> NDArray[np.float32]:
        """Validation scores of a predictor that could not be trained."""
        return uninformed_scores(*self.rows.targets.shape)


# ---------------------------------------------------------------- predictors of the host


@dataclass
class Skipped:
    """Counts selections that could not be fitted; raises where most of them could not.

    Attributes
    ----------
    tried, count : int
        Fits so far, and those that failed.
    first : Failure or None
    """

    tried: int = 0
    count: int = 0
    first: Failure | None = None

    def note(self, outcomes: Sequence[Any]) -> None:
        """Take the outcomes of some fits into account.

        Raises
        ------
        ValueError, TypeError or RuntimeError
            Where all of these, or most of all fits, failed; like the first cause.
        """
        failures = [each for each in outcomes if isinstance(each, Failure)]
        self.tried += len(outcomes)
        self.count += len(failures)
        self.first = self.first or next(iter(failures), None)
        all_failed = failures and len(failures) == len(outcomes)
        most_failed = self.tried >= TRIED_FITS and 2 * self.count > self.tried
        if self.first is not None and (all_failed or most_failed):
            raise self.first.as_error() from self.first.cause


def evaluated(
    predictor: Any,
    rows: Table,
    weights: NDArray[Any],
    judge: Judge,
    *,
    seed: int,
    start: Any = None,
) -> list[Any]:
    """Fit a predictor of the host on several selections of the rows, and judge them.

    Parameters
    ----------
    predictor : Predictor
        One that has `evaluate` is asked by it: it judges where it fits, in many processes.
    rows : Table of n rows
    weights : (k, n) int, bool or float
        How often each selection holds each row.
    judge : Judge
    seed : int
    start : Fitted, optional

    Returns
    -------
    list
        For each selection its validation scores (m, n_outputs), or the number of a scorer of the
        host, or None where nothing can be fitted (no rows, or a single class), or a Failure.
    """
    if hasattr(predictor, "evaluate"):
        numbers = np.arange(len(rows))
        subsets = [np.repeat(numbers, each.astype(np.intp)) for each in weights]
        outcomes: list[Any] = predictor.evaluate(rows, subsets, judge.rows, judge.scorer)
        return outcomes
    asked, labels = np.asarray(weights, np.float32), np.asarray(rows.labels)
    task = judge.coder.task
    usable = [at for at, each in enumerate(asked) if can_be_fitted(labels[each > 0], task)]
    found: list[Any] = [None] * len(weights)
    try:
        scores = _fitted(predictor, rows, asked[usable], seed, start).scores(judge.rows)
        for at, each in zip(usable, scores, strict=True):
            found[at] = each
    except Exception:  # which one of them it was shows in fits of one each
        for at in usable:
            try:
                fitted = _fitted(predictor, rows, asked[[at]], seed, start)
                found[at] = fitted.scores(judge.rows)[0]
            except Exception as error:
                found[at] = Failure.of(error, predictor, labels[asked[at] > 0], task)
    return found


def _fitted(predictor: Any, rows: Table, weights: NDArray[Any], seed: int, start: Any) -> Fitted:
    """Fit from a start, where there is one; without it a predictor need not know of starts."""
    options = {} if start is None else {"start": start}
    fitted: Fitted = predictor.fit(rows, weights, seed=seed, **options)
    return fitted


@dataclass
class HostEvaluator:
    """Fits a predictor of the host on the selected rows, many at once.

    Attributes
    ----------
    predictor : Predictor
    rows : Table
        That it is fitted on.
    judge : Judge
    seed : int
    start : Fitted or None
        Where all fits start.
    skipped : Skipped
        Selections that could not be fitted: they count like the mean of the others.
    """

    predictor: Any
    # The encoded rows are part of the problem, whose digest is taken.
    rows: Table = field(metadata=NOT_THE_COURSE)
    judge: Judge
    seed: int
    start: Any = field(default=None, metadata=NOT_THE_COURSE)
    skipped: Skipped = field(default_factory=Skipped, metadata=NOT_THE_COURSE)

    def __call__(
        self,
        members: Member,
        rows: NDArray[np.int32] | None,
        weights: NDArray[np.float32],
        iteration: int,
    ) -> tuple[NDArray[np.float32], Parameters]:
        """See :class:`dvrl.learning.engines.Evaluator`."""
        n = len(self.rows)
        rewards = []
        for member, selections in enumerate(weights):
            batch = self.rows if rows is None else self.rows.take(rows[member])
            outcomes = evaluated(
                self.predictor,
                batch,
                selections[:, :n] > 0.5,
                self.judge,
                seed=self.seed,
                start=self.start,
            )
            self.skipped.note(outcomes)
            rewards.append(self._rewards(outcomes))
        return np.array(rewards, np.float32), ()

    def _rewards(self, outcomes: list[Any]) -> NDArray[np.float32]:
        """Rewards, and the mean of the others for selections that were skipped."""
        failed = np.array([isinstance(each, Failure) for each in outcomes])
        rewards = rewards_of(
            self.judge, [each for each in outcomes if not isinstance(each, Failure)]
        )
        found = np.full(len(outcomes), rewards.mean(), np.float32)
        found[~failed] = rewards
        return found

    def reward(
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """See :meth:`dvrl.learning.engines.Engine.reward`."""
        batch = self.rows if rows is None else self.rows.take(rows)
        soft = weights[np.newaxis, : len(batch)]
        fitted = _fitted(self.predictor, batch, soft, self.seed, self.start)
        scores = fitted.scores(self.judge.rows)[0]
        estimator = getattr(fitted, "estimator_", None)
        if self.judge.reward.on_host and estimator is not None:
            return self.judge.of_estimator(estimator), scores
        return float(self.judge.of_scores([scores])[0]), scores


def rewards_of(judge: Judge, outcomes: Sequence[Any]) -> NDArray[np.float32]:
    """Rewards of scores; a number comes from a scorer, None from a fit that was impossible."""
    filled = [judge.nothing() if each is None else each for each in outcomes]
    if not any(np.ndim(each) == 0 for each in filled):
        return judge.of_scores([np.asarray(each) for each in filled])
    return np.array(
        [each if np.ndim(each) == 0 else judge.of_scores([each])[0] for each in filled], np.float32
    )


def started(predictor: Any, rows: Table, seed: int) -> Any:
    """A fit on all rows that others start from.

    Raises
    ------
    ValueError
        If the predictor's fits cannot start anywhere.
    """
    if not takes_start(predictor):
        raise ValueError(
            "pretrained needs a predictor whose fits can start from an earlier one; leave it out."
        )
    return predictor.fit(rows, np.ones((1, len(rows)), np.float32), seed=seed)


# ---------------------------------------------------------------- metrics of the host


@dataclass
class ScorerEvaluator:
    """Fits traced predictors on the device; the metric is any scikit-learn scorer.

    Attributes
    ----------
    program, problem, hyper
        As in :class:`dvrl.learning.engines.FusedEngine`.
    judge : Judge
    """

    program: Program = field(metadata=NOT_THE_COURSE)
    problem: Problem = field(metadata=NOT_THE_COURSE)
    hyper: Hyper = field(metadata=NOT_THE_COURSE)
    judge: Judge

    def __call__(
        self,
        members: Member,
        rows: NDArray[np.int32] | None,
        weights: NDArray[np.float32],
        iteration: int,
    ) -> tuple[NDArray[np.float32], Parameters]:
        """See :class:`dvrl.learning.engines.Evaluator`."""
        rewards, starts = [], []
        for index, selections in enumerate(weights):
            member = jax.tree.map(lambda leaf, at=index: leaf[at], members)
            _, key = iteration_keys(member, jnp.asarray(iteration))
            scores, start = fit_and_score(
                self.program,
                self.problem,
                self.hyper,
                member.predictor,
                None if rows is None else rows[index],
                selections,
                key,
            )
            own = np.asarray(scores)[:, : len(self.judge.rows)]
            rewards.append(self.judge.of_scores(list(own)))
            starts.append(start)
        return np.stack(rewards), jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)

    def reward(
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """See :meth:`dvrl.learning.engines.Engine.reward`."""
        _, scores = judge_weights(self.program, self.problem, self.hyper, rows, weights)
        own = scores[: len(self.judge.rows)]
        return float(self.judge.of_scores([own])[0]), own
