"""``dvrl compare``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import one_sentence_errors
from dvrl.cli.inputs import (
    check_inputs,
    check_output,
    choose_task,
    make_folder,
    make_predictor,
    read_rows,
    same_columns,
    without_columns,
)
from dvrl.cli.options import Drop, Predictor, Task
from dvrl.cli.output import make_console, print_table, print_written, say

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["METHOD_NAMES", "compare"]

# Written out, so that --help does not wait for numpy; a test compares them.
METHOD_NAMES = (
    "dvrl",
    "marginal",
    "random",
    "leave_one_out",
    "data_shapley",
    "beta_shapley",
    "banzhaf",
    "ame",
    "knn_shapley",
    "data_oob",
    "influence",
    "gradient_similarity",
    "lava",
    "confident_learning",
)


@app.command(epilog=EXIT_CODES)
def compare(
    ctx: typer.Context,
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN", help="Table of training rows (.csv or .parquet).")
    ],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    valid: Annotated[
        Path | None,
        typer.Option(
            help="Table of trusted validation rows. Without it, a fifth of TRAIN is held out, and "
            "without --test another fifth as test rows."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Table of test rows; removal curves are scored on them alone."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that names the rows; not a feature.")
    ] = None,
    drop: Drop = None,
    methods: Annotated[
        str | None,
        typer.Option(help=f"Some of {', '.join(METHOD_NAMES)}, with commas; by default all."),
    ] = None,
    plant_noise: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.9,
            help="Share of the training labels to make wrong, to see who finds it.",
        ),
    ] = 0.0,
    train_rows: Annotated[
        int | None, typer.Option(min=2, help="Take so many random training rows.")
    ] = None,
    valid_rows: Annotated[
        int | None, typer.Option(min=1, help="Hold out so many validation rows.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if missing.")
    ] = Path("dvrl-compare"),
    task: Annotated[
        Task, typer.Option(metavar="TASK", help="auto, classification or regression.")
    ] = Task.auto,
    predictor: Annotated[
        Predictor | None,
        typer.Option(
            help="The model the rows are valued for; by default logistic for classes and ridge "
            "for numbers.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What counts as good on the validation rows.")
    ] = None,
    max_seconds: Annotated[
        float,
        typer.Option(min=0.1, help="Time for each method; what it has by then is kept."),
    ] = 60.0,
    n_jobs: Annotated[
        int | None, typer.Option(help="Parallel fits of a predictor such as gradient_boosting.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rows.")] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no table; errors only.")
    ] = False,
) -> None:
    """Put valuation methods side by side on your own rows.

    Shows who finds wrong labels, what removing low values does to the predictor, how far the
    methods agree, and what each costs.

    [bold]Example:[/bold] dvrl compare train.parquet --target income --plant-noise 0.2
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        check_inputs([train, valid, test])
        make_folder(output)
        figure = output / "figure.png"
        check_output(figure, (figure.suffix,))

        from dvrl.report.figures import draw_comparison, save_figure
        from dvrl.side_by_side import compare as compare_methods

        console = make_console(quiet=quiet)
        X, y = read_rows(train, target, id_column)
        X = without_columns(X, drop or [], train)
        others: dict[str, Any] = {}
        for path, rows, labels in ((valid, "X_val", "y_val"), (test, "X_test", "y_test")):
            if path is not None:
                frame, others[labels] = read_rows(path, target, None)
                others[rows] = same_columns(frame, list(X.columns), path)
        chosen = choose_task(console, task, y, target)
        result = compare_methods(
            X,
            y,
            **others,
            methods=None if methods is None else _names(methods),
            predictor=make_predictor(chosen, predictor, seed),
            metric=metric,
            task=chosen.value,
            plant_noise=plant_noise,
            train_rows=train_rows,
            valid_rows=valid_rows,
            max_seconds=max_seconds,
            n_jobs=n_jobs,
            random_state=seed,
            callback=None if quiet else _say_method,
        )
        _print_comparison(console, result)
        written = result.save(output)
        save_figure(draw_comparison(result), figure)
        print_written(console, [*written, figure], started)


def _names(methods: str) -> list[str]:
    """Keys of methods, from a list with commas."""
    return [name.strip() for name in methods.split(",") if name.strip()]


def _print_comparison(console: Console, result: Any) -> None:
    if console.quiet:
        return
    columns = {
        "auroc": "AUROC",
        "found_in_lowest_20": "found",
        "lowest_removed": "lowest out",
        "highest_removed": "highest out",
        "seconds": "seconds",
        "fits": "fits",
    }
    shown = {name: title for name, title in columns.items() if result.table[name].notna().any()}
    digits = {"seconds": "{:.1f}", "fits": "{:,.0f}"}
    print_table(
        console,
        "Methods side by side",
        ("method", *shown.values(), "state"),
        [
            (
                str(row["method"]),
                *(
                    "-" if row[name] != row[name] else digits.get(name, "{:.3f}").format(row[name])
                    for name in shown
                ),
                str(row["state"]),
            )
            for _, row in result.table.iterrows()
        ],
    )
    if "found_in_lowest_20" in shown:
        say(console, "Found: share of the wrong labels among the 20 % of lowest values.")
    say(
        console,
        f"Out: mean {result.removal_metric} on the {result.judged_on} rows while 0 to 50 % of "
        "the rows are removed. Good values keep it high when the lowest go, and lower it when the "
        "highest go.",
    )
    if result.judged_on == "validation":
        say(console, "The methods have seen these rows; add --test for rows they have not.")


def _say_method(name: str) -> None:
    """Say which method is at work, on standard error."""
    typer.echo(f"{name} ...", err=True)
