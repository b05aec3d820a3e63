"""``DVRLClassifier`` and ``DVRLRegressor``: data valuation as scikit-learn meta-estimators.

The estimators only put the pieces together: encode, ask the marginal, train, value, diagnose, fit
the robust predictor. What happens in between is in :mod:`dvrl.learning.loop`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from .data.preparation import Prepared, WeightedRows, all_or_nothing, prepare, shown
from .data.targets import ClassEncoder, TargetScaler
from .diagnostics.findings import Diagnostics, diagnose, warn
from .diagnostics.label_fit import label_fit
from .diagnostics.shrinkage import SHARES, kept_share
from .diagnostics.suspects import label_reasons
from .files.saved import read_saved, register
from .learning.settings import FINAL_ROWS, SETTING_NAMES, Settings, make_settings
from .numerics.padding import pad, padded_size
from .persistence import KIND, restored, save
from .references.marginal import Marginal, check_kind

__all__ = ["DVRLClassifier", "DVRLRegressor"]

Floats = NDArray[np.float32]

VALUED_ROWS = 65_536
LINEAR_NAMES = ("linear", "logistic", "ridge")
# The prior's log-odds are those of the marginal times this: rows that are likely wrong then weigh
# less, and the order of rows stays the same (docs/implementation-details.md).
PRIOR_SHARPNESS = 1.5
# Rows on which the diagnostics' own predictors are trained; more would only cost time.
DIAGNOSED_ROWS = 20_000

_PARAMETERS_DOC = """
    Parameters
    ----------
    predictor : str or object, default="linear"
        The model whose performance on the validation rows decides what a row is worth.
        ``"linear"`` ({linear}, also called ``{alias!r}``) and ``"mlp"`` (two ReLU
        layers of 100 units) run inside the compiled loop. Any object with ``fit(X, y)`` and
        ``predict`` or ``predict_proba`` works as a black box: its fits run through joblib. A
        scikit-learn ``Pipeline`` is shown the caller's own rows, any other object the encoded
        matrix.
    preset : "default" or "paper" or "released", default="default"
        ``"paper"`` is Algorithm 1 of Yoon, Arik and Pfister (ICML 2020), ``"released"`` what
        their published code does. Every parameter below that is None takes its value from here.
    metric : str or callable, default=None
        Reward on the validation rows: {metrics}, the name of any scikit-learn scorer, or a
        callable ``(estimator, X, y) -> float`` (higher is better). Default: {metric!r}.
    marginal : str or estimator, default=None
        Reference models whose opinion of a row's label is an input of the data value estimator:
        ``"auto"`` (default) chooses them by the kind of data; ``"trees"``, ``"forest"``,
        ``"linear"``, ``"neighbours"`` or ``"words"`` asks for one kind alone; an estimator with
        ``predict_proba`` (or ``predict``, for numbers) takes their place, and sees the encoded
        rows, a matrix of numbers; ``"validation"`` is a
        linear model fitted on the validation rows alone; ``"none"`` leaves them out.
        Neighbours answer with the training rows, which :meth:`save` leaves out. See
        :class:`dvrl.references.marginal.Marginal`.
    prior : "none" or "marginal", default=None
        ``"marginal"`` (default): the policy starts at the marginal's probability of the label,
        and learns a residual.
    kl_weight : float or "auto", default=None
        Weight of the mean Kullback-Leibler divergence of the policy from its prior, in units of
        reward per nat. ``"auto"`` (default): 40 divided by the root of the number of validation
        rows; 10 without a marginal.
    residual_bound : float, default=None
        Largest change of a row's log-odds from its prior, either way; 0 for no bound (default
        1).
    gradient : "auto" or "reinforce" or "antithetic" or "through_fit", default=None
        How the policy's gradient is estimated: the score function, antithetic pairs of
        selections (DisARM), or exactly, through the fit of a differentiable predictor. ``"auto"``
        (default): through the fit where that is possible, else antithetic pairs.
    baseline : "moving_average" or "all_rows" or "leave_one_out", default=None
        What rewards are compared with (``gradient="reinforce"`` only): the average of earlier
        rewards; the reward of a predictor trained on all rows; the other selections of the same
        batch.
    baseline_window : int, default=None
        Length of the moving average.
    n_selections : int or "auto", default=None
        Selections drawn for each batch.
    outer_iterations : int or "auto", default=None
        Updates of the data value estimator.
    inner_iterations : int, "converged" or "auto", default=None
        Mini-batch steps of a built-in predictor for each selection; ``"converged"`` solves linear
        predictors exactly (default for them).
    batch_size : int, default=None
        Rows of an outer iteration; all rows where there are fewer (default 2000).
    inner_batch_size : int, default=None
        Rows of a mini-batch (default 256).
    inner_optimizer : "auto" or "sgd" or "adam", default=None
    learning_rate : float or "auto", default=None
        Of the data value estimator (Adam).
    inner_learning_rate : float or "auto", default=None
        Of the mini-batch steps.
    l2 : float, default=None
        Ridge penalty of built-in predictors behind `predict`, as ``1 / C`` in scikit-learn
        (default 1).
    inner_l2 : float or "auto", default=None
        The same for predictors inside the loop. ``"auto"`` (default): .03 for each row of a
        batch, .3 without a marginal; stiff predictors overfit the validation rows less.
    predictor_start : "reset" or "persistent", default=None
        Whether mini-batch fits start afresh in each outer iteration, or where the last ended.
    pretrained : None, "all_rows" or pytree, default=None
        State from which mini-batch fits start: fitted on all training rows first, or handed in
        (the parameters of a fitted estimator's ``predictor_.params``).
    exploration_weight : float, default=None
        Weight of the penalty on a mean value outside [.1, .9] (released code: 1000).
    averaging : bool, default=None
        Average the estimator's parameters over the last part of the run.
    ensemble_size : int or "auto", default=None
        Estimators trained from different seeds; their mean is the value, their spread
        ``data_values_std_``.
    validation_share : float, default=None
        Share of the validation rows that rewards each member of an ensemble, another share for
        each (default .5; black boxes: all rows).
    shrink_residual : bool, default=None
        Halve or drop what was learned beside the prior where it makes predictors worse, by more
        than two standard errors, on the validation rows that did not reward it (default True;
        needs an ensemble, a `validation_share` below 1, and a metric that is a mean over rows).
    max_seconds : float, default=None
        Time limit of the training loop.
    validation_fraction : float, default=0.2
        Share of the rows held out when `fit` gets no validation rows.
    final_predictor : object, default=None
        Model behind `predict`, trained with the values as weights; default: the predictor.
    final_rows : "training" or "both", default="training"
        Rows that this model is trained on. ``"both"`` adds the validation rows that were passed
        to `fit`, with weight 1: the better model where they are clean, but no score on them says
        anything any more.
    checkpoint : str or path, default=None
        File to keep the run in while it goes on.
    resume : bool, default=False
        Go on from `checkpoint` where it exists. The result is the same, to the bit, as that of a
        run that was never interrupted.
    callback : callable, default=None
        Called with a :class:`dvrl.learning.schedule.Progress` after each chunk of outer iterations.
    n_jobs : int, default=None
        Black-box fits, and threads of the marginal's forest, at once (joblib).
    random_state : int, RandomState or None, default=None
        With an int, the same values on every run, to the bit.
    verbose : int, default=0
        1 prints progress to standard error.
"""

_ATTRIBUTES_DOC = """
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
    predictor_ : FittedTraceable or FittedBlackBox
        The robust predictor behind `predict`: trained with the values as weights.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the rows came as a frame.
"""


class _BaseDVRL(BaseEstimator):
    """What classification and regression share."""

    _task: ClassVar[str]
    coder_: Any
    _default_metric: ClassVar[str]

    def _released_metric(self) -> str:
        """The metric of the released code for this task."""
        raise NotImplementedError

    def __init__(
        self,
        predictor: Any = "linear",
        *,
        preset: str = "default",
        metric: Any = None,
        marginal: Any = None,
        prior: str | None = None,
        kl_weight: float | str | None = None,
        residual_bound: float | None = None,
        gradient: str | None = None,
        baseline: str | None = None,
        baseline_window: int | None = None,
        n_selections: int | str | None = None,
        outer_iterations: int | str | None = None,
        inner_iterations: int | str | None = None,
        batch_size: int | None = None,
        inner_batch_size: int | None = None,
        inner_optimizer: str | None = None,
        learning_rate: float | str | None = None,
        inner_learning_rate: float | str | None = None,
        l2: float | None = None,
        inner_l2: float | str | None = None,
        predictor_start: str | None = None,
        pretrained: Any = None,
        exploration_weight: float | None = None,
        averaging: bool | None = None,
        ensemble_size: int | str | None = None,
        validation_share: float | None = None,
        shrink_residual: bool | None = None,
        max_seconds: float | None = None,
        validation_fraction: float = 0.2,
        final_predictor: Any = None,
        final_rows: str = "training",
        checkpoint: str | Path | None = None,
        resume: bool = False,
        callback: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.predictor = predictor
        self.preset = preset
        self.metric = metric
        self.marginal = marginal
        self.prior = prior
        self.kl_weight = kl_weight
        self.residual_bound = residual_bound
        self.gradient = gradient
        self.baseline = baseline
        self.baseline_window = baseline_window
        self.n_selections = n_selections
        self.outer_iterations = outer_iterations
        self.inner_iterations = inner_iterations
        self.batch_size = batch_size
        self.inner_batch_size = inner_batch_size
        self.inner_optimizer = inner_optimizer
        self.learning_rate = learning_rate
        self.inner_learning_rate = inner_learning_rate
        self.l2 = l2
        self.inner_l2 = inner_l2
        self.predictor_start = predictor_start
        self.pretrained = pretrained
        self.exploration_weight = exploration_weight
        self.averaging = averaging
        self.ensemble_size = ensemble_size
        self.validation_share = validation_share
        self.shrink_residual = shrink_residual
        self.max_seconds = max_seconds
        self.validation_fraction = validation_fraction
        self.final_predictor = final_predictor
        self.final_rows = final_rows
        self.checkpoint = checkpoint
        self.resume = resume
        self.callback = callback
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # ------------------------------------------------------------------ fitting

    @all_or_nothing
    def fit(self, X: Any, y: Any, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn what every training row is worth, and train the robust predictor.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features)
            Training rows: numbers, or a pandas or Polars frame with categories, text, dates and
            gaps.
        y : array-like of shape (n_rows,)
            Labels or targets.
        X_val : like X, of shape (n_validation_rows, n_features), optional
            Clean validation rows. Without them, `validation_fraction` of the rows is held out.
        y_val : array-like of shape (n_validation_rows,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For input or settings that cannot be used; the message says what to do.
        """
        settings = self._settings()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        data = prepare(
            self,
            X,
            y,
            X_val,
            y_val,
            task=self._task,
            validation_fraction=self.validation_fraction,
            seed=seed,
        )
        self.encoder_, self.coder_, self._index = data.encoder, data.coder, data.index
        self._labels, self.validation_indices_ = data.labels, data.held
        self.marginal_ = self._fit_marginal(settings, data, seed)
        self._learn(settings, data, seed)
        self._shrink(settings, data)
        self._value_training_rows(data)
        self._diagnose(settings, data)
        self._fit_final(settings, X, data, seed)
        del self._engine, self._result
        warn(self.diagnostics_)
        return self

    def _settings(self) -> Settings:
        if self.final_rows not in FINAL_ROWS:
            raise ValueError(
                f"final_rows is {self.final_rows!r}; use one of {', '.join(FINAL_ROWS)}."
            )
        given = {name: getattr(self, name) for name in SETTING_NAMES}
        settings = make_settings(self.preset, given)
        check_kind(settings.marginal, self._task)
        return settings

    def _fit_marginal(self, settings: Settings, data: Prepared, seed: int) -> Marginal:
        marginal = Marginal(
            settings.marginal,
            task=self._task,
            for_linear=isinstance(self.predictor, str) and self.predictor in LINEAR_NAMES,
            n_jobs=self.n_jobs,
            random_state=seed,
        )
        return marginal.fit(data.training, data.validation)

    def _learn(self, settings: Settings, data: Prepared, seed: int) -> None:
        """Train the data value estimators."""
        from .learning.assembly import Assembly

        self._prior = settings.prior == "marginal"
        differences = self.marginal_.differences(data.Y, self.marginal_.train_scores_)
        assembly = Assembly(
            task=self._task,
            coder=self.coder_,
            settings=settings,
            metric=self._metric(settings),
            predictor=self.predictor,
            n_jobs=self.n_jobs,
            seed=seed,
        )
        self._engine = assembly.engine(
            data.X,
            data.Y,
            differences,
            self._prior_logits(data.Y, self.marginal_.train_scores_),
            data.X_validation,
            data.Y_validation,
            data.own_rows,
        )
        self._result = assembly.train(
            self._engine,
            pretrained=self.pretrained,
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            resume=self.resume,
            callback=self._progress,
        )
        self._estimators = self._result.estimators
        self.n_members_ = assembly.ensemble_size
        self.history_ = {
            "iteration": np.arange(1, self._result.n_iterations + 1),
            **{name: values.mean(axis=1) for name, values in self._result.history.items()},
        }

    def _metric(self, settings: Settings) -> Any:
        if settings.metric is None:
            return self._default_metric
        if isinstance(settings.metric, str) and settings.metric == "released":
            return self._released_metric()
        return settings.metric

    def _progress(self, progress: Any) -> None:
        if self.callback is not None:
            self.callback(progress)
        if self.verbose:
            import sys

            left = progress.seconds_left
            time_left = "" if left is None else f", {left:.0f} s left"
            print(
                f"outer iteration {progress.iteration}/{progress.total}, "
                f"reward {progress.reward:.4f}{time_left}",
                file=sys.stderr,
            )

    def _prior_logits(self, Y: Floats, scores: Floats) -> Floats:
        if not self._prior:
            return np.zeros(len(Y), np.float32)
        probability = self.marginal_.label_probability(Y, scores).astype(np.float64)
        logits = PRIOR_SHARPNESS * np.log(probability / (1 - probability))
        return logits.astype(np.float32)

    # ------------------------------------------------------------------ valuing

    def _members_values(self, X: Floats, Y: Floats, scores: Floats) -> Floats:
        """Values (n_members, n_rows) of encoded rows."""
        log_odds = self._members_log_odds(X, Y, scores)
        return _values(log_odds, self._prior_logits(Y, scores), self._kept_share)

    def _members_log_odds(self, X: Floats, Y: Floats, scores: Floats) -> NDArray[np.float64]:
        """Log-odds (n_members, n_rows) of encoded rows, with all that was learned."""
        from .learning.loop import member_logits

        differences = self.marginal_.differences(Y, scores)
        prior = self._prior_logits(Y, scores)
        n_columns = padded_size(X.shape[1])
        parts = []
        for start in range(0, len(X), VALUED_ROWS):
            block = slice(start, start + VALUED_ROWS)
            size = len(X[block])
            padded = padded_size(size)
            logits = member_logits(
                self._estimators,
                pad(X[block], padded, n_columns),
                pad(Y[block], padded),
                pad(differences[block], padded),
                pad(prior[block], padded),
            )
            parts.append(np.asarray(logits)[:, :size])
        return np.concatenate(parts, axis=1).astype(np.float64)

    def _value_training_rows(self, data: Prepared) -> None:
        train = data.train
        trained = self._members_values(data.X, data.Y, self.marginal_.train_scores_)
        members = np.empty((len(trained), len(self._labels)), np.float32)
        control = np.empty(len(self._labels), np.float32)
        label_scores = np.empty((len(self._labels), data.Y.shape[1]), np.float32)
        members[:, train] = trained
        control[train] = self.marginal_.label_probability(data.Y, self.marginal_.train_scores_)
        label_scores[train] = self.marginal_.train_scores_
        if self.validation_indices_ is not None:
            held, scores = self.validation_indices_, self.marginal_.validation_scores_
            members[:, held] = self._members_values(data.X_validation, data.Y_validation, scores)
            control[held] = self.marginal_.label_probability(data.Y_validation, scores)
            label_scores[held] = scores
        self._trained_members = trained
        self.data_values_ = members.mean(axis=0).astype(np.float64)
        self.data_values_std_ = (
            members.std(axis=0, ddof=1).astype(np.float64)
            if len(members) > 1
            else np.full(members.shape[1], np.nan)
        )
        self._label_scores = label_scores
        if not self.marginal_.says_nothing:
            self.marginal_values_ = control.astype(np.float64)

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
        targets = self.coder_.encode(y)
        scores = self.marginal_.scores(rows)
        return self._members_values(rows.features, targets, scores).mean(axis=0).astype(np.float64)

    # ------------------------------------------------------------------ what the run says of itself

    def _shrink(self, settings: Settings, data: Prepared) -> None:
        """Take back what was learned where it harms on rows that did not reward it.

        Judged with the penalty of the predictor that is trained with the values in the end, which
        is less stiff than that of the loop.
        """
        from .learning.assembly import final_l2
        from .predictors.traceable import fit_traceable

        self._kept_share = 1.0
        engine, seen = self._engine, self._rewarding_rows()
        has_prior = self._prior and not self.marginal_.says_nothing
        if not settings.shrink_residual or not has_prior or seen.all():
            return
        predictor = engine.program.predictor
        assert predictor is not None  # else all validation rows would have rewarded
        rows = self._judged_rows(len(data.X))
        X, Y, scores = (
            part if rows is None else part[rows]
            for part in (data.X, data.Y, self.marginal_.train_scores_)
        )
        X_validation = np.asarray(engine.problem.X_validation)[:, : X.shape[1]]
        log_odds, prior = self._members_log_odds(X, Y, scores), self._prior_logits(Y, scores)

        def row_rewards(share: float) -> NDArray[np.float64] | None:
            members = np.clip(_values(log_odds, prior, share), 1e-6, None)
            if share == 0.0:  # then every member is the prior
                members = members[:1]
            by_row = []
            for weights in members:
                fitted = fit_traceable(
                    predictor,
                    X,
                    Y,
                    weights,
                    learning_rate=float(engine.hyper["inner_learning_rate"]),
                    l2=final_l2(settings),
                )
                engine.n_fits += 1
                rewards = self._row_rewards(fitted.scores(X_validation))
                if rewards is None:  # the metric is no mean over rows
                    return None
                by_row.append(rewards)
            return np.broadcast_to(np.stack(by_row), seen.shape)

        by_share = {}
        for share in SHARES:
            rewards = row_rewards(share)
            if rewards is None:
                return
            by_share[share] = rewards
        self._kept_share = kept_share(by_share, seen)

    def _rewarding_rows(self) -> NDArray[np.bool_]:
        """Validation rows (n_members, n_validation_rows) that rewarded each member."""
        from .learning.engines import FusedEngine

        used = np.asarray(self._engine.problem.validation_mask) > 0
        rewarding = self._result.validation_masks[:, used] > 0
        # What is judged on the host is judged on all validation rows.
        return rewarding if isinstance(self._engine, FusedEngine) else np.ones_like(rewarding)

    def _judged_rows(self, n: int) -> NDArray[np.int32] | None:
        """Numbers of the training rows that judge weights; None for all."""
        if n <= DIAGNOSED_ROWS:
            return None
        rng = np.random.default_rng(0)
        return np.sort(rng.choice(n, DIAGNOSED_ROWS, replace=False)).astype(np.int32)

    def _judged(self, weights: Floats, rows: NDArray[np.int32] | None) -> tuple[float, Floats]:
        """Reward and validation scores of a predictor trained with the weights of these rows."""
        chosen = weights if rows is None else weights[rows]
        # Only the relations between rows are compared, not the total weight.
        relative = (chosen * (len(chosen) / max(chosen.sum(), 1e-30))).astype(np.float32)
        if rows is None:
            relative = pad(relative, len(self._engine.problem.mask))
        return self._engine.reward(relative, rows)

    def _diagnose(self, settings: Settings, data: Prepared) -> None:
        engine, result = self._engine, self._result
        trained = self._trained_members
        values = trained.mean(axis=0)
        n = len(values)
        rows = self._judged_rows(n)
        upper = np.zeros(n, np.float32)
        upper[np.argsort(values, kind="stable")[n // 2 :]] = 1.0
        weights = {
            "weighted": np.clip(values, 1e-6, None),
            "uniform": np.ones(n, np.float32),
            "upper_half": upper,
            "lower_half": 1 - upper,
        }
        control = None
        if not self.marginal_.says_nothing:
            control = self.marginal_.label_probability(data.Y, self.marginal_.train_scores_)
            weights["marginal"] = control
        outcomes = {name: self._judged(each, rows) for name, each in weights.items()}
        rewarded = self._rewarding_rows()
        # Members that all validation rows rewarded have none left to be tested on.
        tested = np.zeros((0, n), np.float32) if rewarded.all() else np.clip(trained, 1e-6, None)
        members = {str(number): self._judged(each, rows) for number, each in enumerate(tested)}
        n_drawn = len(result.history["redrawn"]) * engine.program.n_selections
        self.diagnostics_: Diagnostics = diagnose(
            values,
            history_reward=result.history["reward"].mean(axis=1),
            **{f"reward_{name}": reward for name, (reward, _) in outcomes.items()},
            row_rewards=self._rewards_by_row(outcomes),
            members=trained if len(trained) > 1 else None,
            member_row_rewards=list(self._rewards_by_row(members).values()),
            member_validation_rows=rewarded,
            label_probability=control,
            is_prior=self._prior,
            validation_fit=label_fit(
                data.X,
                data.Y,
                data.X_validation,
                data.Y_validation,
                classification=self._task == "classification",
            ),
            estimated_noise_rate=self.marginal_.noise_rate(data.Y, self.marginal_.train_scores_),
            kept_share=self._kept_share,
            resampled_share=float(result.history["redrawn"].mean(axis=1).sum() / n_drawn),
            # The automatic number of iterations ends a run early on purpose: it holds the policy
            # near its prior, and more would overfit the validation rows.
            reached_limit=result.stop_reason == "iterations"
            and settings.outer_iterations != "auto",
            n_iterations=result.n_iterations,
            stop_reason=result.stop_reason,
            seconds=result.seconds,
            n_fits=engine.n_fits,
        )

    def _rewards_by_row(
        self, outcomes: dict[str, tuple[float, Floats]]
    ) -> dict[str, NDArray[np.float64]]:
        """Rewards of each validation row; empty for metrics that are not means over rows."""
        by_row = {name: self._row_rewards(scores) for name, (_, scores) in outcomes.items()}
        return {name: each for name, each in by_row.items() if each is not None}

    def _row_rewards(self, scores: Floats) -> NDArray[np.float64] | None:
        """Reward of each validation row, for metrics that are means over rows."""
        mask = np.asarray(self._engine.problem.validation_mask) > 0
        targets = np.asarray(self._engine.problem.Y_validation)[mask]
        scores = scores[: len(mask)][mask[: len(scores)]]
        return self._engine.program.reward.by_row(targets, scores)

    # ------------------------------------------------------------------ the robust predictor

    def _fit_final(self, settings: Settings, X: Any, data: Prepared, seed: int) -> None:
        from .learning.assembly import fit_final_predictor

        chosen = self.predictor if self.final_predictor is None else self.final_predictor
        self.predictor_, self._sees = fit_final_predictor(
            chosen,
            task=self._task,
            coder=self.coder_,
            settings=settings,
            rows=self._final_rows(X, data),
            n_jobs=self.n_jobs,
            seed=seed,
        )
        if self.marginal_.says_nothing:  # the reasons of `suspects` then come from here
            self._label_scores = self.predictor_.scores(shown(self._sees, X, data.every))

    def _final_rows(self, X: Any, data: Prepared) -> WeightedRows:
        """Training rows by their values; validation rows too, where that is asked for.

        Rows that were held out for validation are training rows with values of their own.
        """
        rows = WeightedRows(X, data.labels, data.every, self.data_values_.astype(np.float32))
        if self.final_rows == "training" or data.held is not None:
            return rows
        y = data.own_y_validation
        ones = np.ones(len(y), np.float32)
        return rows.and_more(WeightedRows(data.own_X_validation, y, data.validation, ones))

    def _scores(self, X: Any) -> Floats:
        check_is_fitted(self)
        rows = self.encoder_.encode(X, estimator=self)
        scores: Floats = self.predictor_.scores(shown(self._sees, X, rows))
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

    @classmethod
    def load(cls, path: str | Path, *, trusted: tuple[str, ...] = ()) -> Self:
        """Read a fitted estimator written by :meth:`save`.

        Parameters
        ----------
        path : path-like
        trusted : tuple of str
            Types outside scikit-learn, skrub and dvrl that the file may create, such as those of
            a black-box predictor; the error names them.
        """
        loaded = read_saved(path, trusted=trusted)
        if not isinstance(loaded, cls):
            raise ValueError(f"{path} holds a {type(loaded).__name__}; load it with dvrl.load.")
        return loaded


def _values(log_odds: NDArray[np.float64], prior: Floats, share: float) -> Floats:
    """Values of log-odds, with a share of their distance from the prior's."""
    if share < 1.0:
        log_odds = prior + share * (log_odds - prior)
    return (0.5 * (1.0 + np.tanh(0.5 * log_odds))).astype(np.float32)


class DVRLClassifier(ClassifierMixin, _BaseDVRL):
    """Value the rows of a classification table by reinforcement learning."""

    coder_: ClassEncoder
    _task = "classification"
    _default_metric = "log_loss"

    @property
    def classes_(self) -> NDArray[Any]:
        """Class labels, in the order of the columns of `predict_proba`."""
        classes: NDArray[Any] = self.coder_.classes_
        return classes

    def _released_metric(self) -> str:
        # The released AUC knows two classes only.
        return "auc" if self.coder_.n_outputs == 2 else "accuracy"

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
    """Value the rows of a regression table by reinforcement learning."""

    coder_: TargetScaler
    _task = "regression"
    _default_metric = "mse"

    def _released_metric(self) -> str:
        return "rmspe"


_CLASSIFIER_EXAMPLE = """
    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from dvrl import DVRLClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> valuation = DVRLClassifier(kl_weight=1.0, random_state=0)
    >>> _ = valuation.fit(X[:200], y[:200], X_val=X[200:300], y_val=y[200:300])
    >>> valuation.data_values_.shape
    (200,)
    >>> valuation.suspects(fraction=0.05).shape
    (10, 6)
    """
_REGRESSOR_EXAMPLE = """
    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dvrl import DVRLRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> valuation = DVRLRegressor(kl_weight=1.0, random_state=0)
    >>> _ = valuation.fit(X[:200], y[:200], X_val=X[200:300], y_val=y[200:300])
    >>> bool((valuation.data_values_ >= 0).all() and (valuation.data_values_ <= 1).all())
    True
    """


def _document(cls: type, example: str, **words: Any) -> None:
    cls.__doc__ = f"{cls.__doc__}\n{_PARAMETERS_DOC.format(**words)}{_ATTRIBUTES_DOC}{example}"


_document(
    DVRLClassifier,
    _CLASSIFIER_EXAMPLE,
    linear="logistic or softmax regression",
    alias="logistic",
    metrics='``"log_loss"``, ``"accuracy"``, ``"auc"``',
    metric="log_loss",
)
_document(
    DVRLRegressor,
    _REGRESSOR_EXAMPLE,
    linear="ridge regression",
    alias="ridge",
    metrics='``"mse"``, ``"mae"``, ``"rmspe"``, ``"r2"``',
    metric="mse",
)


_CLASSES: dict[str, type] = {each.__name__: each for each in (DVRLClassifier, DVRLRegressor)}
register(KIND, lambda archive: restored(archive, _CLASSES))
