"""``AdaptedClassifier`` and ``AdaptedRegressor``: train on weighted source rows and target rows."""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..data.preparation import all_or_nothing
from ..data.rows import row_index
from ..data.targets import ClassEncoder, TargetScaler
from ..exceptions import DataValuationWarning
from ..files.saved import register
from ..learning.parameters import WithSettings, with_hints
from ..learning.settings import Settings, as_settings
from ..numerics.seeds import seed_of
from .candidates import CONTROLS, Domains, FittedCandidate, Plan
from .crossfit import FEWEST_FOLDS, NONE, Choice, CrossFitting, folds_of
from .judging import candidate_table
from .outcomes import METRICS
from .persistence import KIND, restored, save
from .rows import check_labels, like_source
from .settings import AdaptationSettings, check_names, check_whole, checked_settings
from .values import VALUES, default_domain_classifier

__all__ = ["AdaptedClassifier", "AdaptedRegressor"]

Numbers = NDArray[np.float64]
Member = tuple[float, float, FittedCandidate]
"""Weight in the mixture, power of the calibration, and the fit."""

FEWEST_TARGET_ROWS = 10

_PARAMETERS_DOC = """
    Many rows of a *source* domain and a few labelled rows of the *target* domain go in. Candidates
    (target rows alone, source rows alone, both, and both with source weights of several kinds and
    sizes) are judged by cross-fitting, and the final predictor is a mixture of a few of them,
    fitted again on all target rows. What is shown was measured on target rows that had no part in
    it: not in encoding, values and predictors, nor in the choice of the mixture. Where the mixture,
    so judged, does not beat the target rows alone by one standard error, the final predictor is
    that of the target rows alone.

    Parameters
    ----------
    predictor : scikit-learn estimator, default=None
        Trained in every candidate; its ``fit`` must take ``sample_weight``. A ``Pipeline`` is
        shown the caller's own rows, any other object the encoded matrix (sparse matrices are
        never encoded). Default: {predictor}.
    metric : {metrics}, default={metric!r}
        What counts on the target domain. It also gives base weights to rows{base}.
    values : tuple of str, default=("uniform", "density", "label", "learned")
        Kinds of source values to try: all alike, the odds of a domain classifier, agreement of the
        label with a predictor of the target rows, and values learned by reinforcement
        (see :mod:`dvrl.adaptation.values`).
    n_folds : int, default=5
        Of the target rows; at least 3. Predictors are fitted without one and without two of them.
    domain_classifier : scikit-learn classifier, default=None
        Tells source rows from target rows; default: logistic regression.
    valuation : dvrl.Settings or dict, default=None
        Settings of the learned values, such as ``{{"outer_iterations": 200}}``.
    settings : AdaptationSettings or dict, default=None
        What is tried beside: see :class:`dvrl.adaptation.AdaptationSettings`.
    n_jobs : int, default=None
        Black-box fits at once while values are learned.
    random_state : int, RandomState or None, default=None
        With an int, the same result on every run, to the bit.

    Attributes
    ----------
    source_weights_ : ndarray of shape (n_source,)
        Weights of the source rows in the final predictor, without the base weights of the metric;
        0 where the source does not help.
    source_values_ : ndarray of shape (n_source,)
        What each source row is worth by the learned values (or the last kind in `values`), in
        [0, 1].
    source_scale_ : float
        Mean of the weights of the source rows: 1 when they count like target rows, 0 when the
        source does not help.
    report_ : pandas.DataFrame
        One row for each candidate and one, ``"adapted"``, for the mixture, whether it is used or
        not: ``score`` (the metric) and ``loss`` on target rows that had no part in it, its
        ``difference`` to target rows alone with its ``standard_error`` (paired, negative is
        better), and its ``weight`` in the final predictor.
    message_ : str
        Whether and how the source helps, in one sentence; a warning where it does not.
    n_fits_ : int
    seconds_ : float
    n_features_in_ : int
"""


