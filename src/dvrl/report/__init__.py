"""Figures about values and runs."""

from __future__ import annotations

from dvrl.report.displays import DiscoveryDisplay, HistoryDisplay, RemovalDisplay, ValuesDisplay
from dvrl.report.figures import (
    plot_discovery,
    plot_history,
    plot_removal,
    plot_values,
    save_figure,
)

__all__ = [
    "DiscoveryDisplay",
    "HistoryDisplay",
    "RemovalDisplay",
    "ValuesDisplay",
    "plot_discovery",
    "plot_history",
    "plot_removal",
    "plot_values",
    "save_figure",
]
