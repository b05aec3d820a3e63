"""``dvrl value`` and ``dvrl score``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import InputError, one_sentence_errors
from dvrl.cli.inputs import (
    check_distinct,
    check_inputs,
    check_output,
    read_rows,
    same_columns,
)
from dvrl.cli.options import (
    MODEL_NAME,
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
from dvrl.cli.output import make_console, print_summary, print_written, say, with_row_names
from dvrl.cli.running import REPORT_ENDINGS, read_training_rows, value_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["score", "value"]


@app.command(epilog=EXIT_CODES)
def value(
    ctx: typer.Context,
    train: TrainTable,
    target: Target,
    valid: Valid = None,
    id_column: IdColumn = None,
    drop: Drop = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ] = Path("values.parquet"),
    figure: Annotated[
        Path | None, typer.Option(help="Picture of the values (.png, .svg or .pdf).")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help=f"Where to save the fitted estimator for `dvrl score`: a file, or an existing "
            f"folder, which gets {MODEL_NAME}."
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
    checkpoint: Annotated[
        Path | None, typer.Option(help="File that keeps the state of the run.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
    n_jobs: Jobs = None,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Value the rows of a table.

    Low values point at rows that do not help, such as rows with a wrong label.

    [bold]Example:[/bold] dvrl value train.csv --target income --valid valid.csv -o values.parquet
    """
    with one_sentence_errors(ctx, checkpoint=checkpoint):
        started = time.perf_counter()
        if model is not None and model.is_dir():
            model = model / MODEL_NAME
        if resume and checkpoint is None:
            raise InputError("--resume needs to know from where; add --checkpoint FILE.")
        check_inputs([train, valid])
        _check_value_outputs([train, valid], output, figure, report, model, checkpoint)

        from dvrl.files.tables import write_table

        console = make_console(quiet=quiet)
        rows = read_training_rows(
            console, train, target, valid=valid, id_column=id_column, task=task, left_out=drop or ()
        )
        run = value_rows(
            console,
            rows,
            predictor,
            seed,
            preset=preset.value,
            metric=metric,
            settings={"outer_iterations": outer_iterations, "ensemble_size": ensemble_size},
            max_seconds=max_seconds,
            checkpoint=checkpoint,
            resume=resume,
            n_jobs=n_jobs,
        )
        write_table(with_row_names(run.valuer.to_frame()), output)
        written = [output]
        if figure is not None:
            _draw(run.valuer, figure)
            written.append(figure)
        if report is not None:
            run.write_report(report, title=f"What are the rows of {train.name} worth?")
            written.append(report)
        if model is not None:
            run.valuer.save(model)
            written.append(model)
        print_summary(console, run.valuer, valid)
        print_written(console, written, started)
        run.finish(strict)


@app.command(epilog=EXIT_CODES)
def score(
    ctx: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="What `dvrl value`, `train` or `adapt` saved.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Table of rows (.csv or .parquet).")],
    target: Annotated[
        str | None,
        typer.Option(help="Column with the labels. Values need it; predictions do not."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that names the rows; kept in the output.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ] = Path("scored.parquet"),
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="Type from another package that MODEL may create; may be repeated. The error "
            "names the types. Only for files from people you trust.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No summary; warnings and errors only.")
    ] = False,
) -> None:
    """Value and predict rows that were not in the training table.

    [bold]Example:[/bold] dvrl score model.dvrl new.csv --target income -o scored.parquet
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        if model.is_dir():
            model = model / MODEL_NAME
        check_inputs([model, file])
        check_output(output, TABLE_ENDINGS)
        check_distinct([model, file, output])

        import dvrl
        from dvrl.files.tables import write_table

        console = make_console(quiet=quiet)
        try:
            valuer = dvrl.load(model, trusted=tuple(trust or ()))
        except ValueError as error:
            hint = " On the command line, add --trust TYPE for each of them."
            raise InputError(f"{error}{hint if 'trusted=' in str(error) else ''}") from error
        X, y = read_rows(file, target, id_column)
        X = same_columns(X, list(valuer.feature_names_in_), file)
        scored = _scored(valuer, X, y)
        if "data_value" not in scored:
            why = "No --target given" if y is None else "The model is adapted to another domain"
            say(console, f"{why}: predictions only, no values.")
        write_table(with_row_names(scored), output)
        print_written(console, [output], started)


def _scored(valuer: Any, X: pd.DataFrame, y: Any) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    if y is not None and hasattr(valuer, "value"):
        columns["data_value"] = valuer.value(X, y)
    columns["prediction"] = valuer.predict(X)
    if hasattr(valuer, "predict_proba"):
        columns["probability"] = valuer.predict_proba(X).max(axis=1)
    return pd.DataFrame(columns, index=X.index)


def _draw(valuer: Any, path: Path) -> None:
    from dvrl.report.figures import new_figure, plot_history, plot_values, save_figure

    figure, (left, right) = new_figure(2)
    plot_values(valuer.data_values_, ax=left)
    plot_history(valuer.history_, ax=right)
    save_figure(figure, path)


def _check_value_outputs(
    inputs: Sequence[Path | None],
    output: Path,
    figure: Path | None,
    report: Path | None,
    model: Path | None,
    checkpoint: Path | None,
) -> None:
    from dvrl.report.figures import FIGURE_ENDINGS

    check_output(output, TABLE_ENDINGS)
    if figure is not None:
        check_output(figure, FIGURE_ENDINGS)
    if report is not None:
        check_output(report, REPORT_ENDINGS)
    for path in (model, checkpoint):
        if path is not None:
            check_output(path, ())
    check_distinct([*inputs, output, figure, report, model, checkpoint])
