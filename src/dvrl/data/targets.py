"""Labels and numbers to targets that every step sees, and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from ..files.state import Finite, State, checked, expect
from .rows import is_instance, listed

__all__ = ["ClassEncoder", "TargetScaler"]

# Squares of scaled targets, and sums of a million of them, stay finite in float32.
LARGEST_TARGET = 1e15
LARGEST_NUMBER = float(np.finfo(np.float64).max)
# Spreads below this fraction of a column's largest value are rounding noise.
SMALLEST_SPREAD = 1e-14


# --------------------------------------------------------------------------------------------
# Targets
# --------------------------------------------------------------------------------------------


def _is_gap(value: Any) -> bool:
    """Whether an object stands for a missing value: None, NaN, NaT, pandas.NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        # Only pandas.NA refuses to be true or false.
        return True


def _gap_message(name: str, n_gaps: int, first: int) -> str:
    return (
        f"Input {name} contains NaN.\n{n_gaps} of its values are missing, the first in row {first} "
        "(counted from 0): drop these rows or fill in their labels."
    )


def _labels(y: Any, name: str) -> NDArray[Any]:
    """Return labels as a 1-d array of one plain type without gaps."""
    if is_instance(y, "polars", "Series"):
        y = np.array(y.to_list(), dtype=object)
    labels = column_or_1d(y, warn=True)
    if labels.dtype.kind == "f":
        gaps = np.isnan(labels)
    elif labels.dtype == object:
        gaps = np.array([_is_gap(value) for value in labels], dtype=bool)
    else:
        gaps = np.zeros(len(labels), dtype=bool)
    if gaps.any():
        raise ValueError(_gap_message(name, int(gaps.sum()), int(np.argmax(gaps))))
    if labels.dtype.kind == "f":
        check_finite(labels, name)
    return _one_type(labels, name) if labels.dtype == object else labels


def _one_type(labels: NDArray[np.object_], name: str) -> NDArray[Any]:
    families: dict[type, str] = {}
    for kind in {type(value) for value in labels}:
        for family, types in (
            ("text", (str,)),
            ("booleans", (bool, np.bool_)),
            ("numbers", (int, float, np.integer, np.floating)),
        ):
            if issubclass(kind, types):
                families[kind] = family
                break
        else:
            families[kind] = kind.__name__
    found = sorted(set(families.values()))
    if len(found) > 1:
        raise ValueError(
            f"The labels of {name} are of mixed type ({' and '.join(found)}); give all labels one "
            "type, for instance with y.astype(str)."
        )
    if found in (["booleans"], ["numbers"]):
        return np.array(labels.tolist())
    return labels


class ClassEncoder:
    """Turn class labels into one-hot rows, and class probabilities into labels.

    Attributes
    ----------
    classes_ : ndarray of shape (n_outputs,)
        The labels in sorted order; column k of an encoded matrix belongs to ``classes_[k]``.
    n_outputs : int
        Number of classes, at least 2.
    task : str
        ``"classification"``.
    center, scale : float
        0.0 and 1.0; here so that both target coders look alike.

    Examples
    --------
    >>> from dvrl.data.targets import ClassEncoder
    >>> coder = ClassEncoder().fit(["no", "yes", "no"])
    >>> coder.encode(["yes"])
    array([[0., 1.]], dtype=float32)
    >>> coder.decode([[0.9, 0.1]]).tolist()
    ['no']
    """

    task = "classification"
    center = 0.0
    scale = 1.0

    classes_: NDArray[Any]
    n_outputs: int

    def fit(self, y: Any) -> Self:
        """Learn the classes.

        Parameters
        ----------
        y : array-like of shape (n,)
            Labels: text, integers, whole floats or booleans.

        Returns
        -------
        ClassEncoder
            This object.

        Raises
        ------
        ValueError
            If labels are missing, continuous or of mixed type, or if there is only one class.
        """
        labels = _labels(y, "y")
        check_classification_targets(labels)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present: every label of y is "
                f"{classes.tolist()[0]!r}; pass rows of at least 2 classes."
            )
        self.classes_ = classes
        self.n_outputs = len(classes)
        return self

    def encode(self, y: Any, *, name: str = "y") -> NDArray[np.float32]:
        """Encode labels as one-hot rows.

        Parameters
        ----------
        y : array-like of shape (n,)
        name : str, default="y"
            What error messages call these labels.

        Returns
        -------
        ndarray of float32 of shape (n, n_outputs)

        Raises
        ------
        ValueError
            If labels are missing or were not seen in `fit`.
        """
        found, inverse = np.unique(_labels(y, name), return_inverse=True)
        columns = {label: column for column, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in found.tolist() if label not in columns]
        if unknown:
            raise ValueError(
                f"{name} holds labels that the training labels do not have: {listed(unknown)}; "
                f"the classes of training are {listed(self.classes_.tolist())}: drop these rows, "
                "correct their labels, or add rows of these classes to the training data."
            )
        positions = np.array([columns[label] for label in found.tolist()], dtype=np.intp)
        encoded = np.zeros((len(inverse), self.n_outputs), dtype=np.float32)
        encoded[np.arange(len(inverse)), positions[inverse]] = 1.0
        return encoded

    def decode(self, scores: ArrayLike) -> NDArray[Any]:
        """Return the label of the largest score of each row.

        Parameters
        ----------
        scores : array-like of shape (n, n_outputs)

        Returns
        -------
        ndarray of shape (n,)
            Labels of the type given to `fit`.
        """
        labels: NDArray[Any] = self.classes_[np.argmax(np.asarray(scores), axis=1)]
        return labels

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        return {}, {"classes": self.classes_}

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        coder = cls()
        coder.classes_ = expect(arrays, "classes", (None,), None)
        coder.n_outputs = len(coder.classes_)
        if len(set(coder.classes_.tolist())) < max(2, coder.n_outputs):
            raise ValueError("The saved classes are damaged: there are less than two of them.")
        return coder


