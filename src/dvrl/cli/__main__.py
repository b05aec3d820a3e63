"""``python -m dvrl.cli``."""

from __future__ import annotations

from dvrl.cli.base import main

if __name__ == "__main__":  # tools that look at every module import this one too
    main()
