"""Predictors by name: ours, and those that other packages register."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from .base import is_predictor, is_traced
from .blackbox import BlackBox
from .linear import LinearPredictor
from .networks import MLPPredictor

__all__ = ["GROUP", "LINEAR_NAMES", "MODEL_NAMES", "model_by_name", "named_predictor", "on_host"]

# Packages register a predictor under this group of entry points: a name, and something that is
# called with ``task=`` and returns a predictor.
GROUP = "dvrl.predictors"
LINEAR_NAMES = {"linear": None, "logistic": "classification", "ridge": "regression"}
TREE_NAMES = ("random_forest", "gradient_boosting")
MODEL_NAMES = ("logistic", "ridge", "mlp", *TREE_NAMES)


def named_predictor(
    name: str, task: str, *, steps: int | None, batch_size: int, optimizer: str
) -> Any:
    """Predictor called `name`.

    Parameters
    ----------
    name : str
        "linear" is logistic or softmax regression, or ridge regression, by the task; "logistic"
        and "ridge" are one of them; "mlp"; "random_forest", "gradient_boosting"; or a name of
        the entry point group ``dvrl.predictors``.
    task : {"classification", "regression"}
    steps : int or None
        Mini-batch steps; None solves to convergence. This and what follows are for our own
        linear models and networks.
    batch_size : int
    optimizer : {"sgd", "adam"}

    Returns
    -------
    Traced, Predictor or scikit-learn estimator

    Raises
    ------
    ValueError
        If there is no such predictor for the task, or it cannot be solved to convergence.
    """
    linear = [each for each, its_task in LINEAR_NAMES.items() if its_task in (None, task)]
    if name in linear:
        return LinearPredictor(steps=steps, batch_size=batch_size, optimizer=optimizer)
    if name == "mlp":
        if steps is None:
            raise ValueError(
                "inner_iterations='converged' needs a linear predictor; give a whole number of "
                "inner iterations for predictor='mlp'."
            )
        return MLPPredictor(steps=steps, batch_size=batch_size, optimizer=optimizer)
    if name in TREE_NAMES:
        return model_by_name(name, task)
    others = {each.name: each for each in entry_points(group=GROUP)}
    if name in others:
        return others[name].load()(task=task)
    names = ", ".join([*linear, "mlp", *TREE_NAMES, *others])
    raise ValueError(
        f"predictor={name!r} is unknown for {task}; use one of {names}, or any object with fit "
        "and predict."
    )


def on_host(predictor: Any, coder: Any, *, n_jobs: int | None, seed: int) -> Any:
    """A predictor of the host as it is, and any other estimator as a black box.

    Parameters
    ----------
    predictor : Predictor or estimator
    coder : ClassEncoder or TargetScaler
    n_jobs : int or None
        Fits of a black box at once.
    seed : int
        Of a black box.

    Returns
    -------
    Predictor

    Raises
    ------
    TypeError
        If it is no predictor at all.
    """
    if is_predictor(predictor):
        return predictor
    if is_traced(predictor):
        raise TypeError("A traced predictor is fitted in the compiled loop, not on the host.")
    return BlackBox(predictor, coder, n_jobs=n_jobs, random_state=seed)


def model_by_name(name: str, task: str, random_state: int = 0) -> Any:
    """Make a model with ordinary settings.

    Parameters
    ----------
    name : str
        One of `MODEL_NAMES`; "logistic" is for classes only and "ridge" for numbers only.
    task : {"classification", "regression"}
    random_state : int

    Returns
    -------
    scikit-learn estimator
        Not fitted.

    Raises
    ------
    ValueError
        For a name that is unknown or does not fit the task.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from . import trees

    classes = task == "classification"
    if name not in MODEL_NAMES or name == ("ridge" if classes else "logistic"):
        fitting = [each for each in MODEL_NAMES if each != ("ridge" if classes else "logistic")]
        raise ValueError(f"There is no model {name!r} for {task}; use {', '.join(fitting)}.")
    if name == "logistic":
        return LogisticRegression(max_iter=2000)
    if name == "ridge":
        return Ridge()
    kind: Any
    if name == "mlp":
        kind = MLPClassifier if classes else MLPRegressor
        # Stops by a part of the rows that it holds back, so few iterations are no failure.
        return kind((100, 100), early_stopping=True, max_iter=1000, random_state=random_state)
    if name == "random_forest":
        kind = trees.ForestClassifier if classes else trees.ForestRegressor
    else:
        kind = trees.BoostedTreesClassifier if classes else trees.BoostedTreesRegressor
    return kind(random_state=random_state)
