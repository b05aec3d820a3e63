"""Figures about values and runs, and the HTML report."""

from __future__ import annotations

from dvrl.report.adaptation import write_adaptation_report
from dvrl.report.figures import (
    plot_discovery,
    plot_history,
    plot_removal,
    plot_values,
    save_figure,
)
from dvrl.report.html import report_of, write_report

__all__ = [
    "plot_discovery",
    "plot_history",
    "plot_removal",
    "plot_values",
    "report_of",
    "save_figure",
    "write_adaptation_report",
    "write_report",
]
