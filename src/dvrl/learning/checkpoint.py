"""The state of a run in a file, so that a killed run can go on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ..files.archive import read_archive, write_archive
from .engines import Engine
from .loop import RECORD_NAMES
from .schedule import RunState, Schedule

__all__ = ["fingerprint_of", "restore_state", "save_state"]


def fingerprint_of(engine: Engine, schedule: Schedule) -> str:
    """Digest of all that decides the course of a run, the data included."""
    digest = hashlib.blake2b(digest_size=16)
    for leaf in engine.problem:
        digest.update(np.ascontiguousarray(leaf).data)
    hyper = {name: float(value) for name, value in engine.hyper.items()}
    settings = [
        repr(engine.program).split("function=")[0],
        engine.program.reward.name,
        hyper,
        schedule.outer_iterations,
        schedule.ensemble_size,
        schedule.batch_size,
        schedule.seed,
        schedule.validation_share,
    ]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()


def save_state(run: RunState, path: Path, fingerprint: str, engine: Engine) -> None:
    """Write all that a run needs to go on."""
    leaves = jax.tree.leaves(run.members)
    arrays = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    for name, chunks in run.history.items():
        arrays[f"history_{name}"] = np.concatenate(chunks)
    metadata = {
        "kind": "checkpoint",
        "fingerprint": fingerprint,
        "iteration": run.iteration,
        "seconds": run.seconds,
        "n_fits": engine.n_fits,
    }
    write_archive(path, metadata=metadata, arrays=arrays)


def restore_state(run: RunState, path: Path, fingerprint: str, engine: Engine) -> None:
    """Go back to a saved state; it must be one of the same data and settings."""
    archive = read_archive(path)
    if archive.metadata.get("fingerprint") != fingerprint:
        raise ValueError(
            f"The checkpoint {path.name} belongs to a run with other data or settings; "
            "repeat that run's settings, or name another checkpoint file."
        )
    leaves, structure = jax.tree.flatten(run.members)
    restored = [jnp.asarray(archive.arrays[f"state_{i}"]) for i in range(len(leaves))]
    run.members = jax.tree.unflatten(structure, restored)
    run.history = {name: [archive.arrays[f"history_{name}"]] for name in RECORD_NAMES}
    run.iteration = int(archive.metadata["iteration"])
    run.seconds = float(archive.metadata["seconds"])
    engine.n_fits = int(archive.metadata["n_fits"])
