"""Reference models that judge every row without having seen its label, and their combination.

A reference answers for the rows it was fitted on out of sample: a forest by the trees that did not
see the row, any other model by cross-fitting. Several references are combined with weights that
are chosen on the validation rows, whose labels are trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CrossFitted",
    "OutOfBagForest",
    "Reference",
    "classes_of",
    "default_forest",
    "draw_seed",
    "pool_scores",
    "pool_weights",
    "quiet_convergence",
    "seeded",
    "standard_references",
]

Floats = NDArray[np.float32]

# Leaves of five rows do not learn single wrong labels by heart: AUROC of flipped labels .927
# against .877 on Adult (docs/implementation-details.md). Small tables need finer leaves.
_LEAF_ROWS = 5
_ROWS_PER_LEAF_ROW = 50
# No model is fitted on more rows than this, and no tree is grown on more.
_MOST_FITTED_ROWS = 20_000
_MANY_ROWS = 200_000
_FEWEST_TREES = 50
_ROWS_PER_BLOCK = 16_384
_POOLED_TREES = 200
_KERNEL_COMPONENTS = 300
# Steps, length of a step and leaves of the boosted trees. Trees of three leaves find wrong labels
# better than trees of eight (docs/implementation-details.md); numbers take larger ones.
_BOOSTING = {"classification": (100, 0.1, 3), "regression": (120, 0.06, 8)}
# Boosted trees cost steps * classes * features * rows; beyond this they are left out.
_MOST_BOOSTED_ENTRIES = 4_000_000
# Log-probabilities below this say no more than "impossible".
_LOWEST_PROBABILITY = 1e-3
# The pool's weights are drawn to equal ones by as much as one validation row counts.
_POOL_PENALTY = 1.0


class Reference(Protocol):
    """A model, or several, that scores rows.

    Attributes
    ----------
    models : list of fitted estimators
    """

    models: list[Any]

    def fit(
        self, X: Floats, Y: Floats, weights: NDArray[np.float64] | None, rng: np.random.Generator
    ) -> Floats:
        """Fit, and return out-of-sample scores (n, c) of the same rows."""
        ...

    def scores(self, X: Floats) -> Floats:
        """Scores (k, c) of rows that were not fitted."""
        ...


class OutOfBagForest:
    """A forest; every row is judged by the trees whose bootstrap sample left it out.

    Parameters
    ----------
    forest : scikit-learn forest
        With ``bootstrap=True``; fitted in place.
    task : {"classification", "regression"}
    n_outputs : int
    n_jobs : int or None
        Threads; results do not depend on it.
    """

    def __init__(self, forest: Any, *, task: str, n_outputs: int, n_jobs: int | None) -> None:
        self.models = [forest]
        self.task = task
        self.n_outputs = n_outputs
        self.n_jobs = n_jobs

    def fit(
        self, X: Floats, Y: Floats, weights: NDArray[np.float64] | None, rng: np.random.Generator
    ) -> Floats:
        """See :class:`Reference`."""
        forest = seeded(self.models[0], draw_seed(rng))
        forest.set_params(n_jobs=self.n_jobs, oob_score=False)
        forest.fit(X, classes_of(Y, self.task), sample_weight=weights)
        # One bit for each tree and row: 37 MB for 300 trees and a million rows.
        seen = np.empty((len(forest.estimators_), (len(X) + 7) // 8), dtype=np.uint8)
        for number, rows in enumerate(forest.estimators_samples_):
            mask = np.zeros(len(X), dtype=bool)
            mask[rows] = True
            seen[number] = np.packbits(mask)
        return self._scores(X, seen, Y.mean(axis=0, dtype=np.float64).astype(np.float32))

    def scores(self, X: Floats) -> Floats:
        """See :class:`Reference`."""
        return self._scores(X, None, np.zeros(self.n_outputs, np.float32))

    def _scores(self, X: Floats, seen: NDArray[np.uint8] | None, unknown: Floats) -> Floats:
        """Return the mean over trees, for known rows over those that did not see them.

        Trees are added up in their order within blocks of rows, so that the result does not depend
        on the number of threads, which it does in scikit-learn's own sum.
        """
        from joblib import Parallel, delayed

        starts = range(0, len(X), _ROWS_PER_BLOCK)
        blocks = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._block)(X, seen, start, unknown) for start in starts
        )
        if not blocks:
            return np.zeros((0, self.n_outputs), dtype=np.float32)
        return np.concatenate(blocks)

    def _block(
        self, X: Floats, seen: NDArray[np.uint8] | None, start: int, unknown: Floats
    ) -> Floats:
        forest = self.models[0]
        block = X[start : start + _ROWS_PER_BLOCK]
        n_classes = self.n_outputs if self.task == "regression" else len(forest.classes_)
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
            means = _aligned(means, forest.classes_, self.n_outputs)
        # No tree left the row out: nothing is known of it but what all labels look like.
        means[n_votes == 0] = unknown
        return means.astype(np.float32)


class CrossFitted:
    """Models fitted on all folds but one; every row is judged by the model that did not see it.

    Parameters
    ----------
    make : callable
        ``make(n_rows) -> unfitted scikit-learn estimator``.
    task : {"classification", "regression"}
    n_outputs : int
    n_folds : int
        Fewer where rows are few.
    n_jobs : int or None
        Threads; results do not depend on it.
    models : list of fitted estimators, optional
        Of an earlier fit.
    """

    def __init__(
        self,
        make: Callable[[int], Any] | None,
        *,
        task: str,
        n_outputs: int,
        n_folds: int,
        n_jobs: int | None,
        models: Sequence[Any] = (),
    ) -> None:
        self.make = make
        self.task = task
        self.n_outputs = n_outputs
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.models = list(models)

    def fit(
        self, X: Floats, Y: Floats, weights: NDArray[np.float64] | None, rng: np.random.Generator
    ) -> Floats:
        """See :class:`Reference`."""
        from joblib import Parallel, delayed

        n_folds = max(2, min(self.n_folds, len(X) // 2))
        target = classes_of(Y, self.task)
        classes = target if self.task == "classification" else None
        folds = _folds(classes, len(X), n_folds, rng)
        seeds = [draw_seed(rng) for _ in range(n_folds)]

        def fit_without(fold: int) -> Any:
            rows = np.flatnonzero(folds != fold)
            if len(rows) > _MOST_FITTED_ROWS:
                chosen = np.random.default_rng(seeds[fold])
                rows = np.sort(chosen.choice(rows, _MOST_FITTED_ROWS, replace=False))
            share = None if weights is None else weights[rows]
            return self.fit_model(X[rows], target[rows], share, seeds[fold])

        # Threads share the filter of warnings, and give the same bits whatever their number.
        self.models = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(fit_without)(fold) for fold in range(n_folds)
        )
        scores = np.empty((len(X), self.n_outputs), dtype=np.float32)
        for fold, model in enumerate(self.models):
            rows = np.flatnonzero(folds == fold)
            scores[rows] = self._model_scores(model, X, rows)
        return scores

    def fit_model(
        self, X: Floats, target: NDArray[Any], weights: NDArray[np.float64] | None, seed: int
    ) -> Any:
        """Fit one model; where there is only one class or one row, a constant."""
        from sklearn.dummy import DummyClassifier, DummyRegressor

        assert self.make is not None
        if self.task == "classification" and len(np.unique(target)) < 2:
            return DummyClassifier().fit(X, target)
        if self.task == "regression" and len(target) < 2:
            return DummyRegressor().fit(X, target)
        model = seeded(self.make(len(target)), seed)
        if weights is None:
            return model.fit(X, target)
        last = getattr(model, "steps", None)
        name = "sample_weight" if last is None else f"{last[-1][0]}__sample_weight"
        return model.fit(X, target, **{name: weights})

    def scores(self, X: Floats) -> Floats:
        """See :class:`Reference`."""
        total = np.zeros((len(X), self.n_outputs))
        rows = np.arange(len(X))
        for model in self.models:
            total += self._model_scores(model, X, rows)
        return (total / len(self.models)).astype(np.float32)

    def _model_scores(self, model: Any, X: Floats, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Scores of some rows, block by block: a kernel model blows rows up to many columns."""
        scores = np.zeros((len(rows), self.n_outputs))
        for start in range(0, len(rows), _ROWS_PER_BLOCK):
            block = slice(start, start + _ROWS_PER_BLOCK)
            chosen = X[rows[block]]
            if self.task == "regression":
                scores[block] = np.asarray(model.predict(chosen), np.float64).reshape(-1, 1)
            else:
                said = model.predict_proba(chosen)
                scores[block] = _aligned(said, model.classes_, self.n_outputs)
        return scores


