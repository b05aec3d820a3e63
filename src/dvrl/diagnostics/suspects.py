"""Reasons for suspicious rows: what the reference model expects, and which rows are alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["explain_suspects", "label_reasons"]

# Targets agree when they differ by less than half a (robust) standard deviation.
AGREEING_TARGETS = 0.5
# Distances held at once: 32 MiB of float64.
BLOCK_DISTANCES = 1 << 22


class _Nearest(NamedTuple):
    """Positions of the nearest rows, -1 where there is none, and their distances."""

    rows: NDArray[np.intp]
    distances: NDArray[np.float64]


def explain_suspects(
    valuer: Any,
    X: Any,
    y: ArrayLike,
    fraction: float = 0.1,
    *,
    trusted_fraction: float = 0.5,
) -> pd.DataFrame:
    """Rows of the lowest values with a reason each, worst first.

    Parameters
    ----------
    valuer : DVRLClassifier or DVRLRegressor
        Fitted on `X` and `y`.
    X, y : array-like or frame of shape (n_rows, n_features), array-like of shape (n_rows,)
        The training rows as they were valued.
    fraction : float
        Share of the rows to explain, above 0 and at most 1.
    trusted_fraction : float
        Share of the rows, highest values first, among which alike rows are looked for, above 0
        and at most 1.

    Returns
    -------
    pandas.DataFrame
        What ``valuer.suspects(fraction)`` gives, and ``nearest_agreeing`` and
        ``nearest_disagreeing`` (names of the most similar rows of high value with the same and
        with another label; missing where there is none), of which the sentence in ``reason``
        then speaks, too. For numeric targets, "the same" means less than half a robust standard
        deviation apart. Similarity is Euclidean distance between encoded rows.

    Raises
    ------
    ValueError
        For a fraction out of range, or rows other than those that were valued.
    """
    if not 0.0 < trusted_fraction <= 1.0:
        raise ValueError(f"trusted_fraction={trusted_fraction!r} must lie in (0, 1].")
    table = valuer.suspects(fraction)
    values = np.asarray(valuer.data_values_)
    labels = np.asarray(y).reshape(-1)
    if len(labels) != len(values):
        raise ValueError(
            f"The valuer was fitted on {len(values)} rows and y has {len(labels)}; "
            "pass the rows that were valued."
        )
    order = np.argsort(values, kind="stable")
    suspects = order[: len(table)]
    trusted = order[-max(1, round(trusted_fraction * len(values))) :]
    matrix = valuer.encoder_.transform(X)
    agreeing, disagreeing = _nearest_rows(
        matrix, _comparable(valuer, labels), suspects, np.sort(trusted), valuer.coder_.task
    )
    names = getattr(valuer, "_index", None)
    reasons = table.pop("reason")
    table["nearest_agreeing"] = _names(agreeing.rows, names)
    table["nearest_disagreeing"] = _names(disagreeing.rows, names)
    classes = valuer.coder_.task == "classification"
    alike = (
        _alike(labels, agreeing, disagreeing, number, row, classes)
        for number, row in enumerate(table.itertuples())
    )
    table["reason"] = [
        f"{reason.removesuffix('.')}; {neighbour}."
        for reason, neighbour in zip(reasons, alike, strict=True)
    ]
    return table


def label_reasons(table: pd.DataFrame, fraction: float, *, classes: bool) -> list[str]:
    """What the reference model says about the labels of the lowest rows.

    Parameters
    ----------
    table : pandas.DataFrame
        ``label``, ``expected_label`` and ``label_probability`` (which may be missing).
    fraction : float
        Share of all rows that the table holds.
    classes : bool
        Whether labels are classes rather than numbers.

    Returns
    -------
    list of str
        A sentence for each row.
    """
    columns = (table["label"], table["expected_label"], table["label_probability"])
    return [_label_reason(*row, fraction, classes) for row in zip(*columns, strict=True)]


def _comparable(valuer: Any, labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as numbers: classes by their place, targets in units of their robust spread."""
    targets = np.asarray(valuer.coder_.encode(labels))
    return targets.argmax(axis=1) if valuer.coder_.task == "classification" else targets[:, 0]


