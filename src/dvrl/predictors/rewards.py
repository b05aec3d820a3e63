"""Rewards: how good are a predictor's scores on the validation rows? Higher is always better.

Rewards of our own are JAX functions of targets and scores; they can be compiled and mapped over
selections. Everything scikit-learn knows (scorer names, scorer objects, callables) runs on the
host, on a fitted estimator.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

__all__ = ["Reward", "StoredScores", "make_reward"]

# Probabilities below this are raised to it: an impossible label costs 16 nats, not infinity.
SMALLEST_PROBABILITY = 1e-7
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
# A target that float32 cannot tell from zero after undoing the scaling: four roundings.
ZERO_TOLERANCE = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Reward:
    """A metric, higher is better.

    Attributes
    ----------
    name : str
    function : callable
        `on_host` false: `function(targets, scores, mask, center, scale)`, JAX, where targets and
        scores are float32 `(m, n_outputs)`, mask `(m,)` holds the weights of rows, 0 for padding
        (whose content never matters), center and scale undo the scaling of regression targets;
        returns a float32 scalar. `on_host` true: `function(estimator, X, y) -> float`.
    differentiable : bool
        Whether the gradient of `function` with respect to `scores` says anything.
    on_host : bool
    """

    name: str
    function: Callable[..., Any]
    differentiable: bool
    on_host: bool

    def by_row(
        self, targets: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """Reward of each row, where the metric is a mean over rows; else None.

        Parameters
        ----------
        targets, scores : (m, n_outputs) float32
            Numbers in their scaled units, in which the rewards of rows are, too.
        """
        function = _BY_ROW.get(self.name)
        if function is None:
            return None
        by_row: NDArray[np.float64] = function(np.float64(targets), np.float64(scores))
        return by_row


_BY_ROW: dict[str, Callable[[Any, Any], Any]] = {
    "log_loss": lambda Y, scores: np.log(np.clip((Y * scores).sum(axis=1), 1e-7, None)),
    "accuracy": lambda Y, scores: np.float64(Y.argmax(axis=1) == scores.argmax(axis=1)),
    "mse": lambda Y, scores: -((Y - scores)[:, 0] ** 2),
    "mae": lambda Y, scores: -np.abs(Y - scores)[:, 0],
}


# --- JAX rewards ------------------------------------------------------------------------------


def _without_padding(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Put zeros where the mask is zero; a product would let NaN through."""
    return jnp.where(mask[:, None] > 0, values, 0.0)


def _mean(per_row: jax.Array, mask: jax.Array) -> jax.Array:
    """Weighted mean over the rows that count; 0 if there are none."""
    total = jnp.sum(mask)
    return jnp.sum(per_row * mask) / jnp.where(total > 0, total, 1.0)


