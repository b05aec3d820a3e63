"""The judging step of a run: what is kept of what was learned, and whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..data.preparation import Prepared
from ..learning.assembly import final_l2
from ..learning.engines import Engine, FusedEngine
from ..learning.learn import Learned, Policy, values_of
from ..learning.settings import RunSettings
from ..numerics.padding import pad
from ..predictors.traced import fit_traced
from .findings import Diagnostics, Evidence, Rewards, diagnose
from .label_fit import label_fit
from .shrinkage import SHARES, kept_share

__all__ = ["Judged", "judge"]

Floats = NDArray[np.float32]
RowRewards = NDArray[np.float64]
Rows = NDArray[np.int32] | None

# Rows on which the predictors of this step are trained; more would only cost time.
JUDGED_ROWS = 20_000
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Judged:
    """A run that was judged.

    Attributes
    ----------
    policy : Policy
        With the share of what was learned that is kept.
    values : (n_members, n) float32
        Its values of the training rows.
    diagnostics : Diagnostics
    """

    policy: Policy
    values: Floats
    diagnostics: Diagnostics


def judge(data: Prepared, learned: Learned, settings: RunSettings) -> Judged:
    """Take back what harms on rows that did not reward it, and look for signs of trouble.

    Parameters
    ----------
    data : Prepared
    learned : Learned
        From the same rows.
    settings : RunSettings
        Of the same run.
    """
    rewarding, rows = _rewarding_rows(learned), _judged_rows(len(data.X))
    by_share = _rewards_by_share(data, learned, settings, rewarding, rows)
    policy = replace(learned.policy, kept_share=kept_share(by_share, rewarding))
    values = policy.values(data.training, policy.marginal.train_scores_)
    evidence = _evidence(data, replace(learned, policy=policy), settings, values, rewarding, rows)
    return Judged(policy, values, diagnose(evidence))


def _rewarding_rows(learned: Learned) -> NDArray[np.bool_]:
    """Validation rows (n_members, m) that rewarded each member."""
    used = np.asarray(learned.engine.problem.validation_mask) > 0
    rewarding = learned.result.validation_masks[:, used] > 0
    # What is judged on the host is judged on all validation rows.
    return rewarding if isinstance(learned.engine, FusedEngine) else np.ones_like(rewarding)


def _judged_rows(n: int) -> Rows:
    """Numbers of the training rows that weights are judged on; None for all."""
    if n <= JUDGED_ROWS:
        return None
    drawn = np.random.default_rng(0).choice(n, JUDGED_ROWS, replace=False)
    return np.sort(drawn).astype(np.int32)


def _rewards_by_share(
    data: Prepared,
    learned: Learned,
    settings: RunSettings,
    rewarding: NDArray[np.bool_],
    rows: Rows,
) -> dict[float, RowRewards]:
    """Rewards (n_members, m) with each share of what was learned; empty where none is judged.

    Judged with the penalty of the predictor that is trained with the values in the end, which is
    less stiff than that of the loop.
    """
    policy, engine = learned.policy, learned.engine
    has_prior = policy.has_prior and not policy.marginal.says_nothing
    if not settings.shrink_residual or not has_prior or rewarding.all():
        return {}
    predictor = engine.program.predictor
    assert predictor is not None  # else all validation rows would have rewarded
    training, scores = data.training.encoded(), policy.marginal.train_scores_
    if rows is not None:
        training, scores = training.take(rows.astype(np.intp)), scores[rows]
    log_odds, prior = policy.log_odds(training, scores), policy.prior_logits(training, scores)
    by_share = {}
    for share in SHARES:
        members = np.clip(values_of(log_odds, prior, share), LEAST_WEIGHT, None)
        if share == 0.0:  # then every member is the prior
            members = members[:1]
        by_row = []
        for weights in members:
            fitted = fit_traced(
                predictor,
                training,
                weights,
                learning_rate=float(engine.hyper["inner_learning_rate"]),
                l2=final_l2(settings),
            )
            engine.n_fits += 1
            rewards = _row_rewards(engine, fitted.scores(data.validation)[0])
            if rewards is None:  # the metric is no mean over rows
                return {}
            by_row.append(rewards)
        by_share[share] = np.broadcast_to(np.stack(by_row), rewarding.shape)
    return by_share


def _evidence(
    data: Prepared,
    learned: Learned,
    settings: RunSettings,
    members: Floats,
    rewarding: NDArray[np.bool_],
    rows: Rows,
) -> Evidence:
    policy, engine, result = learned.policy, learned.engine, learned.result
    marginal, values, n = policy.marginal, members.mean(axis=0), members.shape[1]
    upper = np.zeros(n, np.float32)
    upper[np.argsort(values, kind="stable")[n // 2 :]] = 1.0
    weights = {
        "weighted": np.clip(values, LEAST_WEIGHT, None),
        "uniform": np.ones(n, np.float32),
        "upper_half": upper,
        "lower_half": 1 - upper,
    }
    control = None
    if not marginal.says_nothing:
        control = marginal.label_probability(data.Y, marginal.train_scores_)
        weights["marginal"] = control
    # Members that all validation rows rewarded have none left to be tested on.
    tested = np.zeros((0, n), np.float32) if rewarding.all() else members
    skipped = getattr(getattr(engine, "evaluator", None), "skipped", None)
    n_drawn = len(result.history["redrawn"]) * engine.program.n_selections
    return Evidence(
        values=values.astype(np.float64),
        members=members.astype(np.float64) if len(members) > 1 else None,
        rewards=_rewards(engine, weights, rows),
        member_rewards=list(
            _rewards(
                engine,
                {str(at): np.clip(each, LEAST_WEIGHT, None) for at, each in enumerate(tested)},
                rows,
            ).rows.values()
        ),
        member_validation_rows=rewarding,
        history=result.history["reward"].mean(axis=1).astype(np.float64),
        label_probability=None if control is None else control.astype(np.float64),
        is_prior=policy.has_prior,
        validation_fit=label_fit(
            data.X,
            data.Y,
            data.X_validation,
            data.Y_validation,
            classification=data.coder.task == "classification",
        ),
        estimated_noise_rate=marginal.noise_rate(data.Y, marginal.train_scores_),
        kept_share=policy.kept_share,
        n_skipped=0 if skipped is None else skipped.count,
        first_failure="" if skipped is None or skipped.first is None else skipped.first.message,
        resampled_share=float(result.history["redrawn"].mean(axis=1).sum() / n_drawn),
        # The automatic number of iterations ends a run early on purpose: it holds the policy near
        # its prior, and more would overfit the validation rows.
        reached_limit=result.stop_reason == "iterations" and settings.outer_iterations != "auto",
        n_iterations=result.n_iterations,
        stop_reason=result.stop_reason,
        seconds=result.seconds,
        n_fits=engine.n_fits,
    )


def _rewards(engine: Engine, weights: dict[str, Floats], rows: Rows) -> Rewards:
    """Rewards of predictors trained with weights of the training rows, and of each row."""
    mean, by_row = {}, {}
    for name, each in weights.items():
        mean[name], scores = engine.reward(_relative(engine, each, rows), rows)
        row_rewards = _row_rewards(engine, scores)
        if row_rewards is not None:
            by_row[name] = row_rewards
    return Rewards(mean, by_row)


def _relative(engine: Engine, weights: Floats, rows: Rows) -> Floats:
    """Weights of mean 1: only the relations between rows are compared, not the total."""
    chosen = weights if rows is None else weights[rows]
    relative = (chosen * (len(chosen) / max(chosen.sum(), 1e-30))).astype(np.float32)
    return pad(relative, len(engine.problem.mask)) if rows is None else relative


def _row_rewards(engine: Engine, scores: Floats) -> RowRewards | None:
    """Reward of each validation row, for metrics that are means over rows."""
    mask = np.asarray(engine.problem.validation_mask) > 0
    targets = np.asarray(engine.problem.Y_validation)[mask]
    return engine.program.reward.by_row(targets, scores[: len(mask)][mask[: len(scores)]])
