"""Nearest neighbours: no folds and no fits, only a product of matrices."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..files.state import expect
from .base import Floats, State, Weights, in_parallel

__all__ = ["Neighbours"]

N_NEIGHBOURS = 25
# Rows that vote; more would cost their number times the rows that are judged.
VOTING_ROWS = 20_000
CELLS_PER_BLOCK = 20_000_000


class Neighbours:
    """The most similar rows, by the cosine; see :class:`dvrl.references.base.Reference`.

    A row's weight is that of its vote. One more vote goes to the mean of all.

    Parameters
    ----------
    n_jobs : int or None
        Blocks of rows at once; None for all processors. Results do not depend on it.
    """

    name: ClassVar[str] = "neighbours"
    keeps_rows: ClassVar[bool] = True

    def __init__(self, *, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self.n_fits = 0
        self._directions: Floats | None = None
        self._votes: Floats = np.zeros((0, 0), np.float32)
        self._shares: Floats = np.zeros(0, np.float32)

    def cross_fit(
        self, rows: Table, weights: Weights | None, folds: NDArray[np.intp], seed: int
    ) -> Floats:
        """See :class:`dvrl.references.base.Reference`; a row never votes on itself."""
        at = np.arange(len(rows))
        if len(rows) > VOTING_ROWS:
            at = np.sort(np.random.default_rng(seed).choice(at, VOTING_ROWS, replace=False))
        shares = np.ones(len(rows)) if weights is None else weights
        self._directions = _directions(rows.features[at])
        self._votes, self._shares = rows.targets[at], shares[at].astype(np.float32)
        own = np.full(len(rows), -1)
        own[at] = np.arange(len(at))
        return self._judge(_directions(rows.features), own)

    def finish(self, rows: Table, weights: Weights | None, seed: int) -> None:
        """See :class:`dvrl.references.base.Reference`; the rows that vote stay the same."""

    def scores(self, rows: Table) -> Floats:
        """See :class:`dvrl.references.base.Reference`."""
        return self._judge(_directions(rows.features), np.full(len(rows), -1))

    def state(self) -> State:
        """See :class:`dvrl.references.base.Reference`: the directions of the voting rows."""
        assert self._directions is not None
        arrays = {"directions": self._directions, "votes": self._votes, "shares": self._shares}
        return {"n_outputs": self._votes.shape[1]}, arrays

    @classmethod
    def from_state(
        cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int
    ) -> Self:
        """See :class:`dvrl.references.base.Reference`."""
        reference = cls()
        directions = expect(arrays, "directions", (None, n_features))
        votes = expect(arrays, "votes", (len(directions), int(record["n_outputs"])))
        shares = expect(arrays, "shares", (len(directions),), low=0.0)
        reference._directions, reference._votes, reference._shares = directions, votes, shares
        return reference

    def _judge(self, directions: Floats, own: NDArray[np.intp]) -> Floats:
        """Scores of rows, some of which are voting rows themselves (their number there, or -1)."""
        rows_per_block = max(1, CELLS_PER_BLOCK // max(1, len(self._votes)))
        judge = partial(self._block, directions, own, rows_per_block)
        blocks = in_parallel(judge, range(0, len(directions), rows_per_block), self.n_jobs)
        return np.concatenate([np.zeros((0, self._votes.shape[1]), np.float32), *blocks])

    def _block(
        self, directions: Floats, own: NDArray[np.intp], rows_per_block: int, start: int
    ) -> Floats:
        assert self._directions is not None
        rows = slice(start, start + rows_per_block)
        likeness = directions[rows] @ self._directions.T
        voters = np.flatnonzero(own[rows] >= 0)
        likeness[voters, own[rows][voters]] = -np.inf
        n_near = min(N_NEIGHBOURS, len(self._votes) - 1)
        near = np.argpartition(-likeness, n_near, axis=1)[:, :n_near]
        shares = self._shares[near].astype(np.float64)
        everybody = np.average(self._votes, axis=0, weights=self._shares + 1e-9)
        sums = np.einsum("nk,nkc->nc", shares, self._votes[near]) + everybody
        return (sums / (shares.sum(axis=1, keepdims=True) + 1.0)).astype(np.float32)


def _directions(X: Floats) -> Floats:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.sqrt(np.einsum("nd,nd->n", X, X, dtype=np.float64))[:, np.newaxis]
    directions: Floats = (X / np.maximum(lengths, 1e-12)).astype(np.float32)
    return directions
