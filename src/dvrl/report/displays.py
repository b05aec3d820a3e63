"""Figures by scikit-learn's Display convention: made from an estimator or from numbers.

Each display holds what it shows, draws it with ``plot(ax=...)`` as often as wanted, and keeps
``ax_`` and ``figure_``. Figures are opened away from pyplot unless axes are passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvrl.report.figures import BLUE, GREY, LINES, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DiscoveryDisplay", "HistoryDisplay", "RemovalDisplay", "ValuesDisplay"]

Curves = Mapping[str, ArrayLike]
REMOVAL_STYLES = {
    "lowest first": LINES[0],
    "highest first": LINES[1],
    "random": (GREY, ":", None),
}


class _Display:
    """What all displays share."""

    ax_: Axes
    figure_: Figure

    def _open(self, ax: Axes | None) -> Axes:
        """Axes to draw in, which the display keeps."""
        self.ax_ = new_figure()[1][0] if ax is None else ax
        # A panel of a subfigure belongs to the whole figure, which is what can be saved.
        self.figure_ = self.ax_.get_figure(root=True)  # type: ignore[assignment]
        return self.ax_


class ValuesDisplay(_Display):
    """Histogram of data values; with known errors, one for each kind of row.

    Parameters
    ----------
    values : array-like of shape (n_rows,)
        Data values.
    is_corrupted : array-like of bool, shape (n_rows,), optional
        Which rows carry an error.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> display = ValuesDisplay.from_predictions([0.1, 0.7, 0.8])
    >>> display.ax_.get_ylabel()
    'Number of rows'
    """

    def __init__(self, values: ArrayLike, is_corrupted: ArrayLike | None = None) -> None:
        self.values = np.asarray(values, dtype=float)
        self.is_corrupted = None if is_corrupted is None else np.asarray(is_corrupted, dtype=bool)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, is_corrupted: ArrayLike | None = None, ax: Axes | None = None
    ) -> Self:
        """Show the values of a fitted estimator.

        Parameters
        ----------
        estimator : object with ``data_values_``
        is_corrupted : array-like of bool, shape (n_rows,), optional
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ValuesDisplay
        """
        return cls(estimator.data_values_, is_corrupted).plot(ax)

    @classmethod
    def from_predictions(
        cls, values: ArrayLike, *, is_corrupted: ArrayLike | None = None, ax: Axes | None = None
    ) -> Self:
        """Show values.

        Parameters
        ----------
        values : array-like of shape (n_rows,)
        is_corrupted : array-like of bool, shape (n_rows,), optional
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ValuesDisplay
        """
        return cls(values, is_corrupted).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default a new figure.

        Returns
        -------
        self
        """
        ax = self._open(ax)
        if self.is_corrupted is None:
            bins = _bins(self.values)
            ax.hist(self.values, bins=bins, color=BLUE, edgecolor="white", linewidth=0.4)
            ax.set_ylabel("Number of rows")
            ax.set_title("Data values of the training rows")
        else:
            self._draw_kinds(ax, self.is_corrupted)
        ax.set_xlabel("Data value (low: the row does not help)")
        tidy(ax)
        return self

    def _draw_kinds(self, ax: Axes, corrupted: NDArray[np.bool_]) -> None:
        bins = _bins(self.values)
        for rows, name, colour, hatch in (
            (~corrupted, "correct rows", BLUE, None),
            (corrupted, "rows with an error", ORANGE, "///"),
        ):
            if not rows.any():
                continue
            # Shares within a kind: errors are few and would vanish among the correct rows.
            weights = np.full(int(rows.sum()), 100.0 / rows.sum())
            label = f"{name} ({int(rows.sum()):,})"
            ax.hist(self.values[rows], bins=bins, weights=weights, color=colour, alpha=0.35)
            ax.hist(
                self.values[rows],
                bins=bins,
                weights=weights,
                histtype="step",
                color=colour,
                linewidth=1.6,
                hatch=hatch,
                label=label,
            )
        ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend
        ax.set_ylabel("Percent of the rows of a kind")
        ax.set_title("Do the errors have low values?")
        ax.legend(frameon=False)


