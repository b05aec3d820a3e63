"""``dvrl detect``: the rows that look wrong, with reasons."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import InputError, one_sentence_errors
from dvrl.cli.inputs import check_distinct, check_inputs, check_output
from dvrl.cli.options import (
    TABLE_ENDINGS,
    Drop,
    EnsembleSize,
    IdColumn,
    Jobs,
    MaxSeconds,
    Metric,
    OuterIterations,
    PredictorName,
    Preset,
    PresetName,
    Quiet,
    Report,
    Seed,
    Strict,
    Target,
    Task,
    TaskName,
    TrainTable,
    Valid,
)
from dvrl.cli.output import (
    N_LOWEST_SHOWN,
    cell,
    make_console,
    print_table,
    print_written,
    say,
    with_row_names,
)
from dvrl.cli.running import (
    REPORT_ENDINGS,
    Valuation,
    read_training_rows,
    value_rows,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from rich.console import Console

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


@app.command(epilog=EXIT_CODES)
def detect(
    ctx: typer.Context,
    train: TrainTable,
    target: Target,
    valid: Valid = None,
    id_column: IdColumn = None,
    drop: Drop = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table of suspects to write (.csv or .parquet).")
    ] = Path("suspects.csv"),
    fraction: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Share of the rows to list, lowest first.")
    ] = 0.1,
    known_errors: Annotated[
        str | None,
        typer.Option(
            help="Column of TRAIN that marks rows known to be wrong (yes/no); not a feature. "
            "Shows how many of them are found."
        ),
    ] = None,
    report: Report = None,
    task: TaskName = Task.auto,
    predictor: PredictorName = None,
    metric: Metric = None,
    preset: PresetName = Preset.default,
    seed: Seed = 0,
    outer_iterations: OuterIterations = None,
    ensemble_size: EnsembleSize = None,
    max_seconds: MaxSeconds = None,
    n_jobs: Jobs = None,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """List the rows that are most likely wrong, with a reason for each.

    For each row: its label, the label that the reference model expects, how likely its own label
    is, and the most similar rows of high value with the same and with another label.

    [bold]Example:[/bold] dvrl detect train.csv --target income --valid valid.csv -o suspects.csv
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        check_inputs([train, valid])
        _check_outputs(output, report, id_column)
        check_distinct([train, valid, output, report])

        from dvrl.diagnostics.suspects import explain_suspects
        from dvrl.files.tables import write_table

        console = make_console(quiet=quiet)
        left_out = [*(drop or ()), *([known_errors] if known_errors else [])]
        rows = read_training_rows(
            console, train, target, valid=valid, id_column=id_column, task=task, left_out=left_out
        )
        known = _marks(rows.left_out[known_errors]) if known_errors else None
        run = value_rows(
            console,
            rows,
            predictor,
            seed,
            preset=preset.value,
            metric=metric,
            settings={"outer_iterations": outer_iterations, "ensemble_size": ensemble_size},
            max_seconds=max_seconds,
            n_jobs=n_jobs,
        )
        suspects = explain_suspects(run.valuer, rows.X, rows.y, fraction)
        write_table(with_row_names(suspects), output)
        written = [output]
        _print_suspects(console, suspects)
        sections = {} if known is None else _detection(console, run, known)
        if report is not None:
            run.write_report(
                report,
                title=f"Which rows of {train.name} look wrong?",
                suspects=suspects,
                **sections,
            )
            written.append(report)
        print_written(console, written, started)
        run.finish(strict)


def _check_outputs(output: Path, report: Path | None, id_column: str | None) -> None:
    check_output(output, TABLE_ENDINGS)
    if report is not None:
        check_output(report, REPORT_ENDINGS)
    if id_column in SUSPECT_COLUMNS:
        raise InputError(f"{id_column!r} is a column of the output; rename the --id column.")


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


def _print_suspects(console: Console, suspects: pd.DataFrame) -> None:
    if console.quiet:
        return
    shown = [str(name) for name in suspects.drop(columns="reason").dropna(axis=1, how="all")]
    print_table(
        console,
        f"{min(N_LOWEST_SHOWN, len(suspects))} of {len(suspects):,} suspects, worst first",
        (str(suspects.index.name or "row"), *(name.replace("_", " ") for name in shown)),
        [
            [str(name), *(cell(row[column], column) for column in shown)]
            for name, row in suspects.head(N_LOWEST_SHOWN).iterrows()
        ],
    )


def _detection(console: Console, run: Valuation, known: NDArray[np.bool_]) -> dict[str, Any]:
    """Say how well known errors are found; the sections of a report about that."""
    from dvrl.actions.comparison import detection_scores, discovery

    scores = detection_scores(run.valuer.data_values_, known)
    found = scores["recall_at_noise_rate"]
    headline = (
        f"Of {int(known.sum()):,} rows known to be wrong, {found:.0%} are among as many rows of "
        f"lowest value (AUROC {scores['auroc']:.3f}; a random order finds {known.mean():.0%})."
    )
    say(console, headline)
    return {
        "headline": headline,
        "discovery": discovery(run.valuer.data_values_, known),
    }
