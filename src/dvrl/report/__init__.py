"""Figures about values and runs."""

from __future__ import annotations

from dvrl.report.figures import plot_discovery, plot_history, plot_values, save_figure

__all__ = ["plot_discovery", "plot_history", "plot_values", "save_figure"]
