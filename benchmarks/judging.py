"""How good are values: errors found, and what training gains; one recorded line per run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score

from cases import Case
from common import Ledger, environment
from dvrl.actions import detection_scores, discovery
from methods import DEFAULT, FOR_CLASSES_ONLY, TAGGED, Methods, Valued, fit_classes

Values = NDArray[np.float64]
MakeModel = Callable[[Case], Any]
SMALLEST_WEIGHT = 1e-6


def linear_model(case: Case) -> Any:
    """The predictor of most tables: one linear model of scikit-learn with its usual penalty."""
    return LogisticRegression(max_iter=5000) if case.task == "classification" else Ridge()


class Judge:
    """Test scores of one kind of model, trained in different ways.

    Parameters
    ----------
    case : Case
    make_model : callable
        From the case to an unfitted scikit-learn estimator.
    """

    def __init__(self, case: Case, make_model: MakeModel = linear_model) -> None:
        self.case, self.make_model = case, make_model

    def fit(self, X: Any, y: NDArray[Any], weights: Values | None = None) -> Any:
        model = self.make_model(self.case)
        if self.case.task == "classification":
            return fit_classes(model, X, y, weights)
        return model.fit(X, y, sample_weight=weights)

    def score(self, X: Any, y: NDArray[Any], weights: Values | None = None) -> float:
        """Accuracy, or the share of the variance explained, on the test rows."""
        fitted = self.fit(X, y, weights)
        return float(fitted.score(self.case.matrix_test, self.case.y_test))

    def weighted(self, weights: Values) -> float:
        """Score of the model trained on all rows with these weights."""
        case = self.case
        return self.score(case.matrix, case.y, np.clip(weights, SMALLEST_WEIGHT, None))

    def weighted_and_validation(self, weights: Values) -> float:
        """Score of the model trained on all rows with these weights, and on validation rows."""
        case = self.case
        return self.score(
            np.vstack([case.matrix, case.matrix_val]),
            np.concatenate([case.y, case.y_val]),
            np.concatenate([np.clip(weights, SMALLEST_WEIGHT, None), np.ones(len(case.y_val))]),
        )

    def controls(self) -> dict[str, float]:
        """Scores of training without any values."""
        case, right = self.case, ~self.case.is_wrong
        X, y, X_val, y_val = case.matrix, case.y, case.matrix_val, case.y_val
        return {
            "noisy": self.score(X, y),
            "oracle": self.score(X[right], y[right]),
            "validation": self.score(X_val, y_val),
            "both": self.score(np.vstack([X, X_val]), np.concatenate([y, y_val])),
        }


def detection(values: Values, is_wrong: NDArray[np.bool_]) -> dict[str, float]:
    """Every measure of the errors found; none where there are no errors."""
    if not is_wrong.any():
        return {}
    return {
        **detection_scores(values, is_wrong),
        "found_in_lowest_20": float(discovery(values, is_wrong, [0.2])["found"][0]),
        "f1_two_means": two_means_f1(values, is_wrong),
    }


def two_means_f1(values: Values, is_wrong: NDArray[np.bool_]) -> float:
    """F1 when the values are cut in two clusters and the lower one is called wrong.

    This is the measure of OpenDataVal (Jiang et al., NeurIPS 2023); it judges the scale of the
    values as well as their order. Constant values make one cluster and find nothing.
    """
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    if np.ptp(column) == 0:
        return 0.0
    clusters = KMeans(2, n_init=5, random_state=0).fit(column)
    return float(f1_score(is_wrong, clusters.labels_ == np.argmin(clusters.cluster_centers_)))


def record(
    ledger: Ledger,
    key: dict[str, Any],
    methods: Sequence[str],
    make_case: Callable[[], Case],
    *,
    tag: str = DEFAULT,
    settings: dict[str, Any] | None = None,
    make_model: MakeModel = linear_model,
    more: Callable[[Case, Judge, Valued], dict[str, Any]] | None = None,
) -> None:
    """Value the rows of a key by every method that has no line yet, judge, write a line each.

    Parameters
    ----------
    ledger : Ledger
    key : dict
        What the run is known by, beside the method and the version of the default.
    methods : sequence of str
    make_case : callable
        Draws the rows; not called when nothing is left to do.
    tag : str
        Version of the default.
    settings : dict, optional
        Of all DVRL variants.
    make_model : callable
        The model whose test score is reported.
    more : callable, optional
        Further fields of a line.
    """
    keys = {
        method: {**key, "method": method, "default": tag if method in TAGGED else None}
        for method in methods
        if not (method in FOR_CLASSES_ONLY and key.get("task") == "regression")
    }
    todo = [method for method in keys if not ledger.has(keys[method])]
    if not todo:
        return
    case = make_case()
    judge, valuers = Judge(case, make_model), Methods(case, settings)
    controls = judge.controls()
    for method in todo:
        valued = valuers.valued(method)
        line = {
            **keys[method],
            **controls,
            "seconds": valued.seconds,
            # Seconds of a machine with more work than cores say little.
            "load_average": round(os.getloadavg()[0], 1),
            "fits": valued.fits,
            "messages": valued.messages,
            **detection(valued.values, case.is_wrong),
            "weighted": judge.weighted(valued.weights),
            "weighted_and_validation": judge.weighted_and_validation(valued.weights),
            **(more(case, judge, valued) if more else {}),
        }
        ledger.add({**line, **environment()})
        print(progress(line), flush=True)


def progress(line: dict[str, Any]) -> str:
    """One line for people about one run."""
    numbers = {
        name: f"{line[name]:.3f}"
        for name in ("auroc", "noisy", "weighted", "oracle")
        if line.get(name) is not None
    }
    said = " ".join(f"{name} {number}" for name, number in numbers.items())
    return f"{line['set']} seed {line['seed']} {line['method']}: {said} ({line['seconds']:.1f} s)"
