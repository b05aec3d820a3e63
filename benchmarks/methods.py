"""Values of the same rows by every method: DVRL, its prior, the controls, other methods."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from cases import Case
from dvrl import DataValuationWarning, DVRLClassifier, DVRLRegressor
from dvrl import methods as valuation_methods
from same_results import model

Values = NDArray[np.float64]

DEFAULT = "2026-11.2"
"""Version of the default configuration: change it when the default changes, and its runs are
made again (those of the other methods do not depend on it)."""
FIRST_DEFAULT = "first"  # of results written before there were versions

# The time budget of a sampled method, so that a table takes hours and not days.
MAX_SECONDS = 20.0
N_TREES, LEAF = 300, 5

# Settings of DVRL beyond those of a script; the default, and what is compared with it.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "without marginal": {"marginal": "none"},
    "default, logistic": {"predictor": "linear"},
    "paper": {"preset": "paper"},
    "released": {"preset": "released"},
}
TAGGED = ("default", "without marginal", "default, logistic", "marginal")
"""Methods whose values change with the default."""

OTHERS: dict[str, Callable[..., Any]] = {
    "leave-one-out": lambda **options: valuation_methods.LeaveOneOut(**options),
    "Data Shapley": lambda **options: valuation_methods.DataShapley(
        max_seconds=MAX_SECONDS, **options
    ),
    "Beta Shapley": lambda **options: valuation_methods.BetaShapley(
        max_seconds=MAX_SECONDS, **options
    ),
    "Data Banzhaf": lambda **options: valuation_methods.DataBanzhaf(
        max_seconds=MAX_SECONDS, **options
    ),
    "AME": lambda **options: valuation_methods.AME(max_seconds=MAX_SECONDS, **options),
    "KNN-Shapley": lambda **options: valuation_methods.KNNShapley(**options),
    "Data-OOB": lambda **options: valuation_methods.DataOOB(max_seconds=MAX_SECONDS, **options),
    "influence": lambda **options: valuation_methods.InfluenceFunctions(**options),
    "gradients": lambda **options: valuation_methods.GradientSimilarity(**options),
    "LAVA": lambda **options: valuation_methods.LAVA(**options),
    "confident learning": lambda **options: valuation_methods.ConfidentLearning(**options),
}
FOR_CLASSES_ONLY = ("confident learning",)


class Valued(NamedTuple):
    """What a method says of the training rows, and what it cost.

    Attributes
    ----------
    values : (n,) float64
        Low means suspicious.
    weights : (n,) float64
        For training: the values where they are probabilities, else their ranks in (0, 1].
    seconds : float
    fits : int
        Predictors fitted.
    messages : list of str
        Of DVRL's diagnostics.
    """

    values: Values
    weights: Values
    seconds: float
    fits: int
    messages: list[str]


class Methods:
    """Methods on one case; a DVRL fit serves its own values and those of its prior.

    Parameters
    ----------
    case : Case
    settings : dict, optional
        For every DVRL variant that does not say otherwise.
    """

    def __init__(self, case: Case, settings: dict[str, Any] | None = None) -> None:
        self.case, self.settings = case, settings or {}
        self._fitted: dict[str, tuple[Any, float]] = {}

    def valued(self, method: str) -> Valued:
        if method == "marginal":
            valuer, seconds = self.fitted("default")
            values = valuer.marginal_values_
            return Valued(values, values, seconds - valuer.diagnostics_.seconds, 0, [])
        if method in VARIANTS:
            valuer, seconds = self.fitted(method)
            values, said = valuer.data_values_, valuer.diagnostics_
            return Valued(values, values, seconds, said.n_fits, list(said.messages))
        if method in OTHERS:
            return self._other(method)
        return self._control(method)

    def fitted(self, variant: str) -> tuple[Any, float]:
        """The fitted estimator of a DVRL variant, and the seconds of its fit."""
        if variant not in self._fitted:
            settings = {**self.settings, **VARIANTS[variant]}
            self._fitted[variant] = fit_dvrl(self.case, settings)
        return self._fitted[variant]

    def _other(self, method: str) -> Valued:
        case = self.case
        other = OTHERS[method](task=case.task, random_state=case.seed)
        other.fit(case.X, case.y, X_val=case.X_val, y_val=case.y_val)
        values = other.data_values_
        return Valued(values, ranks(values), other.seconds_, other.n_fits_, [])

    def _control(self, method: str) -> Valued:
        _ = self.case.matrix, self.case.matrix_val  # the encoding is everyone's, so not counted
        started = time.perf_counter()
        values, n_fits = CONTROLS[method](self.case)
        seconds = time.perf_counter() - started
        weights = values if self.case.task == "classification" else ranks(values)
        return Valued(values, weights, seconds, n_fits, [])


def fit_dvrl(case: Case, settings: dict[str, Any]) -> tuple[Any, float]:
    """Fit DVRL on a case; the diagnostics' warnings are kept in their messages only."""
    cls = DVRLClassifier if case.task == "classification" else DVRLRegressor
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataValuationWarning)
        valuer = model(cls, random_state=case.seed, **settings)
        valuer.fit(case.X, case.y, X_val=case.X_val, y_val=case.y_val)
    return valuer, time.perf_counter() - started


