"""Plant errors whose place is known.

Every function returns copies: the caller's arrays and frames are never changed. Corrupt
the training rows only; validation rows stay clean unless noisy validation is what an
experiment is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["flip_border_labels", "flip_labels", "replace_targets"]

Planted = tuple[NDArray[np.generic], NDArray[np.bool_]]


def flip_labels(
    y: ArrayLike,
    fraction: float,
    rng: np.random.Generator | int,
    *,
    to: Mapping[Any, Any] | str = "any",
) -> Planted:
    """Give a share of the rows the label of another class.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of two or more classes.
    fraction : float
        Share of the rows to corrupt, in [0, 1]; rounded to whole rows. With `to` other than
        "any", the share of the rows *of each class* that is mistaken for another.
    rng : numpy.random.Generator or int
        Source of randomness, or a seed for one.
    to : {"any", "next"} or mapping of label to label
        "any": rows and new labels are drawn uniformly. A mapping says which class is mistaken for
        which; classes that it does not name stay. "next" maps each class to the next one in sorted
        order, and the last to the first: the pair flipping of Han et al., Co-teaching (2018).

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the labels with errors; a new label always differs from the old one.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Raises
    ------
    ValueError
        For a fraction outside [0, 1], a single class, a class that is mistaken for itself, or a
        label that no row has.

    Examples
    --------
    >>> noisy, is_corrupted = flip_labels(["a", "b", "a", "b"], fraction=0.5, rng=0)
    >>> int(is_corrupted.sum())
    2
    >>> noisy, _ = flip_labels(["cat"] * 4 + ["dog"] * 4, 0.5, rng=0, to={"cat": "dog"})
    >>> int((noisy == "dog").sum())
    6
    """
    noisy, generator = _prepare(y, fraction, rng)
    classes, codes = np.unique(noisy, return_inverse=True)
    corrupted = np.zeros(len(noisy), dtype=bool)
    if fraction and len(classes) < 2:
        raise ValueError("y has a single class, so no label can be flipped; pass two or more.")
    if isinstance(to, str) and to == "any":
        rows = _drawn(np.arange(len(noisy)), fraction, generator)
        if len(rows):
            # A step of 1 .. c-1 around the ring of classes never ends on the class it left.
            steps = generator.integers(1, len(classes), size=len(rows))
            noisy[rows] = classes[(codes[rows] + steps) % len(classes)]
        corrupted[rows] = True
        return noisy, corrupted
    for code, partner in _partners(classes, to).items():
        rows = _drawn(np.flatnonzero(codes == code), fraction, generator)
        noisy[rows] = classes[partner]
        corrupted[rows] = True
    return noisy, corrupted


def replace_targets(y: ArrayLike, fraction: float, rng: np.random.Generator | int) -> Planted:
    """Give a share of the rows the target of another row.

    The targets stay in their own distribution, so the errors cannot be seen in the targets alone.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Numeric targets with two or more different values.
    fraction, rng
        As for :func:`flip_labels`.

    Returns
    -------
    noisy : ndarray of shape (n_rows,)
        A copy of the targets with errors; a new target always differs from the old one.
    is_corrupted : ndarray of bool, shape (n_rows,)
        Which rows were changed.

    Examples
    --------
    >>> noisy, is_corrupted = replace_targets([1.0, 2.0, 3.0, 4.0], fraction=0.25, rng=0)
    >>> int(is_corrupted.sum())
    1
    """
    noisy, generator = _prepare(y, fraction, rng)
    rows = _drawn(np.arange(len(noisy)), fraction, generator)
    if len(rows):
        ordered = np.sort(noisy)
        first = np.searchsorted(ordered, noisy[rows], side="left")
        after = np.searchsorted(ordered, noisy[rows], side="right")
        n_same = after - first
        if n_same[0] == len(ordered):
            raise ValueError("y is constant, so no target can be replaced; pass one that varies.")
        # Draw among the rows with another target by stepping over the block of equal ones.
        donors = generator.integers(0, len(ordered) - n_same)
        donors = np.where(donors < first, donors, donors + n_same)
        noisy[rows] = ordered[donors]
    return noisy, _mask(len(noisy), rows)


def flip_border_labels(
    X: Any,
    y: ArrayLike,
    fraction: float,
    rng: np.random.Generator | int,
    *,
    model: Any = None,
) -> Planted:
    """Give a share of the rows a wrong label, more often where the classes are hard to tell apart.

    A reference model says how likely each class is for each row, cross-fitted in five parts so
    that no row is judged by a model that has seen it. With p the probability of the row's own
    label and q that of the most likely other class, a row is drawn in proportion to

        (1 - (p - q)**2) / 2,

    and gets that other class. This is the first kind of *polynomial margin diminishing* noise of
    Zhang et al., Learning with feature-dependent label noise (ICLR 2021); as in the bounded
    noise of Cheng et al. (ICML 2020) no row is flipped with more than even odds before the share
    of rows is set. The noise depends on the features, which uniform and class-pair noise do not.

    Parameters
    ----------
    X : array-like or frame of shape (n_rows, n_features)
        Features; only read.
    y : array-like of shape (n_rows,)
        Labels of two or more classes, each with two or more rows.
    fraction, rng
        As for :func:`flip_labels`.
    model : scikit-learn classifier, optional
        With ``predict_proba``; by default logistic regression. A ``Pipeline`` is shown `X`
        itself, any other model the encoded rows.

    Returns
    -------
    noisy, is_corrupted
        As for :func:`flip_labels`.

    Raises
    ------
    ValueError
        For a fraction outside [0, 1], a single class, or a class of a single row.
    """
    noisy, generator = _prepare(y, fraction, rng)
    n_flipped = round(fraction * len(noisy))
    if not n_flipped:
        return noisy, np.zeros(len(noisy), dtype=bool)
    classes, codes, counts = np.unique(noisy, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise ValueError(
            "Noise at the border needs two or more classes of two or more rows each; "
            f"the smallest of the {len(classes)} in y has {counts.min()}."
        )
    probabilities = _cross_fitted(X, codes, min(5, int(counts.min())), model, generator)
    own = np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0]
    np.put_along_axis(probabilities, codes[:, None], -1.0, axis=1)
    other = probabilities.argmax(axis=1)
    chance = (1.0 - (own - probabilities.max(axis=1)) ** 2) / 2.0
    rows = _drawn_in_proportion(chance, n_flipped, generator)
    noisy[rows] = classes[other[rows]]
    return noisy, _mask(len(noisy), rows)


def _partners(classes: NDArray[Any], to: Mapping[Any, Any] | str) -> dict[int, int]:
    """Class positions and the positions of what they are mistaken for."""
    if isinstance(to, str):
        if to != "next":
            raise ValueError(f"to={to!r} is unknown; use 'any', 'next', or a mapping of labels.")
        return {code: (code + 1) % len(classes) for code in range(len(classes))}
    places = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in (*to, *to.values()) if label not in places]
    if unknown:
        raise ValueError(f"to names the label {unknown[0]!r}, which no row of y has.")
    partners = {places[label]: places[other] for label, other in to.items()}
    if any(code == partner for code, partner in partners.items()):
        raise ValueError("to maps a label to itself; map it to another, or leave it out.")
    return partners


def _cross_fitted(
    X: Any,
    codes: NDArray[np.intp],
    n_folds: int,
    model: Any,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Class probabilities (n_rows, n_classes) by models that have not seen the row."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    from dvrl.data.encoder import with_encoding

    chosen = LogisticRegression(max_iter=2000) if model is None else clone(model)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=int(generator.integers(2**31)))
    probabilities = cross_val_predict(
        with_encoding(chosen), X, codes, cv=folds, method="predict_proba"
    )
    return np.array(probabilities, dtype=np.float64)


def _drawn_in_proportion(
    chance: NDArray[np.float64], n_drawn: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Rows drawn one after the other, each in proportion to its chance among those left.

    By exponential clocks (Efraimidis and Spirakis 2006), which also allow chances of zero.
    """
    clocks = generator.exponential(size=len(chance)) / np.maximum(chance, 1e-12)
    return np.argsort(clocks, kind="stable")[:n_drawn]


def _prepare(
    y: ArrayLike, fraction: float, rng: np.random.Generator | int
) -> tuple[NDArray[np.generic], np.random.Generator]:
    """A copy of the targets to plant errors in, and the source of randomness."""
    copied = np.array(y)
    if copied.ndim != 1:
        raise ValueError(f"y has shape {copied.shape}; pass one label per row, shape (n_rows,).")
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}; pass a share of the rows between 0 and 1.")
    return copied, np.random.default_rng(rng)


def _drawn(
    rows: NDArray[np.intp], fraction: float, generator: np.random.Generator
) -> NDArray[np.intp]:
    return generator.choice(rows, size=round(fraction * len(rows)), replace=False)


def _mask(n_rows: int, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask
