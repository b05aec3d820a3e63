"""The settings of a run, and the presets: ``default``, ``paper`` and ``released``.

A preset is a row of defaults; whatever the user passes wins over it. ``paper`` is Algorithm 1 of
Yoon, Arik and Pfister (ICML 2020); ``released`` is what their published code does, which differs;
``default`` is what measures best (``docs/implementation-details.md``).

:class:`Settings` is what a user asks for, with None where the preset decides; `RunSettings` is
what a run goes by, where each setting is declared with its default and its check.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

__all__ = [
    "CONVERGED",
    "DEFAULT_METRICS",
    "FINAL_ROWS",
    "PRESETS",
    "RunSettings",
    "Settings",
    "as_settings",
    "check_selections",
    "did_you_mean",
    "make_settings",
]

CONVERGED = "converged"
FINAL_ROWS = ("training", "both")
DEFAULT_METRICS = {"classification": "log_loss", "regression": "mse"}


# ------------------------------------------------------------------ what a user asks for


class SettingsRecord(BaseEstimator):
    """A record of settings; None for what is left to a default."""

    def given(self) -> dict[str, Any]:
        """What is not left to a default, by name."""
        params = self.get_params(deep=False)
        return {name: value for name, value in params.items() if value is not None}


@dataclass(kw_only=True, eq=False, repr=False)
class Settings(SettingsRecord):
    """How values are learned: ``settings=`` of :class:`dvrl.DVRLClassifier`.

    Few users need to turn these. What is None is decided by the preset; the defaults given here
    are those of ``preset="default"``. A dict with the same names does as well. Names can be
    reached from the estimator: ``set_params(settings__kl_weight=1.0)``, also in a grid search.

    Parameters
    ----------
    prior : {"marginal", "none"}
        ``"marginal"`` (default): the policy starts at the marginal's probability of the label,
        and learns a residual.
    kl_weight : float or "auto"
        Weight of the mean Kullback-Leibler divergence of the policy from its prior, in units of
        reward per nat. ``"auto"`` (default): 40 divided by the root of the number of validation
        rows; 10 without a marginal.
    residual_bound : float
        Largest change of a row's log-odds from its prior, either way; 0 for no bound (default
        1).
    gradient : {"auto", "reinforce", "antithetic", "through_fit"}
        How the policy's gradient is estimated: the score function, antithetic pairs of
        selections (DisARM), or exactly, through the fit of a differentiable predictor. ``"auto"``
        (default): through the fit where that is possible, else antithetic pairs.
    baseline : {"leave_one_out", "moving_average", "all_rows"}
        What rewards are compared with (``gradient="reinforce"`` only): the other selections of
        the same batch (default); the average of earlier rewards; the reward of a predictor
        trained on all rows.
    baseline_window : int
        Length of the moving average (default 20).
    n_selections : int or "auto"
        Selections drawn for each batch. ``"auto"`` (default): 8; 1 for the gradient through the
        fit, which draws none.
    outer_iterations : int or "auto"
        Updates of the data value estimator. ``"auto"`` (default): 300; 60 for the gradient
        through the fit and for black boxes.
    inner_iterations : int, "converged" or "auto"
        Mini-batch steps of a built-in predictor for each selection; ``"converged"`` solves linear
        predictors exactly (default for them).
    batch_size : int
        Rows of an outer iteration; all rows where there are fewer (default 2000).
    inner_batch_size : int
        Rows of a mini-batch (default 256).
    inner_optimizer : {"auto", "sgd", "adam"}
        Of the mini-batch steps. ``"auto"`` (default): Adam for ``"mlp"``.
    learning_rate : float or "auto"
        Of the data value estimator (Adam).
    inner_learning_rate : float or "auto"
        Of the mini-batch steps.
    l2 : float
        Ridge penalty of built-in predictors behind `predict`, as ``1 / C`` in scikit-learn
        (default 1).
    inner_l2 : float or "auto"
        The same for predictors inside the loop. ``"auto"`` (default): .03 for each row of a
        batch, .3 without a marginal; stiff predictors overfit the validation rows less.
    predictor_start : {"reset", "persistent"}
        Whether mini-batch fits start afresh in each outer iteration (default), or where the last
        ended.
    pretrained : "all_rows" or pytree
        State from which mini-batch fits start: fitted on all training rows first, or handed in
        (the parameters of a fitted estimator's ``predictor_.params``). Default: drawn by chance.
    exploration_weight : float
        Weight of the penalty on a mean value outside [.1, .9] (default 0; released code: 1000).
    averaging : bool
        Average the data value estimator's parameters over the last part of the run (default
        True).
    ensemble_size : int or "auto"
        Data value estimators trained from different seeds; their mean is the value, their spread
        ``data_values_std_``. ``"auto"`` (default): 3; 1 for black boxes.
    validation_share : float
        Share of the validation rows that rewards each member of an ensemble, another share for
        each (default .5; black boxes: all rows).
    shrink_residual : bool
        Halve or drop what was learned beside the prior where it makes predictors worse, by more
        than two standard errors, on the validation rows that did not reward it (default True;
        needs an ensemble, a `validation_share` below 1, and a metric that is a mean over rows).
    validation_fraction : float
        Share of the rows held out when `fit` gets no validation rows (default .2).

    Examples
    --------
    >>> from dvrl import DVRLClassifier, Settings
    >>> valuer = DVRLClassifier(settings=Settings(kl_weight=1.0))
    >>> valuer.set_params(settings__ensemble_size=1).settings
    Settings(ensemble_size=1, kl_weight=1.0)
    """

    prior: str | None = None
    kl_weight: float | str | None = None
    residual_bound: float | None = None
    gradient: str | None = None
    baseline: str | None = None
    baseline_window: int | None = None
    n_selections: int | str | None = None
    outer_iterations: int | str | None = None
    inner_iterations: int | str | None = None
    batch_size: int | None = None
    inner_batch_size: int | None = None
    inner_optimizer: str | None = None
    learning_rate: float | str | None = None
    inner_learning_rate: float | str | None = None
    l2: float | None = None
    inner_l2: float | str | None = None
    predictor_start: str | None = None
    pretrained: Any = None
    exploration_weight: float | None = None
    averaging: bool | None = None
    ensemble_size: int | str | None = None
    validation_share: float | None = None
    shrink_residual: bool | None = None
    validation_fraction: float | None = None


def as_settings(settings: Any, record: Any = Settings) -> Any:
    """Make a :class:`Settings`, or another such record, of one, a dict, or None.

    Raises
    ------
    TypeError, ValueError
        For anything else, or an unknown name in a dict.
    """
    if isinstance(settings, record):
        return settings
    if settings is None:
        return record()
    if not isinstance(settings, Mapping):
        raise TypeError(
            f"settings is a {type(settings).__name__}; pass a {record.__name__} or a dict, such as "
            f"{{{fields(record)[1].name!r}: 1.0}}."
        )
    _check_names(settings, record)
    return record(**settings)


# ------------------------------------------------------------------ checks


def _checked(default: Any, check: Callable[[str, Any], Any], **more: Any) -> Any:
    return field(default=default, metadata={"check": check, **more})


def _choice(default: str, *others: str) -> Any:
    allowed = (default, *others)

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str) and value in allowed:
            return value
        hint = did_you_mean(value, allowed)
        raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(allowed)}.{hint}")

    return _checked(default, check, allowed=allowed)


def _count(default: int | str, *words: str) -> Any:
    """A whole number of 1 or more, or one of some words."""

    def check(name: str, value: Any) -> int | str:
        if isinstance(value, str) and value in words:
            return value
        number = _number(value)
        if number >= 1 and number == math.floor(number):
            return int(number)
        raise ValueError(f"{name}={value!r} must be a whole number of 1 or more{_or(words)}.")

    return _checked(default, check)


def _real(default: Any, *words: str, positive: bool = False, most: float = math.inf) -> Any:
    """A finite number of 0 or more, or above 0, up to `most`, or one of some words."""

    def check(name: str, value: Any) -> float | str | None:
        if value is None or (isinstance(value, str) and value in words):
            return value
        number = _number(value)
        if (number > 0 or (number == 0 and not positive)) and number <= most:
            return number
        bound = "greater than 0" if positive else "of 0 or more"
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        raise ValueError(f"{name}={value!r} must be a finite number {bound}{limit}{_or(words)}.")

    return _checked(default, check)


def _switch(default: bool) -> Any:
    def check(name: str, value: Any) -> bool:
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name}={value!r} must be True or False.")
        return bool(value)

    return _checked(default, check)


def _check_marginal(name: str, value: Any) -> Any:
    from ..references.kinds import MARGINALS

    if hasattr(value, "fit") or (isinstance(value, str) and value in MARGINALS):
        return value
    if not isinstance(value, str):
        raise ValueError(
            f"{name}={value!r} is no estimator; pass a name such as 'auto', or an object with fit "
            "and predict_proba."
        )
    hint = did_you_mean(value, MARGINALS)
    raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(MARGINALS)}.{hint}")


def _number(value: Any) -> float:
    """The value as a float; NaN, which passes no check, for whatever is no finite number."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _or(words: tuple[str, ...]) -> str:
    return f" or {', '.join(map(repr, words))}" if words else ""


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """Ask for the known name that is nearest; empty where none is near."""
    close = difflib.get_close_matches(str(value), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_names(given: Mapping[str, Any], record: type) -> None:
    known = [each.name for each in fields(record)]
    for name in given:
        if name not in known:
            raise ValueError(f"{name!r} is no setting.{did_you_mean(name, known)}")


# ------------------------------------------------------------------ what a run goes by


@dataclass(frozen=True)
class RunSettings:
    """Everything that shapes a run, checked. :class:`Settings` says what each field means."""

    metric: Any = None
    marginal: Any = _checked("auto", _check_marginal)  # noqa: RUF009
    prior: str = _choice("marginal", "none")
    kl_weight: float | str = _real("auto", "auto")
    residual_bound: float = _real(1.0)
    gradient: str = _choice("auto", "reinforce", "antithetic", "through_fit")
    baseline: str = _choice("leave_one_out", "moving_average", "all_rows")
    baseline_window: int = _count(20)
    n_selections: int | str = _count("auto", "auto")
    outer_iterations: int | str = _count("auto", "auto")
    inner_iterations: int | str = _count("auto", "auto", CONVERGED, "released")
    batch_size: int = _count(2000)
    inner_batch_size: int = _count(256)
    inner_optimizer: str = _choice("auto", "sgd", "adam")
    learning_rate: float | str = _real("auto", "auto", positive=True)
    inner_learning_rate: float | str = _real("auto", "auto", positive=True)
    l2: float = _real(1.0)
    inner_l2: float | str = _real("auto", "auto")
    predictor_start: str = _choice("reset", "persistent")
    pretrained: Any = None
    exploration_weight: float = _real(0.0)
    averaging: bool = _switch(True)
    ensemble_size: int | str = _count("auto", "auto")
    validation_share: float = _real(0.5, positive=True, most=1.0)
    shrink_residual: bool = _switch(True)
    validation_fraction: float = _real(0.2, positive=True, most=0.99)
    max_seconds: float | None = _real(None, positive=True)


_PAPER: dict[str, Any] = {
    "marginal": "none",
    "prior": "none",
    "kl_weight": 0.0,
    "residual_bound": 0.0,
    "gradient": "reinforce",
    "baseline": "moving_average",
    "baseline_window": 20,
    "n_selections": 1,
    "outer_iterations": 2000,
    "inner_iterations": 100,
    "batch_size": 2000,
    "inner_batch_size": 256,
    "inner_optimizer": "sgd",
    "learning_rate": 0.01,
    "l2": 0.0,
    "inner_l2": 0.0,
    "predictor_start": "persistent",
    "exploration_weight": 0.0,
    "averaging": False,
    "ensemble_size": 1,
    "validation_share": 1.0,
    "shrink_residual": False,
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": _PAPER,
    "released": {
        **_PAPER,
        "metric": "released",
        "marginal": "validation",
        "baseline": "all_rows",
        "inner_iterations": "released",
        "inner_optimizer": "adam",
        "l2": 1.0,
        "inner_l2": 1.0,
        "predictor_start": "reset",
        "exploration_weight": 1e3,
    },
}


def make_settings(preset: str, overrides: Mapping[str, Any]) -> RunSettings:
    """Settings of a preset with the caller's own on top; None means "the preset's".

    Parameters
    ----------
    preset : {"default", "paper", "released"}
    overrides : mapping
        Field names of :class:`RunSettings` to values.

    Raises
    ------
    ValueError
        For an unknown preset, name or choice, or a number out of its range.
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ValueError(f"preset={preset!r} is unknown; use one of {', '.join(PRESETS)}.")
    _check_names(overrides, RunSettings)
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = RunSettings(**{**PRESETS[preset], **given})
    checked = {
        each.name: each.metadata["check"](each.name, getattr(settings, each.name))
        for each in fields(RunSettings)
        if "check" in each.metadata
    }
    settings = replace(settings, **checked)
    check_selections(settings.gradient, settings.baseline, settings.n_selections)
    return settings


def check_selections(gradient: str, baseline: str, n_selections: int | str) -> None:
    """Raise where so many selections per update do not suit the gradient estimator.

    Parameters
    ----------
    gradient, baseline : str
        As in :class:`RunSettings`; "auto" suits any number.
    n_selections : int or "auto"

    Raises
    ------
    ValueError
        For antithetic pairs of an odd number, or a single selection with nothing to compare it
        with.
    """
    if isinstance(n_selections, str):
        return
    if gradient == "antithetic" and n_selections % 2:
        raise ValueError(
            f"n_selections={n_selections} cannot be split into antithetic pairs; "
            "use an even number, or gradient='reinforce'."
        )
    if gradient == "reinforce" and baseline == "leave_one_out" and n_selections < 2:
        raise ValueError(
            "baseline='leave_one_out' compares selections of the same batch with each other; "
            "use n_selections >= 2 or another baseline."
        )