# ---------------------------------------------------------------- the standard references


def standard_references(
    n_rows: int,
    n_features: int,
    *,
    task: str,
    n_outputs: int,
    n_folds: int,
    n_jobs: int | None,
    extra: Callable[[int], Any] | None = None,
) -> list[Reference]:
    """References that err differently: a forest, a linear model, a kernel model, boosted trees.

    Parameters
    ----------
    n_rows, n_features : int
        Of the rows that they will be fitted on.
    task : {"classification", "regression"}
    n_outputs, n_folds : int
    n_jobs : int or None
    extra : callable, optional
        Makes one more model to cross-fit.

    Returns
    -------
    list of Reference
        Unfitted.
    """

    def cross_fitted(make: Callable[[int], Any]) -> Reference:
        return CrossFitted(make, task=task, n_outputs=n_outputs, n_folds=n_folds, n_jobs=n_jobs)

    forest = default_forest(n_rows, task, _POOLED_TREES)
    references: list[Reference] = [
        OutOfBagForest(forest, task=task, n_outputs=n_outputs, n_jobs=n_jobs),
        cross_fitted(partial(_linear, task)),
        cross_fitted(partial(_kernel, task, n_features)),
    ]
    trees_per_step = n_outputs if n_outputs > 2 else 1
    entries = trees_per_step * n_features * min(n_rows, _MOST_FITTED_ROWS)
    if entries <= _MOST_BOOSTED_ENTRIES:
        references.append(cross_fitted(partial(_boosted, task)))
    if extra is not None:
        references.append(cross_fitted(extra))
    return references


