"""What the user gets to see: text, tables, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "N_LOWEST_SHOWN",
    "PlainLines",
    "Progress",
    "Screen",
    "cell",
    "duration",
    "print_lowest",
    "print_summary",
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


class Screen:
    """What a command says on standard output; nothing where it is to be quiet."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self.quiet = quiet
        self.started = time.perf_counter()
        # Files and pipes have no width of their own; 80 columns would cut tables.
        width = None if sys.stdout.isatty() else 110
        self.console = Console(quiet=quiet, highlight=False, width=width)

    def say(self, message: str) -> None:
        """Print text as it is: a path may hold what Rich takes for markup, or be long."""
        self.console.print(message, markup=False, soft_wrap=True)

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; the first column stands left, the others right."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table)

    def wrote(self, *files: Path | None) -> None:
        """Say which files were written and how long the command took."""
        for file in files:
            if file is not None:
                self.say(f"Wrote {file}")
        self.say(f"Took {duration(time.perf_counter() - self.started)}.")


def print_summary(screen: Screen, valuer: Any) -> None:
    """Say what a run found: the lowest values, and its numbers."""
    screen.say(f"{len(valuer.data_values_):,} rows valued.")
    held_out = valuer.validation_indices_
    if held_out is not None:
        screen.say(f"{len(held_out):,} of the rows were held out as validation rows.")
    share = min(1.0, N_LOWEST_SHOWN / len(valuer.data_values_))
    print_lowest(screen, "Lowest values", valuer.suspects(fraction=share))
    for line in str(valuer.diagnostics_).splitlines():
        if not line.startswith("!"):  # these are the warnings, which follow
            screen.say(line)


def print_lowest(screen: Screen, title: str, rows: pd.DataFrame) -> None:
    """The first of a table of suspects; reasons are too long for a screen."""
    rows = rows.head(N_LOWEST_SHOWN).drop(columns="reason").dropna(axis=1, how="all")
    names = [str(name) for name in rows.columns]
    screen.table(
        title,
        (str(rows.index.name or "row"), *(name.replace("_", " ") for name in names)),
        [
            [str(row[0]), *(cell(entry, name) for entry, name in zip(row[1:], names, strict=True))]
            for row in rows.itertuples(name=None)
        ],
    )


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
