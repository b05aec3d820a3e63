"""The state of a run in a file, so that a killed run can go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..files.archive import read_archive, write_archive
from .engines import Engine
from .loop import RECORD_NAMES
from .schedule import RunState, Schedule
from .spec import RunSpec, differences, run_spec

__all__ = ["restore_state", "save_state", "spec_of"]


def spec_of(engine: Engine, schedule: Schedule, start: Any = None) -> RunSpec:
    """All that decides the course of a run, the data included.

    Parameters
    ----------
    engine : FusedEngine or HostEngine
    schedule : Schedule
    start : pytree, optional
        Parameters that predictors start from.
    """
    return run_spec(
        program=engine.program,
        problem=engine.problem,
        hyper=engine.hyper,
        evaluator=getattr(engine, "evaluator", None),
        schedule=schedule,
        start=dict(enumerate(jax.tree.leaves(start))),
    )


def save_state(run: RunState, path: Path, spec: RunSpec, engine: Engine) -> None:
    """Write all that a run needs to go on."""
    leaves = jax.tree.leaves(run.members)
    arrays = {f"state/{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    for name, chunks in run.history.items():
        arrays[f"history/{name}"] = np.concatenate(chunks)
    record = {
        "kind": "checkpoint",
        "spec": spec,
        "iteration": run.iteration,
        "seconds": run.seconds,
        "n_fits": engine.n_fits,
    }
    write_archive(path, record, arrays)


def restore_state(run: RunState, path: Path, spec: RunSpec, engine: Engine) -> None:
    """Go back to a saved state; it must be one of the same data and settings."""
    archive = read_archive(path)
    found = archive.record.get("spec")
    other = differences(found, spec) if isinstance(found, dict) else "it names no settings"
    if other:
        raise ValueError(
            f"The checkpoint {path.name} belongs to another run ({other}); repeat that run's "
            "settings and data, or name another checkpoint file."
        )
    leaves, structure = jax.tree.flatten(run.members)
    restored = [jnp.asarray(archive.arrays[f"state/{i}"]) for i in range(len(leaves))]
    run.members = jax.tree.unflatten(structure, restored)
    run.history = {name: [archive.arrays[f"history/{name}"]] for name in RECORD_NAMES}
    run.iteration = int(archive.record["iteration"])
    run.seconds = float(archive.record["seconds"])
    engine.n_fits = int(archive.record["n_fits"])
