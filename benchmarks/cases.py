"""One experiment's rows: drawn, damaged in a known way, and encoded once for all methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import Split, split
from dvrl.data.encoder import FeatureEncoder
from dvrl.data.noise import flip_labels, replace_targets

FEATURE_NOISE = ("none", "gaussian", "blank")
# Standard deviations of the feature, and the share of a row's features that is blanked.
GAUSSIAN_SCALE = 2.0
BLANKED_SHARE = 0.5
# Another stream than that of the training labels, so that it does not depend on them.
VALIDATION_STREAM = 7_919


@dataclass(frozen=True)
class Condition:
    """What is planted where.

    Attributes
    ----------
    set : str
    task : {"classification", "regression", "opendataval"}
    noise : float
        Share of the training rows that is damaged.
    valid : int or "full"
        Validation rows; "full" for the set's own number.
    noisy_validation : float
        Share of the validation labels that is wrong, too.
    features : {"none", "gaussian", "blank"}
        Damage the features of the training rows in place of their labels.
    """

    set: str
    task: str = "classification"
    noise: float = 0.2
    valid: int | str = "full"
    noisy_validation: float = 0.0
    features: str = "none"

    def key(self, seed: int) -> dict[str, Any]:
        """The fields by which a run is known."""
        return {**asdict(self), "seed": seed}


@dataclass
class Case:
    """Rows as the methods see them, and what only the judge knows.

    Attributes
    ----------
    task : {"classification", "regression"}
    seed : int
    X, y : training rows and their labels, with the errors
    X_val, y_val : validation rows and labels
    X_test, y_test : clean rows for the judge
    is_wrong : (n,) bool
    """

    task: str
    seed: int
    X: Any
    y: NDArray[Any]
    X_val: Any
    y_val: NDArray[Any]
    X_test: Any
    y_test: NDArray[Any]
    is_wrong: NDArray[np.bool_]

    @cached_property
    def encoder(self) -> FeatureEncoder:
        """The encoding that every valuation method of the package uses."""
        return FeatureEncoder().fit(self.X)

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        return self.encoder.transform(self.X)

    @cached_property
    def matrix_val(self) -> NDArray[np.float32]:
        return self.encoder.transform(self.X_val)

    @cached_property
    def matrix_test(self) -> NDArray[np.float32]:
        return self.encoder.transform(self.X_test)


def make_case(condition: Condition, seed: int, **sizes: int) -> Case:
    """Draw the rows of a seed and plant the errors of a condition.

    Parameters
    ----------
    condition : Condition
    seed : int
    **sizes : int
        `n_train`, `n_valid`, `n_test` in place of the set's own.
    """
    if condition.valid != "full":
        sizes["n_valid"] = int(condition.valid)
    rows = split(condition.set, seed, task=condition.task, **sizes)
    task = "regression" if condition.task == "regression" else "classification"
    plant = flip_labels if task == "classification" else replace_targets
    labels, is_wrong = rows.y, np.zeros(len(rows.y), bool)
    if condition.features != "none":
        rows, is_wrong = damage_features(rows, condition.features, condition.noise, seed)
    else:
        labels, is_wrong = plant(rows.y, condition.noise, rng=seed)
    y_val = rows.y_val
    if condition.noisy_validation:
        # Few validation rows can all be of one class, so every label gets a wrong one first, drawn
        # together with the training rows, which have all classes.
        rng = np.random.default_rng(seed + VALIDATION_STREAM)
        wrong = plant(np.concatenate([rows.y_val, rows.y]), 1.0, rng=rng)[0][: len(rows.y_val)]
        n_wrong = round(condition.noisy_validation * len(y_val))
        chosen = rng.choice(len(y_val), size=n_wrong, replace=False)
        y_val = y_val.copy()
        y_val[chosen] = wrong[chosen]
    return Case(task, seed, rows.X, labels, rows.X_val, y_val, rows.X_test, rows.y_test, is_wrong)


def damage_features(
    rows: Split, kind: str, share: float, seed: int
) -> tuple[Split, NDArray[np.bool_]]:
    """Spoil the features of a share of the training rows.

    The features are encoded first (by the clean training rows), so that all kinds of columns can
    be damaged alike: ``"gaussian"`` adds noise of `GAUSSIAN_SCALE` standard deviations to every
    feature, ``"blank"`` sets `BLANKED_SHARE` of them to their means.
    """
    rng = np.random.default_rng(seed)
    encoder = FeatureEncoder().fit(rows.X)
    X, X_val, X_test = (encoder.transform(part) for part in (rows.X, rows.X_val, rows.X_test))
    chosen = rng.choice(len(X), size=round(share * len(X)), replace=False)
    shape = (len(chosen), X.shape[1])
    spoil: dict[str, Callable[[Any], Any]] = {
        "gaussian": lambda part: part + rng.normal(0.0, GAUSSIAN_SCALE, shape),
        "blank": lambda part: np.where(rng.random(shape) < BLANKED_SHARE, 0.0, part),
    }
    X = X.copy()
    X[chosen] = spoil[kind](X[chosen])
    is_wrong = np.zeros(len(X), bool)
    is_wrong[chosen] = True
    return rows._replace(X=X, X_val=X_val, X_test=X_test), is_wrong
