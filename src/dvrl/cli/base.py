"""The Typer application that every command joins."""

from __future__ import annotations

from typing import Annotated

import typer

from dvrl.cli.compiled import keep_compiled_code

__all__ = ["EXIT_CODES", "app", "main"]

EXIT_CODES = (
    "Exit codes: 0 fine; 1 the run is flagged as not trustworthy (only with --strict); 2 wrong "
    "usage or bad input, with one sentence on standard error; 130 interrupted by Ctrl-C."
)


app = typer.Typer(
    name="dvrl",
    help="How much does each training row help? Data valuation by reinforcement learning.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Run the command line; the entry point of the ``dvrl`` command."""
    keep_compiled_code()
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        import dvrl

        typer.echo(f"dvrl {dvrl.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    ctx: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, for bug reports.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    ctx.obj = debug
