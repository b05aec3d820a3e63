"""Errors and warnings that users may want to catch."""

from __future__ import annotations

__all__ = ["DataValuationWarning"]


class DataValuationWarning(UserWarning):
    """The values of a run should not be used as they are; the message says what to do."""
