"""``dvrl compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from dvrl.cli.base import command
from dvrl.cli.inputs import check_files, make_folder, make_predictor, names_in
from dvrl.cli.options import (
    Folder,
    Jobs,
    MaxSeconds,
    Methods,
    Metric,
    PlantNoise,
    PredictorName,
    Quiet,
    RowOptions,
    Seed,
    Test,
    TrainRows,
    ValidRows,
)
from dvrl.cli.output import Screen
from dvrl.cli.running import read_training_rows

__all__ = ["compare"]


@command()
def compare(
    rows: RowOptions,
    test: Test = None,
    train_rows: TrainRows = None,
    valid_rows: ValidRows = None,
    plant_noise: PlantNoise = 0.0,
    methods: Methods = None,
    predictor: PredictorName = None,
    metric: Metric = None,
    folder: Folder = Path("dvrl-compare"),
    max_seconds: MaxSeconds = 60.0,
    n_jobs: Jobs = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Put valuation methods side by side on your own rows.

    Shows who finds wrong labels (planted with --plant-noise), what removing low values does to the
    predictor, how far the methods agree, and what each costs. Without --valid a fifth of TRAIN is
    held out, and without --test another fifth, on which alone removal is then scored.
    --max-seconds is the time for each method.

    [bold]Example:[/bold] dvrl compare train.parquet --target income --plant-noise 0.2
    """
    make_folder(folder)
    figure = folder / "figure.png"
    check_files([rows.train, rows.valid, test], (figure, (figure.suffix,)))
    from dvrl.report.figures import draw_comparison, save_figure
    from dvrl.side_by_side import compare as compare_methods

    screen = Screen(quiet)
    read = read_training_rows(screen, rows)
    tested = (None, None) if test is None else read.others(test, rows.target)
    result = compare_methods(
        read.X,
        read.y,
        X_val=read.X_val,
        y_val=read.y_val,
        X_test=tested[0],
        y_test=tested[1],
        methods=None if methods is None else names_in(methods),
        predictor=make_predictor(read.task, predictor, seed),
        metric=metric,
        task=read.task.value,
        plant_noise=plant_noise,
        train_rows=train_rows,
        valid_rows=valid_rows,
        max_seconds=max_seconds,
        n_jobs=n_jobs,
        random_state=seed,
        callback=None if quiet else lambda name: typer.echo(f"{name} ...", err=True),
    )
    _print_comparison(screen, result)
    written = result.save(folder)
    save_figure(draw_comparison(result), figure)
    screen.wrote(*written, figure)


def _print_comparison(screen: Screen, result: Any) -> None:
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

    def cell(name: str, number: float) -> str:
        return "-" if number != number else digits.get(name, "{:.3f}").format(number)

    screen.table(
        "Methods side by side",
        ("method", *shown.values(), "state"),
        [
            (str(row["method"]), *(cell(name, row[name]) for name in shown), str(row["state"]))
            for _, row in result.table.iterrows()
        ],
    )
    if "found_in_lowest_20" in shown:
        screen.say("Found: share of the wrong labels among the 20 % of lowest values.")
    screen.say(
        f"Out: mean {result.removal_metric} on the {result.judged_on} rows while 0 to 50 % of "
        "the rows are removed. Good values keep it high when the lowest go, and lower it when the "
        "highest go."
    )
    if result.judged_on == "validation":
        screen.say("The methods have seen these rows; add --test for rows they have not.")
