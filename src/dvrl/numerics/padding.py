"""Rows and columns padded to few sizes, so that data of like size shares compiled code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad", "padded_size"]


def padded_size(size: int, least: int = 8) -> int:
    """Next size of the form ``k * 2**j`` with ``8 < k <= 16``: at most an eighth is padding.

    Examples
    --------
    >>> [padded_size(n) for n in (3, 9, 65, 1000, 1_000_000)]
    [8, 9, 72, 1024, 1048576]
    """
    size = max(size, least)
    step = 1 << max(0, (size - 1).bit_length() - 4)
    return -(-size // step) * step


def pad(array: NDArray[np.float32], *sizes: int) -> NDArray[np.float32]:
    """Array with zeros appended up to `sizes`, one for each leading axis."""
    widths = [(0, size - have) for size, have in zip(sizes, array.shape, strict=False)]
    widths += [(0, 0)] * (array.ndim - len(widths))
    if not any(after for _, after in widths):
        return array
    return np.pad(array, widths)
