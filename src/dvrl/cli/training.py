"""``dvrl train``: a model that the wrong rows hardly touch."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import InputError, one_sentence_errors
from dvrl.cli.inputs import check_distinct, check_inputs, check_output
from dvrl.cli.options import (
    MODEL_NAME,
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

__all__ = ["train_model"]


class FinalModel(StrEnum):
    """The model that is trained in the end."""

    logistic = "logistic"
    ridge = "ridge"
    mlp = "mlp"
    random_forest = "random_forest"
    gradient_boosting = "gradient_boosting"


class Scheme(StrEnum):
    """How the values are used."""

    weights = "weights"
    pruning = "pruning"


class FinalRows(StrEnum):
    """What the model is trained on in the end."""

    training = "training"
    both = "both"


@app.command("train", epilog=EXIT_CODES)
def train_model(
    ctx: typer.Context,
    train: TrainTable,
    target: Target,
    valid: Valid = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Table of test rows: compares ways to train on them."),
    ] = None,
    id_column: IdColumn = None,
    drop: Drop = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where to save the model, for `dvrl score`."),
    ] = Path(MODEL_NAME),
    final_model: Annotated[
        FinalModel | None,
        typer.Option(
            "--final",
            help="The model to train; by default the predictor the rows are valued for.",
            show_default=False,
        ),
    ] = None,
    scheme: Annotated[
        Scheme,
        typer.Option(help="Use the values as weights of the rows, or remove the lowest rows."),
    ] = Scheme.weights,
    fraction: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            help="Share that pruning removes; by default chosen on the validation rows.",
        ),
    ] = None,
    final_rows: Annotated[
        FinalRows,
        typer.Option(help="Train on the validation rows (--valid), too, with weight 1: both."),
    ] = FinalRows.training,
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
    """Train a model with the values as weights, or without the rows of lowest value.

    The model need not be the predictor that the rows are valued for. It is saved without pickle;
    `dvrl score` predicts with it.

    [bold]Example:[/bold] dvrl train train.csv --target income --valid valid.csv --test test.csv
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        if output.is_dir():
            output = output / MODEL_NAME
        check_inputs([train, valid, test])
        check_output(output, ())
        if report is not None:
            check_output(report, REPORT_ENDINGS)
        check_distinct([train, valid, test, output, report])
        if final_rows is FinalRows.both and valid is None:
            raise InputError("--final-rows both trains on validation rows; name them with --valid.")

        from dvrl.actions.removal import choose_fraction
        from dvrl.actions.robust import train_robust, with_predictor

        console = make_console(quiet=quiet)
        rows = read_training_rows(
            console, train, target, valid=valid, id_column=id_column, task=task, left_out=drop or ()
        )
        tested = None if test is None else rows.others(test, target)
        model = rows.model(final_model or predictor, seed)
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
        if scheme is Scheme.pruning and fraction is None:
            choice = choose_fraction(*run.split, predictor=model, n_jobs=n_jobs, random_state=seed)
            fraction = choice.fraction
        fitted = train_robust(
            run.valuer,
            rows.X,
            rows.y,
            model,
            scheme=scheme.value,
            fraction=fraction,
            final_rows=final_rows.value,
            X_val=run.split.X_val,
            y_val=run.split.y_val,
        )
        with_predictor(run.valuer, fitted).save(output)
        written = [output]
        headline = _headline(model, scheme, fraction, len(rows.y), final_rows)
        say(console, headline)
        comparison = None if tested is None else _compare(run, tested, model, fraction)
        if comparison is not None:
            _print_comparison(console, run, comparison)
        if report is not None:
            run.write_report(
                report,
                title=f"A robust model from {train.name}",
                headline=headline,
                comparison=comparison,
            )
            written.append(report)
        print_written(console, written, started)
        run.finish(strict)


def _headline(
    model: Any, scheme: Scheme, fraction: float | None, n_rows: int, final_rows: FinalRows
) -> str:
    """What was trained, on what."""
    name = type(model).__name__
    more = " Validation rows were trained on, too." if final_rows is FinalRows.both else ""
    if scheme is Scheme.weights:
        return f"{name} trained on {n_rows:,} rows with the data values as weights.{more}"
    left = n_rows - round((fraction or 0.0) * n_rows)
    return f"{name} trained on {left:,} of {n_rows:,} rows, without those of lowest value.{more}"


def _compare(run: Valuation, tested: Any, model: Any, fraction: float | None) -> pd.DataFrame:
    from dvrl.actions.comparison import robust_comparison

    split = run.split
    return robust_comparison(
        run.split_valuer,
        split.X,
        split.y,
        split.X_val,
        split.y_val,
        *tested,
        predictor=model,
        prune_fraction="auto" if fraction is None else fraction,
    )


def _print_comparison(console: Console, run: Valuation, comparison: pd.DataFrame) -> None:
    if console.quiet:
        return
    metric = "accuracy" if run.rows.task is Task.classification else "R2"
    print_table(
        console,
        f"On the test rows ({metric})",
        ("trained on", "rows", metric),
        [(str(row.scheme), f"{row.rows:,}", f"{row.score:.3f}") for row in comparison.itertuples()],
    )
