"""Room for compiled code.

XLA maps every kernel that it compiles for the CPU into memory, some hundreds of mappings for a
fit on data of a new size. Linux allows a process 65,530 of them by default; at the next one the
compiler crashes the process. A grid search over many sizes gets there.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["make_room"]

MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = Path("/proc/sys/vm/max_map_count")


def make_room(share: float = 0.5) -> bool:
    """Drop compiled code that nothing is running, if the mappings are running out.

    Parameters
    ----------
    share : float
        Of the mappings that the system allows; below it nothing is dropped.

    Returns
    -------
    bool
        Whether JAX's caches were cleared. What is needed again is compiled again. False on systems
        that do not tell their mappings, which are those that do not limit them.
    """
    try:
        most = int(MOST_MAPPINGS.read_text())
        with MAPPINGS.open("rb") as lines:
            used = sum(1 for _ in lines)
    except (OSError, ValueError):
        return False
    if used <= share * most:
        return False
    import jax

    jax.clear_caches()  # type: ignore[no-untyped-call]
    return True
