"""The Typer application that every command joins."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Annotated, Any, TypeVar

import typer

from dvrl.cli.compiled import keep_compiled_code
from dvrl.cli.errors import one_sentence_errors
from dvrl.cli.options import PANELS

__all__ = ["app", "command", "main"]

KEYWORD = inspect.Parameter.KEYWORD_ONLY
CONTEXT = inspect.Parameter("ctx", KEYWORD, annotation=typer.Context)
Function = TypeVar("Function", bound=Callable[..., None])

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


def command(name: str | None = None) -> Callable[[Function], Function]:
    """Register a command, errors of which are one sentence.

    A parameter whose annotation is a record (a dataclass) stands for its fields: each is an
    option, and the command is given the record.

    Parameters
    ----------
    name : str, optional
        By default that of the function.

    Returns
    -------
    callable
        Decorator, which leaves the function as it is.
    """

    def register(function: Function) -> Function:
        taken = inspect.signature(function, eval_str=True).parameters
        records = {
            name: (one.annotation, inspect.signature(one.annotation, eval_str=True).parameters)
            for name, one in taken.items()
            if isinstance(one.annotation, type) and is_dataclass(one.annotation)
        }

        def run(ctx: typer.Context, **given: Any) -> None:
            with one_sentence_errors(ctx, checkpoint=given.get("checkpoint")):
                for name, (record, fields) in records.items():
                    given[name] = record(**{field: given.pop(field) for field in fields})
                function(**given)

        options = [one for name, one in taken.items() if name not in records]
        options += [field for _, fields in records.values() for field in fields.values()]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [CONTEXT, *(one.replace(kind=KEYWORD) for one in sorted(options, key=_panel))]
        )
        run.__doc__ = function.__doc__
        app.command(name or function.__name__, epilog=EXIT_CODES)(run)
        return function

    return register


def _panel(option: inspect.Parameter) -> int:
    """The place of an option's panel in the help; arguments come first."""
    [declared] = option.annotation.__metadata__
    return -1 if declared.rich_help_panel is None else PANELS.index(declared.rich_help_panel)


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
