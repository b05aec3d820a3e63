"""The marginal: what references say about a row's label, and the prior built from it.

Its scores are one of the inputs of the estimator network; how likely they make a label is the
prior that the learned values start from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.folds import deal_folds
from ..data.table import Table
from ..files.state import Count, checked, expect, joined, part
from .base import Floats, Reference, Weights, one_thread_each
from .kinds import FAMILIES, MARGINALS, chosen_families, make_references, most_rows
from .linear import Linear
from .noise import Mixture, NoiseMatrix, bounded
from .own import OwnModel
from .pool import mean_scores, pool_scores, pool_weights

__all__ = ["Marginal", "check_kind"]

N_FOLDS = 5
N_PASSES, N_PASSES_OF_OWN, MANY_ROWS = 3, 2, 20_000
VALIDATION_L2 = 1.0
# Least weight of a linear model for a linear predictor, beside the largest.
LINEAR_SHARE = 0.3


# By which the caller's own fitted model is asked for.
OBJECT = "model of marginal="


@dataclass(frozen=True)
class MarginalRecord:
    """What a file says of a marginal."""

    kind: str
    task: Literal["classification", "regression"]
    n_fits: Count
    references: tuple[str, ...]
    parts: dict[str, Any]


class Marginal:
    """Reference models' opinion of labels, for rows of training and for rows never seen.

    Every row is judged by models that were fitted without its label (five folds, trees out of
    bag, neighbours without the row), in three passes: in the second and third a training row
    weighs as much as its label was likely to be its own before. References are calibrated and
    combined by weights that fit the validation labels best. So a label has a say in its own
    judgement only by the weights: of its neighbours after the first pass, and of a validation row
    in the pool. Kind ``"validation"`` alone scores validation rows that it was fitted on.

    Parameters
    ----------
    kind : str or estimator
        ``"auto"``: references by the kind of data. ``"trees"``, ``"forest"``, ``"linear"``,
        ``"neighbours"``, ``"words"``: this family alone. An estimator: the caller's own model,
        cloned. ``"validation"``: a linear model fitted on the validation rows alone. ``"none"``:
        no opinion.
    task : {"classification", "regression"}
    for_linear : bool, default=False
        Whether the labels are judged for a linear predictor: of classes, a linear model then has
        a say for ``"auto"``, whether it fits the validation labels or not.
    n_jobs : int, optional
        Fits at once, each on one thread; None for all processors (the caller's own model: one).
        Results do not depend on it.
    random_state : int, numpy.random.Generator or None

    Attributes
    ----------
    train_scores_ : ndarray of float32 of shape (n, c)
        Class probabilities, or predicted scaled targets, for the training rows.
    validation_scores_ : ndarray of float32 of shape (m, c)
        The same for the validation rows; in-sample for kind ``"validation"``.
    references_ : list of Reference
        The fitted references.
    pool_weights_ : ndarray of float64
        Weight of each reference.
    n_fits_ : int
        Models fitted.
    noise_ : NoiseMatrix or Mixture or None
        How labels are replaced by wrong ones; a mixture for numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from dvrl.data.table import Table
    >>> from dvrl.references.marginal import Marginal
    >>> X = np.linspace(-1, 1, 40, dtype=np.float32)[:, np.newaxis]
    >>> Y = np.hstack([X < 0, X >= 0]).astype(np.float32)
    >>> marginal = Marginal("validation", task="classification")
    >>> marginal = marginal.fit(Table(X, 1 - Y), Table(X, Y))
    >>> bool((marginal.label_probability(1 - Y, marginal.train_scores_) < 0.5).all())
    True
    """

    train_scores_: Floats
    validation_scores_: Floats

    def __init__(
        self,
        kind: Any = "auto",
        *,
        task: str,
        for_linear: bool = False,
        n_jobs: int | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.kind = kind
        self.task = task
        self.for_linear = for_linear
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.references_: list[Reference] = []
        self.pool_weights_ = np.ones(0)
        self.weights_without_rows_: NDArray[np.float64] | None = None
        self.default_scores_: Floats = np.zeros(0, np.float32)
        self.noise_: NoiseMatrix | Mixture | None = None
        self.n_fits_ = 0

    @property
    def says_nothing(self) -> bool:
        """Whether there is no reference at all."""
        return self._is_named("none")

    def fit(self, train: Table, validation: Table) -> Self:
        """Fit the references, and score the training and validation rows.

        Parameters
        ----------
        train, validation : Table
            With targets: one-hot rows, or one scaled column.

        Returns
        -------
        Marginal
            This object.

        Raises
        ------
        ValueError
            If the kind is unknown, or the caller's own model cannot judge labels.
        """
        check_kind(self.kind, self.task)
        every = train.encoded().and_more(validation.encoded())
        mean = every.targets.mean(axis=0, dtype=np.float64)
        self.default_scores_ = mean.astype(np.float32)
        rng = np.random.default_rng(self.random_state)
        with one_thread_each():
            scores = self._every_score(every, len(train), rng)
        self.train_scores_, self.validation_scores_ = scores[: len(train)], scores[len(train) :]
        self.n_fits_ = sum(reference.n_fits for reference in self.references_)
        if not self.says_nothing:
            self._fit_noise(train.targets, self.train_scores_)
        return self

    def scores(self, rows: Table) -> Floats:
        """Score rows that were not part of `fit`.

        Parameters
        ----------
        rows : Table of k rows

        Returns
        -------
        ndarray of float32 of shape (k, c)
            Class probabilities, or predicted scaled targets.
        """
        if not self.references_:
            # No model, no opinion: what the labels look like on the whole.
            return np.tile(self.default_scores_, (len(rows), 1))
        every = np.stack([reference.scores(rows) for reference in self.references_])
        return pool_scores(every, self.pool_weights_)

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
        if self.says_nothing:
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
        if self.says_nothing:
            return np.full(len(targets), 0.5, dtype=np.float32)
        said = np.asarray(scores, dtype=np.float64)
        if isinstance(self.noise_, Mixture):
            probability = self.noise_.own_probability(targets[:, 0], said[:, 0])
        else:
            probability = (targets * said).sum(axis=1)
        return bounded(probability).astype(np.float32)

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
            None for numbers, and without references that judge training rows out of sample.
        """
        if self._is_named("validation") or not isinstance(self.noise_, NoiseMatrix):
            return None
        labels, said = np.asarray(Y, dtype=np.float64), np.asarray(scores, dtype=np.float64)
        return float(1.0 - self.noise_.own_probability(labels, said).mean())

    def state(
        self, *, with_rows: bool = False
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]:
        """Return what is needed to score and value new rows later.

        Parameters
        ----------
        with_rows : bool, default=False
            Whether references that answer with the training rows themselves are kept.

        Returns
        -------
        record : dict
            For JSON.
        arrays : dict of str to ndarray
        objects : dict of str to estimator
            The caller's own fitted model.

        Raises
        ------
        ValueError
            If there are only references that must not be kept.
        """
        kept = [each for each in self.references_ if with_rows or not each.keeps_rows]
        weights = self.pool_weights_
        if len(kept) < len(self.references_):
            if not kept:
                raise ValueError(
                    "The marginal answers with the training rows themselves, which are left out "
                    "of files; save with with_rows=True, or fit with another marginal."
                )
            assert self.weights_without_rows_ is not None
            weights = self.weights_without_rows_
        its_record, arrays = joined(
            **{str(number): each.state() for number, each in enumerate(kept)},
            noise=({}, {}) if self.noise_ is None else self.noise_.state(),
        )
        record = {
            "kind": self.kind if isinstance(self.kind, str) else OwnModel.name,
            "task": self.task,
            "n_fits": self.n_fits_,
            "references": tuple(each.name for each in kept),
            "parts": its_record,
        }
        arrays |= {"default_scores": self.default_scores_, "pool_weights": weights}
        objects: dict[str, Any] = {}
        for each in kept:
            if isinstance(each, OwnModel):
                objects[OBJECT] = each.fitted
        return record, arrays, objects

    @classmethod
    def from_state(
        cls,
        record: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        objects: dict[str, Any],
        *,
        n_features: int,
        n_jobs: int | None = None,
    ) -> Self:
        """Restore a fitted object from `state`.

        Parameters
        ----------
        record, arrays, objects
            What `state` returned.
        n_features : int
            Columns of encoded rows.
        n_jobs : int, optional

        Returns
        -------
        Marginal
            Able to score and judge new rows; without ``train_scores_`` and ``validation_scores_``.

        Raises
        ------
        ValueError
            If the arrays are not those of references over so many columns.
        """
        known = checked(MarginalRecord, record)
        marginal = cls(known.kind, task=known.task, n_jobs=n_jobs)
        marginal.n_fits_ = known.n_fits
        marginal.default_scores_ = expect(arrays, "default_scores", (None,))
        n_outputs = len(marginal.default_scores_)
        marginal.pool_weights_ = expect(arrays, "pool_weights", (len(known.references),), low=0.0)
        for number, name in enumerate(known.references):
            its_record, its_arrays = part(known.parts, arrays, str(number))
            if its_record["n_outputs"] != n_outputs:
                raise ValueError("The saved marginal is damaged: its references do not agree.")
            if name == OwnModel.name:
                own = OwnModel.from_state(its_record, its_arrays, n_features)
                own.fitted = objects[OBJECT]
                marginal.references_.append(own)
            else:
                family: Any = FAMILIES[name]
                marginal.references_.append(family.from_state(its_record, its_arrays, n_features))
        if not marginal.says_nothing:
            noise: Any = NoiseMatrix if known.task == "classification" else Mixture
            marginal.noise_ = noise.from_state(*part(known.parts, arrays, "noise"))
            if (
                isinstance(marginal.noise_, NoiseMatrix)
                and len(marginal.noise_.matrix) != n_outputs
            ):
                raise ValueError("The saved marginal is damaged: its noise is of other classes.")
        return marginal

    # ---- how references are fitted -------------------------------------------------------

    def _is_named(self, name: str) -> bool:
        return isinstance(self.kind, str) and self.kind == name

    def _every_score(self, every: Table, n_train: int, rng: np.random.Generator) -> Floats:
        """Scores of the training rows and, after them, of the validation rows."""
        if self.says_nothing:
            return self.scores(every)
        if self._is_named("validation"):
            alone = every.take(np.arange(n_train, len(every)))
            self.references_ = [Linear(l2=VALIDATION_L2).fit(alone)]
            self.pool_weights_ = np.ones(1)
            return self.references_[0].scores(every)
        fitted = _drawn(len(every), n_train, most_rows(every.features.shape[1]), rng)
        rows = every if len(fitted) == len(every) else every.take(fitted)
        n_fitted_train = int(np.searchsorted(fitted, n_train))
        scores = self._cross_fitted(rows, n_fitted_train, rng)
        if len(fitted) == len(every):
            return scores
        everywhere = np.empty((len(every), scores.shape[1]), np.float32)
        everywhere[fitted] = scores
        others = np.setdiff1d(np.arange(len(every)), fitted, assume_unique=True)
        everywhere[others] = self.scores(every.take(others))
        return everywhere

    def _cross_fitted(self, rows: Table, n_train: int, rng: np.random.Generator) -> Floats:
        """Out-of-sample scores of all references, combined; in passes.

        In a later pass a training row weighs as much as its label is likely to be its own by the
        pass before; a validation row weighs one.
        """
        self.references_ = self._asked(rows)
        if not self.references_:
            return np.tile(self.default_scores_, (len(rows), 1))
        trusted = rows.targets[n_train:]
        said: list[NDArray[np.float32]] = []
        weights: Weights | None = None
        n_passes = self._n_passes(len(rows))
        for number in range(n_passes):
            folds, seed = deal_folds(rows.targets, N_FOLDS, rng), int(rng.integers(2**31 - 1))
            said.append(
                np.stack([each.cross_fit(rows, weights, folds, seed) for each in self.references_])
            )
            if number + 1 < n_passes:
                pooled = pool_scores(said[-1], self._weights(said[-1][:, n_train:], trusted))
                weights = self._kept_weights(rows.targets[:n_train], pooled[:n_train], len(rows))
        # With three passes the first one only weighs rows for the others.
        judging = said[1:] if n_passes == N_PASSES else said
        every = np.stack([mean_scores(np.stack(each)) for each in zip(*judging, strict=True)])
        self.pool_weights_ = self._weights(every[:, n_train:], trusted)
        alone = [not each.keeps_rows for each in self.references_]
        if any(alone) and not all(alone):
            self.weights_without_rows_ = pool_weights(every[alone][:, n_train:], trusted)
        seed = int(rng.integers(2**31 - 1))
        for reference in self.references_:
            reference.finish(rows, weights, seed)
        return pool_scores(every, self.pool_weights_)

    def _asked(self, rows: Table) -> list[Reference]:
        """The references of this kind, unfitted."""
        if rows.features.shape[1] == 0 and rows.words is None:
            return []  # Nothing to tell rows by.
        if not isinstance(self.kind, str):
            return [OwnModel(self.kind, n_jobs=self.n_jobs)]
        is_auto = self.kind == "auto"
        names = chosen_families(rows, self.for_linear) if is_auto else [self.kind]
        return make_references(names, self.n_jobs)

    def _weights(self, scores: Floats, targets: Floats) -> NDArray[np.float64]:
        """Weights of the references, by trusted rows; those of a linear predictor's own kind."""
        weights = pool_weights(scores, targets)
        if not self.for_linear:
            return weights
        names = [each.name for each in self.references_]
        least = [LINEAR_SHARE * weights.max() if name == Linear.name else 0.0 for name in names]
        if (weights >= least).all():
            return weights
        raised = np.maximum(weights, least)
        # Together they are as sure as the trusted rows allow.
        together = pool_scores(scores, raised)[np.newaxis]
        return raised * pool_weights(together, targets)[0]

    def _n_passes(self, n_rows: int) -> int:
        """Passes; the caller's own model may be dear, or take no weights."""
        if isinstance(self.references_[0], OwnModel):
            return N_PASSES_OF_OWN if self.references_[0].takes_weights else 1
        return N_PASSES if n_rows <= MANY_ROWS else N_PASSES - 1

    def _kept_weights(self, targets: Floats, scores: Floats, n: int) -> Weights:
        """How likely each training label was not replaced by another; 1 for validation rows."""
        self._fit_noise(targets, scores)
        weights = np.ones(n)
        if isinstance(self.noise_, Mixture):
            kept = self.noise_.own_probability(
                targets[:, 0].astype(float), scores[:, 0].astype(float)
            )
        else:
            assert self.noise_ is not None
            kept = self.noise_.own_probability(targets.astype(float), scores.astype(float))
        weights[: len(targets)] = bounded(kept)
        return weights

    def _fit_noise(self, targets: Floats, scores: Floats) -> None:
        """Estimate what is needed to tell own labels or targets from wrong ones."""
        labels, said = targets.astype(np.float64), scores.astype(np.float64)
        if self.task == "regression":
            self.noise_ = Mixture.fit(labels[:, 0], said[:, 0])
        else:
            self.noise_ = NoiseMatrix.fit(labels, said)


def check_kind(kind: Any, task: str) -> None:
    """Raise a ValueError where there is no such marginal."""
    if isinstance(kind, str):
        if kind not in MARGINALS:
            raise ValueError(
                f"marginal={kind!r} is unknown; use one of {', '.join(MARGINALS)}, or an estimator."
            )
        return
    OwnModel(kind).check(task == "classification")


def _drawn(n: int, n_train: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows to fit on: all, or the validation rows (a third at most) and others, in order."""
    if n <= most:
        return np.arange(n)
    n_trusted = min(n - n_train, most // 3)
    trusted = n_train + rng.choice(n - n_train, n_trusted, replace=False)
    others = rng.choice(n_train, min(n_train, most - n_trusted), replace=False)
    return np.sort(np.concatenate([others, trusted]))
