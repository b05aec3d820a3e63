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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.rows import stack_rows, take_rows
from ..predictors.estimators import drawn_seed, seeded_copy
from ..predictors.weighted_fit import fit_weighted
from .outcomes import NumberOutcome
from .rows import Rows
from .values import density_ratio, label_agreement, learned_values

__all__ = ["CONTROLS", "Candidate", "Domains", "FittedCandidate"]

Numbers = NDArray[np.float64]

FORMS = ("source", "target", "weighted", "augmented", "offset")


@dataclass(frozen=True)
class Candidate:
    """A way to train.

    Attributes
    ----------
    form : {"source", "target", "weighted", "augmented", "offset"}
        Weighted source rows alone; target rows alone; both; both, with the features repeated for
        each domain (Daumé, "Frustratingly easy domain adaptation", 2007); a predictor of the
        source whose error is learned from the target rows (regression).
    values : {"uniform", "density", "label", "learned"}
    sharpness : float
    ratio : float or None
        Weight of all source rows by that of all target rows; None: every row counts as one.
    """

    form: str
    values: str = "uniform"
    sharpness: float = 1.0
    ratio: float | None = None

    @property
    def name(self) -> str:
        """In words."""
        if self == CONTROLS["target only"]:
            return "target only"
        for name, control in CONTROLS.items():
            if self == control:
                return name
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
    """A fitted candidate.

    Attributes
    ----------
    form : str
    estimators : tuple
        One, or for ``offset`` the source model and the model of its error.
    source_weights : (n_source,) float
        Weights of the source rows in the fit, without the base weights of the metric.
    """

    form: str
    estimators: tuple[Any, ...]
    source_weights: Numbers

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


