"""What a reference model says about a row's label, and the prior built from it.

The scores of the model are one of the inputs of the estimator network; how likely they make a
label is the prior that the learned values start from.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .reference import (
    CrossFitted,
    OutOfBagForest,
    Reference,
    classes_of,
    default_forest,
    draw_seed,
    pool_scores,
    pool_weights,
    quiet_convergence,
    standard_references,
)

__all__ = ["Marginal"]

_KINDS = ("none", "validation", "cross_fit", "out_of_bag", "stacked")
_TASKS = ("classification", "regression")
# Certainty would be a verdict that learning could hardly take back: a prior within this of 0 or 1
# is moved half-way to it, which keeps the order of rows.
_TAIL = 0.02
_MIXING_START = 0.9
_MIXING_BOUNDS = (0.5, 0.99)
_MIXING_STEPS = 20
# The median of absolute deviations times this is the standard deviation of a normal variable.
_NORMAL_MAD = 1.4826
_POOL_GRID = 512
_POOL_SAMPLE = 5_000
# Share of a heavy-tailed component in the pool of targets: no target is impossible.
_POOL_TAIL = 0.05
# Wrong labels may prefer some classes: a noise matrix is estimated, drawn to uniform noise by as
# much as so many rows of each class count.
_NOISE_MATRIX_ROWS = 100.0
_NOISE_STEPS = 50
_NOISE_RATE_START = 0.2
_NOISE_RATE_BOUNDS = (1e-3, 0.6)

Floats = NDArray[np.float32]


class Marginal:
    """A reference model's opinion of labels, for rows of training and for rows never seen.

    Parameters
    ----------
    kind : {"none", "validation", "cross_fit", "out_of_bag", "stacked"}
        ``"validation"``: a model fitted on the validation rows alone. ``"cross_fit"``: models
        fitted on all folds but one of the training and validation rows. ``"out_of_bag"``: a forest
        on training and validation rows, each row judged by the trees that did not see it.
        ``"stacked"``: a forest, a linear model, a kernel model and boosted trees, each judging
        every row out of sample; fitted twice, the second time with each training row weighted by
        the chance that its label is its own; combined by weights that fit the validation labels
        best. ``"none"``: no opinion.
    task : {"classification", "regression"}
    model : scikit-learn estimator, optional
        Used, as a clone, in place of the default: logistic or ridge regression, or a random
        forest for ``"out_of_bag"``, which needs a forest with ``bootstrap=True``. ``"stacked"``
        takes it as one more model; it must accept ``sample_weight``.
    n_trees : int, default=300
        Trees of the default forest of ``"out_of_bag"``; above 200,000 rows fewer are grown.
    n_folds : int, default=5
        Folds of ``"cross_fit"`` and ``"stacked"``; fewer where rows are few.
    n_jobs : int, optional
        Threads; results do not depend on it.
    random_state : int, numpy.random.Generator or None

    Attributes
    ----------
    train_scores_ : ndarray of float32 of shape (n, c)
        Class probabilities, or predicted scaled targets, for the training rows.
    validation_scores_ : ndarray of float32 of shape (m, c)
        The same for the validation rows; in-sample for kind ``"validation"``.
    models_ : list of estimators
        The fitted models.
    pool_weights_ : ndarray of float64
        ``"stacked"``: weight of each model, those of the first fit first.
    noise_matrix_ : ndarray of float64 of shape (c, c)
        ``"stacked"``, classification: estimated chance of each given label (column) for rows of
        each true class (row).
    residual_spread_, mixing_weight_ : float
        Regression: standard deviation of the residuals of rows whose target is their own, and the
        share of such rows.

    Examples
    --------
    >>> import numpy as np
    >>> from dvrl.marginal import Marginal
    >>> X = np.linspace(-1, 1, 40, dtype=np.float32)[:, np.newaxis]
    >>> Y = np.hstack([X < 0, X >= 0]).astype(np.float32)
    >>> marginal = Marginal("validation", task="classification").fit(X, 1 - Y, X, Y)
    >>> bool((marginal.label_probability(1 - Y, marginal.train_scores_) < 0.5).all())
    True
    """

    train_scores_: Floats
    validation_scores_: Floats
    models_: list[Any]
    references_: list[Reference]
    pool_weights_: NDArray[np.float64]
    noise_matrix_: NDArray[np.float64]
    n_outputs_: int
    default_scores_: Floats
    residual_spread_: float
    mixing_weight_: float
    pool_grid_: NDArray[np.float64]
    pool_density_: NDArray[np.float64]
    pool_center_: float
    pool_spread_: float

    def __init__(
        self,
        kind: str,
        *,
        task: str,
        model: Any = None,
        n_trees: int = 300,
        n_folds: int = 5,
        n_jobs: int | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.kind = kind
        self.task = task
        self.model = model
        self.n_trees = n_trees
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, Y: ArrayLike, X_val: ArrayLike, Y_val: ArrayLike) -> Self:
        """Fit the reference model and score the training and validation rows.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Encoded training rows.
        Y : ndarray of shape (n, c)
            Encoded targets: one-hot rows, or one scaled column.
        X_val : ndarray of shape (m, d)
        Y_val : ndarray of shape (m, c)

        Returns
        -------
        Marginal
            This object.

        Raises
        ------
        ValueError
            If the settings are unknown or the model is not of the kind needed.
        """
        self._check_settings()
        X, X_val = _matrix(X), _matrix(X_val)
        Y, Y_val = _matrix(Y), _matrix(Y_val)
        self.n_outputs_ = Y.shape[1]
        self.references_ = []
        rng = np.random.default_rng(self.random_state)
        every_X, every_Y = np.vstack([X, X_val]), np.vstack([Y, Y_val])
        self.default_scores_ = every_Y.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.kind == "stacked":
            every_scores = self._stacked(every_X, every_Y, len(X), rng)
        elif self.kind == "none":
            every_scores = self.scores(every_X)
        else:
            every_scores = self._single(every_X, every_Y, len(X), rng)
        self.train_scores_, self.validation_scores_ = every_scores[: len(X)], every_scores[len(X) :]
        self.models_ = [model for each in self.references_ for model in each.models]
        self._fit_noise(Y, self.train_scores_)
        return self

    def scores(self, X_new: ArrayLike) -> Floats:
        """Score rows that were not part of `fit`.

        Parameters
        ----------
        X_new : ndarray of shape (k, d)
            Encoded rows.

        Returns
        -------
        ndarray of float32 of shape (k, c)
            Class probabilities, or predicted scaled targets: the mean over all models.
        """
        rows = _matrix(X_new)
        if self.kind == "none":
            # No model, no opinion: what the labels look like on the whole.
            return np.tile(self.default_scores_, (len(rows), 1))
        every = np.stack([reference.scores(rows) for reference in self.references_])
        if self.kind != "stacked":
            return np.asarray(every[0])
        return pool_scores(every, self.pool_weights_, self.task)

    def differences(self, Y: ArrayLike, scores: ArrayLike) -> Floats:
        """Return how far labels are from scores: the marginal input of the estimator network.

        Parameters
        ----------
        Y : ndarray of shape (n, c)
        scores : ndarray of shape (n, c)

        Returns
        -------
        ndarray of float32 of shape (n, c)
            Absolute differences; shape (n, 0) for kind ``"none"``.
        """
        targets = np.asarray(Y, dtype=np.float32)
        if self.kind == "none":
            return np.zeros((len(targets), 0), dtype=np.float32)
        differences: Floats = np.abs(targets - np.asarray(scores, dtype=np.float32))
        return differences

    def label_probability(self, Y: ArrayLike, scores: ArrayLike) -> Floats:
        """Return how likely each label belongs to its row.

        For classification this is the score of the row's own label. For regression it is the
        posterior of a mixture of two: the target belongs to the row, and so is normal around its
        score; or it was drawn from the pool of all targets.

        Parameters
        ----------
        Y : ndarray of shape (n, c)
        scores : ndarray of shape (n, c)

        Returns
        -------
        ndarray of float32 of shape (n,)
            Within [0.01, 0.99]; 0.5 everywhere for kind ``"none"``.
        """
        targets = np.asarray(Y, dtype=np.float64)
        if self.kind == "none":
            return np.full(len(targets), 0.5, dtype=np.float32)
        said = np.asarray(scores, dtype=np.float64)
        if self.task == "classification":
            probability = (targets * said).sum(axis=1)
        else:
            own, pool = self._log_densities(targets[:, 0], said[:, 0])
            probability = _posterior(own, pool, self.mixing_weight_)
        return _bounded(probability).astype(np.float32)

    def noise_rate(self, Y: ArrayLike, scores: ArrayLike) -> float | None:
        """Return the estimated share of labels that are wrong.

        Parameters
        ----------
        Y : ndarray of shape (n, c)
        scores : ndarray of shape (n, c)

        Returns
        -------
        float or None
            The mean over rows of the chance that the true class is another than the given label;
            None without an estimated noise matrix (regression, or another kind than
            ``"stacked"``).
        """
        if self.kind != "stacked" or self.task != "classification":
            return None
        labels, said = np.asarray(Y, dtype=np.float64), np.asarray(scores, dtype=np.float64)
        return float(1.0 - _own_label_posterior(labels, said, self.noise_matrix_).mean())

    def state(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what is needed to score and value new rows later.

        Returns
        -------
        metadata : dict
            Settings and numbers, ready for JSON.
        objects : dict of str to fitted scikit-learn estimator
        arrays : dict of str to ndarray
        """
        seed = self.random_state
        metadata: dict[str, Any] = {
            "kind": self.kind,
            "task": self.task,
            "n_trees": int(self.n_trees),
            "n_folds": int(self.n_folds),
            "random_state": int(seed) if isinstance(seed, int | np.integer) else None,
            "n_outputs": self.n_outputs_,
            "n_models": [len(reference.models) for reference in self.references_],
        }
        arrays: dict[str, NDArray[Any]] = {"default_scores": self.default_scores_}
        if self.kind == "stacked":
            arrays["pool_weights"] = self.pool_weights_
            if self.task == "classification":
                arrays["noise_matrix"] = self.noise_matrix_
        if self.task == "regression" and self.kind != "none":
            names = ("residual_spread", "mixing_weight", "pool_center", "pool_spread")
            metadata.update({name: float(getattr(self, f"{name}_")) for name in names})
            arrays["pool_grid"] = self.pool_grid_
            arrays["pool_density"] = self.pool_density_
        objects = {f"model_{number}": model for number, model in enumerate(self.models_)}
        return metadata, objects, arrays

    @classmethod
    def from_state(
        cls,
        metadata: dict[str, Any],
        objects: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        *,
        n_jobs: int | None = None,
    ) -> Self:
        """Restore a fitted object from `state`.

        Parameters
        ----------
        metadata : dict
        objects : dict of str to fitted scikit-learn estimator
        arrays : dict of str to ndarray
        n_jobs : int, optional
            Threads on this machine.

        Returns
        -------
        Marginal
            Able to score and judge new rows; without ``train_scores_`` and ``validation_scores_``,
            and without the unfitted `model`.
        """
        marginal = cls(
            metadata["kind"],
            task=metadata["task"],
            n_trees=metadata["n_trees"],
            n_folds=metadata["n_folds"],
            n_jobs=n_jobs,
            random_state=metadata["random_state"],
        )
        marginal.n_outputs_ = int(metadata["n_outputs"])
        counts = metadata["n_models"]
        marginal.models_ = [objects[f"model_{number}"] for number in range(sum(counts))]
        parts = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1]) if counts else []
        marginal.references_ = [
            marginal._fitted_reference([marginal.models_[number] for number in part])
            for part in parts
        ]
        marginal.default_scores_ = arrays["default_scores"]
        for name in ("pool_weights", "noise_matrix"):
            if name in arrays:
                setattr(marginal, f"{name}_", arrays[name])
        if "residual_spread" in metadata:
            for name in ("residual_spread", "mixing_weight", "pool_center", "pool_spread"):
                setattr(marginal, f"{name}_", float(metadata[name]))
            marginal.pool_grid_ = arrays["pool_grid"]
            marginal.pool_density_ = arrays["pool_density"]
        return marginal

    # ---- models --------------------------------------------------------------------------

    def _check_settings(self) -> None:
        for name, value, allowed in (("kind", self.kind, _KINDS), ("task", self.task, _TASKS)):
            if value not in allowed:
                raise ValueError(
                    f"The {name} of a marginal must be one of {', '.join(allowed)}, not {value!r}."
                )
        for name, count, least in (("n_trees", self.n_trees, 1), ("n_folds", self.n_folds, 2)):
            if count < least:
                raise ValueError(f"{name} must be at least {least} but is {count}.")
        if self.model is None or self.kind == "none":
            return
        if self.kind == "out_of_bag":
            self._check_forest()
        elif self.task == "classification" and not hasattr(self.model, "predict_proba"):
            raise ValueError(
                f"{type(self.model).__name__} cannot give class probabilities; pass a model with "
                "predict_proba, for instance wrapped in CalibratedClassifierCV."
            )

    def _check_forest(self) -> None:
        from sklearn import ensemble

        allowed: tuple[Any, ...] = (
            (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier)
            if self.task == "classification"
            else (ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor)
        )
        if not isinstance(self.model, allowed) or not self.model.bootstrap:
            raise ValueError(
                f"{self.model!r} has no out-of-bag rows; pass a "
                f"{' or '.join(kind.__name__ for kind in allowed)} with bootstrap=True, or use "
                "the kind 'cross_fit', which takes any model."
            )

    def _single(self, X: Floats, Y: Floats, n_train: int, rng: np.random.Generator) -> Floats:
        """Scores of one reference model, out of sample where the kind allows."""
        reference: Reference
        if self.kind == "out_of_bag":
            if self.model is None:
                forest = default_forest(len(X), self.task, self.n_trees)
            else:
                forest = _own_model(self.model, self.task, len(X))
            reference = self._forest(forest)
            self.references_ = [reference]
            return reference.fit(X, Y, None, rng)
        reference = self._cross_fitted(partial(_own_model, self.model, self.task))
        self.references_ = [reference]
        # Callers did not choose the default models, so their complaints are of no use to them.
        with nullcontext() if self.model is not None else quiet_convergence():
            if self.kind == "cross_fit":
                return reference.fit(X, Y, None, rng)
            target = classes_of(Y, self.task)
            alone = slice(n_train, None)
            seed = draw_seed(rng)
            reference.models = [reference.fit_model(X[alone], target[alone], None, seed)]
        return reference.scores(X)

    def _stacked(self, X: Floats, Y: Floats, n_train: int, rng: np.random.Generator) -> Floats:
        """Scores of all references, fitted twice and combined.

        In the second fit a training row weighs as much as its label is likely to be its own by the
        first; a validation row weighs one.
        """
        scores: list[Floats] = []
        weights: NDArray[np.float64] | None = None
        pooled = np.zeros((0, self.n_outputs_), np.float32)
        for is_second in (False, True):
            if is_second:
                self._fit_noise(Y[:n_train], pooled[:n_train])
                weights = np.ones(len(X))
                weights[:n_train] = self._kept_probability(Y[:n_train], pooled[:n_train])
            references = standard_references(
                len(X),
                X.shape[1],
                task=self.task,
                n_outputs=self.n_outputs_,
                n_folds=self.n_folds,
                n_jobs=self.n_jobs,
                extra=(None if self.model is None else partial(_own_model, self.model, self.task)),
            )
            with quiet_convergence():
                scores += [reference.fit(X, Y, weights, rng) for reference in references]
            self.references_ += references
            every = np.stack(scores)
            self.pool_weights_ = pool_weights(every[:, n_train:], Y[n_train:], self.task)
            pooled = pool_scores(every, self.pool_weights_, self.task)
        return pooled

    def _kept_probability(self, Y: Floats, scores: Floats) -> NDArray[Any]:
        """How likely each training label was not replaced by another."""
        if self.task == "regression":
            return self.label_probability(Y, scores)
        kept = _own_label_posterior(
            Y.astype(np.float64), scores.astype(np.float64), self.noise_matrix_
        )
        return _bounded(kept)

    def _forest(self, forest: Any) -> OutOfBagForest:
        return OutOfBagForest(forest, task=self.task, n_outputs=self.n_outputs_, n_jobs=self.n_jobs)

    def _cross_fitted(self, make: Any, models: list[Any] | None = None) -> CrossFitted:
        return CrossFitted(
            make,
            task=self.task,
            n_outputs=self.n_outputs_,
            n_folds=self.n_folds,
            n_jobs=self.n_jobs,
            models=models or (),
        )

    def _fitted_reference(self, models: list[Any]) -> Reference:
        """A reference that was kept as its models."""
        if len(models) == 1 and hasattr(models[0], "estimators_samples_"):
            return self._forest(models[0])
        return self._cross_fitted(None, models)

    # ---- classification: is this label the row's own? ------------------------------------

    def _fit_noise(self, Y: Floats, scores: Floats) -> None:
        """Estimate what is needed to tell own labels or targets from wrong ones."""
        if self.kind == "none":
            return
        if self.task == "regression":
            self._fit_mixture(Y, scores)
        elif self.kind == "stacked":
            self.noise_matrix_ = _noise_matrix(Y.astype(np.float64), scores.astype(np.float64))

    # ---- regression: is this target the row's own? ---------------------------------------

    def _fit_mixture(self, Y: Floats, scores: Floats) -> None:
        target = Y[:, 0].astype(np.float64)
        residual = target - scores[:, 0]
        self._fit_pool(target)
        # Around 0, not around the median residual: so are the densities below.
        spread = _NORMAL_MAD * float(np.median(np.abs(residual)))
        # Residuals of exactly 0 in most rows (few distinct targets) must not divide by 0.
        self.residual_spread_ = max(spread, 1e-3 * self.pool_spread_)
        own, pool = self._log_densities(target, scores[:, 0].astype(np.float64))
        weight = _MIXING_START
        for _ in range(_MIXING_STEPS):
            weight = float(np.clip(_posterior(own, pool, weight).mean(), *_MIXING_BOUNDS))
        self.mixing_weight_ = weight

    def _fit_pool(self, target: NDArray[np.float64]) -> None:
        """Estimate the density of all training targets on a grid, with heavy tails."""
        # At most 5,000 quantiles stand for the targets: the cost stays the same for any n.
        n_quantiles = min(len(target), _POOL_SAMPLE)
        sample = np.quantile(target, (np.arange(n_quantiles) + 0.5) / n_quantiles)
        lower, middle, upper = np.quantile(target, [0.25, 0.5, 0.75])
        spread = float(upper - lower) / 1.349
        if spread <= 0.0:
            spread = float(np.std(target))
        self.pool_center_ = float(middle)
        self.pool_spread_ = spread if spread > 0.0 else 1.0
        # Silverman's rule.
        bandwidth = 0.9 * self.pool_spread_ * len(target) ** -0.2
        ends = np.quantile(target, [0.005, 0.995]) + np.array([-4.0, 4.0]) * bandwidth
        self.pool_grid_ = np.linspace(ends[0], ends[1], _POOL_GRID)
        self.pool_density_ = np.array(
            [np.exp(-0.5 * ((point - sample) / bandwidth) ** 2).mean() for point in self.pool_grid_]
        ) / (bandwidth * np.sqrt(2.0 * np.pi))

    def _log_densities(
        self, target: NDArray[np.float64], score: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log-density of targets if they are the row's own, and if they come from the pool."""
        spread = self.residual_spread_
        with np.errstate(over="ignore"):
            own = -0.5 * ((target - score) / spread) ** 2 - np.log(spread * np.sqrt(2.0 * np.pi))
            deviation = (target - self.pool_center_) / self.pool_spread_
            tail = 1.0 / (np.pi * self.pool_spread_ * (1.0 + deviation**2))
        body = np.interp(target, self.pool_grid_, self.pool_density_, left=0.0, right=0.0)
        return own, np.log((1.0 - _POOL_TAIL) * body + _POOL_TAIL * tail)


def _posterior(
    own: NDArray[np.float64], pool: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    odds = np.log(weight) - np.log1p(-weight) + own - pool
    # Logits beyond 60 are certain in float64, and exp would overflow.
    probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(odds, -60.0, 60.0)))
    return probability


