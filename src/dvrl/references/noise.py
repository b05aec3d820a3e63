"""How likely a label is its row's own, given what a reference says of the row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ..files.state import Finite, Share, State, checked, expect

__all__ = ["Mixture", "NoiseMatrix", "bounded"]

Floats = NDArray[np.float64]

# Certainty would be a verdict that learning could hardly take back: a prior within this of 0 or 1
# is moved half-way to it, which keeps the order of rows.
TAIL = 0.02

# Wrong labels may prefer some classes: a noise matrix is estimated, drawn to uniform noise by as
# much as so many rows of each class count.
MATRIX_ROWS = 100.0
STEPS = 50
RATE_START = 0.2
RATE_BOUNDS = (1e-3, 0.6)

MIXING_START = 0.9
MIXING_BOUNDS = (0.5, 0.99)
MIXING_STEPS = 20
# The median of absolute deviations times this is the standard deviation of a normal variable.
NORMAL_MAD = 1.4826
POOL_GRID = 512
POOL_SAMPLE = 5_000
# Share of a heavy-tailed component in the pool of targets: no target is impossible.
POOL_TAIL = 0.05


def bounded(probability: Floats) -> Floats:
    """The same within [.02, .98]; what lies outside, in its order, within .01 of that."""
    inside = np.clip(probability, TAIL, 1.0 - TAIL)
    return 0.5 * (inside + probability)


@dataclass(frozen=True)
class NoiseMatrix:
    """Chance of each given label (column) for rows of each true class (row).

    Attributes
    ----------
    matrix : (c, c) float64
    """

    matrix: Floats

    @classmethod
    def fit(cls, labels: Floats, scores: Floats) -> Self:
        """Expectation maximisation, drawn to noise that replaces a label by any other one alike.

        Parameters
        ----------
        labels, scores : (n, c) float64
            One-hot labels, and probabilities of the true classes.
        """
        n_classes = labels.shape[1]
        uniform = _uniform_noise(n_classes, _noise_rate((labels * scores).sum(axis=1), n_classes))
        matrix = uniform
        for _ in range(STEPS):
            true_class = scores * (labels @ matrix.T)
            true_class /= np.maximum(true_class.sum(axis=1, keepdims=True), 1e-12)
            matrix = true_class.T @ labels + MATRIX_ROWS * uniform
            matrix /= matrix.sum(axis=1, keepdims=True)
        return cls(matrix)

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        return {}, {"matrix": self.matrix}

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        matrix = expect(arrays, "matrix", (None, None), low=0.0, high=1.0)
        return cls(expect(arrays, "matrix", (len(matrix), len(matrix))))

    def own_probability(self, labels: Floats, scores: Floats) -> Floats:
        """Chance (n,) that the given label is the true class."""
        joint = scores * (labels @ self.matrix.T)
        own: Floats = (labels * joint).sum(axis=1) / np.maximum(joint.sum(axis=1), 1e-12)
        return own


def _noise_rate(own_scores: Floats, n_classes: int) -> float:
    """Share of labels that were replaced by another one, any one alike."""
    rate = RATE_START
    for _ in range(STEPS):
        own = (1.0 - rate) * own_scores
        other = rate * (1.0 - own_scores) / (n_classes - 1)
        kept = (own / np.maximum(own + other, 1e-12)).mean()
        rate = float(np.clip(1.0 - kept, *RATE_BOUNDS))
    return rate


def _uniform_noise(n_classes: int, rate: float) -> Floats:
    matrix = np.full((n_classes, n_classes), rate / (n_classes - 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


@dataclass(frozen=True)
class MixtureRecord:
    """What a file says of a mixture beside its arrays."""

    residual_spread: Finite
    mixing_weight: Share
    pool_center: Finite
    pool_spread: Finite


@dataclass(frozen=True)
class Mixture:
    """A target is its row's own, and normal around its score; or drawn from the pool of targets.

    Attributes
    ----------
    residual_spread : float
        Standard deviation of the residuals of rows whose target is their own.
    mixing_weight : float
        Share of such rows.
    pool_center, pool_spread : float
        Median of all targets, and a robust spread.
    pool_grid, pool_density : (512,) float64
        Density of all targets.
    """

    residual_spread: float
    mixing_weight: float
    pool_center: float
    pool_spread: float
    pool_grid: Floats
    pool_density: Floats

    @classmethod
    def fit(cls, targets: Floats, scores: Floats) -> Self:
        """Estimate everything from targets (n,) and their predictions (n,)."""
        center, pool_spread, grid, density = _pool_of_targets(targets)
        # Around 0, not around the median residual: so are the densities below.
        spread = NORMAL_MAD * float(np.median(np.abs(targets - scores)))
        # Residuals of exactly 0 in most rows (few distinct targets) must not divide by 0.
        spread = max(spread, 1e-3 * pool_spread)
        weight = MIXING_START
        for _ in range(MIXING_STEPS):
            mixture = cls(spread, weight, center, pool_spread, grid, density)
            share = mixture.own_probability(targets, scores).mean()
            weight = float(np.clip(share, *MIXING_BOUNDS))
        return cls(spread, weight, center, pool_spread, grid, density)

    def own_probability(self, targets: Floats, scores: Floats) -> Floats:
        """Chance (n,) that targets (n,) belong to their rows."""
        own, pool = self._log_densities(targets, scores)
        odds = np.log(self.mixing_weight) - np.log1p(-self.mixing_weight) + own - pool
        return np.asarray(expit(odds), np.float64)

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        record: dict[str, Any] = asdict(self)
        arrays = {name: record.pop(name) for name in ("pool_grid", "pool_density")}
        return record, arrays

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        grid = expect(arrays, "pool_grid", (POOL_GRID,))
        density = expect(arrays, "pool_density", (POOL_GRID,), low=0.0)
        known = checked(MixtureRecord, record)
        return cls(**asdict(known), pool_grid=grid, pool_density=density)

    def _log_densities(self, targets: Floats, scores: Floats) -> tuple[Floats, Floats]:
        """Log-density of targets if they are the row's own, and if they come from the pool."""
        spread = self.residual_spread
        with np.errstate(over="ignore"):
            own = -0.5 * ((targets - scores) / spread) ** 2 - np.log(spread * np.sqrt(2.0 * np.pi))
            deviation = (targets - self.pool_center) / self.pool_spread
            tail = 1.0 / (np.pi * self.pool_spread * (1.0 + deviation**2))
        body = np.interp(targets, self.pool_grid, self.pool_density, left=0.0, right=0.0)
        return own, np.log((1.0 - POOL_TAIL) * body + POOL_TAIL * tail)


def _pool_of_targets(targets: Floats) -> tuple[float, float, Floats, Floats]:
    """Centre, spread and density on a grid of all targets."""
    # At most 5,000 quantiles stand for the targets: the cost stays the same for any n.
    n_quantiles = min(len(targets), POOL_SAMPLE)
    sample = np.quantile(targets, (np.arange(n_quantiles) + 0.5) / n_quantiles)
    lower, middle, upper = np.quantile(targets, [0.25, 0.5, 0.75])
    spread = float(upper - lower) / 1.349
    if spread <= 0.0:
        spread = float(np.std(targets))
    spread = spread if spread > 0.0 else 1.0
    # Silverman's rule.
    bandwidth = 0.9 * spread * len(targets) ** -0.2
    ends = np.quantile(targets, [0.005, 0.995]) + np.array([-4.0, 4.0]) * bandwidth
    grid = np.linspace(ends[0], ends[1], POOL_GRID)
    density = np.array([np.exp(-0.5 * ((at - sample) / bandwidth) ** 2).mean() for at in grid])
    return float(middle), spread, grid, density / (bandwidth * np.sqrt(2.0 * np.pi))
