"""What a reference model says about a row's label, and the prior built from it.

The scores of the model are one of the inputs of the estimator network; how likely they make a
label is the prior that the learned values start from.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Marginal"]

_KINDS = ("none", "validation", "cross_fit", "out_of_bag")
_TASKS = ("classification", "regression")
# Beyond these a prior would be a verdict that learning could hardly take back.
_PROBABILITY_BOUNDS = (0.02, 0.98)
_MIXING_START = 0.9
_MIXING_BOUNDS = (0.5, 0.99)
_MIXING_STEPS = 20
# The median of absolute deviations times this is the standard deviation of a normal variable.
_NORMAL_MAD = 1.4826
_POOL_GRID = 512
_POOL_SAMPLE = 5_000
# Share of a heavy-tailed component in the pool of targets: no target is impossible.
_POOL_TAIL = 0.05
# Leaves of five rows do not learn single wrong labels by heart: AUROC of flipped labels .927
# against .877 on Adult (docs/implementation-details.md). Small tables need finer leaves.
_LEAF_ROWS = 5
_ROWS_PER_LEAF_ROW = 50
_MOST_BOOTSTRAP_ROWS = 20_000
_MANY_ROWS = 200_000
_FEWEST_TREES = 50
_ROWS_PER_BLOCK = 16_384

Floats = NDArray[np.float32]


class Marginal:
    """A reference model's opinion of labels, for rows of training and for rows never seen.

    Parameters
    ----------
    kind : {"none", "validation", "cross_fit", "out_of_bag"}
        ``"validation"``: a model fitted on the validation rows alone. ``"cross_fit"``: models
        fitted on all folds but one of the training and validation rows. ``"out_of_bag"``: a forest
        on training and validation rows, each row judged by the trees that did not see it.
        ``"none"``: no opinion.
    task : {"classification", "regression"}
    model : scikit-learn estimator, optional
        Used, as a clone, in place of the default: logistic or ridge regression, or a random
        forest for ``"out_of_bag"``, which needs a forest with ``bootstrap=True``.
    n_trees : int, default=300
        Trees of the default forest; above 200,000 rows fewer are grown.
    n_folds : int, default=5
        Folds of ``"cross_fit"``; fewer where rows are few.
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
        self.models_ = []
        rng = np.random.default_rng(self.random_state)
        every_X, every_Y = np.vstack([X, X_val]), np.vstack([Y, Y_val])
        self.default_scores_ = every_Y.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.kind == "validation":
            with self._quiet_defaults():
                self.models_ = [self._fit_model(X_val, Y_val, _seed(rng))]
            every_scores = self.scores(every_X)
        elif self.kind == "cross_fit":
            every_scores = self._cross_fit(every_X, every_Y, rng)
        elif self.kind == "out_of_bag":
            every_scores = self._out_of_bag(every_X, every_Y, rng)
        else:
            every_scores = self.scores(every_X)
        self.train_scores_, self.validation_scores_ = every_scores[: len(X)], every_scores[len(X) :]
        if self.task == "regression" and self.kind != "none":
            self._fit_mixture(Y, self.train_scores_)
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
        if self.kind == "out_of_bag":
            return self._forest_scores(rows, None)
        total = np.zeros((len(rows), self.n_outputs_))
        for model in self.models_:
            total += self._model_scores(model, rows)
        return (total / len(self.models_)).astype(np.float32)

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
            Within [0.02, 0.98]; 0.5 everywhere for kind ``"none"``.
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
        clipped: Floats = np.clip(probability, *_PROBABILITY_BOUNDS).astype(np.float32)
        return clipped

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
            "n_models": len(self.models_),
        }
        arrays: dict[str, NDArray[Any]] = {"default_scores": self.default_scores_}
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
        marginal.models_ = [objects[f"model_{number}"] for number in range(metadata["n_models"])]
        marginal.default_scores_ = arrays["default_scores"]
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

    def _fit_model(self, X: Floats, Y: Floats, seed: int) -> Any:
        """Fit one model; where there is only one class or one row, a constant."""
        from sklearn.base import clone
        from sklearn.dummy import DummyClassifier, DummyRegressor
        from sklearn.linear_model import LogisticRegression, Ridge

        target = self._target(Y)
        if self.task == "classification":
            constant = len(np.unique(target)) < 2
            model = DummyClassifier() if constant else LogisticRegression(max_iter=1000)
        else:
            constant = len(target) < 2
            model = DummyRegressor() if constant else Ridge()
        if self.model is not None and not constant:
            model = _seeded(clone(self.model), seed)
        return model.fit(X, target)

    @contextmanager
    def _quiet_defaults(self) -> Iterator[None]:
        """Silence the default models' complaints about convergence; callers did not choose them."""
        with warnings.catch_warnings():
            if self.model is None:
                from sklearn.exceptions import ConvergenceWarning

                warnings.simplefilter("ignore", ConvergenceWarning)
            yield

    def _target(self, Y: Floats) -> NDArray[Any]:
        """Return what scikit-learn takes as `y`: class numbers or one column."""
        return np.argmax(Y, axis=1) if self.task == "classification" else Y[:, 0]

    def _model_scores(self, model: Any, X: Floats) -> NDArray[np.float64]:
        if self.task == "regression":
            return np.asarray(model.predict(X), dtype=np.float64).reshape(-1, 1)
        return self._aligned(model.predict_proba(X), model.classes_)

    def _aligned(self, probabilities: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
        """Give classes that a model never saw a column of zeros."""
        aligned = np.zeros((len(probabilities), self.n_outputs_))
        aligned[:, np.asarray(classes, dtype=np.intp)] = probabilities
        return aligned

    # ---- cross-fitting -------------------------------------------------------------------

    def _cross_fit(self, X: Floats, Y: Floats, rng: np.random.Generator) -> Floats:
        from joblib import Parallel, delayed

        target = self._target(Y)
        n_folds = max(2, min(self.n_folds, len(X) // 2))
        folds = _folds(target if self.task == "classification" else None, len(X), n_folds, rng)
        seeds = [_seed(rng) for _ in range(n_folds)]

        # Threads share the filter of warnings, and give the same bits whatever their number.
        with self._quiet_defaults():
            self.models_ = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(self._fit_model)(X[folds != fold], Y[folds != fold], seeds[fold])
                for fold in range(n_folds)
            )
        scores = np.empty((len(X), self.n_outputs_), dtype=np.float32)
        for fold, model in enumerate(self.models_):
            scores[folds == fold] = self._model_scores(model, X[folds == fold])
        return scores

    # ---- forests -------------------------------------------------------------------------

    def _out_of_bag(self, X: Floats, Y: Floats, rng: np.random.Generator) -> Floats:
        from sklearn.base import clone

        forest = self._default_forest(len(X)) if self.model is None else clone(self.model)
        _seeded(forest, _seed(rng))
        forest.set_params(n_jobs=self.n_jobs, oob_score=False)
        self.models_ = [forest.fit(X, self._target(Y))]
        # One bit for each tree and row: 37 MB for 300 trees and a million rows.
        seen = np.empty((len(forest.estimators_), (len(X) + 7) // 8), dtype=np.uint8)
        for number, rows in enumerate(forest.estimators_samples_):
            mask = np.zeros(len(X), dtype=bool)
            mask[rows] = True
            seen[number] = np.packbits(mask)
        return self._forest_scores(X, seen)

    def _default_forest(self, n: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        settings: dict[str, Any] = {
            "n_estimators": self.n_trees,
            "bootstrap": True,
            "max_samples": None if n <= _MOST_BOOTSTRAP_ROWS else _MOST_BOOTSTRAP_ROWS,
        }
        if n > _MANY_ROWS:
            fewer = max(_FEWEST_TREES, self.n_trees * _MANY_ROWS // n)
            settings["n_estimators"] = min(self.n_trees, fewer)
        if self.task == "classification":
            return RandomForestClassifier(
                min_samples_leaf=max(1, min(_LEAF_ROWS, n // _ROWS_PER_LEAF_ROW)), **settings
            )
        return RandomForestRegressor(min_samples_leaf=3, max_features=0.5, **settings)

    def _forest_scores(self, X: Floats, seen: NDArray[np.uint8] | None) -> Floats:
        """Return the mean over trees, for known rows over those that did not see them.

        Trees are added up in their order within blocks of rows, so that the result does not depend
        on the number of threads, which it does in scikit-learn's own sum.
        """
        from joblib import Parallel, delayed

        starts = range(0, len(X), _ROWS_PER_BLOCK)
        blocks = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._forest_block)(X, seen, start) for start in starts
        )
        if not blocks:
            return np.zeros((0, self.n_outputs_), dtype=np.float32)
        return np.concatenate(blocks)

    def _forest_block(self, X: Floats, seen: NDArray[np.uint8] | None, start: int) -> Floats:
        forest = self.models_[0]
        block = X[start : start + _ROWS_PER_BLOCK]
        n_classes = self.n_outputs_ if self.task == "regression" else len(forest.classes_)
        total = np.zeros((len(block), n_classes))
        n_votes = np.zeros(len(block))
        for number, tree in enumerate(forest.estimators_):
            rows = np.arange(len(block))
            if seen is not None:
                # A block starts at a multiple of eight rows, so at a whole byte.
                packed = seen[number, start // 8 : (start + _ROWS_PER_BLOCK) // 8]
                rows = np.flatnonzero(np.unpackbits(packed, count=len(block)) == 0)
                if len(rows) == 0:
                    continue
            chosen = block[rows]
            if self.task == "regression":
                votes = tree.predict(chosen, check_input=False).reshape(-1, 1)
            else:
                votes = tree.predict_proba(chosen, check_input=False)
            total[rows] += votes
            n_votes[rows] += 1
        means = total / np.maximum(n_votes, 1.0)[:, np.newaxis]
        if self.task == "classification":
            means = self._aligned(means, forest.classes_)
        # No tree left the row out: nothing is known of it but what all labels look like.
        means[n_votes == 0] = self.default_scores_
        return means.astype(np.float32)

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


def _matrix(values: ArrayLike) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))


def _seeded(model: Any, seed: int) -> Any:
    """Set every random state that its owner left open, also of nested models."""
    names = sorted(
        name
        for name, value in model.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    )
    rng = np.random.default_rng(seed)
    return model.set_params(**{name: _seed(rng) for name in names})


def _folds(
    classes: NDArray[Any] | None, n: int, n_folds: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal rows out to folds class by class, so that every fold has its share of each."""
    order = rng.permutation(n)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    folds = np.empty(n, dtype=np.intp)
    folds[order] = np.arange(n) % n_folds
    return folds
