"""Can the values of a run be trusted? Numbers about the run, and messages with a next step."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvrl.diagnostics.label_fit import LabelFit
from dvrl.exceptions import DataValuationWarning
from dvrl.numerics.paired import is_positive, mean_where, rank_correlation, standard_error

__all__ = ["Diagnostics", "Evidence", "Rewards", "diagnose", "warn"]

Floats = NDArray[np.float64]

# Paired over the validation rows; one standard error would raise a wrong alarm in every sixth run.
PAIRED_STANDARD_ERRORS = 2.0
# A difference below 1 % of the reward is of no account, and noise where it cannot be paired.
RELATIVE_MARGIN = 0.01
# A gain over the marginal is measured on the rows that were learned from: it is hardly ever none.
GAIN_STANDARD_ERRORS = 1.0
# Healthy members lose up to 4 % of the reward on rows that did not reward them, overfitted ones 50.
OVERFITTED_MARGIN = 0.1
OVERFITTED_STANDARD_ERRORS = 1.0
# Of 100 rows the middle 90 differ by less than a fiftieth: ranks among them are rounding noise.
FLAT_RANGE = 0.02
# Members that learned the same thing correlate by .7 and more; below .5 their mean hides a dispute.
AGREEMENT_LIMIT = 0.5
# Above this rank correlation the two orders share nearly all of their lowest rows.
MARGINAL_CORRELATION_LIMIT = 0.98
# Values as near to their prior as this on average were not learned.
UNMOVED_DIFFERENCE = 0.002
# Of the agreement that labels drawn at random would lose: less may be drift between the two tables.
LABEL_FIT_STANDARD_ERRORS = 2.5
LABEL_FIT_SHARE = 0.1
# Every fifth selection replaced: the policy is no longer the one whose gradient is estimated.
RESAMPLED_LIMIT = 0.2
# The last quarter of the run should add no more than a tenth of what the run gained in all.
LATE_GAIN_LIMIT = 0.1
# Rewards are noisy: smaller differences of means than two standard errors are not seen as changes.
NOISE_STANDARD_ERRORS = 2.0
# Eighths of a shorter history are means of single numbers and say nothing about their noise.
SHORTEST_HISTORY = 16


@dataclass(frozen=True)
class Diagnostics:
    """Numbers about a run, and what to do where it cannot be trusted.

    Attributes
    ----------
    value_mean, value_std : float
    value_range : tuple of float
        5th and 95th percentile of the values.
    marginal_correlation : float or None
        Spearman correlation of values and label probabilities of the marginal.
    ensemble_agreement : float or None
        Mean Spearman correlation between pairs of ensemble members.
    resampled_share : float
        Share of selections that were drawn again (empty or of a single class).
    n_skipped : int
        Selections left out because the predictor could not be fitted on them.
    reward_weighted, reward_uniform, reward_marginal : float
        Validation reward of the predictor trained with the values, equal weights, and the label
        probabilities (None without a marginal) as weights.
    reward_upper_half, reward_lower_half : float
        Validation reward of the predictor trained on the rows above, and below, the median value.
    reward_gain_late : float or None
        Change of the reward within the last quarter of the run, relative to the range of the
        reward over the run; None for histories too short to tell.
    estimated_noise_rate : float or None
        Estimated share of wrong labels among the training rows; None where the marginal does not
        estimate it.
    kept_share : float
        Share of the learned change of the log-odds that is kept: 1, or less where it made
        predictors worse on validation rows that had not rewarded it (`shrink_residual`).
    converged : bool
    n_iterations, n_fits : int
    stop_reason : str
    seconds : float
    messages : tuple of str
        What is wrong and what to do; empty when nothing was found.
    """

    value_mean: float
    value_std: float
    value_range: tuple[float, float]
    marginal_correlation: float | None
    ensemble_agreement: float | None
    resampled_share: float
    n_skipped: int
    reward_weighted: float
    reward_uniform: float
    reward_marginal: float | None
    reward_upper_half: float
    reward_lower_half: float
    reward_gain_late: float | None
    converged: bool
    n_iterations: int
    stop_reason: str
    seconds: float
    n_fits: int
    estimated_noise_rate: float | None = None
    kept_share: float = 1.0
    messages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them; tuples become lists."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    def __str__(self) -> str:
        """Return a short block for people."""
        low, high = self.value_range
        lines = [
            f"values        mean {self.value_mean:.3f}, std {self.value_std:.3f},"
            f" middle 90 % from {low:.3f} to {high:.3f}",
            f"reward        weighted {self.reward_weighted:.4g}, equal weights"
            f" {self.reward_uniform:.4g}, marginal {_number(self.reward_marginal, '.4g')}, upper"
            f" half {self.reward_upper_half:.4g}, lower half {self.reward_lower_half:.4g}",
            f"correlation   with the marginal {_number(self.marginal_correlation, '.3f')},"
            f" between members {_number(self.ensemble_agreement, '.3f')}",
            "labels        estimated share of wrong ones"
            f" {_number(self.estimated_noise_rate, '.1%')}",
            f"learned       {self.kept_share:.0%} of the change from the prior is kept",
            f"run           {self.n_iterations} iterations, {self.n_fits} fits,"
            f" {self.seconds:.1f} s, stopped: {self.stop_reason},"
            f" {'converged' if self.converged else 'not converged'}",
        ]
        return "\n".join([*lines, *(f"! {message}" for message in self.messages)])


@dataclass(frozen=True)
class Rewards:
    """Rewards of predictors trained with several weights of the training rows; higher is better.

    Attributes
    ----------
    mean : dict of str to float
        ``"weighted"``, ``"uniform"``, ``"upper_half"``, ``"lower_half"`` and, with one,
        ``"marginal"``: see `Diagnostics`.
    rows : dict of str to (m,) float64
        The same of each validation row, for paired tests; empty for metrics that are no means
        over rows.
    """

    mean: dict[str, float]
    rows: dict[str, Floats]

    def clearly_better(self, one: str, other: str) -> bool:
        """Whether one reward is above another by more than noise and by more than a trifle."""
        if one in self.rows and other in self.rows:
            a, b = float(self.rows[one].mean()), float(self.rows[other].mean())
            if not is_positive(self.rows[one] - self.rows[other], PAIRED_STANDARD_ERRORS):
                return False
        else:
            a, b = self.mean[one], self.mean[other]
        return a - b > RELATIVE_MARGIN * max(abs(a), abs(b))

    def gains(self, one: str, other: str) -> bool:
        """Whether one reward is above another at all, as far as noise allows to say."""
        if one in self.rows and other in self.rows:
            return is_positive(self.rows[one] - self.rows[other], GAIN_STANDARD_ERRORS)
        return self.mean[one] > self.mean[other]


@dataclass(frozen=True)
class Evidence:
    """What a run has shown. Fields that are not told here are those of `Diagnostics`.

    Attributes
    ----------
    values : (n,) float64
        Of the training rows.
    history : (t,) float64
        Mean reward of each outer iteration.
    rewards : Rewards
    members : (k, n) float64, optional
        Values of each member; None for one alone.
    label_probability : (n,) float64, optional
        Of the marginal.
    is_prior : bool
        Whether the policy started at `label_probability`.
    member_rewards : list of (m,) float64
        As ``rewards.rows``, for predictors trained with the values of each member.
    member_validation_rows : (k, m) bool, optional
        The validation rows that rewarded each member. The others test it for overfitting.
    validation_fit : LabelFit, optional
        How well the validation labels agree with a model of the training rows.
    reached_limit : bool
        Whether the run ended because its iterations were used up. A run that ended otherwise
        counts as converged.
    """

    values: Floats
    history: Floats
    rewards: Rewards
    n_iterations: int
    stop_reason: str
    seconds: float
    n_fits: int
    members: Floats | None = None
    label_probability: Floats | None = None
    is_prior: bool = False
    member_rewards: Sequence[Floats] = ()
    member_validation_rows: NDArray[np.bool_] | None = None
    validation_fit: LabelFit | None = None
    estimated_noise_rate: float | None = None
    kept_share: float = 1.0
    resampled_share: float = 0.0
    n_skipped: int = 0
    first_failure: str = ""
    reached_limit: bool = True


def diagnose(run: Evidence) -> Diagnostics:
    """Judge a run by what it has shown."""
    values, rewards = run.values, run.rewards
    correlation = distance = None
    if run.label_probability is not None:
        correlation = rank_correlation(values, run.label_probability)
        if run.is_prior:
            distance = float(np.abs(values - run.label_probability).mean())
    agreement = None if run.members is None else _agreement(run.members)
    gain, settled = _late_gain(run.history)
    low, high = (float(q) for q in np.quantile(values, [0.05, 0.95]))
    converged = settled or not run.reached_limit
    messages = (
        _inverted(rewards),
        _validation_disagrees(run.validation_fit),
        _flat(low, high),
        _members_disagree(agreement),
        _dropped(run.kept_share) or _no_better_than_marginal(correlation, distance, rewards),
        _many_resampled(run.resampled_share),
        _skipped(run),
        _members_overfitted(run),
        _not_converged(converged, gain),
    )
    return Diagnostics(
        value_mean=float(values.mean()),
        value_std=float(values.std()),
        value_range=(low, high),
        marginal_correlation=correlation,
        ensemble_agreement=agreement,
        resampled_share=run.resampled_share,
        n_skipped=run.n_skipped,
        reward_weighted=rewards.mean["weighted"],
        reward_uniform=rewards.mean["uniform"],
        reward_upper_half=rewards.mean["upper_half"],
        reward_lower_half=rewards.mean["lower_half"],
        reward_marginal=rewards.mean.get("marginal"),
        reward_gain_late=gain,
        converged=converged,
        n_iterations=run.n_iterations,
        stop_reason=run.stop_reason,
        seconds=run.seconds,
        n_fits=run.n_fits,
        estimated_noise_rate=run.estimated_noise_rate,
        kept_share=run.kept_share,
        messages=tuple(message for message in messages if message is not None),
    )


def warn(diagnostics: Diagnostics, *, stacklevel: int = 2) -> None:
    """Emit one `DataValuationWarning` per message.

    Parameters
    ----------
    diagnostics : Diagnostics
    stacklevel : int
        As in `warnings.warn`: 2 points at the caller of this function.
    """
    for message in diagnostics.messages:
        warnings.warn(message, DataValuationWarning, stacklevel=stacklevel)


# --- messages -----------------------------------------------------------------------------------


def _inverted(rewards: Rewards) -> str | None:
    """Whether the values turn the predictor the wrong way.

    That the lower half of the rows teaches more than the upper one is not enough: on clean data it
    holds the rows near the border between the classes, which can teach more than the easy ones. It
    must teach more than all rows do, or the values must do harm as weights too.
    """
    harm = rewards.clearly_better("uniform", "weighted")
    lower_above_upper = rewards.mean["lower_half"] > rewards.mean["upper_half"]
    lower_above_all = lower_above_upper and rewards.clearly_better("lower_half", "uniform")
    inverted = lower_above_all or (harm and rewards.clearly_better("lower_half", "upper_half"))
    if not inverted and not harm:
        return None
    mean = rewards.mean
    numbers = (
        "a predictor trained with the values as weights reaches a reward of"
        f" {mean['weighted']:.4g}, with equal weights {mean['uniform']:.4g}, on the upper half of"
        f" the rows {mean['upper_half']:.4g}, on the lower half {mean['lower_half']:.4g}"
    )
    start = "The values look inverted" if inverted else "The values do harm as weights"
    return (
        f"{start}: {numbers}. Do not use them; use another marginal, raise kl_weight, add"
        " validation rows, or set ensemble_size above 1 and fit again."
    )


def _validation_disagrees(fit: LabelFit | None) -> str | None:
    if fit is None or fit.expected <= fit.chance:
        return None
    lost = (fit.expected - fit.found) / (fit.expected - fit.chance)
    noise = LABEL_FIT_STANDARD_ERRORS * fit.standard_error
    if lost <= LABEL_FIT_SHARE or fit.expected - fit.found <= noise:
        return None
    found = (
        f"{lost:.0%} of the agreement that training labels show out of sample is lost"
        if lost < 1
        else "their labels agree with it no better than labels drawn at random"
    )
    return (
        "The validation rows disagree with the training rows: judged by a model of the training"
        f" rows alone, {found}. Values follow the validation rows: check whether their labels are"
        " wrong or swapped, or whether they come from another distribution."
    )


def _flat(low: float, high: float) -> str | None:
    if high - low >= FLAT_RANGE:
        return None
    return (
        f"The values are flat: the middle 90 % lie between {low:.4f} and {high:.4f}, so their order"
        " says little. Raise outer_iterations or the learning rate, or lower kl_weight."
    )


def _members_disagree(agreement: float | None) -> str | None:
    if agreement is None or agreement >= AGREEMENT_LIMIT:
        return None
    return (
        f"The ensemble members disagree (mean rank correlation {agreement:.2f}): the values depend"
        " on the seed. Raise kl_weight or ensemble_size, or add validation rows."
    )


def _dropped(kept_share: float) -> str | None:
    if kept_share > 0.0:
        return None
    return (
        "The values are the marginal's: predictors trained with what was learned beside it did"
        " worse on validation rows that had not rewarded it, so that was dropped. Add validation"
        " rows or raise kl_weight to learn more; shrink_residual=False keeps it."
    )


def _no_better_than_marginal(
    correlation: float | None, distance: float | None, rewards: Rewards
) -> str | None:
    if correlation is None or "marginal" not in rewards.mean:
        return None
    unmoved = distance is not None and distance < UNMOVED_DIFFERENCE
    same_order = correlation > MARGINAL_CORRELATION_LIMIT
    if not unmoved and not (same_order and not rewards.gains("weighted", "marginal")):
        return None
    return (
        f"The values add nothing to the marginal (rank correlation {correlation:.3f}, reward"
        f" {rewards.mean['weighted']:.4g} against {rewards.mean['marginal']:.4g},"
        " no more than chance). Use the marginal's label probability, or lower kl_weight and raise"
        " outer_iterations."
    )


def _many_resampled(share: float) -> str | None:
    if share <= RESAMPLED_LIMIT:
        return None
    return (
        f"{share:.0%} of the selections were empty or of a single class and were drawn again."
        " Raise batch_size or kl_weight, or give rare classes more rows."
    )


def _skipped(run: Evidence) -> str | None:
    """Whether selections were left out because the predictor failed on them."""
    if not run.n_skipped:
        return None
    return (
        f"{run.n_skipped} selections were skipped, because the predictor could not"
        f" be fitted on them. The first cause: {run.first_failure}"
    )


def _members_overfitted(run: Evidence) -> str | None:
    """Whether members do better than without learning only on the rows that rewarded them."""
    rewards, seen = run.rewards, run.member_validation_rows
    if seen is None or not len(run.member_rewards):
        return None
    reference = "marginal" if run.is_prior and "marginal" in rewards.mean else "uniform"
    gains = np.stack(run.member_rewards) - rewards.rows[reference]
    own, unseen = mean_where(gains, seen), mean_where(gains, ~seen)
    fall = unseen[~np.isnan(unseen)]
    optimism = (own - unseen)[~np.isnan(own - unseen)]
    if fall.size < 2 or optimism.size < 2:
        return None
    margin = OVERFITTED_MARGIN * abs(float(rewards.rows[reference].mean()))
    if -fall.mean() <= margin or not all(
        is_positive(each, OVERFITTED_STANDARD_ERRORS) for each in (-fall, optimism)
    ):
        return None
    return (
        "The run overfits the validation rows: each member was rewarded by a part of them, on"
        f" which learning moved the reward by {np.nanmean(own):+.3g}, but by {fall.mean():+.3g} on"
        " the others. Raise kl_weight, lower outer_iterations, or add validation rows."
    )


def _not_converged(converged: bool, gain: float | None) -> str | None:
    if converged:
        return None
    if gain is None:
        cause = "The run was too short to tell whether it converged"
    else:
        cause = (
            f"The run has not converged: the reward still moved by {abs(gain):.0%} of its range in"
            " the last quarter"
        )
    return f"{cause}. Raise outer_iterations."


# --- numbers ------------------------------------------------------------------------------------


def _late_gain(history: Floats) -> tuple[float | None, bool]:
    """Change within the last quarter relative to the range of the run, and whether it settled."""
    if history.size < SHORTEST_HISTORY:
        return None, False
    eighths = np.array_split(history, 8)
    means = np.array([part.mean() for part in eighths])
    change = float(means[-1] - means[-2])
    spread = float(means.max() - means.min())
    gain = change / spread if spread > 0 else 0.0
    noise = np.hypot(standard_error(eighths[-1]), standard_error(eighths[-2]))
    settled = abs(gain) <= LATE_GAIN_LIMIT or abs(change) <= NOISE_STANDARD_ERRORS * noise
    return gain, bool(settled)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _agreement(members: Floats) -> float | None:
    if len(members) < 2:
        return None
    pairs = combinations(members, 2)
    return float(np.mean([rank_correlation(one, other) for one, other in pairs]))
