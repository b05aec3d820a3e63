"""What every use of values checks first: one finite value for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.data.rows import n_rows

__all__ = ["one_value_a_row", "values_of"]


def one_value_a_row(values: ArrayLike, **rows: Any) -> NDArray[np.float64]:
    """Values as an array; ValueError unless finite, and as many as each of `rows`, by their names.

    Examples
    --------
    >>> one_value_a_row([0.1, 0.9], y=["a", "b"]).tolist()
    [0.1, 0.9]
    """
    checked: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    counts = {name: n_rows(each) for name, each in rows.items()}
    if any(checked.shape != (count,) for count in counts.values()):
        told = " and ".join(f"{name} {count} rows" for name, count in counts.items())
        raise ValueError(
            f"values has shape {checked.shape} and {told}; pass one value per row of the same rows."
        )
    if not np.isfinite(checked).all():
        raise ValueError("values has NaN or infinite entries; pass finite values only.")
    return checked


def values_of(valuer: Any, y: NDArray[Any]) -> NDArray[np.float64]:
    """Values of a fitted valuer; ValueError where it was fitted on another number of rows."""
    values = np.asarray(valuer.data_values_, dtype=np.float64)
    if len(values) != len(y):
        raise ValueError(
            f"The valuer was fitted on {len(values)} rows and y has {len(y)}; "
            "pass the rows that were valued."
        )
    return values
