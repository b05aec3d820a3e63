"""``DVRLClassifier`` and ``DVRLRegressor``: data valuation as scikit-learn meta-estimators.

`fit` is four steps: :func:`dvrl.data.preparation.prepare`, :func:`dvrl.learning.learn.learn`,
:func:`dvrl.diagnostics.judge.judge` and :func:`dvrl.learning.finish.finish`. What happens in the
second one is in :mod:`dvrl.learning.loop`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from .data.preparation import Prepared, prepare
from .data.targets import ClassEncoder, TargetScaler
from .diagnostics.findings import Diagnostics, warn
from .diagnostics.suspects import label_reasons
from .files.saved import register
from .learning.parameters import WithSettings, with_hints
from .learning.settings import (
    FINAL_ROWS,
    RunSettings,
    Settings,
    as_settings,
    make_settings,
)
from .numerics.seeds import seed_of
from .persistence import KIND, restored, save
from .references.marginal import Marginal, check_kind

if TYPE_CHECKING:
    from .diagnostics.judge import Judged
    from .learning.finish import Finished
    from .learning.learn import Learned, Policy
    from .learning.schedule import Progress

__all__ = ["DVRLClassifier", "DVRLRegressor"]

Floats = NDArray[np.float32]
Arguments = ParamSpec("Arguments")


class _BaseDVRL(WithSettings):
    """What classification and regression share."""

    _task: ClassVar[str]
    coder_: Any
    data_values_: NDArray[np.float64]
    data_values_std_: NDArray[np.float64]
    marginal_values_: NDArray[np.float64]
    diagnostics_: Diagnostics
    history_: dict[str, NDArray[Any]]
    predictor_: Any
    _policy: Policy
    _settings_class = Settings
    _arguments_of_fit = ("checkpoint", "resume", "callback")

    @with_hints
    def __init__(
        self,
        predictor: Any = "linear",
        *,
        preset: str = "default",
        metric: Any = None,
        marginal: Any = None,
        encoder: Any = None,
        final_predictor: Any = None,
        final_rows: str = "training",
        max_seconds: float | None = None,
        settings: Settings | dict[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.predictor = predictor
        self.preset = preset
        self.metric = metric
        self.marginal = marginal
        self.encoder = encoder
        self.final_predictor = final_predictor
        self.final_rows = final_rows
        self.max_seconds = max_seconds
        self.settings = settings
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        callback: Callable[[Progress], object] | None = None,
    ) -> Self:
        """Learn what every training row is worth, and train the robust predictor.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features)
            Training rows: numbers, or a pandas or Polars frame with categories, text, dates and
            gaps.
        y : array-like of shape (n_rows,)
            Labels or targets.
        X_val : like X, of shape (n_validation_rows, n_features), optional
            Clean validation rows. Without them, a part of the rows is held out.
        y_val : array-like of shape (n_validation_rows,), optional
        checkpoint : str or path, optional
            File to keep the run in while it goes on.
        resume : bool, default=False
            Go on from `checkpoint` where it exists. The result is the same, to the bit, as that
            of a run that was never interrupted.
        callback : callable, optional
            Called with a :class:`dvrl.learning.schedule.Progress` after each chunk of outer
            iterations.

        Returns
        -------
        self
            Unchanged where `fit` fails or is interrupted.

        Raises
        ------
        ValueError, TypeError
            For input or settings that cannot be used; the message says what to do.
        """
        from .diagnostics.judge import judge
        from .learning.finish import finish
        from .learning.learn import learn

        settings = self._run_settings()
        seed = seed_of(self.random_state)
        data = prepare(
            self,
            X,
            y,
            X_val,
            y_val,
            task=self._task,
            validation_fraction=settings.validation_fraction,
            seed=seed,
            encoder=self.encoder,
        )
        learned = learn(
            data,
            settings,
            predictor=self.predictor,
            seed=seed,
            n_jobs=self.n_jobs,
            checkpoint=checkpoint,
            resume=resume,
            callback=_telling(callback, self.verbose),
        )
        judged = judge(data, learned, settings)
        finished = finish(
            data,
            judged.policy,
            judged.values,
            settings,
            predictor=self.predictor if self.final_predictor is None else self.final_predictor,
            final_rows=self.final_rows,
            seed=seed,
            n_jobs=self.n_jobs,
        )
        warn(judged.diagnostics, stacklevel=3)
        if note := getattr(finished.predictor, "note", ""):
            warnings.warn(note, stacklevel=2)
        self._keep(data, learned, judged, finished)
        return self

    def _run_settings(self) -> RunSettings:
        if self.final_rows not in FINAL_ROWS:
            raise ValueError(
                f"final_rows is {self.final_rows!r}; use one of {', '.join(FINAL_ROWS)}."
            )
        own = {name: getattr(self, name) for name in ("metric", "marginal", "max_seconds")}
        settings = make_settings(self.preset, {**as_settings(self.settings).given(), **own})
        check_kind(settings.marginal, self._task)
        return settings

    def _keep(self, data: Prepared, learned: Learned, judged: Judged, finished: Finished) -> None:
        """Set all attributes; those of an earlier fit go."""
        for name in ("marginal_values_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        self.encoder_, self.coder_ = data.encoder, data.coder
        self.n_features_in_ = data.encoder.n_features_in_
        if hasattr(data.encoder, "feature_names_in_"):
            self.feature_names_in_ = data.encoder.feature_names_in_
        self.validation_indices_ = data.held
        self.data_values_, self.data_values_std_ = finished.values, finished.spread
        if finished.marginal_values is not None:
            self.marginal_values_ = finished.marginal_values
        self.diagnostics_, self.history_ = judged.diagnostics, learned.history
        self.n_members_ = len(judged.values)
        self.predictor_ = finished.predictor
        self._policy = judged.policy
        self._labels, self._index = data.labels, data.index
        self._label_scores = finished.label_scores

    # ------------------------------------------------------------------ other rows

    @property
    def marginal_(self) -> Marginal:
        """The fitted references."""
        return self._policy.marginal

    def value(self, X: Any, y: Any) -> NDArray[np.float64]:
        """Value rows that were not part of the training.

        Parameters
        ----------
        X : like the training rows, of shape (k, n_features)
        y : array-like of shape (k,)

        Returns
        -------
        ndarray of shape (k,)
            Between 0 and 1, comparable with ``data_values_``.
        """
        check_is_fitted(self)
        rows = self.encoder_.encode(X, estimator=self)
        check_consistent_length(X, y)
        rows = replace(rows, targets=self.coder_.encode(y))
        values = self._policy.values(rows, self.marginal_.scores(rows))
        return values.mean(axis=0).astype(np.float64)

    def _scores(self, X: Any) -> Floats:
        check_is_fitted(self)
        rows = self.encoder_.encode(X, estimator=self)
        scores: Floats = self.predictor_.scores(rows)[0]
        return scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict with the robust predictor, trained with the values as weights.

        Parameters
        ----------
        X : like the training rows, of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
            Labels, or targets in their own units.
        """
        scores = self._scores(X)  # checks first that there is a fit
        decoded: NDArray[Any] = self.coder_.decode(scores)
        return decoded

    # ------------------------------------------------------------------ tables

    def to_frame(self) -> Any:
        """Values as a table.

        Returns
        -------
        pandas.DataFrame
            One row per training row, with the caller's index: ``data_value``,
            ``data_value_std``, ``marginal`` (where there is one) and ``rank`` (1 is the lowest
            value).
        """
        import pandas as pd

        check_is_fitted(self)
        columns: dict[str, Any] = {
            "data_value": self.data_values_,
            "data_value_std": self.data_values_std_,
        }
        if hasattr(self, "marginal_values_"):
            columns["marginal"] = self.marginal_values_
        ranks = np.empty(len(self.data_values_), np.int64)
        ranks[np.argsort(self.data_values_, kind="stable")] = np.arange(1, len(ranks) + 1)
        columns["rank"] = ranks
        return pd.DataFrame(columns, index=self._index)

    def suspects(self, fraction: float = 0.1) -> Any:
        """Rows of the lowest values, worst first, with reasons.

        Parameters
        ----------
        fraction : float, default=0.1
            Share of the training rows, above 0 and at most 1.

        Returns
        -------
        pandas.DataFrame
            With the caller's index: ``label``, ``expected_label`` (what the marginal, or without
            one the robust predictor, expects), ``label_probability`` (by the marginal; missing
            without one), ``data_value``, ``data_value_std`` and ``reason`` (a sentence).

            For classes, ``label_probability`` is the probability of the given label. For numbers
            it is the probability that the target belongs to its row: that it was drawn around
            the expected one, rather than at random from the targets of all rows.

        See Also
        --------
        dvrl.diagnostics.suspects.explain_suspects : With similar rows in the reasons.
        """
        import pandas as pd

        check_is_fitted(self)
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction!r} must lie above 0 and be at most 1.")
        n_suspects = max(1, round(fraction * len(self.data_values_)))
        order = np.argsort(self.data_values_, kind="stable")[:n_suspects]
        expected = self.coder_.decode(self._label_scores[order])
        table = pd.DataFrame(
            {
                "label": self._labels[order],
                "expected_label": expected,
                "label_probability": (
                    self.marginal_values_[order] if hasattr(self, "marginal_values_") else np.nan
                ),
                "data_value": self.data_values_[order],
                "data_value_std": self.data_values_std_[order],
            },
            index=order if self._index is None else self._index[order],
        )
        table["reason"] = label_reasons(table, fraction, classes=self._task == "classification")
        return table

    # ------------------------------------------------------------------ keeping

    def save(self, path: str | Path, *, with_rows: bool = False) -> None:
        """Write the fitted estimator to one file, without pickle.

        Parameters
        ----------
        path : path-like
            Replaced in one step if it exists. Read it with :func:`dvrl.load`.
        with_rows : bool, default=False
            Whether the file may hold training rows (encoded), which reference models of nearest
            neighbours answer with. Without them :meth:`value` of the loaded estimator asks the
            other reference models only.

        Raises
        ------
        ValueError
            If there are no other reference models.
        """
        check_is_fitted(self)
        save(self, Path(path), with_rows=with_rows)


