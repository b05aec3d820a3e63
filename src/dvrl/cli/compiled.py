"""Compiled code kept between commands.

Most of a short run's first seconds go into compiling what the last run has compiled before. JAX can
keep it in a folder; here that is the user's cache folder. Nothing is kept where the user has named
a folder of their own (``JAX_COMPILATION_CACHE_DIR``, which may be empty for none).
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

__all__ = ["keep_compiled_code"]

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# XLA tells of every piece that it reads back, as an error, where the compiler was allowed
# preferences that it does not count among the processor's features. What does go wrong is raised.
NO_MESSAGES = "3"
# Shorter compilations are as fast as reading a file.
SHORTEST_SECONDS = "0.05"
MOST_BYTES = 256 * 2**20
CPU_DESCRIPTION = Path("/proc/cpuinfo")


def keep_compiled_code() -> Path | None:
    """Set JAX's environment variables, before JAX is imported.

    Returns
    -------
    Path or None
        The folder; None where the user has chosen, or where no folder can be written.
    """
    if FOLDER in os.environ:
        return None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    try:
        folder = Path(base) / "dvrl" / "compiled" / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return None
        _make_room(folder.parent)
    except (OSError, RuntimeError):  # a full or foreign disk, or no home
        return None
    os.environ[FOLDER] = str(folder)
    os.environ.setdefault(SHORTEST, SHORTEST_SECONDS)
    os.environ.setdefault(LOG_LEVEL, NO_MESSAGES)
    return folder


def _processor() -> str:
    """Name for this kind of processor: code compiled on another may crash, and homes are shared."""
    try:
        lines = CPU_DESCRIPTION.read_text().splitlines()
        told = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
        described = "\n".join(sorted(set(told)))
    except OSError:
        described = ""
    described = described or f"{platform.machine()} {platform.processor()} {platform.node()}"
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _make_room(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove the oldest files once there are too many."""
    found = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    total = sum(status.st_size for _, status in found)
    if total <= most_bytes:
        return
    for path, status in sorted(found, key=lambda each: each[1].st_mtime):
        path.unlink(missing_ok=True)
        total -= status.st_size
        if total <= most_bytes // 2:
            return