class Domains:
    """Rows of both domains that may be trained on, and what follows from them, computed once.

    Parameters
    ----------
    outcome : ClassOutcome or NumberOutcome
    predictor, domain_classifier : estimators
        Never fitted themselves, only copies.
    source, y_source, target, y_target
    spread : float
        See :func:`dvrl.adaptation.values.label_agreement`.
    seed : int
    n_jobs : int or None
    settings : dict or None
        Of the learned values.
    max_source_rows : int
        Source rows in one fit; of more, rows are drawn by their weight.
    shared : dict
        Fits that involve source rows alone, shared by all folds.
    metric_weights : bool
        Whether fits use the base weights of the metric.
    """

    def __init__(
        self,
        outcome: Any,
        predictor: Any,
        domain_classifier: Any,
        source: Rows,
        y_source: NDArray[Any],
        target: Rows,
        y_target: NDArray[Any],
        *,
        spread: float,
        seed: int,
        n_jobs: int | None,
        settings: dict[str, Any] | None,
        max_source_rows: int,
        shared: dict[str, Any],
        metric_weights: bool = True,
    ) -> None:
        self.outcome, self.predictor = outcome, predictor
        self.domain_classifier = domain_classifier
        self.source, self.y_source = source, y_source
        self.target, self.y_target = target, y_target
        self.spread, self.seed, self.n_jobs, self.settings = spread, seed, n_jobs, settings
        self.max_source_rows = max_source_rows
        weigh = outcome.base_weights if metric_weights else lambda y: np.ones(len(y))
        self.base_source, self.base_target = weigh(y_source), weigh(y_target)
        self.n_fits = 0
        self._shared = shared
        self._values: dict[str, Numbers] = {}

    def values(self, kind: str) -> Numbers:
        """Values (n_source,) of a kind."""
        if kind not in self._values:
            self._values[kind] = self._compute_values(kind)
        return self._values[kind]

    def _compute_values(self, kind: str) -> Numbers:
        if kind == "uniform":
            return np.ones(len(self.y_source))
        if kind == "density":
            from sklearn.base import clone

            self.n_fits += 1
            return density_ratio(
                clone(self.domain_classifier),
                self.source,
                self.target,
                max_source_rows=self.max_source_rows,
                seed=self.seed,
            )
        if kind == "label":
            model = self.fit(Candidate("target")).estimators[0]
            return label_agreement(self.outcome, model, self.source, self.y_source, self.spread)
        values, n_fits = learned_values(
            self.outcome,
            self.predictor,
            self.source,
            self.y_source,
            self.target,
            self.y_target,
            self.values("label"),
            n_jobs=self.n_jobs,
            seed=self.seed,
            settings=self.settings,
        )
        self.n_fits += n_fits
        return values

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
            estimators = (self._once("target", self._fit_target, own=True),)
        elif candidate.form == "source":
            estimators = (self._fit_source(candidate, weights),)
        elif candidate.form == "offset":
            estimators = self._fit_offset(candidate, weights)
        else:
            estimators = (self._fit_both(candidate, weights),)
        return FittedCandidate(candidate.form, estimators, weights)

    def _fit_target(self) -> Any:
        return self._fit(self.target.own, self.y_target, self.base_target)

    def _fit_source(self, candidate: Candidate, weights: Numbers) -> Any:
        def fit() -> Any:
            rows, total = self._drawn(weights * self.base_source)
            return self._fit(
                take_rows(self.source.own, rows), self.y_source[rows], total / total.mean()
            )

        return self._once("source", fit) if candidate.values == "uniform" else fit()

    def _fit_both(self, candidate: Candidate, weights: Numbers) -> Any:
        rows, total = self._drawn(weights * self.base_source)
        source, target = take_rows(self.source.own, rows), self.target.own
        if candidate.form == "augmented":
            source, target = augmented(source, source=True), augmented(target, source=False)
        return self._fit(
            stack_rows(source, target),
            np.concatenate([self.y_source[rows], self.y_target]),
            np.concatenate([total, self.base_target]),
        )

    def _fit_offset(self, candidate: Candidate, weights: Numbers) -> tuple[Any, Any]:
        outcome = self.outcome
        if not isinstance(outcome, NumberOutcome):
            raise TypeError("Offsets are for numbers.")

        def fit() -> Any:
            rows, total = self._drawn(weights * outcome.link_base_weights(self.y_source))
            linked = outcome.to_link(self.y_source[rows])
            return self._fit(take_rows(self.source.own, rows), linked, total / total.mean())

        uniform = candidate.values == "uniform"
        source_model = self._once("linked source", fit) if uniform else fit()
        known = np.asarray(source_model.predict(self.target.own), dtype=np.float64).reshape(-1)
        rest = outcome.to_link(self.y_target) - known
        base = outcome.link_base_weights(self.y_target)
        return source_model, self._fit(self.target.own, rest, base)

    def _drawn(self, weights: Numbers) -> tuple[NDArray[np.intp], Numbers]:
        """Source rows of one fit and their weights."""
        return draw_rows(weights, self.max_source_rows, self.seed)

    def _once(self, name: str, fit: Callable[[], Any], *, own: bool = False) -> Any:
        """A fit that several candidates need; one of source rows alone serves all folds."""
        store = self.__dict__.setdefault("_own", {}) if own else self._shared
        if name not in store:
            store[name] = fit()
        return store[name]

    def _fit(self, X: Any, y: NDArray[Any], weights: Numbers) -> Any:
        self.n_fits += 1
        learner = seeded_copy(self.predictor, drawn_seed(self.seed))
        classes = self.outcome.coder.task == "classification"
        return fit_weighted(learner, X, y, weights, classes=classes)


def draw_rows(weights: Numbers, size: int, seed: int) -> tuple[NDArray[np.intp], Numbers]:
    """Choose rows of positive weight to train on.

    Where there are more than `size`, rows are drawn by a systematic sample in random order, a row
    of weight w with the probability p = min(1, c w), and weigh w / p: sums over the rows chosen
    are, in expectation, those over all rows (Horvitz and Thompson, 1952).

    Parameters
    ----------
    weights : (n,) float
    size : int
    seed : int

    Returns
    -------
    rows : (k,) int
        In order; k is at most `size`.
    weights : (k,) float
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
