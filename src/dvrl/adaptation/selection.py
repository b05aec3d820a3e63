"""Choosing by cross-fitting: each candidate is judged on target rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .candidates import CONTROLS, Candidate

__all__ = ["Judgement", "coordinate_search", "mix"]

Numbers = NDArray[np.float64]

# Members of less weight than this are left out of the mixture: they cost fits and change little.
SMALLEST_MEMBER = 0.05


@dataclass
class Judgement:
    """What cross-fitting says of one candidate."""

    candidate: Candidate
    prediction: Numbers  # (n, ...): out of fold, calibrated
    power: float  # of the calibration
    losses: Numbers = field(repr=False)

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.losses.mean())


def coordinate_search(
    judge: Callable[[Candidate], Judgement],
    *,
    values: Sequence[str],
    sharpnesses: Sequence[float],
    ratios: Sequence[float],
    forms: Sequence[str],
) -> Iterator[Judgement]:
    """Judge the controls, then one setting after the other: values, sharpness, ratio, form.

    The best of a setting is kept while the next is tried.
    """
    seen: dict[Candidate, Judgement] = {}

    def ask(candidate: Candidate) -> Judgement:
        if candidate not in seen:
            seen[candidate] = judge(candidate)
        return seen[candidate]

    def best(candidates: list[Candidate]) -> Candidate:
        return min(candidates, key=lambda candidate: ask(candidate).loss)

    for control in CONTROLS.values():
        ask(control)
    middle = sorted(ratios)[len(ratios) // 2]
    chosen = {"weighted": Candidate("weighted", ratio=middle)}
    if "weighted" in forms:
        options = [Candidate("weighted", kind, 1.0, middle) for kind in values]
        kind = best([each for each in options if each.values != "uniform"] or options).values
        sharp = best([Candidate("weighted", kind, each, middle) for each in sharpnesses])
        found = best([Candidate("weighted", kind, sharp.sharpness, each) for each in ratios])
        plain = best([Candidate("weighted", "uniform", 1.0, each) for each in ratios])
        chosen["weighted"] = best([found, plain])
    # Without target rows to lean on, other values may be right, and sharper ones.
    kind = best([Candidate("source", kind) for kind in values]).values
    if kind != "uniform":
        best([Candidate("source", kind, each) for each in sharpnesses])
    if "augmented" in forms:
        like = chosen["weighted"]
        for kind, sharpness in {("uniform", 1.0): None, (like.values, like.sharpness): None}:
            best([Candidate("augmented", kind, sharpness, each) for each in ratios])
    if "offset" in forms:
        ask(Candidate("offset"))
        if chosen["weighted"].values != "uniform":
            ask(Candidate("offset", chosen["weighted"].values))
    yield from seen.values()


def mix(loss: Callable[[Numbers], float], n_members: int) -> Numbers:
    """Weights (n_members,) of a mixture, at least 0 and adding to 1, of least (convex) loss."""
    from scipy.optimize import minimize

    equal = np.full(n_members, 1.0 / n_members)
    # Relative to the loss of the equal mixture, so that the tolerance means the same everywhere.
    unit = max(abs(loss(equal)), 1e-300)
    found = minimize(
        lambda weights: loss(weights) / unit,
        equal,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * n_members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1.0},
        options={"maxiter": 300, "ftol": 1e-9},
    )
    weights = np.where(found.x < SMALLEST_MEMBER, 0.0, found.x)
    if weights.sum() <= 0:
        weights = equal
    return weights / weights.sum()
