"""What a source row is worth for the target domain: four answers, from simple to learned.

``uniform``
    Every source row counts alike.
``density``
    How much likelier the row's features are in the target domain: the odds of a domain
    classifier (importance weighting against covariate shift).
``label``
    How well the row's label agrees with a predictor fitted on the target rows alone (against
    label and concept shift).
``learned``
    Data valuation by reinforcement learning with the target rows as validation set; the policy
    starts at ``label`` and learns a residual.

All of them see only the target rows they are given; under cross-fitting these are the rows outside
the held folds.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from ..data.rows import stack_rows, take_rows
from ..data.table import Table
from ..data.targets import TargetScaler
from .outcomes import ClassOutcome, NumberOutcome
from .rows import Rows, dense

__all__ = [
    "VALUES",
    "default_domain_classifier",
    "density_ratio",
    "label_agreement",
    "learned_values",
]

Numbers = NDArray[np.float64]

VALUES = ("uniform", "density", "label", "learned")

# Odds of the domain classifier are cut off here: single rows must not carry the fit.
LARGEST_ODDS = 20.0
SMALLEST_VALUE = 1e-6
# The learned residual moves log-odds by at most 1; a prior nearer to 0 or 1 would be final.
PRIOR_BOUNDS = (0.002, 0.98)
LEARNING_ROWS = 2000
# Of a black-box predictor: each outer iteration costs that many fits.
BLACK_BOX_SETTINGS: dict[str, Any] = {"outer_iterations": 30, "n_selections": 4}
LINEAR_SETTINGS: dict[str, Any] = {"outer_iterations": 60, "ensemble_size": 1}


def default_domain_classifier() -> Any:
    """Logistic regression, not fitted."""
    return LogisticRegression(max_iter=200, tol=1e-3)


def density_ratio(
    classifier: Any, source: Rows, target: Rows, *, max_source_rows: int, seed: int
) -> Numbers:
    """Odds that rows with such features come from the target domain, (n_source,).

    The classifier is fitted on a random sample where there are more than `max_source_rows`.
    """
    rows = _random_rows(len(source), max_source_rows, seed)
    n_source, n_target = len(rows), len(target)
    domain = np.repeat([0, 1], [n_source, n_target])
    # Domains of equal weight: the odds then are the ratio of the two densities.
    weights = np.repeat([0.5 / n_source, 0.5 / n_target], [n_source, n_target])
    weights *= n_source + n_target
    with warnings.catch_warnings():
        # Odds need no last digit; callers did not choose the solver.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(
            stack_rows(take_rows(source.matrix, rows), target.matrix),
            domain,
            sample_weight=weights,
        )
    probability = np.asarray(classifier.predict_proba(source.matrix), dtype=np.float64)[:, 1]
    odds = probability / np.maximum(1.0 - probability, 1e-12)
    return np.clip(odds, SMALLEST_VALUE, LARGEST_ODDS)


def label_agreement(
    outcome: ClassOutcome | NumberOutcome,
    target_model: Any,
    source: Rows,
    y_source: NDArray[Any],
    spread: float,
) -> Numbers:
    """How likely each source row's label is by a fitted model of the target domain, (n_source,).

    For numbers, `spread` is the root of the mean loss of such a model on rows it has not seen.
    """
    prediction = outcome.predict(target_model, source.own)
    if isinstance(outcome, ClassOutcome):
        probability = prediction[np.arange(len(y_source)), outcome._codes(y_source)]
        return np.clip(probability, SMALLEST_VALUE, 1.0)
    losses = outcome.losses(y_source, prediction)
    scaled = losses / spread if outcome.metric == "mae" else 0.5 * losses / spread**2
    return np.clip(np.exp(-scaled), SMALLEST_VALUE, 1.0)


def learned_values(
    outcome: ClassOutcome | NumberOutcome,
    predictor: Any,
    source: Rows,
    y_source: NDArray[Any],
    target: Rows,
    y_target: NDArray[Any],
    agreement: Numbers,
    *,
    n_jobs: int | None,
    seed: int,
    settings: dict[str, Any] | None = None,
) -> tuple[Numbers, int]:
    """Values (n_source,) by DVRL, with the target rows as validation set, and the number of fits.

    The predictor inside the loop is trained on selected source rows; its reward is its performance
    on the target rows. The policy starts at `agreement`, the values of kind ``label``. `settings`
    are those of :class:`dvrl.learning.settings.Settings`, in place of our own.
    """
    from ..learning.assembly import Assembly
    from ..learning.learn import network_log_odds
    from ..learning.settings import make_settings

    stand_in, own_settings = _loop_predictor(predictor)
    numbers = isinstance(outcome, NumberOutcome)
    coder, y_learn, y_judge = outcome.coder, y_source, y_target
    if isinstance(outcome, NumberOutcome):
        # On the scale of the link a squared error is what the metric counts.
        y_learn, y_judge = outcome.to_link(y_source), outcome.to_link(y_target)
        coder = TargetScaler().fit(y_judge)
    assembly = Assembly(
        task="regression" if numbers else "classification",
        coder=coder,
        settings=make_settings("default", {**own_settings, **(settings or {})}),
        metric="mse" if numbers else "log_loss",
        predictor=stand_in,
        n_jobs=n_jobs,
        seed=seed,
    )
    Y = coder.encode(y_learn)
    prior = np.clip(agreement, *PRIOR_BOUNDS)
    logits: NDArray[np.float32] = np.log(prior / (1.0 - prior)).astype(np.float32)
    disagreement = (1.0 - agreement).astype(np.float32)
    differences = np.repeat(disagreement[:, np.newaxis], Y.shape[1], axis=1)
    rows = _random_rows(len(y_source), LEARNING_ROWS, seed)
    chosen = source.take(rows)
    X, X_judge = dense(source.matrix, target.matrix, seed)
    engine = assembly.engine(
        Table(X[rows], Y[rows], own=chosen.own, labels=y_learn[rows]),
        Table(X_judge, coder.encode(y_judge), own=target.own, labels=y_judge),
        differences[rows],
        logits[rows],
    )
    result = assembly.train(engine, pretrained=None, checkpoint=None, resume=False, callback=None)
    log_odds = network_log_odds(result.estimators, X, Y, differences, logits)
    values: Numbers = (0.5 * (1.0 + np.tanh(0.5 * log_odds))).mean(axis=0)
    return np.maximum(values, SMALLEST_VALUE), int(engine.n_fits)


def _random_rows(n: int, size: int, seed: int) -> NDArray[np.intp]:
    """All of `n` rows, or a random `size` of them, in order."""
    if n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


def _loop_predictor(predictor: Any) -> tuple[Any, dict[str, Any]]:
    """The built-in equal of a linear predictor, which has an exact gradient; else itself."""
    last = predictor.steps[-1][1] if isinstance(predictor, Pipeline) else predictor
    if type(last) is LogisticRegression:
        return "linear", {**LINEAR_SETTINGS, "l2": 1.0 / last.C}
    if type(last) is Ridge:
        return "linear", {**LINEAR_SETTINGS, "l2": float(last.alpha)}
    return predictor, BLACK_BOX_SETTINGS
