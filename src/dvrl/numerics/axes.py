"""Mapping a function over a leading axis that is often of length one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

__all__ = ["map_axis"]


def map_axis(function: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
    """Like :func:`jax.vmap`, but an axis of length one is taken off and put back.

    A single selection of a single ensemble member then compiles to matrix-vector products rather
    than to products with matrices of one column, which take more than twice as long on a CPU.

    Parameters
    ----------
    function : callable
    in_axes : 0, None, or a tuple of these
        As for :func:`jax.vmap`; every mapped leaf is mapped over its first axis.

    Returns
    -------
    callable
    """

    def mapped(*args: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        leaves = [
            leaf
            for arg, axis in zip(args, axes, strict=True)
            if axis is not None
            for leaf in jax.tree.leaves(arg)
        ]
        if any(leaf.shape[0] != 1 for leaf in leaves):
            return jax.vmap(function, in_axes=axes)(*args)
        single = [
            arg if axis is None else jax.tree.map(lambda leaf: leaf[0], arg)
            for arg, axis in zip(args, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], function(*single))

    return mapped
