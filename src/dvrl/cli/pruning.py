"""``dvrl prune``: the table without the rows of lowest value."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import collected_warnings, one_sentence_errors
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
from dvrl.cli.output import make_console, print_table, print_written, say
from dvrl.cli.running import (
    REPORT_ENDINGS,
    Valuation,
    read_training_rows,
    value_rows,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from dvrl.actions.removal import FractionChoice

__all__ = ["prune"]

CURVE_REPEATS = 3


@app.command(epilog=EXIT_CODES)
def prune(
    ctx: typer.Context,
    train: TrainTable,
    target: Target,
    valid: Valid = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Table of test rows: shows what removing rows does on them."),
    ] = None,
    id_column: IdColumn = None,
    drop: Drop = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ] = Path("pruned.csv"),
    fraction: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            help="Share of the rows to remove; by default chosen on the validation rows.",
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
    """Write the table without the rows of lowest value.

    How many to remove is chosen on the validation rows: the fewest that do as well as the best
    share, give or take one standard error. Rows keep all of their columns and their order.

    [bold]Example:[/bold] dvrl prune train.csv --target income --valid valid.csv -o pruned.csv
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        check_inputs([train, valid, test])
        check_output(output, TABLE_ENDINGS)
        if report is not None:
            check_output(report, REPORT_ENDINGS)
        check_distinct([train, valid, test, output, report])

        from dvrl.actions import removal
        from dvrl.files.tables import copy_rows

        console = make_console(quiet=quiet)
        rows = read_training_rows(
            console, train, target, valid=valid, id_column=id_column, task=task, left_out=drop or ()
        )
        tested = None if test is None else rows.others(test, target)
        model = rows.model(predictor, seed)
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
        headline = f"{fraction or 0.0:.0%} of the rows were removed, as asked for."
        if fraction is None:
            choice = removal.choose_fraction(
                *run.split, predictor=model, n_jobs=n_jobs, random_state=seed
            )
            fraction = choice.fraction
            headline = _print_choice(console, choice, len(run.split.y_val))
        with collected_warnings() as caught:
            kept = removal.prune(run.valuer.data_values_, rows.X, rows.y, fraction)
        copy_rows(train, kept.rows, output)
        written = [output]
        say(console, f"{len(kept.rows):,} of {len(rows.y):,} rows kept.")
        if tested is not None or report is not None:
            curve = _curve(run, tested, model, n_jobs, seed)
            _print_curve(console, curve, run, on_test=tested is not None)
        if report is not None:
            run.write_report(
                report,
                title=f"Which rows of {train.name} can go?",
                headline=headline,
                removal=curve,
            )
            written.append(report)
        print_written(console, written, started)
        run.finish(strict, caught)


def _print_choice(console: Console, choice: FractionChoice, n_valid: int) -> str:
    """Say what was chosen and why."""
    scores = dict(zip(choice.table["removed"], choice.table["score"], strict=True))
    if choice.fraction == 0.0:
        headline = (
            f"No rows are removed: on {n_valid:,} validation rows no share is better than all rows "
            "by more than one standard error."
        )
    else:
        gain = scores[choice.fraction] - choice.table["score"].iloc[0]
        headline = (
            f"{choice.fraction:.0%} of the rows are removed: the smallest share within one "
            f"standard error of the best ({choice.best:.0%}) on {n_valid:,} validation rows, "
            f"{gain:+.3g} in the score."
        )
    say(console, headline)
    return headline


def _curve(run: Valuation, tested: Any, model: Any, n_jobs: int | None, seed: int) -> pd.DataFrame:
    from dvrl.actions.removal import removal_curve

    values, X, y, X_other, y_other = run.split
    if tested is not None:
        X_other, y_other = tested
    return removal_curve(
        values,
        X,
        y,
        X_other,
        y_other,
        predictor=model,
        repeats=CURVE_REPEATS,
        n_jobs=n_jobs,
        random_state=seed,
    )


def _print_curve(console: Console, curve: pd.DataFrame, run: Valuation, on_test: bool) -> None:
    if console.quiet:
        return
    means = curve.groupby(["removed", "order"], sort=False)["score"].mean().unstack("order")
    metric = "accuracy" if run.rows.task is Task.classification else "R2"
    rows = "test" if on_test else "validation"
    print_table(
        console,
        f"Mean {metric} on the {rows} rows",
        ("removed", *map(str, means.columns)),
        [
            (f"{removed:.0%}", *(f"{score:.3f}" for score in scores))
            for removed, scores in zip(means.index, means.to_numpy(), strict=True)
        ],
    )
    if not on_test:
        say(console, "The values have seen these rows; add --test for rows they have not.")