class DiscoveryDisplay(_Display):
    """How many of the known errors are found when the rows of lowest value are looked at.

    Parameters
    ----------
    curves : mapping of str to array-like of shape (n_rows,)
        Name of a method to its values.
    is_corrupted : array-like of bool, shape (n_rows,)
        Which rows carry an error.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    """

    def __init__(self, curves: Curves, is_corrupted: ArrayLike) -> None:
        self.curves = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
        self.is_corrupted = np.asarray(is_corrupted, dtype=bool)

    @classmethod
    def from_estimator(
        cls, estimator: Any, is_corrupted: ArrayLike, *, ax: Axes | None = None
    ) -> Self:
        """Show a fitted estimator beside its marginal, the control.

        Parameters
        ----------
        estimator : object with ``data_values_`` and perhaps ``marginal_values_``
        is_corrupted : array-like of bool, shape (n_rows,)
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        DiscoveryDisplay
        """
        curves = {"data values": estimator.data_values_}
        marginal = getattr(estimator, "marginal_values_", None)
        if marginal is not None:
            curves["marginal only"] = marginal
        return cls(curves, is_corrupted).plot(ax)

    @classmethod
    def from_predictions(
        cls, values: ArrayLike | Curves, is_corrupted: ArrayLike, *, ax: Axes | None = None
    ) -> Self:
        """Show values of one method or of several.

        Parameters
        ----------
        values : array-like of shape (n_rows,), or mapping of names to such
        is_corrupted : array-like of bool, shape (n_rows,)
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        DiscoveryDisplay
        """
        curves = values if isinstance(values, Mapping) else {"data values": values}
        return cls(curves, is_corrupted).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default a new figure.

        Returns
        -------
        self
        """
        from dvrl.actions.comparison import discovery

        ax = self._open(ax)
        shares = np.linspace(0.0, 1.0, 101)
        rate = 100.0 * float(self.is_corrupted.mean())
        ax.plot([0, rate, 100], [0, 100, 100], color=GREY, linewidth=1.0, label="perfect")
        for number, (name, values) in enumerate(self.curves.items()):
            colour, style, marker = LINES[number % len(LINES)]
            table = discovery(values, self.is_corrupted, list(shares))
            ax.plot(
                100 * table["share"],
                100 * table["found"],
                color=colour,
                linestyle=style,
                marker=marker,
                # Markers of different curves sit at different places, so none hides another.
                markevery=(2 + 3 * number, 12),
                markersize=4.5,
                linewidth=1.8,
                label=name,
            )
        ax.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1.2, label="random order")
        ax.set(xlim=(0, 100), ylim=(0, 102))
        ax.set_xlabel("Rows looked at, lowest values first (percent)")
        ax.set_ylabel("Errors found (percent)")
        ax.set_title("Errors found by looking at the lowest values")
        ax.legend(frameon=False, loc="lower right")
        tidy(ax)
        return self


class HistoryDisplay(_Display):
    """Reward on the validation rows over the iterations of a run.

    Parameters
    ----------
    iteration : array-like of shape (n_iterations,)
    reward : array-like of shape (n_iterations,)

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    """

    def __init__(self, iteration: ArrayLike, reward: ArrayLike) -> None:
        self.iteration = np.asarray(iteration, dtype=float)
        self.reward = np.asarray(reward, dtype=float)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None) -> Self:
        """Show the run of a fitted estimator.

        Parameters
        ----------
        estimator : object with ``history_``
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        HistoryDisplay
        """
        return cls.from_predictions(estimator.history_, ax=ax)

    @classmethod
    def from_predictions(cls, history: Any, *, ax: Axes | None = None) -> Self:
        """Show a history.

        Parameters
        ----------
        history : mapping of str to array-like, list of mappings, or frame
            With ``iteration`` and ``reward``.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        HistoryDisplay
        """
        return cls(_column(history, "iteration"), _column(history, "reward")).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default a new figure.

        Returns
        -------
        self
        """
        ax = self._open(ax)
        window = max(1, len(self.reward) // 20)
        smooth = window > 1
        ax.plot(
            self.iteration,
            self.reward,
            color=BLUE,
            linewidth=0.8 if smooth else 1.6,
            alpha=0.4 if smooth else 1.0,
            label="each iteration",
        )
        if smooth:
            mean = np.convolve(self.reward, np.full(window, 1.0 / window), mode="valid")
            ax.plot(
                self.iteration[window - 1 :],
                mean,
                color=ORANGE,
                linewidth=1.8,
                label=f"mean of the last {window}",
            )
            ax.legend(frameon=False)
        ax.set_xlabel("Outer iteration")
        ax.set_ylabel("Reward (higher is better)")
        ax.set_title("Reward on the validation rows during the run")
        tidy(ax)
        return self


class RemovalDisplay(_Display):
    """Score of a predictor while more and more rows are removed by their value.

    Lines are means over the repeats; bands reach from the lowest to the highest.

    Parameters
    ----------
    curve : pandas.DataFrame
        ``order``, ``removed``, ``repeat`` and ``score``: what
        :func:`dvrl.actions.removal_curve` gives.
    score_name : str
        For the axis.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    """

    def __init__(self, curve: pd.DataFrame, score_name: str = "Score") -> None:
        missing = {"order", "removed", "repeat", "score"} - set(curve)
        if missing:
            raise ValueError(
                f"The removal curve lacks {', '.join(sorted(missing))}; pass the frame that "
                "removal_curve gives."
            )
        self.curve = curve
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        X_test: Any,
        y_test: ArrayLike,
        *,
        predictor: Any,
        score_name: str = "Score",
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Remove rows by the values of a fitted estimator, and show what that does.

        Parameters
        ----------
        estimator : object with ``data_values_``
        X, y : array-like or frame, array-like of shape (n_rows,)
            The training rows that were valued.
        X_test, y_test : like X and y
            Rows that scores are taken on.
        predictor : scikit-learn estimator
            Trained afresh for every point.
        score_name : str
        ax : matplotlib.axes.Axes, optional
        **options
            Of :func:`dvrl.actions.removal_curve`.

        Returns
        -------
        RemovalDisplay
        """
        from dvrl.actions.removal import removal_curve

        values = estimator.data_values_
        curve = removal_curve(values, X, y, X_test, y_test, predictor=predictor, **options)
        return cls(curve, score_name).plot(ax)

    @classmethod
    def from_predictions(
        cls, curve: pd.DataFrame, *, score_name: str = "Score", ax: Axes | None = None
    ) -> Self:
        """Show a removal curve.

        Parameters
        ----------
        curve : pandas.DataFrame
        score_name : str
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        RemovalDisplay
        """
        return cls(curve, score_name).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default a new figure.

        Returns
        -------
        self
        """
        ax = self._open(ax)
        for order, part in self.curve.groupby("order", sort=False):
            colour, style, marker = REMOVAL_STYLES.get(str(order), LINES[2])
            scores = part.groupby("removed")["score"]
            removed = 100 * np.asarray(scores.mean().index, dtype=float)
            if part["repeat"].nunique() > 1:
                low, high = scores.min().to_numpy(), scores.max().to_numpy()
                ax.fill_between(removed, low, high, color=colour, alpha=0.15, linewidth=0)
            ax.plot(
                removed,
                scores.mean().to_numpy(),
                color=colour,
                linestyle=style,
                marker=marker,
                markersize=4.5,
                linewidth=1.8,
                label=str(order),
            )
        ax.set_xlabel("Rows removed (percent)")
        ax.set_ylabel(f"{self.score_name} (higher is better)")
        ax.set_title("What does removing rows by their value do?")
        ax.legend(frameon=False, loc="lower left")
        tidy(ax)
        return self


def _bins(values: NDArray[np.float64]) -> Sequence[float]:
    """Bins over the values; over a fixed small range when they are all the same."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        low, high = low - 0.05, high + 0.05
    # An odd number of bins, so that a single value sits in the middle.
    return np.linspace(low, high, 32).tolist()


def _column(history: Any, name: str) -> NDArray[np.float64]:
    if isinstance(history, list):
        return np.asarray([row[name] for row in history], dtype=float)
    return np.asarray(history[name], dtype=float)
