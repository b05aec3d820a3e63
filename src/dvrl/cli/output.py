"""What the user gets to see: text, tables, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = [
    "N_LOWEST_SHOWN",
    "PlainLines",
    "Progress",
    "cell",
    "duration",
    "make_console",
    "print_summary",
    "print_table",
    "print_written",
    "say",
    "show_progress",
    "with_row_names",
]

N_LOWEST_SHOWN = 10


# Columns whose numbers lie between 0 and 1.
SHARE_COLUMNS = ("data_value", "data_value_std", "marginal", "label_probability")


class Progress(Protocol):
    """What an estimator tells its callback."""

    iteration: int
    total: int
    reward: float
    seconds_elapsed: float
    seconds_left: float | None


def make_console(quiet: bool = False) -> Console:
    """Where results are printed."""
    from rich.console import Console

    # Files and pipes have no width of their own; 80 columns would cut tables.
    width = None if sys.stdout.isatty() else 110
    return Console(quiet=quiet, highlight=False, width=width)


def say(console: Console, message: str) -> None:
    """Print text as it is: a path may hold what Rich takes for markup, or be long."""
    console.print(message, markup=False, soft_wrap=True)


def print_table(
    console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table; the first column stands left, the others right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def print_written(console: Console, files: Sequence[Path], started: float) -> None:
    """Say which files were written and how long it took."""
    for file in files:
        say(console, f"Wrote {file}")
    say(console, f"Took {duration(time.perf_counter() - started)}.")


def print_summary(console: Console, valuer: Any, valid: Path | None) -> None:
    """Say what a run found: the lowest values, and its numbers."""
    if console.quiet:
        return
    values = valuer.data_values_
    say(console, f"{len(values):,} rows valued.")
    held_out = getattr(valuer, "validation_indices_", None)
    if valid is None and held_out is not None:
        say(console, f"{len(held_out):,} of the rows were held out as validation rows.")
    share = min(1.0, N_LOWEST_SHOWN / len(values))
    lowest = valuer.suspects(fraction=share).head(N_LOWEST_SHOWN).drop(columns="reason")
    lowest = lowest.dropna(axis=1, how="all")
    print_table(
        console,
        "Lowest values",
        (str(lowest.index.name or "row"), *(name.replace("_", " ") for name in lowest.columns)),
        [
            [cell(entry, name) for entry, name in zip(row, ("", *lowest.columns), strict=True)]
            for row in lowest.itertuples()
        ],
    )
    for line in str(valuer.diagnostics_).splitlines():
        if not line.startswith("!"):  # these are the warnings, which follow
            say(console, line)


def cell(entry: Any, column: str) -> str:
    """Write an entry of a table for people."""
    if not isinstance(entry, float):
        return str(entry)
    return f"{entry:.3f}" if column in SHARE_COLUMNS else f"{entry:.4g}"


def duration(seconds: float) -> str:
    """Write a time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@contextmanager
def show_progress(
    title: str, *, quiet: bool = False
) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that shows the progress on standard error.

    A moving bar on a terminal; elsewhere, such as in a log file, a line now and then.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(title) as callback:
            yield callback
    else:
        yield PlainLines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(title, total=None, detail="preparing")

        def callback(progress: Any) -> None:
            bar.update(
                line,
                total=progress.total,
                completed=progress.iteration,
                detail=_progress_detail(progress),
            )

        yield callback


class PlainLines:
    """Progress as lines: at the first report, then every tenth of the run or half a minute."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.next_share = 0.0
        self.next_time = 0.0

    def __call__(self, progress: Progress) -> None:
        """Print a line, if it is time for one."""
        share = progress.iteration / max(progress.total, 1)
        if share < min(self.next_share, 1.0) and progress.seconds_elapsed < self.next_time:
            return
        self.next_share = share + 0.1
        self.next_time = progress.seconds_elapsed + 30.0
        typer.echo(
            f"{self.title}: {progress.iteration} of {progress.total}, {_progress_detail(progress)}",
            err=True,
        )


def _progress_detail(progress: Any) -> str:
    detail = f"reward {progress.reward:.4f}"
    if progress.seconds_left is not None and progress.iteration < progress.total:
        detail += f", {duration(progress.seconds_left)} left"
    return detail


def with_row_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the index into the first column; without an id column it is the row number."""
    return frame.reset_index(names=str(frame.index.name or "row"))
