"""``AdaptedClassifier`` and ``AdaptedRegressor``: train on weighted source rows and target rows."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..data.preparation import all_or_nothing
from ..data.rows import row_index
from ..data.targets import ClassEncoder, TargetScaler
from ..exceptions import DataValuationWarning
from ..files.saved import register
from ..numerics.paired import standard_error
from .candidates import CONTROLS, FORMS, Candidate, Domains, FittedCandidate
from .outcomes import METRICS, make_outcome
from .persistence import KIND, restored, save
from .rows import RowEncoder, Rows, check_labels
from .selection import Judgement, coordinate_search, mix
from .values import VALUES, default_domain_classifier

__all__ = ["AdaptedClassifier", "AdaptedRegressor"]

Numbers = NDArray[np.float64]
Member = tuple[float, float, FittedCandidate]
"""Weight in the mixture, power of the calibration, and the fit."""

FEWEST_TARGET_ROWS = 10

_PARAMETERS_DOC = """
    Many rows of a *source* domain and a few labelled rows of the *target* domain go in. Candidates
    (target rows alone, source rows alone, both, and both with source weights of several kinds and
    sizes) are judged by cross-fitting: on target rows that neither trained the candidate's
    predictor nor the values of its source rows. The final predictor is a mixture of a few of them,
    fitted again on all target rows; where no mixture beats the target rows alone by one standard
    error, it is the predictor of the target rows alone.

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
    sharpnesses : tuple of float, default={sharpnesses}
        Powers of the values.
    ratios : tuple of float, default=(0.1, 0.3, 1.0, 3.0)
        Weights of the whole source by that of the target rows.
    forms : tuple of str, default={forms}
        ``"weighted"``: one predictor on source and target rows. ``"augmented"``: the same with
        features for both domains and for each (Daumé 2007; not for frames in a pipeline).
        {offset}
    combine : {{"mixture", "best"}}, default="mixture"
        Mix candidates, or take the one of least loss.
    n_folds : int, default=5
        Of the target rows.
    max_source_rows : int, default=50000
        Source rows in one fit. All source rows are valued; of more, rows are drawn by their
        weight.
    metric_weights : bool, default=True
        Whether predictors are fitted with the base weights of the metric.
    domain_classifier : scikit-learn classifier, default=None
        Tells source rows from target rows; default: logistic regression.
    valuation : dict, default=None
        Settings of the learned values, such as ``{{"outer_iterations": 200}}``.
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
        One row for each candidate and one for the final predictor: cross-fitted ``score`` (the
        metric), ``loss``, its ``difference`` to target rows alone with its ``standard_error``
        (paired, negative is better), and its ``weight`` in the mixture.
    message_ : str
        Whether and how the source helps, in one sentence; a warning where it does not.
    n_fits_ : int
    seconds_ : float
    n_features_in_ : int