def ranks(values: Values) -> Values:
    return np.asarray(rankdata(values) / len(values), dtype=np.float64)


# --- controls: one model of scikit-learn each, nothing of this package ---------------------------


def _random(case: Case) -> tuple[Values, int]:
    return np.random.default_rng(case.seed).random(len(case.y)), 0


def _validation_linear(case: Case) -> tuple[Values, int]:
    model = LogisticRegression(max_iter=5000) if case.task == "classification" else Ridge()
    return _by_validation_model(model, case), 1


def _validation_forest(case: Case) -> tuple[Values, int]:
    return _by_validation_model(_forest(case), case), 1


def _out_of_bag_forest(case: Case) -> tuple[Values, int]:
    forest = _forest(case, oob_score=True)
    forest.fit(np.vstack([case.matrix, case.matrix_val]), np.concatenate([case.y, case.y_val]))
    n = len(case.y)
    if case.task == "regression":
        return -np.abs(case.y - forest.oob_prediction_[:n]), 1
    return _of_label(forest.oob_decision_function_[:n], forest.classes_, case.y), 1


def _forest(case: Case, **options: Any) -> Any:
    cls = RandomForestClassifier if case.task == "classification" else RandomForestRegressor
    return cls(N_TREES, min_samples_leaf=LEAF, n_jobs=1, random_state=case.seed, **options)


def _by_validation_model(model: Any, case: Case) -> Values:
    if case.task == "regression":
        model.fit(case.matrix_val, case.y_val)
        return -np.abs(case.y - model.predict(case.matrix))
    fitted = fit_classes(model, case.matrix_val, case.y_val)
    return _of_label(fitted.predict_proba(case.matrix), fitted.classes_, case.y)


def fit_classes(
    model: Any, X: Any, y: NDArray[Any], weights: NDArray[np.float64] | None = None
) -> Any:
    """Fit a classifier; a constant one where a few rows happen to be of a single class."""
    if len(np.unique(y)) < 2:
        model = DummyClassifier()
    return model.fit(X, y, sample_weight=weights)


def _of_label(probability: Values, classes: NDArray[Any], y: NDArray[Any]) -> Values:
    """Probability of each row's own label; 0 for a class that the model has not seen."""
    return np.asarray((probability * (y[:, None] == classes)).sum(axis=1), dtype=np.float64)


CONTROLS: dict[str, Callable[[Case], tuple[Values, int]]] = {
    "random": _random,
    "validation logistic": _validation_linear,
    "validation forest": _validation_forest,
    "out-of-bag forest": _out_of_bag_forest,
}
REFERENCES = tuple(name for name in CONTROLS if name != "random")
METHODS = (*VARIANTS, "marginal", *CONTROLS, *OTHERS)
TITLES = {"marginal": "prior alone", "gradients": "gradient similarity"}
