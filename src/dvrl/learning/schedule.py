"""How long a run goes on, how far it is, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .loop import Member
from .network import DataValueEstimator
from .spec import NOT_THE_COURSE

__all__ = ["Progress", "RunState", "Schedule", "TrainingResult"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands; handed to the caller's callback.

    Attributes
    ----------
    iteration, total : int
        Outer iterations done and planned.
    reward : float
        Mean reward of the last iterations, higher is better.
    seconds_elapsed : float
    seconds_left : float or None
        None after the first chunk, whose time is mostly compilation.
    """

    iteration: int
    total: int
    reward: float
    seconds_elapsed: float
    seconds_left: float | None


@dataclass(frozen=True)
class Schedule:
    """When a run stops, and where it is kept.

    Attributes
    ----------
    outer_iterations : int
    ensemble_size : int
    batch_size : int
        Rows per outer iteration; all rows where there are no more than that.
    max_seconds : float or None
        Wall-clock limit, checked after every chunk of iterations.
    seed : int
    checkpoint : Path or None
    resume : bool
    callback : callable or None
        Called with a :class:`Progress`.
    validation_share : float
        Share of the validation rows, drawn class by class, that rewards each member of an
        ensemble (predictors fitted on the device only; elsewhere all rows reward).
    """

    outer_iterations: int
    ensemble_size: int
    batch_size: int
    seed: int
    max_seconds: float | None = field(default=None, metadata=NOT_THE_COURSE)
    checkpoint: Path | None = field(default=None, metadata=NOT_THE_COURSE)
    resume: bool = field(default=False, metadata=NOT_THE_COURSE)
    callback: Callable[[Progress], object] | None = field(default=None, metadata=NOT_THE_COURSE)
    validation_share: float = 1.0


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of :func:`train`.

    Attributes
    ----------
    estimators : DataValueEstimator
        Averaged (or last) parameters, with a leading axis of members.
    history : dict of (n_iterations, n_members) float32 arrays
    n_iterations : int
    stop_reason : {"iterations", "time"}
    seconds : float
        Over all parts of a resumed run.
    n_fits : int
    validation_masks : (n_members, n_validation_rows) float32
        Weights of the member's share of the validation rows, which rewards it (on the host all
        rows do, whatever this says); 0 for the others and for padding.
    """

    estimators: DataValueEstimator
    history: dict[str, NDArray[np.float32]]
    n_iterations: int
    stop_reason: str
    seconds: float
    n_fits: int
    validation_masks: NDArray[np.float32]


@dataclass
class RunState:
    """The mutable state of a run between chunks: all that a checkpoint must hold."""

    members: Member
    history: dict[str, list[NDArray[np.float32]]]
    iteration: int = 0
    seconds: float = 0.0
    pace: float = 0.0
