"""Host-side evaluation of selections: black-box predictors, and metrics that are not JAX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..data.rows import n_rows, take_rows
from ..predictors.base import Parameters
from ..predictors.blackbox import BlackBoxPredictor
from ..predictors.rewards import Reward, StoredScores
from .engines import fit_and_score, judge_weights
from .loop import Hyper, Member, Problem, Program, iteration_keys
from .spec import NOT_THE_COURSE

__all__ = ["BlackBoxEvaluator", "Judge", "ScorerEvaluator"]


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
    """Validation rows, as the caller wrote them, and the reward measured on them.

    Attributes
    ----------
    reward : Reward
    coder : ClassEncoder or TargetScaler
    X : array or frame of m rows
        What black-box predictors and scorers are shown.
    y : array of m labels or targets
    Y : (m, n_outputs) float32
        The labels, encoded.
    """

    reward: Reward
    coder: Any = field(metadata=NOT_THE_COURSE)
    X: Any = field(metadata=NOT_THE_COURSE)
    y: Any = field(metadata=NOT_THE_COURSE)
    Y: NDArray[np.float32]

    def of_scores(self, scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Rewards of predictors, each given by its validation scores."""
        if self.reward.on_host:
            stand_ins = [StoredScores(each, self.coder) for each in scores]
            return np.array(
                [self.reward.function(each, self.X, self.y) for each in stand_ins], np.float32
            )
        mask = np.ones(len(self.Y), np.float32)
        return np.asarray(
            _rewards_of_scores(
                self.reward,
                self.Y,
                np.stack(scores),
                mask,
                np.float32(self.coder.center),
                np.float32(self.coder.scale),
            )
        )

    def nothing(self) -> NDArray[np.float32]:
        """Validation scores of a predictor that could not be trained."""
        return uninformed_scores(*self.Y.shape)


@dataclass
class BlackBoxEvaluator:
    """Fits copies of any estimator on the selected rows, many at once.

    Attributes
    ----------
    predictor : BlackBoxPredictor
    X, y : rows and labels that the predictor is fitted on
    judge : Judge
    """

    predictor: BlackBoxPredictor
    # The same rows as the encoded ones, whose digest is taken.
    X: Any = field(metadata=NOT_THE_COURSE)
    y: Any = field(metadata=NOT_THE_COURSE)
    judge: Judge

    def __call__(
        self,
        members: Member,
        rows: NDArray[np.int32] | None,
        weights: NDArray[np.float32],
        iteration: int,
    ) -> tuple[NDArray[np.float32], Parameters]:
        """See :class:`dvrl.learning.engines.Evaluator`."""
        numbers = np.arange(weights.shape[-1])
        subsets = [
            (numbers if rows is None else rows[member])[selected > 0.5]
            for member, selections in enumerate(weights)
            for selected in selections
        ]
        judge = self.judge
        scorer = judge.reward.function if judge.reward.on_host else None
        outcomes = self.predictor.evaluate(self.X, self.y, subsets, judge.X, judge.y, scorer)
        if scorer is None:
            scores = [judge.nothing() if each is None else np.asarray(each) for each in outcomes]
            rewards = judge.of_scores(scores)
        else:
            rewards = np.array([self._scored(each) for each in outcomes], np.float32)
        return rewards.reshape(weights.shape[:2]), ()

    def _scored(self, outcome: Any) -> float:
        return float(
            self.judge.of_scores([self.judge.nothing()])[0] if outcome is None else outcome
        )

    def reward(
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """See :meth:`dvrl.learning.engines.Engine.reward`."""
        numbers = np.arange(n_rows(self.X)) if rows is None else rows
        judge = self.judge
        fitted = self.predictor.fit(
            take_rows(self.X, numbers), self.y[numbers], weights[: len(numbers)]
        )
        scores = fitted.scores(judge.X)
        if judge.reward.on_host:
            return float(judge.reward.function(fitted.estimator_, judge.X, judge.y)), scores
        return float(judge.of_scores([scores])[0]), scores


@dataclass
class ScorerEvaluator:
    """Fits traceable predictors on the device; the metric is any scikit-learn scorer.

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
            rewards.append(self.judge.of_scores(list(np.asarray(scores)[:, : len(self.judge.Y)])))
            starts.append(start)
        return np.stack(rewards), jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)

    def reward(
        self, weights: NDArray[np.float32], rows: NDArray[np.int32] | None
    ) -> tuple[float, NDArray[np.float32]]:
        """See :meth:`dvrl.learning.engines.Engine.reward`."""
        _, scores = judge_weights(self.program, self.problem, self.hyper, rows, weights)
        own = scores[: len(self.judge.Y)]
        return float(self.judge.of_scores([own])[0]), own
