"""Which rows carry the value: groups in plain words, guarded against differences by chance."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.actions.checks import one_value_a_row

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ValueGroups", "explain_values"]

N_BINS = 4
# Levels of a text column that can be groups; a column with more is looked at for these alone.
N_LEVELS = 20
TREE_DEPTH = 3
# A split of the tree explains at least this share of the variance, or it is not worth words.
EXPLAINED = 0.01
# The name of `y` among the columns.
LABEL = "the label"


@dataclass(frozen=True)
class ValueGroups:
    """Groups of rows whose values differ from those of the other rows, see `explain_values`.

    Attributes
    ----------
    sentences : list of str
        The largest differences in plain words, or one sentence that there are none.
    table : pandas.DataFrame
        One row per group, largest difference first: ``group`` (in words), ``rows``,
        ``mean_value``, ``difference`` (from the mean of the other rows) and ``p_value``
        (adjusted for the number of groups tested).
    overall : float
        Mean value of all rows.
    n_tested : int
        Groups that were tested.
    """

    sentences: list[str]
    table: pd.DataFrame
    overall: float
    n_tested: int = 0


class _Column(NamedTuple):
    """A column as numbers (NaN for gaps) or, with `levels`, as positions among them (-1: gap)."""

    name: str
    numbers: NDArray[np.float64]
    levels: tuple[str, ...] | None


@dataclass
class _Condition:
    """What one column is within a group."""

    column: _Column
    above: float = -np.inf
    at_most: float = np.inf
    level: int | None = None
    excluded: list[int] = field(default_factory=list)

    def words(self) -> str:
        name = self.column.name
        if self.column.levels is not None:
            levels = self.column.levels
            left = [at for at in range(len(levels)) if at not in self.excluded]
            # Where only one level is left, that says more than what is not.
            known = self.column.numbers.min() >= 0
            level = left[0] if self.level is None and known and len(left) == 1 else self.level
            if level is not None:
                return f"{name} {levels[level]}"
            return f"{name} not {' or '.join(levels[at] for at in self.excluded)}"
        if np.isfinite(self.above) and np.isfinite(self.at_most):
            return f"{name} above {_number(self.above)} and at most {_number(self.at_most)}"
        if np.isfinite(self.above):
            return f"{name} above {_number(self.above)}"
        return f"{name} at most {_number(self.at_most)}"


@dataclass(frozen=True)
class _Group:
    """Some rows, what they have in common, and the rows on which that can be tested."""

    words: str
    rows: NDArray[np.bool_]
    tested_on: NDArray[np.bool_]


def explain_values(
    values: ArrayLike,
    X: Any,
    *,
    y: ArrayLike | None = None,
    alpha: float = 0.05,
    min_rows: int | None = None,
    n_sentences: int = 8,
    random_state: int = 0,
) -> ValueGroups:
    """Which groups of rows have high or low values, in words.

    Two kinds of groups are looked at: ranges (quarters) and categories of every single column,
    and the leaves of a small regression tree on all columns (depth 3), which finds combinations.

    A difference is reported only where it is more than chance. Each group is compared with all
    other rows by Welch's t-test, and the p-values are adjusted for the number of groups by Holm's
    method, so that with values that have nothing to do with the columns the chance of *any* group
    in the answer is at most `alpha`. The tree is grown on a random half of the rows and its leaves
    are tested on the other half, because a tree finds differences in any noise. The tests take
    rows as drawn independently; values of one run share an estimator and validation rows, so the
    groups describe this run.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values; finite.
    X : array-like or frame (pandas or Polars) of shape (n_rows, n_features)
        The rows. Text columns with more than 20 levels are looked at for their most frequent ones;
        for the tree, gaps in numbers count as the middle of their column.
    y : array-like of shape (n_rows,), optional
        Labels or targets, as one more column.
    alpha : float
        Chance of a false group, in (0, 1).
    min_rows : int, optional
        Smallest group; by default 20, or one in fifty rows where that is more.
    n_sentences : int
        Most sentences.
    random_state : int
        Of the halves.

    Returns
    -------
    ValueGroups

    Raises
    ------
    ValueError
        For values or settings that cannot be used.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((400, 2))
    >>> values = np.where(X[:, 0] > 0.75, 0.8, 0.4) + 0.05 * rng.random(400)
    >>> found = explain_values(values, X)
    >>> "feature 0 above" in found.sentences[0]
    True
    """
    values, n_smallest = _checked(values, X, alpha, min_rows)
    columns = list(_columns(X, y))
    rng = np.random.default_rng(random_state)
    grown_on = np.zeros(len(values), dtype=bool)
    grown_on[rng.permutation(len(values))[: len(values) // 2]] = True
    groups = [
        group
        for group in (*_single(columns, len(values)), *_leaves(columns, values, grown_on))
        if n_smallest <= group.rows.sum() <= len(values) - n_smallest
        and min(group.tested_on.sum(), (group.rows & group.tested_on).sum()) >= 2
    ]
    table = _tested(groups, values, alpha)
    overall = float(values.mean())
    return ValueGroups(_sentences(table, overall, n_sentences), table, overall, len(groups))


def _checked(
    values: ArrayLike, X: Any, alpha: float, min_rows: int | None
) -> tuple[NDArray[np.float64], int]:
    checked = one_value_a_row(values, X=X)
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; pass a chance between 0 and 1.")
    if min_rows is not None and min_rows < 2:
        raise ValueError(f"min_rows is {min_rows}; a mean of a group needs 2 or more rows.")
    return checked, min_rows or max(20, len(checked) // 50)


# ------------------------------------------------------------------------------------ columns


def _columns(X: Any, y: ArrayLike | None) -> Iterator[_Column]:
    """The columns of a table by name, and the label."""
    import pandas as pd

    if hasattr(X, "iloc"):
        series = [X.iloc[:, place] for place in range(X.shape[1])]
        names = [str(name) for name in X.columns]
    elif hasattr(X, "columns"):
        names = list(X.columns)
        series = [pd.Series(X.to_series(place).to_list()) for place in range(len(names))]
    else:
        array = np.asarray(X)
        series = [pd.Series(array[:, place]) for place in range(array.shape[1])]
        names = [f"feature {place}" for place in range(array.shape[1])]
    if y is not None:
        series.append(pd.Series(np.asarray(y).reshape(-1)))
        names.append(LABEL)
    for name, entries in zip(names, series, strict=True):
        yield _column(name, entries.reset_index(drop=True))


def _column(name: str, entries: pd.Series[Any]) -> _Column:
    import pandas as pd
    from pandas.api import types

    numeric = types.is_numeric_dtype(entries.dtype) and not types.is_bool_dtype(entries.dtype)
    # Few different whole numbers are codes or counts: single ones can be groups.
    if numeric and (name != LABEL or entries.nunique() > N_LEVELS):
        numbers = entries.to_numpy(dtype=np.float64, na_value=np.nan)
        return _Column(name, np.where(np.isfinite(numbers), numbers, np.nan), None)
    if types.is_datetime64_any_dtype(entries.dtype):
        entries = entries.dt.strftime("%Y")
    text = entries.astype("object").where(entries.notna(), None).map(str, na_action="ignore")
    levels = tuple(str(level) for level in text.value_counts().index[:N_LEVELS])
    return _Column(name, pd.Index(levels).get_indexer(pd.Index(text)).astype(np.float64), levels)


# ------------------------------------------------------------------------------------- groups


def _single(columns: Sequence[_Column], n_rows: int) -> Iterator[_Group]:
    """Ranges and categories of each column; chosen without a look at the values."""
    everywhere = np.ones(n_rows, dtype=bool)
    for column in columns:
        if column.levels is not None:
            for code in range(len(column.levels)):
                condition = _Condition(column, level=code)
                yield _Group(condition.words(), column.numbers == code, everywhere)
            continue
        known = column.numbers[np.isfinite(column.numbers)]
        if not len(known):
            continue
        inner = np.quantile(known, np.arange(1, N_BINS) / N_BINS, method="inverted_cdf")
        edges = [-np.inf, *np.unique(inner[inner < known.max()]), np.inf]
        for above, at_most in itertools.pairwise(edges):
            if np.isfinite(above) or np.isfinite(at_most):
                inside = (column.numbers > above) & (column.numbers <= at_most)
                yield _Group(_Condition(column, above, at_most).words(), inside, everywhere)


def _leaves(
    columns: Sequence[_Column], values: NDArray[np.float64], grown_on: NDArray[np.bool_]
) -> Iterator[_Group]:
    """Leaves of a surrogate tree that combine columns, to be tested where it was not grown."""
    from sklearn.tree import DecisionTreeRegressor

    sources: list[tuple[_Column, int | None]] = []
    parts = []
    for column in columns:
        if column.levels is None:
            known = column.numbers[np.isfinite(column.numbers)]
            middle = float(np.median(known)) if len(known) else 0.0
            sources.append((column, None))
            parts.append(np.where(np.isfinite(column.numbers), column.numbers, middle))
        else:
            sources += [(column, code) for code in range(len(column.levels))]
            parts += [
                (column.numbers == code).astype(np.float64) for code in range(len(column.levels))
            ]
    smallest = max(10, len(values) // 100)  # of the half that the tree is grown on
    if not parts or grown_on.sum() < 2 * smallest:
        return
    # scikit-learn's trees compare in float32; so must the words.
    matrix = np.column_stack(parts).clip(-3e38, 3e38).astype(np.float32)
    tree = DecisionTreeRegressor(
        max_depth=TREE_DEPTH,
        min_samples_leaf=smallest,
        min_impurity_decrease=EXPLAINED * float(values[grown_on].var()),
        random_state=0,
    ).fit(matrix[grown_on], values[grown_on])
    leaf_of = tree.apply(matrix)
    for leaf, path in _paths(tree.tree_):
        conditions = _conditions(path, sources)
        if len(conditions) > 1:  # single columns are tested by ranges already
            yield _Group(
                " and ".join(condition.words() for condition in conditions),
                leaf_of == leaf,
                ~grown_on,
            )


def _paths(tree: Any) -> Iterator[tuple[int, list[tuple[int, float, bool]]]]:
    """Every leaf with the splits on the way: column, threshold, whether the row is above."""
    open_nodes: list[tuple[int, list[tuple[int, float, bool]]]] = [(0, [])]
    while open_nodes:
        node, path = open_nodes.pop()
        if tree.children_left[node] < 0:
            yield node, path
            continue
        split = (int(tree.feature[node]), float(tree.threshold[node]))
        open_nodes.append((int(tree.children_left[node]), [*path, (*split, False)]))
        open_nodes.append((int(tree.children_right[node]), [*path, (*split, True)]))


def _conditions(
    path: Sequence[tuple[int, float, bool]], sources: Sequence[tuple[_Column, int | None]]
) -> list[_Condition]:
    """One condition for each column on the way to a leaf."""
    found: dict[str, _Condition] = {}
    for place, threshold, is_above in path:
        column, code = sources[place]
        condition = found.setdefault(column.name, _Condition(column))
        if code is not None and is_above:
            condition.level = code
        elif code is not None:
            condition.excluded.append(code)
        elif is_above:
            condition.above = max(condition.above, threshold)
        else:
            condition.at_most = min(condition.at_most, threshold)
    return list(found.values())


# -------------------------------------------------------------------------------------- tests


def _tested(groups: Sequence[_Group], values: NDArray[np.float64], alpha: float) -> pd.DataFrame:
    """Groups that differ by more than chance, as a table."""
    import pandas as pd

    adjusted = _holm(np.array([_p_value(group, values) for group in groups]))
    table = [
        (
            group.words,
            int(group.rows.sum()),
            float(values[group.rows].mean()),
            float(values[group.rows].mean() - values[~group.rows].mean()),
            float(p_value),
        )
        for group, p_value in zip(groups, adjusted, strict=True)
        if p_value <= alpha
    ]
    frame = pd.DataFrame(table, columns=["group", "rows", "mean_value", "difference", "p_value"])
    order = frame["difference"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _p_value(group: _Group, values: NDArray[np.float64]) -> float:
    """Welch's t-test of the group against all other rows, where it may be tested."""
    from scipy.stats import ttest_ind

    inside = values[group.rows & group.tested_on]
    outside = values[~group.rows & group.tested_on]
    if len(inside) < 2 or len(outside) < 2 or np.ptp(np.concatenate([inside, outside])) == 0:
        return 1.0
    if np.ptp(inside) == 0 and np.ptp(outside) == 0:
        return 0.0  # two different constants
    return float(ttest_ind(inside, outside, equal_var=False).pvalue)


def _holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values of Holm's step-down method."""
    n = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(n)
    adjusted[order] = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    return np.minimum(adjusted, 1.0)


def _sentences(table: pd.DataFrame, overall: float, n_sentences: int) -> list[str]:
    if table.empty:
        return ["No group of rows has values that differ from the rest by more than chance."]
    return [
        f"Rows with {row.group}: mean value {row.mean_value:.2f} against {overall:.2f} overall, "
        f"{row.rows:,} rows."
        for row in table.head(n_sentences).itertuples()
    ]


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
