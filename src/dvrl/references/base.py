"""What all references have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..files.state import State

__all__ = [
    "ROWS_PER_BLOCK",
    "Floats",
    "Reference",
    "State",
    "in_parallel",
    "one_thread_each",
]

Floats = NDArray[np.float32]
Weights = NDArray[np.float64]

# Rows that are scored at once: what is made of them on the way stays small.
ROWS_PER_BLOCK = 16_384

Item = TypeVar("Item")
Result = TypeVar("Result")


class Reference(Protocol):
    """A family of models that judges labels.

    Attributes
    ----------
    name : str
        By which it is asked for, and kept in files.
    keeps_rows : bool
        Whether it answers for new rows with the training rows themselves.
    n_fits : int
        Models fitted so far.
    """

    name: ClassVar[str]
    keeps_rows: ClassVar[bool]
    n_fits: int

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """Scores (n, c) of rows, each by models that did not see its target.

        May be called again with other weights, of the same rows.
        """
        ...

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """Make ready for rows that are not among these."""
        ...

    def scores(self, rows: Table) -> Floats:
        """Scores (k, c) of other rows, once `finish` was called."""
        ...

    def state(self) -> State:
        """A record for JSON, and arrays: all that `scores` needs."""
        ...

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """A reference that answers like the one that `state` was called on."""
        ...


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], n_jobs: int | None
) -> list[Result]:
    """Call a function for each item, in threads; the results in the order of the items.

    Parameters
    ----------
    function : callable
        Must run on one thread itself, see `one_thread_each`.
    items : sequence
    n_jobs : int or None
        Threads; as in scikit-learn, but None for all processors.
    """
    from joblib import cpu_count

    available = int(cpu_count())
    threads = available if n_jobs is None else n_jobs
    if threads < 0:
        threads = max(1, available + 1 + threads)
    if min(threads, len(items)) <= 1:
        return [function(item) for item in items]
    # joblib looks for results every hundredth of a second, which many short fits would wait for.
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(function, items))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Hold products of matrices to one thread.

    Sums that several threads share are added in another order, which changes their last digits;
    and threads of threads wait for each other.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