def _telling(
    callback: Callable[[Progress], object] | None, verbose: int
) -> Callable[[Progress], None]:
    """Tell the callback, and standard error where that is asked for."""

    def tell(progress: Progress) -> None:
        if callback is not None:
            callback(progress)
        if verbose:
            left = progress.seconds_left
            time_left = "" if left is None else f", {left:.0f} s left"
            print(
                f"outer iteration {progress.iteration}/{progress.total}, "
                f"reward {progress.reward:.4f}{time_left}",
                file=sys.stderr,
            )

    return tell


class DVRLClassifier(ClassifierMixin, _BaseDVRL):
    """Value the rows of a classification table by reinforcement learning.

    Parameters
    ----------
    predictor : str or object, default="linear"
        The model whose performance on the validation rows decides what a row is worth.
        ``"linear"`` (logistic or softmax regression, also called ``"logistic"``) and ``"mlp"``
        (two ReLU layers of 100 units) run inside the compiled loop. Any object with
        ``fit(X, y)`` and ``predict`` or ``predict_proba`` works as a black box: its fits run
        through joblib. A scikit-learn ``Pipeline`` is shown the caller's own rows, any other
        object the encoded matrix.
    preset : {"default", "paper", "released"}, default="default"
        ``"paper"`` is Algorithm 1 of Yoon, Arik and Pfister (ICML 2020), ``"released"`` what
        their published code does. It decides `metric`, `marginal` and all settings that are
        None.
    metric : str or callable, default=None
        Reward on the validation rows: ``"log_loss"`` (default), ``"accuracy"``, ``"auc"``, the
        name of any scikit-learn scorer, or a callable ``(estimator, X, y) -> float`` (higher is
        better).
    marginal : str or estimator, default=None
        Reference models whose opinion of a row's label is an input of the data value estimator:
        ``"auto"`` (default) chooses them by the kind of data; ``"trees"``, ``"forest"``,
        ``"linear"``, ``"neighbours"`` or ``"words"`` asks for one kind alone; an estimator with
        ``predict_proba`` takes their place, and sees the encoded rows, a matrix of numbers;
        ``"validation"`` is a linear model fitted on the validation rows alone; ``"none"`` leaves
        them out. Neighbours answer with the training rows, which :meth:`save` leaves out. See
        :class:`dvrl.references.marginal.Marginal`.
    encoder : transformer, default=None
        Any scikit-learn transformer that turns the caller's rows (a frame, texts, images) into
        numbers, which are then standardised; default: ours, see
        :class:`dvrl.data.encoder.FeatureEncoder`.
    final_predictor : object, default=None
        Model behind `predict`, trained with the values as weights; default: the predictor.
    final_rows : {"training", "both"}, default="training"
        Rows that this model is trained on. ``"both"`` adds the validation rows that were passed
        to `fit`, with weight 1: the better model where they are clean, but no score on them says
        anything any more.
    max_seconds : float, default=None
        Time limit of the training loop.
    settings : Settings or dict, default=None
        How the values are learned, such as ``{"kl_weight": 1.0}``; see :class:`dvrl.Settings`.
    n_jobs : int, default=None
        Fits of black boxes and of reference models at once.
    random_state : int, RandomState or None, default=None
        With an int, the same values on every run, to the bit.
    verbose : int, default=0
        1 prints progress to standard error.

    Attributes
    ----------
    data_values_ : ndarray of shape (n_rows,)
        Between 0 and 1: the probability with which the row is selected for training. Rows held
        out for validation are valued as unseen rows.
    data_values_std_ : ndarray of shape (n_rows,)
        Spread over the ensemble; NaN for an ensemble of one.
    marginal_values_ : ndarray of shape (n_rows,)
        The control: the marginal's own probability of the label. Absent without a marginal.
    diagnostics_ : Diagnostics
        What the run says of itself; its messages are also issued as warnings.
    history_ : dict of ndarray
        Per outer iteration: iteration, reward, baseline, mean_value, kl_divergence, redrawn.
    validation_indices_ : ndarray of int or None
        Rows held out for validation when `fit` got none.
    predictor_ : Fitted
        The robust predictor behind `predict`: trained with the values as weights.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the rows came as a frame.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from dvrl import DVRLClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> valuation = DVRLClassifier(settings={"kl_weight": 1.0}, random_state=0)
    >>> _ = valuation.fit(X[:200], y[:200], X_val=X[200:300], y_val=y[200:300])
    >>> valuation.data_values_.shape
    (200,)
    >>> valuation.suspects(fraction=0.05).shape
    (10, 6)
    """

    coder_: ClassEncoder
    _task = "classification"

    @property
    def classes_(self) -> NDArray[Any]:
        """Class labels, in the order of the columns of `predict_proba`."""
        classes: NDArray[Any] = self.coder_.classes_
        return classes

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities of the robust predictor.

        Parameters
        ----------
        X : like the training rows, of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k, n_classes)
            Rows add to one.
        """
        scores = np.clip(self._scores(X).astype(np.float64), 0.0, None)
        return scores / scores.sum(axis=1, keepdims=True)


class DVRLRegressor(RegressorMixin, _BaseDVRL):
    """Value the rows of a regression table by reinforcement learning.

    Parameters and attributes are those of :class:`DVRLClassifier`, but for these.

    Parameters
    ----------
    predictor : str or object, default="linear"
        ``"linear"`` is ridge regression, also called ``"ridge"``.
    metric : str or callable, default=None
        ``"mse"`` (default), ``"mae"``, ``"rmspe"``, ``"r2"``, the name of any scikit-learn
        scorer, or a callable.
    marginal : str or estimator, default=None
        An estimator predicts numbers by ``predict``.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dvrl import DVRLRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> valuation = DVRLRegressor(settings={"kl_weight": 1.0}, random_state=0)
    >>> _ = valuation.fit(X[:200], y[:200], X_val=X[200:300], y_val=y[200:300])
    >>> bool((valuation.data_values_ >= 0).all() and (valuation.data_values_ <= 1).all())
    True
    """

    coder_: TargetScaler
    _task = "regression"


_CLASSES: dict[str, type] = {each.__name__: each for each in (DVRLClassifier, DVRLRegressor)}
register(KIND, partial(restored, classes=_CLASSES))