def _bounded(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same within [.02, .98]; what lies outside, in its order, within .01 of that."""
    inside = np.clip(probability, _TAIL, 1.0 - _TAIL)
    bounded: NDArray[np.float64] = 0.5 * (inside + probability)
    return bounded


def _noise_matrix(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of each given label for rows of each true class, by expectation maximisation.

    Starts from, and is drawn to, noise that replaces a label by any other one alike.
    """
    n_classes = labels.shape[1]
    uniform = _uniform_noise(n_classes, _noise_rate((labels * scores).sum(axis=1), n_classes))
    matrix = uniform
    for _ in range(_NOISE_STEPS):
        true_class = scores * (labels @ matrix.T)
        true_class /= np.maximum(true_class.sum(axis=1, keepdims=True), 1e-12)
        matrix = true_class.T @ labels + _NOISE_MATRIX_ROWS * uniform
        matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


def _noise_rate(own_scores: NDArray[np.float64], n_classes: int) -> float:
    """Share of labels that were replaced by another one, any one alike."""
    rate = _NOISE_RATE_START
    for _ in range(_NOISE_STEPS):
        own = (1.0 - rate) * own_scores
        other = rate * (1.0 - own_scores) / (n_classes - 1)
        kept = (own / np.maximum(own + other, 1e-12)).mean()
        rate = float(np.clip(1.0 - kept, *_NOISE_RATE_BOUNDS))
    return rate


def _uniform_noise(n_classes: int, rate: float) -> NDArray[np.float64]:
    matrix = np.full((n_classes, n_classes), rate / (n_classes - 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def _own_label_posterior(
    labels: NDArray[np.float64], scores: NDArray[np.float64], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Chance that the given label is the true class."""
    joint = scores * (labels @ matrix.T)
    posterior: NDArray[np.float64] = (labels * joint).sum(axis=1) / np.maximum(
        joint.sum(axis=1), 1e-12
    )
    return posterior


def _own_model(model: Any, task: str, n_rows: int) -> Any:
    """The caller's model, as a clone, or the default one of a single reference."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression, Ridge

    if model is not None:
        return clone(model)
    return LogisticRegression(max_iter=1000) if task == "classification" else Ridge()


def _matrix(values: ArrayLike) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)
