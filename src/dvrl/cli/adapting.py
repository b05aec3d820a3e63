"""``dvrl adapt``: many rows of one distribution, a few labelled rows of the one that counts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import (
    EXIT_UNTRUSTED,
    InputError,
    collected_warnings,
    one_sentence_errors,
    warn,
)
from dvrl.cli.inputs import (
    check_distinct,
    check_inputs,
    check_output,
    choose_task,
    read_rows,
    same_columns,
    without_columns,
)
from dvrl.cli.options import (
    TABLE_ENDINGS,
    Drop,
    IdColumn,
    Jobs,
    Quiet,
    Seed,
    Strict,
    Target,
    Task,
    TaskName,
)
from dvrl.cli.output import make_console, print_table, print_written, say, with_row_names

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["adapt"]

# Written out, so that --help does not wait for numpy; a test compares them.
METRIC_NAMES = ("log_loss", "accuracy", "balanced_accuracy", "mse", "mae", "rmspe")
REPORT_ENDINGS = (".html", ".htm")
SHOWN = 8


@app.command(epilog=EXIT_CODES)
def adapt(
    ctx: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Table of source rows (.csv or .parquet).")
    ],
    target: Target,
    valid: Annotated[
        Path,
        typer.Option(
            help="Table of labelled rows of the target domain, with the same columns; at least 10."
        ),
    ],
    test: Annotated[
        Path | None,
        typer.Option(help="Table of more rows of the target domain, to score on; chooses nothing."),
    ] = None,
    predict: Annotated[
        Path | None,
        typer.Option(help="Table of rows of the target domain to predict; labels not needed."),
    ] = None,
    predictions: Annotated[
        Path, typer.Option(help="Where the predictions for --predict go (.csv or .parquet).")
    ] = Path("predictions.parquet"),
    id_column: IdColumn = None,
    drop: Drop = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Table of source weights and values to write (.csv or .parquet)."
        ),
    ] = Path("values.parquet"),
    save: Annotated[
        Path | None,
        typer.Option(help="Where to save the fitted model, for `dvrl score`."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Page about the result for the browser (.html).")
    ] = None,
    task: TaskName = Task.auto,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model to train: logistic, ridge, random_forest or gradient_boosting; "
            "by default logistic for classes and ridge for numbers."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help=f"What counts: {', '.join(METRIC_NAMES)}; by default log_loss or mse. "
            "balanced_accuracy and rmspe also weigh the rows in training."
        ),
    ] = None,
    values: Annotated[
        str,
        typer.Option(help="Kinds of source values to try, with commas."),
    ] = "uniform,density,label,learned",
    seed: Seed = 0,
    n_jobs: Jobs = None,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Train for a target domain on weighted rows of another one.

    Weighs the rows of SOURCE by what they are worth to the target domain, trains on them and on
    the target rows, and says whether the source helps at all. Everything is chosen by
    cross-fitting on the rows of --valid.

    [bold]Example:[/bold] dvrl adapt old.csv --target sales --valid new.csv --metric rmspe
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        check_inputs([source, valid, test, predict])
        written = [output, *([report] if report else []), *([predictions] if predict else [])]
        for path in written:
            check_output(path, REPORT_ENDINGS if path is report else TABLE_ENDINGS)
        if save is not None:
            check_output(save, ())
            written.append(save)
        check_distinct([source, valid, *written])
        for rows in (test, predict):  # may be the same file
            check_distinct([rows, *written])

        from dvrl.files.tables import write_table

        console = make_console(quiet=quiet)
        X, y = _source_rows(source, target, id_column, drop)
        X_target, y_target = _other_rows(valid, target, X)
        chosen = choose_task(console, task, y, target)
        adapted = _estimator(
            chosen,
            model,
            seed,
            metric=metric,
            values=tuple(name.strip() for name in values.split(",") if name.strip()),
            n_jobs=n_jobs,
        )
        with collected_warnings() as caught:
            adapted.fit(X, y, X_target, y_target)
        write_table(with_row_names(adapted.to_frame().set_axis(X.index)), output)
        _print_report(console, adapted)
        tested = None if test is None else adapted.metric_score(*_other_rows(test, target, X))
        if tested is not None:
            _print_test(console, adapted, tested)
        if predict is not None:
            write_table(with_row_names(_predicted(adapted, predict, X, id_column)), predictions)
        if save is not None:
            adapted.save(save)
        if report is not None:
            _write_page(adapted, tested, source, report)
        warn(caught)
        print_written(console, written, started)
        if strict and caught:
            raise typer.Exit(EXIT_UNTRUSTED)


def _source_rows(
    path: Path, target: str, id_column: str | None, drop: list[str] | None
) -> tuple[pd.DataFrame, Any]:
    X, y = read_rows(path, target, id_column)
    return without_columns(X, drop or [], path), y


def _other_rows(path: Path, target: str, X: pd.DataFrame) -> tuple[pd.DataFrame, Any]:
    rows, labels = read_rows(path, target, None)
    return same_columns(rows, list(X.columns), path), labels


def _estimator(task: Task, model: str | None, seed: int, **settings: Any) -> Any:
    """The estimator for a task, with the model inside; not fitted."""
    from dvrl.adaptation import AdaptedClassifier, AdaptedRegressor

    kind = AdaptedClassifier if task is Task.classification else AdaptedRegressor
    return kind(_model(task, model, seed), random_state=seed, **settings)


def _model(task: Task, name: str | None, seed: int) -> Any:
    """A model by its name; it is shown the encoded rows."""
    from dvrl.predictors.registry import model_by_name

    if name is None:
        return None
    if name == "mlp":
        raise InputError(
            "--model mlp takes no row weights; use random_forest or gradient_boosting."
        )
    try:
        return model_by_name(name, task.value, seed)
    except ImportError as error:
        raise InputError(str(error)) from None


def _predicted(adapted: Any, path: Path, X: pd.DataFrame, id_column: str | None) -> pd.DataFrame:
    import pandas as pd

    rows, _ = read_rows(path, None, id_column)
    rows = same_columns(rows, list(X.columns), path)
    return pd.DataFrame({"prediction": adapted.predict(rows)}, index=rows.index)


def _lines(adapted: Any) -> list[tuple[str, ...]]:
    """The controls, the members of the mixture and the best of the rest, best first."""
    frame = adapted.report_.sort_values("loss", kind="stable")
    chosen = frame["control"] | (frame["weight"] > 0) | (frame["candidate"] == "adapted")
    chosen.loc[frame.index[~chosen][: max(0, SHOWN - int(chosen.sum()))]] = True
    return [
        (
            str(row.candidate),
            f"{row.score:.4g}",
            f"{row.difference:+.3g} ± {row.standard_error:.2g}",
            f"{row.weight:.2f}" if row.weight > 0 else "-",
        )
        for row in frame[chosen].itertuples()
    ]


def _print_report(console: Console, adapted: Any) -> None:
    if console.quiet:
        return
    print_table(
        console,
        "On target rows not trained on (cross-fitted)",
        ("trained on", adapted.outcome_.metric, "loss less target only", "weight"),
        _lines(adapted),
    )
    say(console, adapted.message_)
    say(
        console,
        f"Mean weight of a source row: {adapted.source_scale_:.3g} "
        "(1: like a target row, 0: not used).",
    )


def _print_test(console: Console, adapted: Any, tested: float) -> None:
    say(console, f"On the test rows: {adapted.outcome_.metric} {tested:.4g}.")


def _write_page(adapted: Any, tested: float | None, source: Path, path: Path) -> None:
    """One HTML file without anything from elsewhere."""
    from html import escape

    table = adapted.report_.drop(columns="control").to_html(
        index=False, float_format="{:.4g}".format, border=0
    )
    test = "" if tested is None else f"<p>On the test rows: {tested:.4g}.</p>"
    title = f"What is {source.name} worth to the target domain?"
    path.write_text(
        _PAGE.format(
            title=escape(title),
            message=escape(adapted.message_),
            scale=f"{adapted.source_scale_:.3g}",
            test=test,
            metric=escape(adapted.outcome_.metric),
            table=table,
        ),
        encoding="utf-8",
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; }}
main {{ padding: 0 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8886; }}
th:first-child, td:first-child {{ text-align: left; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p><strong>{message}</strong></p>
<p>Mean weight of a source row in the final predictor: {scale} (1: like a target row, 0: not
used).</p>
{test}
<h2>Ways to train, judged on target rows not trained on</h2>
<p>Score is {metric}; difference is the mean loss less that of the target rows alone, with its
standard error (paired; below 0 is better); weight is the share in the final predictor.</p>
<div class="wide" tabindex="0">{table}</div>
</main>
</body>
</html>
"""
