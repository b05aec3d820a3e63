"""``python -m dvrl.cli``."""

from __future__ import annotations

from dvrl.cli.base import main

main()
