"""``dvrl detect``: the rows that look wrong, with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.cli.base import command
from dvrl.cli.errors import InputError
from dvrl.cli.inputs import check_files
from dvrl.cli.options import (
    REPORT_ENDINGS,
    TABLE_ENDINGS,
    KnownErrors,
    ListedFraction,
    Output,
    RowOptions,
    RunOptions,
)
from dvrl.cli.output import N_LOWEST_SHOWN, Screen, print_lowest, with_row_names
from dvrl.cli.running import Valuation, read_training_rows, value_rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["detect"]

# Columns of the table of suspects; an id column of the same name could not stand beside them.
SUSPECT_COLUMNS = (
    "label",
    "expected_label",
    "label_probability",
    "nearest_agreeing",
    "nearest_disagreeing",
    "reason",
)
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@command()
def detect(
    rows: RowOptions,
    run: RunOptions,
    known_errors: KnownErrors = None,
    output: Output = Path("suspects.csv"),
    fraction: ListedFraction = 0.1,
) -> None:
    """List the rows that are most likely wrong, with a reason for each.

    For each row: its label, the label that the reference model expects, how likely its own label
    is, and the most similar rows of high value with the same and with another label.

    [bold]Example:[/bold] dvrl detect train.csv --target income --valid valid.csv -o suspects.csv
    """
    check_files([rows.train, rows.valid], (output, TABLE_ENDINGS), (run.report, REPORT_ENDINGS))
    if rows.id_column in SUSPECT_COLUMNS:
        raise InputError(f"{rows.id_column!r} is a column of the output; rename the --id column.")
    from dvrl.diagnostics.suspects import explain_suspects
    from dvrl.files.tables import write_table

    screen = Screen(run.quiet)
    read = read_training_rows(screen, rows, [known_errors] if known_errors else [])
    known = _marks(read.left_out[known_errors]) if known_errors else None
    valuation = value_rows(screen, read, run)
    suspects = explain_suspects(valuation.valuer, read.X, read.y, fraction)
    write_table(with_row_names(suspects), output)
    shown = min(N_LOWEST_SHOWN, len(suspects))
    print_lowest(screen, f"{shown} of {len(suspects):,} suspects, worst first", suspects)
    sections = {} if known is None else _detection(screen, valuation, known)
    title = f"Which rows of {rows.train.name} look wrong?"
    valuation.write_report(run.report, title=title, suspects=suspects, **sections)
    screen.wrote(output, run.report)
    valuation.finish(run.strict)


def _marks(column: pd.Series[Any]) -> NDArray[np.bool_]:
    """Which rows are known to be wrong, from a column of yes and no."""
    import numpy as np

    name = str(column.name)
    words = column.map(lambda entry: str(entry).lower().removesuffix(".0"))
    unknown = [word for word in words.unique() if word not in TRUTH]
    if unknown:
        raise InputError(
            f"The column {name!r} of known errors holds {unknown[0]!r}; use true and false, yes "
            "and no, or 1 and 0."
        )
    marks = words.map(TRUTH).to_numpy(dtype=bool)
    if marks.all() or not marks.any():
        raise InputError(f"The column {name!r} of known errors marks no row, or every row.")
    return np.asarray(marks)


def _detection(screen: Screen, run: Valuation, known: NDArray[np.bool_]) -> dict[str, Any]:
    """Say how well known errors are found; the sections of a report about that."""
    from dvrl.actions.comparison import detection_scores, discovery

    values = run.valuer.data_values_
    scores = detection_scores(values, known)
    headline = (
        f"Of {int(known.sum()):,} rows known to be wrong, {scores['recall_at_noise_rate']:.0%} are "
        f"among as many rows of lowest value (AUROC {scores['auroc']:.3f}; a random order finds "
        f"{known.mean():.0%})."
    )
    screen.say(headline)
    return {"headline": headline, "discovery": discovery(values, known)}