@dataclass(frozen=True)
class Scaling:
    """What a file says of a scaler."""

    center: Finite
    scale: Annotated[float, Meta(gt=0.0, le=LARGEST_NUMBER)]
    constant: bool


class TargetScaler:
    """Centre a numeric target and divide it by a robust spread.

    The centre is the median. The spread is the inter-quartile range divided by 1.349, which is the
    standard deviation of a normal target, or the standard deviation where that range is 0.

    Attributes
    ----------
    center, scale : float
        Also under the names ``center_`` and ``scale_``.
    constant_ : bool
        Whether all training targets are the same; `scale` is 1.0 then.
    n_outputs : int
        1.
    task : str
        ``"regression"``.

    Examples
    --------
    >>> from dvrl.data.targets import TargetScaler
    >>> scaler = TargetScaler().fit([1.0, 2.0, 3.0])
    >>> scaler.decode([[0.0]]).tolist()
    [2.0]
    """

    task = "regression"
    n_outputs = 1

    center: float
    scale: float
    constant_: bool

    @property
    def center_(self) -> float:
        """What is subtracted from targets."""
        return self.center

    @property
    def scale_(self) -> float:
        """What centred targets are divided by."""
        return self.scale

    def fit(self, y: Any) -> Self:
        """Learn centre and spread.

        Parameters
        ----------
        y : array-like of shape (n,)

        Returns
        -------
        TargetScaler
            This object.

        Raises
        ------
        ValueError
            If targets are missing, infinite, complex or not numeric, or if there are none.
        """
        target = _numeric_target(y, "y")
        if len(target) == 0:
            raise ValueError("y is empty; pass at least one target.")
        unit = float(np.abs(target).max()) or 1.0
        small = target / unit
        center = float(np.median(small))
        lower, upper = np.quantile(small, [0.25, 0.75])
        spread = float(upper - lower) / 1.349
        if spread <= SMALLEST_SPREAD:
            spread = float(np.std(small))
        self.constant_ = spread <= SMALLEST_SPREAD
        self.center = center * unit
        with np.errstate(over="ignore"):
            scale = float(np.minimum(np.float64(spread) * unit, np.finfo(np.float64).max))
        # A spread among the smallest floats there are can round to 0.
        self.scale = 1.0 if self.constant_ or scale == 0.0 else scale
        return self

    def encode(self, y: Any, *, name: str = "y") -> NDArray[np.float32]:
        """Scale targets.

        Parameters
        ----------
        y : array-like of shape (n,)
        name : str, default="y"
            What error messages call these targets.

        Returns
        -------
        ndarray of float32 of shape (n, 1)
            Cut off at 1e15, so that squares stay finite.

        Raises
        ------
        ValueError
            If targets are missing, infinite, complex or not numeric.
        """
        target = _numeric_target(y, name)
        with np.errstate(over="ignore"):
            # The difference of two halves cannot overflow, the quotient is clipped.
            scaled = (target / 2 - self.center / 2) / self.scale * 2
        clipped = np.clip(scaled, -LARGEST_TARGET, LARGEST_TARGET)
        return np.ascontiguousarray(clipped[:, np.newaxis], dtype=np.float32)

    def decode(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return predicted targets in the caller's units.

        Parameters
        ----------
        scores : array-like of shape (n, 1)

        Returns
        -------
        ndarray of float64 of shape (n,)
        """
        column = np.asarray(scores, dtype=np.float64).reshape(-1)
        largest = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            target = column * self.scale + self.center
        return np.clip(target, -largest, largest)

    def state(self) -> State:
        """See :mod:`dvrl.files.state`."""
        return asdict(Scaling(self.center, self.scale, self.constant_)), {}

    @classmethod
    def from_state(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """See :mod:`dvrl.files.state`."""
        scaler, known = cls(), checked(Scaling, record)
        scaler.center, scaler.scale, scaler.constant_ = known.center, known.scale, known.constant
        return scaler


def _numeric_target(y: Any, name: str) -> NDArray[np.float64]:
    if is_instance(y, "polars", "Series"):
        y = y.to_numpy()
    elif is_instance(y, "pandas", "Series") and y.dtype.kind in "biuf":
        # Nullable integers would otherwise come as objects.
        y = y.to_numpy(dtype=np.float64, na_value=np.nan)
    target = column_or_1d(y, warn=True)
    if target.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} must hold real numbers.")
    if target.dtype == object:
        gaps = [_is_gap(value) for value in target]
        target = np.array([np.nan if gap else v for v, gap in zip(target, gaps, strict=True)])
    try:
        numbers: NDArray[np.float64] = target.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must hold numbers for regression but holds {target.dtype} values; convert it, "
            "or use the classifier for labels."
        ) from None
    gaps_found = np.isnan(numbers)
    if gaps_found.any():
        raise ValueError(_gap_message(name, int(gaps_found.sum()), int(np.argmax(gaps_found))))
    check_finite(numbers, name)
    return numbers


def check_finite(numbers: NDArray[np.floating[Any]], name: str) -> None:
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"Input {name} contains infinity or a value too large for dtype('float64'): replace it "
            "by a number, or drop its row."
        )
