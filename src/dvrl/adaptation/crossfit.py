"""Choosing and judging by cross-fitting: no target row judges what it had a part in.

The target rows are split into folds. What is fitted is fitted without one, two or none of them:

- the candidates of the final choice are judged on each fold by fits without it;
- the whole procedure (encoding, values, search, calibration, mixture) is judged on each fold by
  carrying it out without that fold: its candidates are judged on every other fold by fits without
  both. A fit without two folds serves the choice for either.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

from ..data.rows import take_rows
from .candidates import Candidate, Domains, Plan
from .outcomes import NumberOutcome, make_outcome
from .rows import RowEncoder, Rows
from .selection import Judgement, coordinate_search, mix

__all__ = ["FEWEST_FOLDS", "NONE", "Choice", "CrossFitting", "folds_of"]

Numbers = NDArray[np.float64]
Folds = frozenset[int]

# With two folds left out, something must be left.
FEWEST_FOLDS = 3
NONE: Folds = frozenset()


@dataclass(frozen=True)
class Choice:
    """Candidates with their weights in the mixture, by their losses on the rows that chose."""

    judgements: list[Judgement]
    weights: Numbers

    def members(self) -> Iterator[tuple[float, Judgement]]:
        """Those of positive weight."""
        pairs = zip(self.weights, self.judgements, strict=True)
        return ((float(weight), judgement) for weight, judgement in pairs if weight > 0)


class CrossFitting:
    """Fits without some folds of the target rows, made when they are asked for and then kept.

    `folds` holds the number of the fold of each target row. `values` and
    `settings` (checked) say what to try. `estimator` is named in messages about the rows.
    """

    def __init__(
        self,
        plan: Plan,
        X_source: Any,
        y_source: NDArray[Any],
        X_target: Any,
        y_target: NDArray[Any],
        *,
        folds: NDArray[np.intp],
        values: Sequence[str],
        settings: Any,
        original: bool,
        estimator: Any,
    ) -> None:
        self.plan, self.values, self.settings = plan, values, settings
        self.X_source, self.y_source = X_source, y_source
        self.X_target, self.y_target = X_target, y_target
        self.folds, self.n_folds = folds, int(folds.max()) + 1
        self.original, self.estimator = original, estimator
        self.outcome = make_outcome(plan.task, plan.metric, plan.coder)  # of scores; learns nothing
        # A search asks the fits of one choice in turn; encoded sources of all would fill memory.
        self.encoded = lru_cache(self.n_folds + 1)(self._encode)
        self._domains: dict[Folds, Domains] = {}
        self._predictions: dict[tuple[Candidate, Folds], Numbers] = {}
        self._judgements: dict[tuple[Candidate, Folds], Judgement] = {}

    def inside(self, folds: Folds) -> NDArray[np.intp]:
        """Target rows of some folds, in order."""
        return np.flatnonzero(np.isin(self.folds, list(folds)))

    def outside(self, folds: Folds) -> NDArray[np.intp]:
        """All other target rows, in order."""
        return np.flatnonzero(~np.isin(self.folds, list(folds)))

    def _encode(self, held: Folds) -> tuple[RowEncoder, Rows, Rows]:
        encoder = RowEncoder(self.original)
        target = take_rows(self.X_target, self.outside(held))
        return encoder, *encoder.fit(self.X_source, target, self.estimator)

    def domains(self, held: Folds = NONE) -> Domains:
        """Source rows and the target rows outside some folds, to be fitted on."""
        if held not in self._domains:
            self._domains[held] = Domains(
                self.plan,
                lambda: self.encoded(held)[1:],
                self.y_source,
                self.y_target[self.outside(held)],
            )
        return self._domains[held]

    def _predict(self, candidate: Candidate, held: Folds) -> Numbers:
        """Predictions for the target rows of some folds, by a fit without them."""
        key = candidate, held
        if key not in self._predictions:
            domains = self.domains(held)
            encoder = self.encoded(held)[0]
            rows = encoder.transform(take_rows(self.X_target, self.inside(held)), self.estimator)
            fitted = domains.fit(candidate)
            self._predictions[key] = fitted.predict(domains.outcome, rows.own)
        return self._predictions[key]

    def judge(self, candidate: Candidate, apart: Folds = NONE) -> Judgement:
        """What the target rows outside the folds `apart` say, which have no part in it."""
        key = candidate, apart
        if key not in self._judgements:
            rows = self.outside(apart)
            parts: dict[int, Numbers] = {}
            for fold in np.unique(self.folds[rows]):
                held = apart | {int(fold)}
                own = self.folds[self.inside(held)] == fold
                of_fold = self._predict(candidate, held)[own]
                parts |= zip(self.inside(frozenset({int(fold)})).tolist(), of_fold, strict=True)
            y, prediction = self.y_target[rows], np.stack([parts[row] for row in rows.tolist()])
            power = self.outcome.calibration(y, prediction)
            prediction = self.outcome.calibrated(prediction, power)
            losses = self.outcome.losses(y, prediction)
            self._judgements[key] = Judgement(candidate, prediction, power, losses)
        return self._judgements[key]

    def choose(self, apart: Folds = NONE) -> Choice:
        """Search and mix, by the target rows outside some folds."""
        forms = self.settings.forms
        if hasattr(self.X_source, "columns"):  # features of frames cannot be repeated as numbers
            forms = [form for form in forms if form != "augmented"]
        search = coordinate_search(
            lambda candidate: self.judge(candidate, apart),
            values=self.values,
            sharpnesses=self.settings.sharpnesses,
            ratios=self.settings.ratios,
            forms=forms,
        )
        judgements = list(search)
        if self.settings.combine == "best":
            weights = np.zeros(len(judgements))
            weights[int(np.argmin([each.loss for each in judgements]))] = 1.0
            return Choice(judgements, weights)
        y = self.y_target[self.outside(apart)]
        predictions = np.stack([each.prediction for each in judgements])

        def loss(weights: Numbers) -> float:
            mixed = np.tensordot(weights, predictions, axes=1)
            return float(self.outcome.losses(y, mixed).mean())

        return Choice(judgements, mix(loss, len(judgements)))

    def _each_fold(self, predict: Callable[[Folds], Numbers]) -> Numbers:
        """Predictions for all target rows, each fold by what was made without it."""
        found = [predict(frozenset({fold})) for fold in range(self.n_folds)]
        return np.concatenate(found)[np.argsort(np.argsort(self.folds, kind="stable"))]

    def candidate(self, candidate: Candidate) -> Numbers:
        """Predictions of a candidate, fitted and calibrated without the row's fold."""

        def predict(held: Folds) -> Numbers:
            found = self._predict(candidate, held)
            if isinstance(self.outcome, NumberOutcome):  # which are not calibrated
                return found
            return self.outcome.calibrated(found, self.judge(candidate, held).power)

        return self._each_fold(predict)

    def adapted(self) -> Numbers:
        """Predictions of the mixture, chosen, calibrated and fitted without the row's fold."""

        def predict(held: Folds) -> Numbers:
            parts = [
                weight * self.outcome.calibrated(self._predict(each.candidate, held), each.power)
                for weight, each in self.choose(held).members()
            ]
            return np.asarray(sum(parts))

        return self._each_fold(predict)

    @property
    def n_fits(self) -> int:
        """Fits so far."""
        return sum(each.n_fits for each in self._domains.values())


def folds_of(y: NDArray[Any], n_folds: int, task: str, seed: int) -> NDArray[np.intp]:
    """Number of the fold of each target row; without any two folds, two classes are left."""
    n_splits = min(n_folds, len(y))
    splitter: Any = KFold(n_splits, shuffle=True, random_state=seed)
    if task == "classification":
        _, counts = np.unique(y, return_counts=True)
        if len(counts) < 2:
            raise ValueError(
                "The target rows hold one class only; nothing can be learned about the others."
            )
        if (second := int(np.sort(counts)[-2])) < FEWEST_FOLDS:
            raise ValueError(
                f"The target rows hold {second} of their second class; at least {FEWEST_FOLDS} "
                "rows of two classes are needed to judge what the source is worth."
            )
        splitter = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    folds = np.empty(len(y), np.intp)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        for number, (_, held) in enumerate(splitter.split(np.zeros(len(y)), y)):
            folds[held] = number
    return folds
