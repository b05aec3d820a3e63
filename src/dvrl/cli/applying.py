"""``dvrl apply``: a table cleaned as it was reviewed in a report."""

from __future__ import annotations

from dvrl.cli.base import command
from dvrl.cli.errors import warn
from dvrl.cli.inputs import check_files, listed
from dvrl.cli.options import (
    TABLE_ENDINGS,
    IdColumn,
    OptionalTarget,
    Output,
    Quiet,
    Review,
    Train,
)
from dvrl.cli.output import Screen

__all__ = ["apply"]


@command()
def apply(
    train: Train,
    review: Review,
    output: Output,
    id_column: IdColumn = None,
    target: OptionalTarget = None,
    quiet: Quiet = False,
) -> None:
    """Clean a table as it was reviewed in a report.

    Drops and relabels the rows that the review says; all else stays as it is. Relabelling needs
    --target.

    [bold]Example:[/bold] dvrl apply train.csv --review review.csv --target income -o cleaned.csv
    """
    check_files([train, review], (output, TABLE_ENDINGS))
    from dvrl.actions.review import apply_review

    screen = Screen(quiet)
    done = apply_review(train, review, output, id_column=id_column, target=target)
    screen.say(
        f"{done.n_relabelled:,} relabelled, {done.n_dropped:,} dropped, {done.n_kept:,} kept on "
        f"purpose; {done.n_rows:,} rows in all."
    )
    if done.unseen_labels:
        new = listed(done.unseen_labels)
        warn([f"new labels that no row had before: {new}. Check their spelling."])
    screen.wrote(output)
