"""Copies of the caller's estimators: checked, with our random state, with one thread."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = [
    "check_estimator",
    "copied",
    "drawn_seed",
    "nested_estimators",
    "seeded_copy",
    "sees_own",
    "single_threaded",
]


def check_estimator(estimator: Any) -> None:
    """Raise where a predictor is a class, or has no `fit` and `predict`."""
    if isinstance(estimator, type):
        raise TypeError(
            f"The predictor is the class {estimator.__name__}; pass an object:"
            f" {estimator.__name__}()."
        )
    if not hasattr(estimator, "fit") or not (
        hasattr(estimator, "predict") or hasattr(estimator, "predict_proba")
    ):
        raise TypeError(
            f"The predictor {estimator!r} needs the methods fit(X, y) and predict or predict_proba."
        )


def copied(estimator: Any) -> Any:
    """Copy without what was learned; objects that scikit-learn cannot clone are copied whole."""
    from sklearn.base import clone

    if hasattr(estimator, "get_params"):
        return clone(estimator)
    return copy.deepcopy(estimator)


def drawn_seed(random_state: Any) -> int:
    """One number from a random state."""
    return int(np.random.default_rng(random_state).integers(2**31 - 1))


def seeded_copy(estimator: Any, seed: int) -> Any:
    """Copy an estimator and fill its random states."""
    estimator = copied(estimator)
    # An integer was chosen by the caller and is as deterministic as ours.
    changes = {
        name: seed
        for name, value in _parameters(estimator).items()
        if _last_part(name) == "random_state" and not isinstance(value, int | np.integer)
    }
    return estimator.set_params(**changes) if changes else estimator


def single_threaded(estimator: Any, *, keep_chosen: bool) -> Any:
    """Take an estimator's threads away; a number that the caller chose may stay."""
    parameters = _parameters(estimator)
    changes: dict[str, int | None] = {}
    for name, value in parameters.items():
        if _last_part(name) != "n_jobs" or (keep_chosen and value is not None):
            continue
        owner = parameters.get(name.removesuffix("n_jobs").removesuffix("__"), estimator)
        # None is one job in scikit-learn, which warns of a number where it has no effect;
        # elsewhere (LightGBM, XGBoost) None is all cores.
        changes[name] = None if _is_of_scikit_learn(owner) else 1
    return estimator.set_params(**changes) if changes else estimator


def _is_of_scikit_learn(estimator: Any) -> bool:
    """Whether the estimator or an ancestor of it is scikit-learn's; its base classes do not count.

    LightGBM and many others inherit from `sklearn.base` and nothing else of scikit-learn.
    """
    modules = {ancestor.__module__ for ancestor in type(estimator).__mro__}
    return any(
        m.startswith("sklearn.") and m.split(".")[1] not in ("base", "utils") for m in modules
    )


def _parameters(estimator: Any) -> dict[str, Any]:
    if not (hasattr(estimator, "get_params") and hasattr(estimator, "set_params")):
        return {}
    return dict(estimator.get_params(deep=True))


def _last_part(name: str) -> str:
    return name.rpartition("__")[2]


def nested_estimators(estimator: Any) -> Iterator[Any]:
    """The estimators inside a pipeline or a meta-estimator, at any depth."""
    for value in _parameters(estimator).values():
        if hasattr(value, "fit") and not isinstance(value, type):
            yield value


def sees_own(estimator: Any) -> bool:
    """Whether an estimator is shown the caller's rows: a pipeline, or one made of pipelines."""
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        return True
    parameters = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    inner = [each for name in _INNER for each in _as_list(parameters.get(name))]
    return bool(inner) and all(sees_own(each) for each in inner)


# Parameters of meta-estimators that hold what is fitted on their own rows.
_INNER = ("estimator", "estimators", "regressor")


def _as_list(value: Any) -> list[Any]:
    """Estimators of a parameter that holds one, or a list of them with names."""
    if isinstance(value, list | tuple):
        pairs = [each[1] if isinstance(each, tuple) else each for each in value]
        return [each for each in pairs if hasattr(each, "fit")]
    return [value] if hasattr(value, "fit") else []
