"""What is predicted: base weights that a metric implies, losses of single rows, mixed predictions.

A metric can weigh rows by itself: a relative error counts a row by one over the square of its
target, balanced accuracy counts a row by one over the size of its class. A predictor that is to do
well by such a metric should be fitted with the same *base weights*, on whatever rows it is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

__all__ = ["METRICS", "ClassOutcome", "NumberOutcome", "make_outcome"]

Numbers = NDArray[np.float64]

METRICS = {
    "classification": ("log_loss", "accuracy", "balanced_accuracy"),
    "regression": ("mse", "mae", "rmspe"),
}
SMALLEST_PROBABILITY = 1e-12
# Powers of the predicted probabilities that are tried to calibrate a candidate.
POWERS = np.exp(np.linspace(np.log(0.25), np.log(8.0), 31))


def make_outcome(task: str, metric: str, coder: Any) -> ClassOutcome | NumberOutcome:
    """What is predicted, and how well; a ValueError for a metric that is not in `METRICS`."""
    if metric not in METRICS[task]:
        raise ValueError(f"metric={metric!r} is unknown; use one of {', '.join(METRICS[task])}.")
    kind = ClassOutcome if task == "classification" else NumberOutcome
    return kind(metric, coder)


@dataclass
class ClassOutcome:
    """Classes; predictions are probabilities (n, n_classes)."""

    metric: str
    coder: Any
    link: str = field(default="identity", init=False)

    def fit(self, y_source: NDArray[Any], y_target: NDArray[Any]) -> None:
        """Nothing to learn."""

    def base_weights(self, y: NDArray[Any]) -> Numbers:
        """Weights (n,) that the metric gives to rows by their label; mean 1."""
        if self.metric != "balanced_accuracy":
            return np.ones(len(y))
        _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        return len(y) / (len(counts) * counts[codes].astype(np.float64))

    def predict(self, estimator: Any, X: Any) -> Numbers:
        """Probabilities of all classes, those that the estimator never saw included."""
        from ..predictors.blackbox import scores_of_estimator

        scores = np.clip(scores_of_estimator(estimator, X, self.coder), 0.0, None)
        probability = scores.astype(np.float64) + SMALLEST_PROBABILITY
        return probability / probability.sum(axis=1, keepdims=True)

    def calibrated(self, prediction: Numbers, power: float) -> Numbers:
        """Probabilities to a power, adding to one again."""
        probability: Numbers = softmax(power * np.log(prediction), axis=1)
        return probability

    def calibration(self, y: NDArray[Any], prediction: Numbers) -> float:
        """The power under which predicted probabilities have the least log-loss."""
        losses = [self.losses(y, self.calibrated(prediction, power)).mean() for power in POWERS]
        return float(POWERS[int(np.argmin(losses))])

    def losses(self, y: NDArray[Any], prediction: Numbers) -> Numbers:
        """Weighted log-loss of each row."""
        own = prediction[np.arange(len(y)), self._codes(y)]
        losses: Numbers = -self.base_weights(y) * np.log(np.maximum(own, SMALLEST_PROBABILITY))
        return losses

    def score(self, y: NDArray[Any], prediction: Numbers) -> float:
        """The metric: accuracy, balanced accuracy or log-loss."""
        if self.metric == "log_loss":
            return float(self.losses(y, prediction).mean())
        right = prediction.argmax(axis=1) == self._codes(y)
        return float((self.base_weights(y) * right).mean())

    def decode(self, prediction: Numbers) -> NDArray[Any]:
        """Labels in the caller's terms."""
        labels: NDArray[Any] = self.coder.decode(prediction)
        return labels

    def _codes(self, y: NDArray[Any]) -> NDArray[np.intp]:
        codes: NDArray[np.intp] = self.coder.encode(y).argmax(axis=1)
        return codes


@dataclass
class NumberOutcome:
    """Numbers; predictions are in the units of the target (n,)."""

    metric: str
    coder: Any
    # Scale on which a source model's prediction is corrected: "log" for relative errors above 0.
    link: str = field(default="identity", init=False)

    def fit(self, y_source: NDArray[Any], y_target: NDArray[Any]) -> None:
        """Choose the link, and the unit of the base weights."""
        self._unit = 1.0
        if self.metric != "rmspe":
            return
        for name, y in (("y_source", y_source), ("y_target", y_target)):
            if np.any(np.asarray(y, dtype=np.float64) == 0):
                raise ValueError(
                    f"{name} holds targets of 0, whose relative error is not defined; use "
                    "metric='mse', or leave these rows out."
                )
        positive = min(float(np.min(y_source)), float(np.min(y_target))) > 0
        self.link = "log" if positive else "identity"
        self._unit = 1.0 / float(np.mean(1.0 / np.asarray(y_target, dtype=np.float64) ** 2))

    def base_weights(self, y: NDArray[Any]) -> Numbers:
        """Weights (n,) that the metric gives to rows by their target; about 1 on target rows."""
        if self.metric != "rmspe":
            return np.ones(len(y))
        weights: Numbers = self._unit / np.asarray(y, dtype=np.float64) ** 2
        return weights

    def predict(self, estimator: Any, X: Any) -> Numbers:
        """Predicted targets."""
        return np.asarray(estimator.predict(X), dtype=np.float64).reshape(-1)

    def calibrated(self, prediction: Numbers, power: float) -> Numbers:
        """Numbers need no calibration."""
        return prediction

    def calibration(self, y: NDArray[Any], prediction: Numbers) -> float:
        """Numbers need no calibration."""
        return 1.0

    def losses(self, y: NDArray[Any], prediction: Numbers) -> Numbers:
        """Squared, absolute or squared relative error of each row."""
        error = np.asarray(y, dtype=np.float64) - prediction
        if self.metric == "mae":
            return np.abs(error)
        if self.metric == "rmspe":
            error = error / np.asarray(y, dtype=np.float64)
        losses: Numbers = error**2
        return losses

    def score(self, y: NDArray[Any], prediction: Numbers) -> float:
        """The metric."""
        mean = float(self.losses(y, prediction).mean())
        return mean if self.metric in ("mse", "mae") else float(np.sqrt(mean))

    def decode(self, prediction: Numbers) -> NDArray[Any]:
        """Predictions as they are."""
        return prediction

    def to_link(self, y: NDArray[Any]) -> Numbers:
        """Targets on the scale of the link."""
        numbers = np.asarray(y, dtype=np.float64)
        return np.log(np.maximum(numbers, 1e-300)) if self.link == "log" else numbers

    def from_link(self, linked: Numbers) -> Numbers:
        """Back to the units of the target."""
        return np.exp(np.clip(linked, -700.0, 700.0)) if self.link == "log" else linked

    def link_base_weights(self, y: NDArray[Any]) -> Numbers:
        """Base weights on the scale of the link: on the logarithm, relative errors count alike."""
        return np.ones(len(y)) if self.link == "log" else self.base_weights(y)
