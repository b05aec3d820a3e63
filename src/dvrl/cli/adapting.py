"""``dvrl adapt``: many rows of one distribution, a few labelled rows of the one that counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dvrl.cli.base import command
from dvrl.cli.errors import EXIT_UNTRUSTED, InputError, collected_warnings, warn
from dvrl.cli.inputs import check_files, in_folder, names_in, read_rows, same_columns
from dvrl.cli.options import (
    REPORT_ENDINGS,
    TABLE_ENDINGS,
    AdaptationMetric,
    Drop,
    IdColumn,
    Jobs,
    Output,
    Predict,
    Predictions,
    Predictor,
    PredictorName,
    Quiet,
    Report,
    RowOptions,
    Save,
    Seed,
    Source,
    SourceValues,
    Strict,
    Target,
    TargetRows,
    Task,
    TaskName,
    Test,
)
from dvrl.cli.output import Screen, with_row_names
from dvrl.cli.running import Rows, read_training_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["adapt"]

SHOWN = 8


@command()
def adapt(
    source: Source,
    target: Target,
    valid: TargetRows,
    test: Test = None,
    predict: Predict = None,
    id_column: IdColumn = None,
    drop: Drop = None,
    task: TaskName = Task.auto,
    predictor: PredictorName = None,
    metric: AdaptationMetric = None,
    values: SourceValues = "uniform,density,label,learned",
    output: Output = Path("values.parquet"),
    predictions: Predictions = Path("predictions.parquet"),
    report: Report = None,
    save: Save = None,
    seed: Seed = 0,
    n_jobs: Jobs = None,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Train for a target domain on weighted rows of another one.

    Weighs the rows of SOURCE by what they are worth to the target domain, trains on them and on
    the target rows, and says whether the source helps at all. Everything is chosen by
    cross-fitting on the rows of --valid. The output holds a weight and a value for each source
    row.

    [bold]Example:[/bold] dvrl adapt old.csv --target sales --valid new.csv --metric rmspe
    """
    save, predicted = in_folder(save), predictions if predict else None
    written = (
        (output, TABLE_ENDINGS),
        (report, REPORT_ENDINGS),
        (predicted, TABLE_ENDINGS),
        (save, ()),
    )
    for read in ([source, valid], [test], [predict]):  # these may be the same file
        check_files(read, *written)
    from dvrl.files.tables import write_table
    from dvrl.report.adaptation import write_adaptation_report

    screen = Screen(quiet)
    options = RowOptions(
        train=source, target=target, valid=valid, id_column=id_column, drop=drop, task=task
    )
    rows = read_training_rows(screen, options)
    adapted = _estimator(
        rows, predictor, seed, metric=metric, values=tuple(names_in(values)), n_jobs=n_jobs
    )
    with collected_warnings() as caught:
        adapted.fit(rows.X, rows.y, rows.X_val, rows.y_val)
    write_table(with_row_names(adapted.to_frame().set_axis(rows.X.index)), output)
    score = None if test is None else adapted.metric_score(*rows.others(test, target))
    _print_report(screen, adapted, score)
    if predict is not None:
        write_table(with_row_names(_predicted(adapted, predict, rows, id_column)), predictions)
    if save is not None:
        adapted.save(save)
    if report is not None:
        title = f"What is {source.name} worth to the target domain?"
        write_adaptation_report(adapted, report, title=title, test_score=score)
    warn(caught)
    screen.wrote(output, report, predicted, save)
    if strict and caught:
        raise typer.Exit(EXIT_UNTRUSTED)


def _estimator(rows: Rows, predictor: Predictor | None, seed: int, **settings: Any) -> Any:
    """The estimator for a task, with the predictor inside; not fitted."""
    from dvrl.adaptation import AdaptedClassifier, AdaptedRegressor

    if predictor is Predictor.mlp:
        raise InputError(
            "--predictor mlp takes no row weights; use random_forest or gradient_boosting."
        )
    kind = AdaptedClassifier if rows.task is Task.classification else AdaptedRegressor
    model = None if predictor is None else rows.model(predictor, seed)
    return kind(model, random_state=seed, **settings)


def _predicted(adapted: Any, path: Path, rows: Rows, id_column: str | None) -> pd.DataFrame:
    import pandas as pd

    X, _ = read_rows(path, None, id_column)
    X = same_columns(X, list(rows.X.columns), path)
    return pd.DataFrame({"prediction": adapted.predict(X)}, index=X.index)


def _print_report(screen: Screen, adapted: Any, score: float | None) -> None:
    """The controls, the members of the mixture and the best of the rest, best first."""
    from dvrl.report.adaptation import candidates_of

    lines = candidates_of(adapted)
    found = adapted.report_.loc[lines.index]
    chosen = found["control"] | (found["weight"] > 0) | (found["candidate"] == "adapted")
    chosen.loc[found.index[~chosen][: max(0, SHOWN - int(chosen.sum()))]] = True
    screen.table(
        "On target rows not trained on (cross-fitted)",
        [str(name) for name in lines.columns],
        lines[chosen].to_numpy().tolist(),
    )
    screen.say(adapted.message_)
    screen.say(
        f"Mean weight of a source row: {adapted.source_scale_:.3g} "
        "(1: like a target row, 0: not used)."
    )
    if score is not None:
        screen.say(f"On the test rows: {adapted.outcome_.metric} {score:.4g}.")
