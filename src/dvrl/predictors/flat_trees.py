"""Fitted tree ensembles as plain arrays: saved without objects, predicted without their library.

LightGBM boosters, scikit-learn forests and histogram gradient boosting become one kind of arrays.
Arrays from a file are checked before they are used, and no file is read by a foreign parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlatTrees", "from_forest", "from_histogram", "from_lightgbm"]

# Bits of `FlatTrees.gaps`.
GAPS_LEFT, ZEROS_ARE_GAPS = 1, 2
# LightGBM takes numbers up to this one for zeros; it holds the bound in float32.
ZERO = float(np.float32(1e-35))
# Stands for infinity, so that all saved thresholds are finite.
LARGEST = float(np.finfo(np.float64).max)
# Pairs of a tree and a row that are followed at once, and numbers of a block of rows: both fit
# into a processor's cache.
PAIRS, CELLS = 1 << 16, 1 << 18
# Bits of LightGBM's `decision_type`; its higher bits are the kind of missing values.
CATEGORICAL, DEFAULT_LEFT, KIND_SHIFT, NO_GAPS, ZERO_GAPS = 1, 2, 2, 0, 1
# Lines of LightGBM's models that are read.
OF_SPLITS = ("split_feature", "threshold", "left_child", "right_child", "decision_type")
OF_TREES = ("num_leaves", "leaf_value", "is_linear")

Floats = NDArray[np.float64]
Numbers = NDArray[np.int32]
DTYPES: dict[str, tuple[type, ...]] = {
    "feature": (np.int32,),
    "threshold": (np.float64,),
    "left": (np.int32,),
    "right": (np.int32,),
    "gaps": (np.int8,),
    "leaf": (np.float64, np.float32),
    "roots": (np.int32,),
    "output": (np.int32,),
}


@dataclass(frozen=True, eq=False)
class FlatTrees:
    """All trees of an ensemble, node after node; a child comes after its parent.

    A row goes left where ``x <= threshold``, compared in float64.

    Attributes
    ----------
    feature : (n_nodes,) int32
        The column that a node looks at; -1 at a leaf.
    threshold : (n_nodes,) float64
        Finite; 0 at a leaf.
    left, right : (n_nodes,) int32
        Numbers of the children among all nodes; -1 at a leaf.
    gaps : (n_nodes,) int8
        Bit 1: gaps (NaN) go left, else right. Bit 2: zeros go where gaps go.
    leaf : (n_nodes, k) float64 or float32
        Values of the leaves, 0 elsewhere: k is 1 for boosted trees and regression forests, and
        the number of classes for classification forests.
    roots : (n_trees,) int32
        The first node of each tree.
    output : (n_trees,) int32
        The output that a tree adds its first leaf value to; 0 wherever k is above 1.
    """

    feature: Numbers
    threshold: Floats
    left: Numbers
    right: Numbers
    gaps: NDArray[np.int8]
    leaf: NDArray[Any]
    roots: Numbers
    output: Numbers

    @property
    def n_outputs(self) -> int:
        """Columns of a prediction."""
        return int(self.output.max()) + self.leaf.shape[1]

    def raw(self, X: NDArray[Any]) -> Floats:
        """Sum the values of the leaves that each row falls into, in the order of the trees.

        Parameters
        ----------
        X : (n, n_features) float64 or float32
            May hold NaN.

        Returns
        -------
        (n, n_outputs) float64
            Of a booster: its raw prediction. Of a forest: the prediction times the number of trees.

        Raises
        ------
        ValueError
            If X has fewer columns than the trees look at.
        """
        return self._sums(X, None)

    def mean(
        self, X: NDArray[Any], allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Average a forest's leaves over the trees that may speak about a row.

        Parameters
        ----------
        X : (n, n_features) float64 or float32
            May hold NaN.
        allowed : (n_trees, n) bool, optional
            Where a tree may speak, such as where a row was out of its bag; all do by default.

        Returns
        -------
        means : (n, n_outputs) float64
            NaN where no tree may speak.
        n_votes : (n,) int64
            Trees that spoke about each row.

        Raises
        ------
        ValueError
            If the trees add to different outputs, or if a shape does not fit.
        """
        if self.output.any():
            raise ValueError("Trees that add to different outputs have no mean; use raw.")
        shape = (len(self.roots), len(X))
        if allowed is not None and (allowed.shape != shape or allowed.dtype != np.bool_):
            raise ValueError(
                f"allowed is an array of bool of shape {shape}, not {allowed.dtype} of shape "
                f"{allowed.shape}."
            )
        n_votes = (
            np.full(len(X), len(self.roots)) if allowed is None else np.count_nonzero(allowed, 0)
        )
        sums = self._sums(X, allowed)
        # Where nobody speaks, 0 / nan.
        return sums / np.where(n_votes, n_votes, np.nan)[:, None], n_votes.astype(np.int64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file, to be read by `from_state`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], n_features: int) -> FlatTrees:
        """Take the arrays of a file after checking that they are trees.

        Whatever they hold, predictions then end and stay within them: their time is bounded by
        rows times nodes. Callers compare `n_outputs` with the outputs that they expect.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `state` returned.
        n_features : int
            Columns of the rows that will be predicted.

        Raises
        ------
        ValueError
            If the arrays are no trees over `n_features` columns.
        """
        problem = _problem(arrays, n_features)
        if problem:
            raise ValueError(f"The saved trees are damaged: {problem}.")
        return cls(**arrays)

    def __getstate__(self) -> dict[str, NDArray[Any]]:
        """Keep the arrays only, not what was made of them."""
        return self.state()

    @cached_property
    def _children(self) -> NDArray[np.intp]:
        """Right and left child of each node in turn, to be looked up by twice a node's number."""
        return np.column_stack([self.right, self.left]).astype(np.intp).ravel()

    @cached_property
    def _is_inner(self) -> NDArray[np.bool_]:
        """The nodes that are no leaves."""
        return self.feature >= 0

    @cached_property
    def _with_zero_gaps(self) -> bool:
        """Whether any node treats zeros as gaps."""
        return bool((self.gaps & ZEROS_ARE_GAPS).any())

    def _sums(self, X: NDArray[Any], allowed: NDArray[np.bool_] | None) -> Floats:
        """Sums of leaf values over the allowed trees, in the order of the trees."""
        if X.ndim != 2 or X.shape[1] <= self.feature.max():
            raise ValueError(
                f"X has the shape {X.shape}; these trees look at {self.feature.max() + 1} columns."
            )
        n_trees, (n_rows, n_columns), width = len(self.roots), X.shape, self.leaf.shape[1]
        sums = np.zeros((n_rows, self.n_outputs))
        step = max(1, min(PAIRS // n_trees, CELLS // max(1, n_columns)))
        for start in range(0, n_rows, step):
            block = slice(start, start + step)
            spoken = None if allowed is None else allowed[:, block]
            nodes = self._leaves(X[block], spoken)
            for tree, first in enumerate(self.output.tolist()):
                values = self.leaf.take(nodes[tree], axis=0)
                if spoken is not None:
                    values = values * spoken[tree, :, None]
                sums[block, first : first + width] += values
        return sums

    def _leaves(self, X: NDArray[Any], allowed: NDArray[np.bool_] | None) -> NDArray[np.intp]:
        """The leaf of each tree that each row falls into; the root where a tree may not speak."""
        n_trees, (n_rows, n_columns) = len(self.roots), X.shape
        # Infinity goes left at the threshold that stands for infinity.
        cells = np.minimum(X.astype(np.float64), LARGEST).ravel()
        leaves = np.repeat(self.roots.astype(np.intp), n_rows)
        walking = self._is_inner.take(leaves)
        if allowed is not None:
            walking &= allowed.ravel()
        pairs = np.flatnonzero(walking)
        nodes, offsets = leaves.take(pairs), pairs % n_rows * n_columns
        # All trees go down by one level in each turn. Indices are in range (`_problem`), so that
        # "clip" changes nothing; it saves take the time of looking.
        while pairs.size:
            values = cells.take(offsets + self.feature.take(nodes, mode="clip"), mode="clip")
            nodes = self._children.take(2 * nodes + self._go_left(values, nodes), mode="clip")
            leaves[pairs] = nodes
            walking_on = np.flatnonzero(self._is_inner.take(nodes, mode="clip"))
            pairs, nodes, offsets = (
                each.take(walking_on, mode="clip") for each in (pairs, nodes, offsets)
            )
        return leaves.reshape(n_trees, n_rows)

    def _go_left(self, values: Floats, nodes: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether values go left at nodes."""
        left = values <= self.threshold.take(nodes, mode="clip")
        gap = np.isnan(values)
        if self._with_zero_gaps:
            zero = np.flatnonzero(np.abs(values) <= ZERO)
            gap[zero] = (self.gaps.take(nodes.take(zero)) & ZEROS_ARE_GAPS) > 0
        gaps = np.flatnonzero(gap)
        left[gaps] = (self.gaps.take(nodes.take(gaps)) & GAPS_LEFT) > 0
        return left


def from_lightgbm(booster: Any) -> FlatTrees:
    """Flatten a fitted LightGBM booster; `FlatTrees.raw` is then its raw prediction.

    As there, trees after the best iteration are left out, where there is one, and random forests
    (``boosting="rf"``) are a sum that is yet to be divided by the number of iterations.

    Parameters
    ----------
    booster : lightgbm.Booster
        Fitted to numbers, with constant leaves.

    Raises
    ------
    ValueError
        If the booster holds categorical splits, linear leaves or no trees.
    """
    text = booster.model_to_string().partition("\nTree=0\n")[2]
    if not text:
        raise ValueError("This booster holds no trees; fit it first.")
    numbers = _numbers(text.partition("\nend of trees")[0])
    n_leaves = numbers["num_leaves"].astype(np.intp)
    n_splits, decision = n_leaves - 1, numbers["decision_type"].astype(np.int8)
    of_leaves, of_splits = n_leaves.sum(), n_splits.sum()
    if len(numbers["leaf_value"]) != of_leaves or any(
        len(numbers[name]) != of_splits for name in OF_SPLITS
    ):
        raise ValueError("This version of LightGBM writes its models in an unknown form.")
    if (decision & CATEGORICAL).any():
        raise ValueError("Boosters with categorical splits cannot be flattened; pass numbers.")
    if numbers["is_linear"].any():
        raise ValueError("Boosters with linear leaves cannot be flattened; use constant leaves.")
    # Each tree becomes its splits followed by its leaves.
    trees, first_leaf = np.arange(len(n_leaves)), np.repeat(n_splits, n_splits)
    tree_of = np.concatenate([np.repeat(trees, n_splits), np.repeat(trees, n_leaves)])
    order = np.argsort(tree_of, kind="stable")

    def nodes(splits: NDArray[Any] | float, leaves: NDArray[Any] | float = 0.0) -> NDArray[Any]:
        parts = np.broadcast_to(splits, of_splits), np.broadcast_to(leaves, of_leaves)
        return np.concatenate(parts)[order]

    def child(name: str) -> NDArray[np.intp]:
        child = numbers[name].astype(np.intp)
        return np.where(child < 0, first_leaf + ~child, child)

    return _flattened(
        n_splits + n_leaves,
        feature=nodes(numbers["split_feature"], -1),
        threshold=nodes(_outside_zero(numbers["threshold"])),
        left=nodes(child("left_child")),
        right=nodes(child("right_child")),
        gaps=nodes(_lightgbm_gaps(decision, numbers["threshold"])),
        leaf=nodes(0.0, numbers["leaf_value"])[:, None],
        output=trees % booster.num_model_per_iteration(),
    )


def from_forest(forest: Any) -> FlatTrees:
    """Flatten a fitted scikit-learn forest; `FlatTrees.mean` is then its prediction.

    Parameters
    ----------
    forest : RandomForestClassifier, RandomForestRegressor or one of their Extra-Trees kind
        Fitted to one output. Leaves hold shares of the classes, or a mean.

    Raises
    ------
    ValueError
        If the forest has several outputs.
    """
    if forest.n_outputs_ != 1:
        raise ValueError("Forests with several outputs cannot be flattened; fit one for each.")
    trees = [tree.tree_ for tree in forest.estimators_]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(tree, name) for tree in trees])

    return _flattened(
        np.array([tree.node_count for tree in trees]),
        feature=joined("feature"),
        threshold=_for_rounded_rows(joined("threshold")),
        left=joined("children_left"),
        right=joined("children_right"),
        gaps=joined("missing_go_to_left"),
        leaf=joined("value")[:, 0],
        output=np.zeros(len(trees)),
    )


def from_histogram(model: Any) -> FlatTrees:
    """Flatten scikit-learn's histogram gradient boosting; its baseline is the first tree(s).

    `FlatTrees.raw` is then the model's own raw prediction: a regressor's prediction (its
    logarithm for the losses "poisson" and "gamma"), or a classifier's decision function.

    Parameters
    ----------
    model : HistGradientBoostingClassifier or HistGradientBoostingRegressor
        Fitted to numbers.

    Raises
    ------
    ValueError
        If the model was fitted to categorical features.
    """
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise ValueError("Models of categorical features cannot be flattened; pass numbers.")
    trees = [predictor.nodes for step in model._predictors for predictor in step]
    baseline = np.ravel(model._baseline_prediction)
    constants = np.zeros(len(baseline), trees[0].dtype)
    constants["is_leaf"], constants["value"] = 1, baseline
    nodes = np.concatenate([constants, *trees])
    return _flattened(
        np.array([1] * len(baseline) + [len(tree) for tree in trees]),
        feature=np.where(nodes["is_leaf"], -1, nodes["feature_idx"]),
        threshold=nodes["num_threshold"],
        left=nodes["left"],
        right=nodes["right"],
        gaps=nodes["missing_go_to_left"],
        leaf=nodes["value"][:, None],
        output=np.arange(len(baseline) + len(trees)) % len(baseline),
    )


def _flattened(
    sizes: NDArray[np.intp],
    *,
    feature: NDArray[Any],
    threshold: NDArray[Any],
    left: NDArray[Any],
    right: NDArray[Any],
    gaps: NDArray[Any],
    leaf: NDArray[Any],
    output: NDArray[Any],
) -> FlatTrees:
    """Trees from joined arrays whose children are counted within each tree."""
    inner, roots = feature >= 0, np.cumsum(sizes) - sizes
    shift = np.repeat(roots, sizes)
    return FlatTrees(
        feature=np.where(inner, feature, -1).astype(np.int32),
        threshold=np.where(inner, np.minimum(threshold, LARGEST), 0.0),
        left=np.where(inner, left + shift, -1).astype(np.int32),
        right=np.where(inner, right + shift, -1).astype(np.int32),
        gaps=np.where(inner, gaps, 0).astype(np.int8),
        leaf=np.where(inner[:, None], 0.0, leaf),
        roots=roots.astype(np.int32),
        output=output.astype(np.int32),
    )


def _numbers(text: str) -> dict[str, Floats]:
    """The numbers of all lines ``name=...`` of LightGBM's trees, one tree after another."""
    lines: dict[str, list[str]] = {name: [] for name in (*OF_SPLITS, *OF_TREES)}
    for line in text.splitlines():
        name, _, listed = line.partition("=")
        # NumPy reads a number from blanks alone, so empty lines of trees of one leaf are left out.
        if name in lines and listed:
            lines[name].append(listed)
    return {name: np.fromstring(" ".join(listed), sep=" ") for name, listed in lines.items()}


def _lightgbm_gaps(decision: NDArray[np.int8], threshold: Floats) -> NDArray[np.int8]:
    """Where gaps go at LightGBM's splits."""
    kind = decision >> KIND_SHIFT
    # Where training saw no gaps, LightGBM takes them for zeros.
    left = np.where(kind == NO_GAPS, threshold >= 0, (decision & DEFAULT_LEFT) > 0)
    return (GAPS_LEFT * left + ZEROS_ARE_GAPS * (kind == ZERO_GAPS)).astype(np.int8)


def _outside_zero(threshold: Floats) -> Floats:
    """Thresholds that split rows as LightGBM's do, which takes tiny numbers for 0."""
    beyond = np.where(threshold < 0, np.nextafter(-ZERO, -np.inf), ZERO)
    return np.where(np.abs(threshold) <= ZERO, beyond, threshold)


def _for_rounded_rows(threshold: Floats) -> Floats:
    """Thresholds that split float64 rows as `threshold` splits the same rows in float32.

    Forests round rows to float32. A row rounds to at most the last float32 below the threshold
    if it lies below the middle between that number and the next; the middle itself rounds to
    the even one of the two.
    """
    low = threshold.astype(np.float32)
    low = np.where(low > threshold, np.nextafter(low, np.float32(-np.inf)), low)
    middle = (low.astype(np.float64) + np.nextafter(low, np.float32(np.inf))) / 2
    is_even = low.view(np.int32) % 2 == 0
    return np.where(is_even, middle, np.nextafter(middle, -np.inf))


def _problem(arrays: Mapping[str, NDArray[Any]], n_features: int) -> str:
    """What keeps arrays from being trees over `n_features` columns; empty if nothing does."""
    if set(arrays) != set(DTYPES):
        return f"they hold the arrays {sorted(map(str, arrays))} instead of {sorted(DTYPES)}"
    for name, dtypes in DTYPES.items():
        dimensions = 2 if name == "leaf" else 1
        array = arrays[name]
        if not isinstance(array, np.ndarray) or array.dtype not in dtypes:
            return f"{name} has another dtype than {dtypes[0].__name__}"
        if array.ndim != dimensions:
            return f"{name} has {array.ndim} dimensions instead of {dimensions}"
    feature, left, right, leaf, roots, output = (
        arrays[name] for name in ("feature", "left", "right", "leaf", "roots", "output")
    )
    of_nodes = [len(arrays[name]) for name in DTYPES if name not in ("roots", "output")]
    if len(set(of_nodes)) > 1 or len(roots) != len(output) or 0 in (leaf.size, roots.size):
        return "their lengths differ, or they are empty"
    if not (np.isfinite(arrays["threshold"]).all() and np.isfinite(leaf).all()):
        return "thresholds or leaves are not finite"
    if feature.min() < -1 or feature.max() >= n_features:
        return f"they look at other columns than the {n_features} of the rows"
    if arrays["gaps"].min() < 0 or arrays["gaps"].max() > (GAPS_LEFT | ZEROS_ARE_GAPS):
        return "gaps holds unknown bits"
    if output.min() != 0 or (leaf.shape[1] > 1 and output.any()):
        return "outputs do not count from 0, or leaves of several values do not start there"
    if len(np.unique(output)) != int(output.max()) + 1:
        return "an output has no trees"
    return _loose_node(feature, left, right, roots)


def _loose_node(feature: Numbers, left: Numbers, right: Numbers, roots: Numbers) -> str:
    """What keeps nodes from forming trees; empty if nothing does."""
    n_nodes, (inner,) = len(feature), np.nonzero(feature >= 0)
    children = np.stack([left, right])
    if (children[:, feature < 0] != -1).any():
        return "a leaf has children"
    children = children[:, inner]
    if (children <= inner).any() or (children >= n_nodes).any():
        return "a child does not come after its parent, or is none of the nodes"
    if roots.min() < 0 or roots.max() >= n_nodes:
        return "a root is none of the nodes"
    # Otherwise many trees could share a long path, and few bytes would cost much time.
    reached = np.bincount(np.concatenate([children.ravel(), roots]), minlength=n_nodes)
    return "" if (reached == 1).all() else "a node belongs to no tree or to several"
