"""What goes wrong, as one sentence and an exit code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_INTERRUPTED",
    "EXIT_UNTRUSTED",
    "InputError",
    "collected_warnings",
    "one_sentence_errors",
    "warn",
]

EXIT_UNTRUSTED = 1


EXIT_BAD_INPUT = 2


EXIT_INTERRUPTED = 130


class InputError(Exception):
    """Bad input: one sentence with the cause and the fix."""


@contextmanager
def one_sentence_errors(ctx: typer.Context, checkpoint: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong into one sentence and an exit code."""
    debug = bool(ctx.obj)
    try:
        yield
    except KeyboardInterrupt:
        kept = ""
        if checkpoint is not None and checkpoint.exists():
            kept = f" The run is kept in {checkpoint}; continue with --resume."
        _fail(f"Interrupted.{kept}", EXIT_INTERRUPTED)
    except (InputError, ValueError, TypeError, OSError) as error:
        if debug:
            raise
        _fail(f"error: {error}", EXIT_BAD_INPUT)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Keep what the library warns about, to be shown as lines after the work."""
    from dvrl.exceptions import DataValuationWarning

    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DataValuationWarning)
        yield messages
    messages.extend(str(entry.message) for entry in caught)


def warn(messages: Sequence[str]) -> None:
    """Say each warning once, also when the rest is quiet."""
    for message in dict.fromkeys(messages):
        typer.echo(f"warning: {message}", err=True)
