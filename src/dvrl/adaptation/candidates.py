"""Ways to train on two domains, and fits of them on given rows.

Candidates of form ``weighted`` share one parametrisation. With values v of the source rows and base
weights b that the metric implies,

    weight of a source row = b * scale * v**sharpness / mean(v**sharpness),
    weight of a target row = b,

where the scale is such that the whole source weighs `ratio` times as much as the target rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold

from ..data.rows import stack_rows, take_rows
from ..predictors.estimators import drawn_seed, seeded_copy
from ..predictors.weighted_fit import fit_weighted
from .outcomes import NumberOutcome, make_outcome
from .rows import Rows
from .values import density_ratio, label_agreement, learned_values

__all__ = ["CONTROLS", "Candidate", "Domains", "FittedCandidate", "Plan"]

Numbers = NDArray[np.float64]

# Of the target rows, for the error of a predictor of them.
SPREAD_FOLDS = 5


@dataclass(frozen=True)
class Candidate:
    """A way to train.

    Forms: weighted source rows alone; target rows alone; both; both, with the features repeated for
    each domain (Daumé, "Frustratingly easy domain adaptation", 2007); a predictor of the source
    whose error is learned from the target rows (regression). A ratio of None: every row counts as
    one.
    """

    form: str
    values: str = "uniform"
    sharpness: float = 1.0
    ratio: float | None = None

    @property
    def name(self) -> str:
        """In words."""
        if self.is_control:
            return next(name for name, control in CONTROLS.items() if self == control)
        values = self.values if self.sharpness == 1 else f"{self.values}^{self.sharpness:g}"
        ratio = "" if self.ratio is None else f", ratio {self.ratio:g}"
        return f"{self.form} ({values}{ratio})"

    @property
    def is_control(self) -> bool:
        """Whether it needs no learned weights and no choice."""
        return self in CONTROLS.values()


CONTROLS = {
    "target only": Candidate("target"),
    "source only": Candidate("source"),
    "both": Candidate("weighted"),
    "importance weighting": Candidate("source", "density"),
}


@dataclass(frozen=True)
class FittedCandidate:
    """A fitted candidate."""

    form: str
    estimators: tuple[Any, ...]  # one, or for "offset" the source model and that of its error
    source_weights: Numbers  # (n_source,), without the base weights of the metric

    def predict(self, outcome: Any, X: Any) -> Numbers:
        """Predictions for rows of the target domain."""
        if self.form == "augmented":
            X = augmented(X, source=False)
        if self.form != "offset":
            prediction: Numbers = outcome.predict(self.estimators[0], X)
            return prediction
        linked = sum(np.asarray(model.predict(X), np.float64) for model in self.estimators)
        corrected: Numbers = outcome.from_link(np.asarray(linked).reshape(-1))
        return corrected


@dataclass(frozen=True)
class Plan:
    """What all fits have in common; the estimators are never fitted themselves, only copies."""

    task: str
    metric: str
    coder: Any
    predictor: Any
    domain_classifier: Any
    seed: int
    n_jobs: int | None = None
    valuation: dict[str, Any] | None = None  # settings of the learned values
    max_source_rows: int = 50_000  # in one fit; of more, rows are drawn by their weight
    metric_weights: bool = True  # whether fits use the base weights of the metric


class Domains:
    """Rows of both domains that may be trained on, and what follows from them, computed once.

    Parameters
    ----------
    plan : Plan
    rows : callable
        Returns the :class:`Rows` of the source and of the target.
    y_source, y_target : (n_source,) and (n_target,) array
    """

    def __init__(
        self,
        plan: Plan,
        rows: Callable[[], tuple[Rows, Rows]],
        y_source: NDArray[Any],
        y_target: NDArray[Any],
    ) -> None:
        self.plan, self._rows = plan, rows
        self.y_source, self.y_target = y_source, y_target
        self.outcome = make_outcome(plan.task, plan.metric, plan.coder)
        self.outcome.fit(y_source, y_target)
        weigh = self.outcome.base_weights if plan.metric_weights else lambda y: np.ones(len(y))
        self.base_source, self.base_target = weigh(y_source), weigh(y_target)
        self.n_fits = 0
        self._values: dict[str, NDArray[np.float32]] = {}

    def values(self, kind: str) -> Numbers:
        """Values (n_source,) of a kind."""
        if kind not in self._values:
            self._values[kind] = self._compute_values(kind).astype(np.float32)
        return self._values[kind].astype(np.float64)

    def _compute_values(self, kind: str) -> Numbers:
        plan = self.plan
        if kind == "uniform":
            return np.ones(len(self.y_source))
        source, target = self._rows()
        if kind == "density":
            self.n_fits += 1
            return density_ratio(
                clone(plan.domain_classifier),
                source,
                target,
                max_source_rows=plan.max_source_rows,
                seed=plan.seed,
            )
        if kind == "label":
            model, spread = self.target_model, self._spread()
            return label_agreement(self.outcome, model, source, self.y_source, spread)
        values, n_fits = learned_values(
            self.outcome,
            plan.predictor,
            source,
            self.y_source,
            target,
            self.y_target,
            self.values("label"),
            n_jobs=plan.n_jobs,
            seed=plan.seed,
            settings=plan.valuation,
        )
        self.n_fits += n_fits
        return values

    def _spread(self) -> float:
        """Root of the mean loss of such models on target rows that they have not seen."""
        if not isinstance(self.outcome, NumberOutcome):
            return 1.0  # probabilities need none
        target, losses = self._rows()[1], []
        folds = KFold(min(SPREAD_FOLDS, len(target)), shuffle=True, random_state=self.plan.seed)
        for training, held in folds.split(self.y_target):
            rows = take_rows(target.own, training)
            model = self._fit(rows, self.y_target[training], self.base_target[training])
            prediction = self.outcome.predict(model, take_rows(target.own, held))
            losses.append(self.outcome.losses(self.y_target[held], prediction))
        mean = float(np.concatenate(losses).mean())
        return max(mean if self.outcome.metric == "mae" else mean**0.5, 1e-12)

    def source_weights(self, candidate: Candidate) -> Numbers:
        """Weights (n_source,) of the source rows, without the base weights of the metric."""
        if candidate.form == "target":
            return np.zeros(len(self.y_source))
        raised = self.values(candidate.values) ** candidate.sharpness
        weights = raised / raised.mean()
        if candidate.ratio is not None:
            # Base weights of the source may be of another size than those of the target.
            source_total = float((weights * self.base_source).sum())
            weights = weights * (candidate.ratio * self.base_target.sum() / source_total)
        return weights

    def fit(self, candidate: Candidate) -> FittedCandidate:
        """Train as the candidate says."""
        weights = self.source_weights(candidate)
        estimators: tuple[Any, ...]
        if candidate.form == "target":
            estimators = (self.target_model,)
        elif candidate.form == "source":
            estimators = (self._fit_source(weights),)
        elif candidate.form == "offset":
            estimators = self._fit_offset(weights)
        else:
            estimators = (self._fit_both(candidate, weights),)
        return FittedCandidate(candidate.form, estimators, weights)

    @cached_property
    def target_model(self) -> Any:
        """The predictor of the target rows alone."""
        return self._fit(self._rows()[1].own, self.y_target, self.base_target)

    def _fit_source(self, weights: Numbers) -> Any:
        rows, total = self._drawn(weights * self.base_source)
        own = take_rows(self._rows()[0].own, rows)
        return self._fit(own, self.y_source[rows], total / total.mean())

    def _fit_both(self, candidate: Candidate, weights: Numbers) -> Any:
        rows, total = self._drawn(weights * self.base_source)
        source, target = (each.own for each in self._rows())
        source = take_rows(source, rows)
        if candidate.form == "augmented":
            source, target = augmented(source, source=True), augmented(target, source=False)
        return self._fit(
            stack_rows(source, target),
            np.concatenate([self.y_source[rows], self.y_target]),
            np.concatenate([total, self.base_target]),
        )

    def _fit_offset(self, weights: Numbers) -> tuple[Any, Any]:
        outcome = self.outcome
        if not isinstance(outcome, NumberOutcome):
            raise TypeError("Offsets are for numbers.")
        source, target = self._rows()
        rows, total = self._drawn(weights * outcome.link_base_weights(self.y_source))
        linked = outcome.to_link(self.y_source[rows])
        source_model = self._fit(take_rows(source.own, rows), linked, total / total.mean())
        known = np.asarray(source_model.predict(target.own), dtype=np.float64).reshape(-1)
        rest = outcome.to_link(self.y_target) - known
        base = outcome.link_base_weights(self.y_target)
        return source_model, self._fit(target.own, rest, base)

    def _drawn(self, weights: Numbers) -> tuple[NDArray[np.intp], Numbers]:
        """Source rows of one fit and their weights."""
        return draw_rows(weights, self.plan.max_source_rows, self.plan.seed)

    def _fit(self, X: Any, y: NDArray[Any], weights: Numbers) -> Any:
        self.n_fits += 1
        plan = self.plan
        learner = seeded_copy(plan.predictor, drawn_seed(plan.seed))
        classes = plan.coder.task == "classification"
        return fit_weighted(learner, X, y, weights, classes=classes)


def draw_rows(weights: Numbers, size: int, seed: int) -> tuple[NDArray[np.intp], Numbers]:
    """At most `size` rows of positive weight to train on, in order, and their weights.

    Where there are more, rows are drawn by a systematic sample in random order, a row of weight w
    with the probability p = min(1, c w), and weigh w / p: sums over the rows chosen are, in
    expectation, those over all rows (Horvitz and Thompson, 1952).
    """
    rows = np.flatnonzero(weights > 0)
    if len(rows) <= size:
        return rows, weights[rows]
    share = weights[rows]
    probability = _inclusion(share, size)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    passed = np.floor(np.cumsum(probability[order]) - rng.random())
    drawn = np.sort(order[np.diff(passed, prepend=-1.0) > 0][:size])
    return rows[drawn], share[drawn] / probability[drawn]


def _inclusion(weights: Numbers, size: int) -> Numbers:
    """Probabilities min(1, c w) that add to `size`; there are more weights than that."""
    heavy = np.zeros(len(weights), bool)
    while True:  # rows that must be in leave fewer places to the others
        c = (size - heavy.sum()) / weights[~heavy].sum()
        more = heavy | (c * weights >= 1.0)
        if (more == heavy).all():
            return np.where(heavy, 1.0, c * weights)
        heavy = more


def augmented(X: Any, *, source: bool) -> Any:
    """Features for all, for the source and for the target: (n, 3 d), with zeros in one part."""
    if hasattr(X, "tocsr"):
        from scipy.sparse import csr_matrix, hstack

        none = csr_matrix(X.shape, dtype=X.dtype)
        return hstack([X, X, none] if source else [X, none, X]).tocsr()
    X = np.asarray(X)
    none = np.zeros_like(X)
    return np.hstack([X, X, none] if source else [X, none, X])