def default_forest(n_rows: int, task: str, n_trees: int) -> Any:
    """Forest for so many rows, unfitted."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if n_rows > _MANY_ROWS:
        n_trees = min(n_trees, max(_FEWEST_TREES, n_trees * _MANY_ROWS // n_rows))
    settings: dict[str, Any] = {
        "n_estimators": n_trees,
        "bootstrap": True,
        "max_samples": None if n_rows <= _MOST_FITTED_ROWS else _MOST_FITTED_ROWS,
    }
    if task == "classification":
        leaf = max(1, min(_LEAF_ROWS, n_rows // _ROWS_PER_LEAF_ROW))
        return RandomForestClassifier(min_samples_leaf=leaf, **settings)
    return RandomForestRegressor(min_samples_leaf=3, max_features=0.5, **settings)


def _linear(task: str, n_rows: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if task == "classification":
        return LogisticRegression(C=0.01, max_iter=1000)
    return Ridge(alpha=10.0)


def _kernel(task: str, n_features: int, n_rows: int) -> Any:
    """A linear model on random features of a wide Gaussian kernel."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    features = Nystroem(
        gamma=0.3 / max(n_features, 1), n_components=min(_KERNEL_COMPONENTS, n_rows)
    )
    if task == "classification":
        return make_pipeline(features, LogisticRegression(max_iter=1000))
    return make_pipeline(features, Ridge(alpha=0.1))


