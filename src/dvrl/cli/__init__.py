"""The ``dvrl`` command.

Heavy imports stay inside the commands, so that ``dvrl --help`` answers at once.
"""

from __future__ import annotations

# Every module of commands registers them with the application.
from dvrl.cli import adapting, applying, comparing, demo, detecting, pruning, training, valuing
from dvrl.cli.base import app, main

__all__ = [
    "adapting",
    "app",
    "applying",
    "comparing",
    "demo",
    "detecting",
    "main",
    "pruning",
    "training",
    "valuing",
]