def _log_loss(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    scores = _without_padding(scores, mask)
    clipped = jnp.clip(scores, SMALLEST_PROBABILITY, 1.0)
    # The value is clipped, the slope is not: a row that is hopelessly wrong keeps its gradient.
    probability = scores + jax.lax.stop_gradient(clipped - scores)
    per_row = jnp.sum(_without_padding(targets, mask) * jnp.log(probability), axis=1)
    return _mean(per_row, mask)


def _accuracy(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    right = jnp.argmax(targets, axis=1) == jnp.argmax(_without_padding(scores, mask), axis=1)
    return _mean(right.astype(jnp.float32), mask)


def _auc(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    scores = _without_padding(scores, mask)
    is_positive = _without_padding(targets, mask)
    positives, negatives = mask[:, None] * is_positive, mask[:, None] * (1.0 - is_positive)
    if scores.shape[1] == 2:  # the two columns say the same thing
        scores, positives, negatives = scores[:, 1:], positives[:, 1:], negatives[:, 1:]
    wins, pairs = jax.vmap(_won_pairs, in_axes=1)(scores, positives, negatives)
    # A class that fills all validation rows or none cannot be ranked: it is left out.
    ranked = (pairs > 0).astype(jnp.float32)
    per_class = ranked * wins / jnp.where(pairs > 0, pairs, 1.0)
    mean = jnp.sum(per_class) / jnp.maximum(jnp.sum(ranked), 1.0)
    return jnp.where(jnp.sum(ranked) > 0, mean, 0.5)


def _won_pairs(
    scores: jax.Array, positives: jax.Array, negatives: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Count the pairs (positive, negative) in the right order, ties as a half, and all pairs."""
    n_rows = scores.shape[0]
    order = jnp.argsort(scores)
    scores, positives, negatives = scores[order], positives[order], negatives[order]
    changes = scores[1:] != scores[:-1]
    yes = jnp.ones(1, dtype=bool)
    index = jnp.arange(n_rows)
    # Each row's group of equal scores is [first, last) in sorted order.
    first = jax.lax.cummax(jnp.where(jnp.concatenate([yes, changes]), index, 0))
    last = jax.lax.cummin(
        jnp.where(jnp.concatenate([changes, yes]), index + 1, n_rows), reverse=True
    )
    negatives_before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(negatives)])
    below, up_to = negatives_before[first], negatives_before[last]
    wins = jnp.sum(positives * (below + up_to) / 2.0)
    return wins, jnp.sum(positives) * jnp.sum(negatives)


def _mse(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    error = _without_padding(targets - scores, mask)
    return -_mean((error**2)[:, 0], mask)


def _mae(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    error = _without_padding(targets - scores, mask)
    return -_mean(jnp.abs(error)[:, 0], mask)


def _rmspe(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    scaled = _without_padding(targets, mask)[:, 0] * scale
    original = scaled + center
    rounding = ZERO_TOLERANCE * (jnp.abs(scaled) + jnp.abs(center))
    # Products below the smallest normal number are flushed to zero.
    is_zero = jnp.abs(original) <= jnp.maximum(rounding, SMALLEST_NORMAL)
    counted = jnp.where(is_zero, 0.0, mask)
    error = _without_padding(targets - scores, counted)[:, 0] * scale
    mean_square = _mean((error / jnp.where(is_zero, 1.0, original)) ** 2, counted)
    # The root's slope at zero is infinite; a perfect prediction gets the slope 0.
    perfect = mean_square <= 0.0
    return -jnp.where(perfect, 0.0, jnp.sqrt(jnp.where(perfect, 1.0, mean_square)))


def _r2(
    targets: jax.Array, scores: jax.Array, mask: jax.Array, center: Any, scale: Any
) -> jax.Array:
    target = _without_padding(targets, mask)[:, 0]
    residual = jnp.sum(mask[:, None] * _without_padding(targets - scores, mask) ** 2)
    total = jnp.sum(mask * (target - _mean(target, mask)) ** 2)
    # Compared by value: the mean of equal numbers may differ from them by a rounding.
    counted = mask > 0
    lowest = jnp.min(jnp.where(counted, target, jnp.inf))
    constant = (jnp.max(jnp.where(counted, target, -jnp.inf)) <= lowest) | (total <= 0.0)
    # scikit-learn's rule for a constant target: 1 for a perfect prediction, else 0.
    of_constant = jnp.where(residual > 0.0, 0.0, 1.0)
    return jnp.where(constant, of_constant, 1.0 - residual / jnp.where(constant, 1.0, total))


CLASSIFICATION_REWARDS: dict[str, Reward] = {
    "log_loss": Reward("log_loss", _log_loss, differentiable=True, on_host=False),
    "accuracy": Reward("accuracy", _accuracy, differentiable=False, on_host=False),
    "auc": Reward("auc", _auc, differentiable=False, on_host=False),
}
REGRESSION_REWARDS: dict[str, Reward] = {
    "mse": Reward("mse", _mse, differentiable=True, on_host=False),
    "mae": Reward("mae", _mae, differentiable=True, on_host=False),
    "rmspe": Reward("rmspe", _rmspe, differentiable=True, on_host=False),
    "r2": Reward("r2", _r2, differentiable=True, on_host=False),
}
REWARDS = {"classification": CLASSIFICATION_REWARDS, "regression": REGRESSION_REWARDS}
# Other names of the same metrics, most of them scikit-learn's.
ALIASES = {
    "neg_log_loss": "log_loss",
    "roc_auc": "auc",
    "roc_auc_ovr": "auc",
    "neg_mean_squared_error": "mse",
    "mean_squared_error": "mse",
    "neg_mean_absolute_error": "mae",
    "mean_absolute_error": "mae",
}


# --- choosing a reward ------------------------------------------------------------------------


def make_reward(metric: str | Callable[..., float], task: str, n_outputs: int) -> Reward:
    """Find the reward for a metric.

    Parameters
    ----------
    metric : str or callable
        A name of ours ("log_loss", "accuracy", "auc"; "mse", "mae", "rmspe", "r2"), any name from
        `sklearn.metrics.get_scorer_names()`, a scorer object, or a callable
        `(estimator, X, y) -> float`, higher is better.
    task : {"classification", "regression"}
    n_outputs : int
        Number of classes; 1 for regression.

    Returns
    -------
    Reward

    Raises
    ------
    ValueError
        When the name is unknown or belongs to the other task.
    TypeError
        When `metric` is neither a name nor a scorer.

    Examples
    --------
    >>> make_reward("roc_auc", "classification", 2).name
    'auc'
    """
    if isinstance(metric, str):
        return _reward_by_name(metric, task, n_outputs)
    if not callable(metric):
        raise TypeError(
            f"metric is a name, a scorer or a callable (estimator, X, y) -> float, not {metric!r}."
        )
    return _reward_on_host(metric)


def _reward_by_name(name: str, task: str, n_outputs: int) -> Reward:
    own_name = ALIASES.get(name, name)
    if own_name in REWARDS[task]:
        return REWARDS[task][own_name]
    from sklearn.metrics import get_scorer

    others = _scorer_names(task)
    if name not in others:
        raise ValueError(_unknown_name(name, task, others))
    # scikit-learn's plain "f1", "precision", ... are for two classes.
    if n_outputs > 2 and f"{name}_macro" in others:
        raise ValueError(
            f"metric={name!r} is for two classes and there are {n_outputs}; use"
            f" '{name}_macro' or '{name}_weighted'."
        )
    return Reward(name, get_scorer(name), differentiable=False, on_host=True)


def _scorer_names(task: str) -> list[str]:
    """scikit-learn's scorers for a task; the library itself does not keep them apart."""
    from sklearn.metrics import get_scorer_names

    def for_regression(name: str) -> bool:
        return name in ("r2", "explained_variance", "max_error") or (
            name.startswith(("neg_", "d2_")) and ("error" in name or "deviance" in name)
        )

    return [n for n in get_scorer_names() if for_regression(n) == (task == "regression")]


def _unknown_name(name: str, task: str, others: list[str]) -> str:
    own = list(REWARDS[task])
    other_task = "regression" if task == "classification" else "classification"
    if ALIASES.get(name, name) in REWARDS[other_task] or name in _scorer_names(other_task):
        cause = f"metric={name!r} is for {other_task}, this is {task}"
    else:
        close = difflib.get_close_matches(name, [*own, *ALIASES, *others], n=1)
        cause = f"metric={name!r} is unknown" + (f" (did you mean {close[0]!r}?)" if close else "")
    return (
        f"{cause}; use one of {', '.join(own)}, one of scikit-learn's scorers"
        f" ({', '.join(n for n in others if n not in own and n not in ALIASES)}), or a callable"
        " (estimator, X, y) -> float."
    )


def _reward_on_host(metric: Callable[..., float]) -> Reward:
    module = getattr(metric, "__module__", None) or ""
    # scikit-learn's own test for the commonest slip: f(y_true, y_pred) in place of a scorer.
    is_metric_function = (
        hasattr(metric, "__name__")
        and module.startswith("sklearn.metrics.")
        and not module.startswith("sklearn.metrics._scorer")
        and not module.startswith("sklearn.metrics.tests.")
    )
    name = getattr(metric, "__name__", type(metric).__name__)
    if is_metric_function:
        raise TypeError(
            f"metric={name} compares labels with predictions; wrap it with"
            f" sklearn.metrics.make_scorer({name}) or use a scorer's name."
        )
    score_function = getattr(metric, "_score_func", None)
    return Reward(
        getattr(score_function, "__name__", name), metric, differentiable=False, on_host=True
    )


# --- scores in the clothes of an estimator ----------------------------------------------------


def _is_classification(estimator: StoredScores) -> bool:
    return bool(estimator.coder.task == "classification")


class StoredScores(BaseEstimator):
    """A fitted estimator that has only one thing to say: the scores it was given.

    With it, scikit-learn's scorers can judge predictors that are no scikit-learn estimators.

    Parameters
    ----------
    scores : ndarray of shape (m, n_outputs)
        Scores of the rows that the scorer will pass, in their order.
    coder : ClassEncoder or TargetScaler
        Turns scores into labels or targets; see `dvrl.data.encoder`.
    """

    def __init__(self, scores: NDArray[np.floating[Any]], coder: Any) -> None:
        self.scores = scores
        self.coder = coder

    def __sklearn_tags__(self) -> Any:
        """Say whether this is a classifier or a regressor."""
        from sklearn.utils import ClassifierTags, RegressorTags

        tags = super().__sklearn_tags__()
        if _is_classification(self):
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_class=len(self.classes_) > 2)
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Say that there is nothing to fit."""
        return True

    @property
    def classes_(self) -> NDArray[Any]:
        """The class labels, in the order of the columns of the scores."""
        if not _is_classification(self):
            raise AttributeError("A regressor has no classes_.")
        classes: NDArray[Any] = self.coder.classes_
        return classes

    def fit(self, X: Any, y: Any = None) -> StoredScores:
        """Do nothing; scikit-learn takes objects for estimators by this method."""
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return labels or targets `(m,)`; `X` is only counted."""
        decoded: NDArray[Any] = self.coder.decode(self._checked(X))
        return decoded

    @available_if(_is_classification)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities `(m, c)`, rows adding to one; `X` is only counted."""
        # In float64, because scikit-learn checks sums of one to 1e-8.
        probability = np.clip(np.asarray(self._checked(X), dtype=np.float64), 0.0, None)
        total: NDArray[np.float64] = probability.sum(axis=1, keepdims=True)
        even = np.full_like(probability, 1.0 / probability.shape[1])
        normalised: NDArray[np.float64] = np.divide(probability, total, out=even, where=total > 0)
        return normalised

    def _checked(self, X: Any) -> NDArray[Any]:
        scores = np.asarray(self.scores)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        if n_rows != scores.shape[0]:
            raise ValueError(
                f"Scores are stored for {scores.shape[0]} rows and {n_rows} rows were passed; pass"
                " the rows that the scores belong to."
            )
        return scores