def _boosted(task: str, n_rows: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = (
        HistGradientBoostingClassifier
        if task == "classification"
        else HistGradientBoostingRegressor
    )
    n_steps, step_length, n_leaves = _BOOSTING[task]
    return kind(
        max_iter=n_steps,
        learning_rate=step_length,
        max_leaf_nodes=n_leaves,
        min_samples_leaf=20,
        max_features=0.5,
        max_bins=64,
        early_stopping=False,
    )


# ---------------------------------------------------------------- combining references


def pool_scores(scores: NDArray[Any], weights: NDArray[np.float64], task: str) -> Floats:
    """Combine references: a logarithmic pool of probabilities, or a sum of predictions.

    Parameters
    ----------
    scores : (n_references, n, c) float
    weights : (n_references,) float
        0 or more; they need not add to one, so that a pool can be surer than its members.
    task : {"classification", "regression"}

    Returns
    -------
    (n, c) float32
    """
    if task == "regression":
        return np.tensordot(weights, scores, 1).astype(np.float32)
    probabilities, _ = _log_pool(_logarithms(scores), weights)
    return probabilities.astype(np.float32)


def pool_weights(scores: NDArray[Any], targets: NDArray[Any], task: str) -> NDArray[np.float64]:
    """Weights of the pool, 0 or more, that fit trusted rows best.

    The log-likelihood (or, for numbers, minus half the squared error in units of its variance) of
    the rows, less a penalty on leaving equal weights, is maximised.

    Parameters
    ----------
    scores : (n_references, m, c) float
        Out-of-sample scores of the trusted rows.
    targets : (m, c) float
        One-hot labels or scaled targets.
    task : {"classification", "regression"}

    Returns
    -------
    (n_references,) float64
    """
    from scipy.optimize import minimize

    n_references = len(scores)
    equal = np.full(n_references, 1.0 / n_references)
    truth = np.asarray(targets, np.float64)
    loss = _pool_loss if task == "classification" else _sum_loss
    inputs = _logarithms(scores) if task == "classification" else np.asarray(scores, np.float64)

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = loss(inputs, weights, truth)
        away = weights - equal
        return value + _POOL_PENALTY * away @ away, gradient + 2.0 * _POOL_PENALTY * away

    found = minimize(
        objective, equal, jac=True, bounds=[(0.0, None)] * n_references, method="L-BFGS-B"
    )
    weights: NDArray[np.float64] = found.x
    return weights if weights.sum() > 0 else equal


def _logarithms(scores: NDArray[Any]) -> NDArray[np.float64]:
    return np.log(np.clip(np.asarray(scores, np.float64), _LOWEST_PROBABILITY, 1.0))


def _log_pool(
    logarithms: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of the pool and their logarithms."""
    raw = np.tensordot(weights, logarithms, 1)
    raw -= raw.max(axis=1, keepdims=True)
    raw -= np.log(np.exp(raw).sum(axis=1, keepdims=True))
    return np.exp(raw), raw


def _pool_loss(
    logarithms: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    probabilities, log_probabilities = _log_pool(logarithms, weights)
    gradient = np.tensordot(logarithms, probabilities - truth, axes=([1, 2], [0, 1]))
    return -float((truth * log_probabilities).sum()), gradient


def _sum_loss(
    scores: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    error = np.tensordot(weights, scores, 1) - truth
    best = float(((scores - truth) ** 2).mean(axis=(1, 2)).min())
    variance = max(best, 1e-6 * float(np.var(truth)), 1e-12)
    gradient = np.tensordot(scores, error, axes=([1, 2], [0, 1])) / variance
    return 0.5 * float((error**2).sum()) / variance, gradient


# ---------------------------------------------------------------- small helpers


def classes_of(Y: Floats, task: str) -> NDArray[Any]:
    """Return what scikit-learn takes as `y`: class numbers or one column."""
    return np.argmax(Y, axis=1) if task == "classification" else Y[:, 0]


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for somebody else's generator."""
    return int(rng.integers(2**31 - 1))


def seeded(model: Any, seed: int) -> Any:
    """Set every random state that its owner left open, also of nested models."""
    names = sorted(
        name
        for name, value in model.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    )
    rng = np.random.default_rng(seed)
    return model.set_params(**{name: draw_seed(rng) for name in names})


@contextmanager
def quiet_convergence() -> Iterator[None]:
    """Silence complaints about convergence of models that the caller did not choose."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _aligned(probabilities: Any, classes: NDArray[Any], n_outputs: int) -> NDArray[np.float64]:
    """Give classes that a model never saw a column of zeros."""
    aligned = np.zeros((len(probabilities), n_outputs))
    aligned[:, np.asarray(classes, dtype=np.intp)] = probabilities
    return aligned


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