class _BaseAdapted(WithSettings):
    """What classification and regression share."""

    _task: ClassVar[str]
    _default_metric: ClassVar[str]
    _settings_class = AdaptationSettings

    @with_hints
    def __init__(
        self,
        predictor: Any = None,
        *,
        metric: str | None = None,
        values: tuple[str, ...] = VALUES,
        n_folds: int = 5,
        domain_classifier: Any = None,
        valuation: Settings | dict[str, Any] | None = None,
        settings: AdaptationSettings | dict[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.metric = metric
        self.values = values
        self.n_folds = n_folds
        self.domain_classifier = domain_classifier
        self.valuation = valuation
        self.settings = settings
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _default_predictor(self) -> Any:
        raise NotImplementedError

    # ------------------------------------------------------------------ fitting

    @all_or_nothing
    def fit(self, X_source: Any, y_source: Any, X_target: Any, y_target: Any) -> Self:
        """Learn what the source is worth to the target domain, and train the final predictor.

        Parameters
        ----------
        X_source : array-like, sparse matrix or frame of shape (n_source, n_features)
        y_source : array-like of shape (n_source,)
        X_target : like X_source, of shape (n_target, n_features)
            Labelled rows of the domain that counts; at least 10.
        y_target : array-like of shape (n_target,)

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For input or settings that cannot be used; the message says what to do.
        """
        started = time.perf_counter()
        check_names("values", self.values, VALUES)
        check_whole("n_folds", self.n_folds, FEWEST_FOLDS)
        settings = checked_settings(self.settings, self._task)
        self._seed = seed_of(self.random_state)
        y_source = check_labels(X_source, y_source, "source")
        y_target = check_labels(X_target, y_target, "target")
        if len(y_target) < FEWEST_TARGET_ROWS:
            raise ValueError(
                f"There are {len(y_target)} target rows; at least {FEWEST_TARGET_ROWS} are needed "
                "to judge what the source is worth."
            )
        X_target = like_source(X_target, X_source)
        coder: Any = ClassEncoder() if self._task == "classification" else TargetScaler()
        self.coder_ = coder.fit(np.concatenate([y_source, y_target]))
        plan = self._plan()
        fitting = CrossFitting(
            plan,
            X_source,
            y_source,
            X_target,
            y_target,
            folds=folds_of(y_target, self.n_folds, self._task, self._seed),
            values=self.values,
            settings=settings,
            original=isinstance(plan.predictor, Pipeline),
            estimator=self,
        )
        final = fitting.domains()
        self.outcome_ = final.outcome
        self.row_encoder_ = fitting.encoded(NONE)[0]  # rows that cannot be used are refused here
        self._finish(fitting, final, self._judge(fitting, y_target))
        self._source_index = row_index(X_source)
        self.seconds_ = time.perf_counter() - started
        if not self.source_scale_:
            warnings.warn(self.message_, DataValuationWarning, stacklevel=2)
        return self

    def _plan(self) -> Plan:
        from ..predictors.estimators import check_estimator
        from ..predictors.weighted_fit import takes_weights

        settings: Any = checked_settings(self.settings, self._task)
        predictor = self._default_predictor() if self.predictor is None else self.predictor
        check_estimator(predictor)
        if not takes_weights(predictor):
            raise TypeError(
                f"{type(predictor).__name__} takes no sample_weight in fit, and so cannot be "
                "trained on weighted source rows; choose a predictor that does."
            )
        return Plan(
            task=self._task,
            metric=self._default_metric if self.metric is None else self.metric,
            coder=self.coder_,
            predictor=predictor,
            domain_classifier=self.domain_classifier or default_domain_classifier(),
            seed=self._seed,
            n_jobs=self.n_jobs,
            valuation=as_settings(self.valuation).given(),
            max_source_rows=settings.max_source_rows,
            metric_weights=settings.metric_weights,
        )

    def _judge(self, fitting: CrossFitting, y_target: NDArray[Any]) -> Choice:
        """Choose, say what the choice is worth, and take target rows alone where it is not."""
        choice = fitting.choose()
        candidates = [each.candidate for each in choice.judgements]
        predictions = [*map(fitting.candidate, candidates), fitting.adapted()]
        table = candidate_table(fitting.outcome, y_target, candidates, predictions)
        alone = candidates.index(CONTROLS["target only"])
        adapted = table.iloc[-1]
        helps = bool(adapted["difference"] < -adapted["standard_error"])
        compared = (
            f"cross-fitted {fitting.outcome.metric} {adapted['score']:.4g} against "
            f"{table['score'][alone]:.4g} with the target rows alone"
        )
        if helps:
            self.message_ = f"The source helps: {compared}."
        else:
            choice = Choice(choice.judgements, np.eye(len(candidates))[alone])
            self.message_ = (
                f"The source does not help: {compared}, which is no gain of more than one "
                "standard error; the final predictor is trained on the target rows alone."
            )
        self.report_ = table.assign(weight=[*choice.weights, float(helps)])
        return choice

    def _finish(self, fitting: CrossFitting, final: Domains, choice: Choice) -> None:
        """Fit the members of the mixture on all rows."""
        self.members_: list[Member] = [
            (weight, each.power, final.fit(each.candidate)) for weight, each in choice.members()
        ]
        source_only = [each for each in choice.judgements if each.candidate.form == "source"]
        best = min(source_only, key=lambda each: each.loss)
        self.source_only_: list[Member] = [(1.0, best.power, final.fit(best.candidate))]
        weights = [weight * member.source_weights for weight, _, member in self.members_]
        self.source_weights_ = np.sum(weights, axis=0)
        self.source_scale_ = float(self.source_weights_.mean())
        values = final.values(self.values[-1])
        self.source_values_ = values / max(1.0, float(values.max()))
        self.n_fits_ = fitting.n_fits

    # ------------------------------------------------------------------ use

    def _predictions(self, members: list[Member], X: Any) -> Numbers:
        rows = self.row_encoder_.transform(X, self)
        total: Any = 0.0
        for weight, power, member in members:
            prediction = member.predict(self.outcome_, rows.own)
            total = total + weight * self.outcome_.calibrated(prediction, power)
        return np.asarray(total)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict for rows of the target domain.

        Parameters
        ----------
        X : like the target rows, of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
            Labels, or numbers in the units of the target.
        """
        check_is_fitted(self)
        return self.outcome_.decode(self._predictions(self.members_, X))

    def metric_score(self, X: Any, y: Any) -> float:
        """The metric on labelled rows of the target domain.

        Parameters
        ----------
        X : like the target rows, of shape (k, n_features)
        y : array-like of shape (k,)

        Returns
        -------
        float
            In the metric's own units: a high accuracy is good, a high error is bad.
        """
        check_is_fitted(self)
        return self.outcome_.score(check_labels(X, y, "test"), self._predictions(self.members_, X))

    def predict_by_source(self, X: Any) -> NDArray[Any]:
        """Predict by source rows alone, weighted as serves the target domain best.

        A control: it shows what the weights are worth without the target rows in training.

        Parameters
        ----------
        X : like the target rows, of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
        """
        check_is_fitted(self)
        return self.outcome_.decode(self._predictions(self.source_only_, X))

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to one file, without pickle.

        Parameters
        ----------
        path : path-like
            Replaced in one step if it exists. Read it with :func:`dvrl.load`.
        """
        save(self, Path(path))

    def to_frame(self) -> Any:
        """Weights and values of the source rows as a table.

        Returns
        -------
        pandas.DataFrame
            One row per source row, with the caller's index: ``source_weight``, ``source_value``
            and ``rank`` (1 is the lowest value).
        """
        import pandas as pd

        check_is_fitted(self)
        frame = pd.DataFrame(
            {"source_weight": self.source_weights_, "source_value": self.source_values_},
            index=self._source_index,
        )
        frame["rank"] = frame["source_value"].rank(method="first").astype("int64")
        return frame


class AdaptedClassifier(ClassifierMixin, _BaseAdapted):
    """Classify rows of a target domain, helped by rows of another one."""

    _task = "classification"
    _default_metric = "log_loss"

    def _default_predictor(self) -> Any:
        return LogisticRegression(max_iter=1000)

    @property
    def classes_(self) -> NDArray[Any]:
        """Class labels, in the order of the columns of `predict_proba`."""
        classes: NDArray[Any] = self.coder_.classes_
        return classes

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities for rows of the target domain.

        Parameters
        ----------
        X : like the target rows, of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k, n_classes)
            Rows add to one.
        """
        check_is_fitted(self)
        probability = self._predictions(self.members_, X)
        return probability / probability.sum(axis=1, keepdims=True)


class AdaptedRegressor(RegressorMixin, _BaseAdapted):
    """Predict numbers for rows of a target domain, helped by rows of another one."""

    _task = "regression"
    _default_metric = "mse"

    def _default_predictor(self) -> Any:
        return Ridge()


_EXAMPLE = """
    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dvrl import AdaptedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> adapted = AdaptedRegressor(values=("uniform", "label"), random_state=0)
    >>> _ = adapted.fit(X[:300], y[:300], X[300:340], y[300:340])
    >>> adapted.message_
    'The source helps: cross-fitted mse ... against ... with the target rows alone.'
    >>> adapted.predict(X[340:]).shape
    (102,)
    """


def _document(cls: type, example: str = "", **words: Any) -> None:
    cls.__doc__ = f"{cls.__doc__}\n{_PARAMETERS_DOC.format(**words)}{example}"


_document(
    AdaptedClassifier,
    predictor="logistic regression",
    metrics="{" + ", ".join(map(repr, METRICS["classification"])) + "}",
    metric="log_loss",
    base=": ``'balanced_accuracy'`` counts classes alike",
)
_document(
    AdaptedRegressor,
    _EXAMPLE,
    predictor="ridge regression",
    metrics="{" + ", ".join(map(repr, METRICS["regression"])) + "}",
    metric="mse",
    base=": ``'rmspe'`` counts a row by one over its squared target",
)
_CLASSES: dict[str, type] = {each.__name__: each for each in (AdaptedClassifier, AdaptedRegressor)}
register(KIND, partial(restored, classes=_CLASSES))