def _nearest_rows(
    matrix: NDArray[np.float32],
    labels: NDArray[Any],
    suspects: NDArray[np.intp],
    trusted: NDArray[np.intp],
    task: str,
) -> tuple[_Nearest, _Nearest]:
    """For every suspect, the nearest trusted row that agrees and the nearest that does not."""
    from sklearn.metrics.pairwise import euclidean_distances

    found: list[tuple[_Nearest, _Nearest]] = []
    for block in _blocks(suspects, len(trusted)):
        distances = np.asarray(
            euclidean_distances(matrix[block], matrix[trusted]), dtype=np.float64
        )
        distances[block[:, None] == trusted] = np.inf  # no row is its own witness
        difference = np.abs(labels[block][:, None] - labels[trusted])
        agrees = difference == 0 if task == "classification" else difference < AGREEING_TARGETS
        found.append(
            (
                _nearest(np.where(agrees, distances, np.inf), trusted),
                _nearest(np.where(agrees, np.inf, distances), trusted),
            )
        )
    agreeing, disagreeing = zip(*found, strict=True)
    return _joined(agreeing), _joined(disagreeing)


def _blocks(rows: NDArray[np.intp], n_trusted: int) -> Iterator[NDArray[np.intp]]:
    step = max(1, BLOCK_DISTANCES // n_trusted)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _nearest(distances: NDArray[np.float64], trusted: NDArray[np.intp]) -> _Nearest:
    places = distances.argmin(axis=1)
    smallest = distances[np.arange(len(places)), places]
    return _Nearest(np.where(np.isfinite(smallest), trusted[places], -1), smallest)


def _joined(parts: tuple[_Nearest, ...]) -> _Nearest:
    return _Nearest(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.distances for part in parts]),
    )


def _names(rows: NDArray[np.intp], names: Any) -> pd.Series[Any] | NDArray[Any]:
    """Row names with gaps where there is no row; whole numbers stay whole."""
    import pandas as pd

    index = pd.RangeIndex(rows.max(initial=0) + 1) if names is None else names
    column = pd.Series(index[np.maximum(rows, 0)])
    if pd.api.types.is_integer_dtype(column.dtype):
        column = column.astype("Int64")
    return column.mask(rows < 0).array


def _label_reason(
    label: Any, expected: Any, probability: float, fraction: float, classes: bool
) -> str:
    """One sentence about the label of a row."""
    given, other = _written(label), _written(expected)
    start = f"Labelled {given}" if classes else f"Its target is {given}"
    # Missing (NaN) without a marginal; for numbers it means something else, see `suspects`.
    known = classes and probability == probability
    likely = f" ({given} has probability {probability:.2f})" if known else ""
    # Numbers that read the same are no contradiction.
    if label == expected or (not classes and given == other):
        return (
            f"{start} as the reference model expects{likely}, but its value is among the "
            f"lowest {fraction:.0%}."
        )
    return f"{start}, but the reference model expects {other}{likely}."


def _alike(
    labels: NDArray[Any],
    agreeing: _Nearest,
    disagreeing: _Nearest,
    number: int,
    row: Any,
    classes: bool,
) -> str:
    """What the most similar row of high value says."""
    what = "is labelled" if classes else "has"
    if disagreeing.distances[number] < agreeing.distances[number]:
        other = _written(labels[disagreeing.rows[number]])
        return f"the most similar row of high value, {row.nearest_disagreeing}, {what} {other}"
    if agreeing.rows[number] < 0:
        return "no other row of high value can be compared with it"
    same = _written(labels[agreeing.rows[number]])
    also = "too" if classes or labels[agreeing.rows[number]] == row.label else "as well"
    return f"the most similar row of high value, {row.nearest_agreeing}, {what} {same} {also}"


def _written(label: Any) -> str:
    if isinstance(label, float | np.floating):
        return f"{label:.4g}"
    return repr(str(label)) if isinstance(label, str | np.str_) else str(label)