"""


class _BaseAdapted(BaseEstimator):
    """What classification and regression share."""

    _task: ClassVar[str]
    _default_metric: ClassVar[str]
    _default_forms: ClassVar[tuple[str, ...]]
    _default_sharpnesses: ClassVar[tuple[float, ...]]

    def __init__(
        self,
        predictor: Any = None,
        *,
        metric: str | None = None,
        values: tuple[str, ...] = VALUES,
        sharpnesses: tuple[float, ...] | None = None,
        ratios: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0),
        forms: tuple[str, ...] | None = None,
        combine: str = "mixture",
        n_folds: int = 5,
        max_source_rows: int = 50_000,
        metric_weights: bool = True,
        domain_classifier: Any = None,
        valuation: dict[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.predictor = predictor
        self.metric = metric
        self.values = values
        self.sharpnesses = sharpnesses
        self.ratios = ratios
        self.forms = forms
        self.combine = combine
        self.n_folds = n_folds
        self.max_source_rows = max_source_rows
        self.metric_weights = metric_weights
        self.domain_classifier = domain_classifier
        self.valuation = valuation
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
        self._check_settings()
        self._seed = seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        y_source = check_labels(X_source, y_source, "source")
        y_target = check_labels(X_target, y_target, "target")
        if len(y_target) < FEWEST_TARGET_ROWS:
            raise ValueError(
                f"There are {len(y_target)} target rows; at least {FEWEST_TARGET_ROWS} are needed "
                "to judge what the source is worth."
            )
        self._fit_outcome(y_source, y_target)
        predictor = self._chosen_predictor()
        self.row_encoder_ = RowEncoder(isinstance(predictor, Pipeline), seed)
        source, target = self.row_encoder_.fit(X_source, X_target, self)
        self._source_index = row_index(X_source)
        self._fit_domains(predictor, source, y_source, target, y_target, seed)
        self.seconds_ = time.perf_counter() - started
        if not self.source_scale_:
            warnings.warn(self.message_, DataValuationWarning, stacklevel=2)
        return self

    def _check_settings(self) -> None:
        for name, given, allowed in (
            ("values", self.values, VALUES),
            ("forms", self._forms(), FORMS[2:]),
            ("combine", (self.combine,), ("mixture", "best")),
        ):
            unknown = [each for each in given if each not in allowed]
            if unknown or not given:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} cannot be used; choose from "
                    f"{', '.join(map(repr, allowed))}."
                )
        if "offset" in self._forms() and self._task == "classification":
            raise ValueError("forms: 'offset' is for regression; use 'weighted' or 'augmented'.")
        for name in ("n_folds", "max_source_rows"):
            least = 2
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}={value!r} must be a whole number of {least} or more.")
        for name in ("ratios", "sharpnesses"):
            numbers = self._sharpnesses() if name == "sharpnesses" else self.ratios
            if not len(numbers) or not all(np.isfinite(each) and each > 0 for each in numbers):
                raise ValueError(f"{name}={getattr(self, name)!r} must hold numbers above 0.")

    def _forms(self) -> tuple[str, ...]:
        return self._default_forms if self.forms is None else tuple(self.forms)

    def _sharpnesses(self) -> tuple[float, ...]:
        given = self.sharpnesses
        return self._default_sharpnesses if given is None else tuple(given)

    def _fit_outcome(self, y_source: NDArray[Any], y_target: NDArray[Any]) -> None:
        coder: Any = ClassEncoder() if self._task == "classification" else TargetScaler()
        self.coder_ = coder.fit(np.concatenate([y_source, y_target]))
        metric = self._default_metric if self.metric is None else self.metric
        self.outcome_ = make_outcome(self._task, metric, self.coder_)
        self.outcome_.fit(y_source, y_target)

    def _chosen_predictor(self) -> Any:
        from ..predictors.estimators import check_estimator
        from ..predictors.weighted_fit import takes_weights

        predictor = self._default_predictor() if self.predictor is None else self.predictor
        check_estimator(predictor)
        if not takes_weights(predictor):
            raise TypeError(
                f"{type(predictor).__name__} takes no sample_weight in fit, and so cannot be "
                "trained on weighted source rows; choose a predictor that does."
            )
        return predictor

    def _fit_domains(
        self,
        predictor: Any,
        source: Rows,
        y_source: NDArray[Any],
        target: Rows,
        y_target: NDArray[Any],
        seed: int,
    ) -> None:
        """Judge the candidates by cross-fitting, choose, and fit the chosen on all rows."""
        classifier = self.domain_classifier
        if classifier is None:
            classifier = default_domain_classifier()
        shared: dict[str, Any] = {}
        spread = 1.0

        def domains(rows: NDArray[np.intp]) -> Domains:
            return Domains(
                self.outcome_,
                predictor,
                classifier,
                source,
                y_source,
                target.take(rows),
                y_target[rows],
                spread=spread,
                seed=seed,
                n_jobs=self.n_jobs,
                settings=self.valuation,
                max_source_rows=self.max_source_rows,
                shared=shared,
                metric_weights=self.metric_weights,
            )

        held = self._folds(y_target, seed)
        every = np.arange(len(y_target))
        training = [np.setdiff1d(every, rows) for rows in held]
        folds = [domains(rows) for rows in training]
        if self._task == "regression" and {"label", "learned"} & set(self.values):
            spread = self._spread(folds, held, target, y_target)
            for fold in folds:
                fold.spread = spread

        def judge(candidate: Candidate) -> Judgement:
            prediction = np.concatenate(
                [
                    fold.fit(candidate).predict(self.outcome_, target.take(rows).own)
                    for fold, rows in zip(folds, held, strict=True)
                ]
            )[np.argsort(np.concatenate(held), kind="stable")]
            power = self.outcome_.calibration(y_target, prediction)
            prediction = self.outcome_.calibrated(prediction, power)
            losses = self.outcome_.losses(y_target, prediction)
            return Judgement(candidate, prediction, power, losses)

        forms = self._forms()
        if hasattr(source.own, "columns"):  # features of frames cannot be repeated as numbers
            forms = tuple(form for form in forms if form != "augmented")
        judgements = list(
            coordinate_search(
                judge,
                kinds=tuple(self.values),
                sharpnesses=self._sharpnesses(),
                ratios=tuple(self.ratios),
                forms=forms,
            )
        )
        weights = self._choose(judgements, y_target)
        final = domains(every)
        self._fit_members(judgements, weights, final)
        kind = self.values[-1]
        raised = final.values(kind)
        self.source_values_ = raised / max(1.0, float(raised.max()))
        self.n_fits_ = sum(each.n_fits for each in (*folds, final))

    def _spread(
        self,
        folds: list[Domains],
        held: list[NDArray[np.intp]],
        target: Rows,
        y_target: NDArray[Any],
    ) -> float:
        """Root of the mean loss on target rows of predictors fitted on other target rows."""
        losses = []
        for fold, rows in zip(folds, held, strict=True):
            model = fold.fit(CONTROLS["target only"])
            prediction = model.predict(self.outcome_, target.take(rows).own)
            losses.append(self.outcome_.losses(y_target[rows], prediction))
        mean = float(np.concatenate(losses).mean())
        return max(mean if self.outcome_.metric == "mae" else mean**0.5, 1e-12)

    def _folds(self, y_target: NDArray[Any], seed: int) -> list[NDArray[np.intp]]:
        """Target rows in folds; classes are dealt out evenly where they are large enough."""
        options = {"n_splits": min(self.n_folds, len(y_target)), "shuffle": True}
        splitter: Any = KFold(random_state=seed, **options)
        if self._task == "classification":
            _, counts = np.unique(y_target, return_counts=True)
            if len(counts) < 2:
                raise ValueError(
                    "The target rows hold one class only; nothing can be learned about the others."
                )
            if counts.min() >= options["n_splits"]:
                splitter = StratifiedKFold(random_state=seed, **options)
        return [held for _, held in splitter.split(np.zeros(len(y_target)), y_target)]

    def _choose(self, judgements: list[Judgement], y_target: NDArray[Any]) -> Numbers:
        """Weights of the candidates, by their predictions for held target rows."""
        outcome = self.outcome_
        predictions = np.stack([each.prediction for each in judgements])
        alone = next(
            number
            for number, each in enumerate(judgements)
            if each.candidate == CONTROLS["target only"]
        )

        def losses(weights: Numbers) -> Numbers:
            return outcome.losses(y_target, np.tensordot(weights, predictions, axes=1))

        if self.combine == "mixture":
            weights = mix(lambda each: float(losses(each).mean()), len(judgements))
        else:
            weights = np.zeros(len(judgements))
            weights[int(np.argmin([each.loss for each in judgements]))] = 1.0
        difference, error = paired(losses(weights), judgements[alone].losses)
        helps = difference < -error
        if not helps:
            weights = np.zeros(len(judgements))
            weights[alone] = 1.0
        self._write_report(judgements, weights, y_target, predictions, alone)
        return weights

    def _write_report(
        self,
        judgements: list[Judgement],
        weights: Numbers,
        y_target: NDArray[Any],
        predictions: Numbers,
        alone: int,
    ) -> None:
        import pandas as pd

        outcome = self.outcome_
        mixture = np.tensordot(weights, predictions, axes=1)
        lines = []
        for judgement, weight in zip(judgements, weights, strict=True):
            lines.append(
                {
                    "candidate": judgement.candidate.name,
                    "control": judgement.candidate.is_control,
                    "score": outcome.score(y_target, judgement.prediction),
                    "losses": judgement.losses,
                    "weight": weight,
                }
            )
        lines.append(
            {
                "candidate": "adapted",
                "control": False,
                "score": outcome.score(y_target, mixture),
                "losses": outcome.losses(y_target, mixture),
                "weight": 1.0,
            }
        )
        for line in lines:
            losses = line.pop("losses")
            line["loss"] = float(losses.mean())
            line["difference"], line["standard_error"] = paired(losses, judgements[alone].losses)
        columns = [
            "candidate",
            "control",
            "score",
            "loss",
            "difference",
            "standard_error",
            "weight",
        ]
        self.report_ = pd.DataFrame(lines)[columns]
        last, first = lines[-1], lines[alone]
        metric = outcome.metric
        if weights[alone] == 1.0:
            self.message_ = (
                "The source does not help: no way of using it beats the target rows alone by one "
                f"standard error ({metric} {first['score']:.4g}, cross-fitted); "
                "the final predictor is trained on the target rows alone."
            )
        else:
            self.message_ = (
                f"The source helps: cross-fitted {metric} {last['score']:.4g} against "
                f"{first['score']:.4g} with the target rows alone."
            )

    def _fit_members(self, judgements: list[Judgement], weights: Numbers, final: Domains) -> None:
        self.members_: list[Member] = []
        total = np.zeros(len(final.y_source))
        for judgement, weight in zip(judgements, weights, strict=True):
            if weight > 0:
                fitted = final.fit(judgement.candidate)
                self.members_.append((float(weight), judgement.power, fitted))
                total += weight * fitted.source_weights
        self.source_weights_ = total
        alone = [each for each in judgements if each.candidate.form == "source"]
        best = min(alone, key=lambda each: each.loss)
        self.source_only_: list[Member] = [(1.0, best.power, final.fit(best.candidate))]
        self.source_scale_ = float(total.mean())

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


def paired(losses: Numbers, reference: Numbers) -> tuple[float, float]:
    """Mean difference of losses of the same rows, and its standard error."""
    difference = losses - reference
    return float(difference.mean()), standard_error(difference)


class AdaptedClassifier(ClassifierMixin, _BaseAdapted):
    """Classify rows of a target domain, helped by rows of another one."""

    _task = "classification"
    _default_metric = "log_loss"
    _default_forms = ("weighted", "augmented")
    _default_sharpnesses = (1.0, 2.0, 4.0)

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
    _default_forms = ("weighted", "offset")
    _default_sharpnesses = (1.0, 4.0, 16.0, 64.0)

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
    sharpnesses=(1.0, 2.0, 4.0),
    forms=("weighted", "augmented"),
    offset="",
)
_document(
    AdaptedRegressor,
    _EXAMPLE,
    predictor="ridge regression",
    metrics="{" + ", ".join(map(repr, METRICS["regression"])) + "}",
    metric="mse",
    base=": ``'rmspe'`` counts a row by one over its squared target",
    sharpnesses=(1.0, 4.0, 16.0, 64.0),
    forms=("weighted", "offset"),
    offset='``"offset"``: a predictor of the target rows learns the error of one of the source.',
)
_CLASSES: dict[str, type] = {each.__name__: each for each in (AdaptedClassifier, AdaptedRegressor)}
register(KIND, lambda archive: restored(archive, _CLASSES))
