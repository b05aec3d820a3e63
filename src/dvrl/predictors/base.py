"""What a predictor is: the protocols, and telling predictors apart by what they have."""

from __future__ import annotations

import inspect
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import NDArray

from ..data.table import Table

__all__ = [
    "Fitted",
    "Parameters",
    "Predictor",
    "Traced",
    "initial_parameters",
    "is_predictor",
    "is_traced",
    "takes_start",
]

Parameters = Any
"""A pytree of arrays."""


class Fitted(Protocol):
    """One predictor, or several of a kind, fitted on the same rows with other weights.

    One that can be saved also has ``state() -> (record, arrays)``, and its predictor
    ``from_state(record, arrays)``.
    """

    def scores(self, rows: Table) -> NDArray[np.float32]:
        """Class probabilities or scaled targets (k, n_rows, n_outputs) of the k fits."""
        ...


class Predictor(Protocol):
    """A predictor that is fitted on the host.

    Attributes
    ----------
    sees : {"own", "features"}
        Whether it looks at the rows as the caller wrote them, or at the encoded ones.
    """

    sees: Literal["own", "features"]

    def fit(
        self,
        rows: Table,
        weights: NDArray[np.float32],
        *,
        seed: int,
        start: Any = None,
    ) -> Fitted:
        """Fit once for every row of the weights.

        Parameters
        ----------
        rows : Table of n rows
            With ``features``, ``own``, ``labels`` (as the caller wrote them) and ``targets``.
        weights : (k, n) float32
            At least 0; zeros and ones for a selection.
        seed : int
            The same for all fits of a run: selections must differ by their rows alone.
        start : Fitted, optional
            Where the fits start; leave this parameter out where there is no such thing.
        """
        ...


class Traced(Protocol):
    """A predictor whose fits are JAX functions and run inside the compiled loop.

    Implementations are frozen, hashable dataclasses: they are compile-time constants, while
    parameters and numeric settings (`hyper`) travel as arrays. One that has
    ``widened(params, n_columns)`` gets features padded by columns of zeros, which saves
    compilations; others see exactly their columns. ``linear_fits`` is true where `solve` is
    the solved fit of a linear model.
    """

    def init(self, rng: np.random.Generator, n_features: int, n_outputs: int) -> Parameters:
        """Parameters of an unfitted predictor."""
        ...

    def solve(
        self,
        params: Parameters,
        X: Float[Array, "rows features"],
        Y: Float[Array, "rows outputs"],
        weights: Float[Array, "selections rows"],
        mask: Float[Array, " rows"],
        key: PRNGKeyArray,
        hyper: dict[str, Float[Array, ""]],
    ) -> Parameters:
        """Fit one predictor per row of `weights`, all from the same start and mini-batches.

        `mask` is 1 for rows and 0 for padding; `hyper` holds ``inner_learning_rate`` and ``l2``.
        Returns parameters with a leading axis of selections, differentiable in `weights`.
        """
        ...

    def apply(
        self, params: Parameters, X: Float[Array, "rows features"], n_outputs: int
    ) -> Float[Array, "rows outputs"]:
        """Class probabilities or scaled targets of one set of parameters."""
        ...


def is_traced(predictor: Any) -> bool:
    """Whether a predictor has what the compiled loop needs: see :class:`Traced`."""
    return all(callable(getattr(predictor, name, None)) for name in ("init", "solve", "apply"))


def is_predictor(predictor: Any) -> bool:
    """Whether a predictor is fitted on the host by our protocol: see :class:`Predictor`."""
    return getattr(predictor, "sees", None) in ("own", "features") and hasattr(predictor, "fit")


def takes_start(predictor: Any) -> bool:
    """Whether the fits of a predictor can start from an earlier one."""
    return is_traced(predictor) or "start" in inspect.signature(predictor.fit).parameters


def initial_parameters(
    predictor: Traced, rng: np.random.Generator, n_features: int, n_columns: int, n_outputs: int
) -> Parameters:
    """Unfitted parameters for `n_columns` columns, the last of which are padding."""
    params = predictor.init(rng, n_features, n_outputs)
    if n_columns == n_features:
        return params
    widened: Any = predictor
    return widened.widened(params, n_columns)
