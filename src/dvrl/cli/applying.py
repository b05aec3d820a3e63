"""``dvrl apply``: a table cleaned as it was reviewed in a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import one_sentence_errors, warn
from dvrl.cli.inputs import check_distinct, check_inputs, check_output, listed
from dvrl.cli.options import TABLE_ENDINGS, Quiet
from dvrl.cli.output import make_console, print_written, say

__all__ = ["apply"]


@app.command(epilog=EXIT_CODES)
def apply(
    ctx: typer.Context,
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="The table that was reviewed.")],
    review: Annotated[
        Path, typer.Option(help="Decisions exported from the report: id, decision, new_label.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ],
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="Column that names the rows; by default their numbers, from 0."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column of the labels; needed when rows are relabelled.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Clean a table as it was reviewed in a report.

    Drops and relabels the rows that the review says; all else stays as it is.

    [bold]Example:[/bold] dvrl apply train.csv --review review.csv --target income -o cleaned.csv
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        check_inputs([train, review])
        check_output(output, TABLE_ENDINGS)
        check_distinct([train, review, output])

        from dvrl.actions.review import apply_review

        console = make_console(quiet=quiet)
        done = apply_review(train, review, output, id_column=id_column, target=target)
        say(
            console,
            f"{done.n_relabelled:,} relabelled, {done.n_dropped:,} dropped, {done.n_kept:,} kept "
            f"on purpose; {done.n_rows:,} rows in all.",
        )
        if done.unseen_labels:
            new = listed(done.unseen_labels)
            warn([f"new labels that no row had before: {new}. Check their spelling."])
        print_written(console, [output], started)
