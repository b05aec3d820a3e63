"""``dvrl demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dvrl.cli.base import command
from dvrl.cli.errors import InputError, collected_warnings, warn
from dvrl.cli.inputs import check_files, make_folder
from dvrl.cli.options import REPORT_ENDINGS, Folder, PlantNoise, Quick, Report, Seed
from dvrl.cli.output import Screen, show_progress
from dvrl.cli.running import write_run_report

if TYPE_CHECKING:
    from dvrl.cli.demonstration import DemoResult

__all__ = ["demo"]


@command()
def demo(
    plant_noise: PlantNoise = 0.2,
    folder: Folder = Path("dvrl-demo"),
    report: Report = None,
    seed: Seed = 0,
    quick: Quick = False,
) -> None:
    """Find planted wrong labels in scikit-learn's handwritten digits.

    Flips a share of the training labels to another digit, values the rows, and prints how
    many of the flipped rows have the lowest values, and what training without them gains.
    """
    if plant_noise == 0.0:
        raise InputError("--plant-noise 0 plants no wrong labels to find; use 0.01 or more.")
    make_folder(folder)
    table, figure = folder / "values.parquet", folder / "figure.png"
    check_files([], (table, ()), (figure, ()), (report, REPORT_ENDINGS))
    from dvrl.cli.demonstration import run_demo
    from dvrl.files.tables import write_table

    screen = Screen()
    screen.say(
        f"Handwritten digits, {plant_noise:.0%} of the training labels flipped with seed {seed}."
    )
    with show_progress("Valuing rows") as callback, collected_warnings() as caught:
        result = run_demo(seed, plant_noise, quick=quick, callback=callback)
    _print_tables(screen, result)
    warn([*caught, *result.messages])
    write_table(result.values, table)
    _draw(result, figure)
    if report is not None:
        _write_report(result, report)
    screen.wrote(table, figure, report)


def _print_tables(screen: Screen, result: DemoResult) -> None:
    from dvrl.cli.demonstration import LOOKED_AT

    screen.table(
        f"Flipped rows found in the lowest {LOOKED_AT:.0%}",
        ("method", "found", "share", "AUROC"),
        [
            (
                str(row.method),
                f"{row.found} of {row.flipped}",
                f"{row.share:.0%}",
                f"{row.auroc:.3f}",
            )
            for row in result.detection.itertuples()
        ],
    )
    screen.table(
        "Test accuracy of logistic regression",
        ("trained on", "rows", "accuracy"),
        [
            (str(row.scheme), f"{row.rows:,}", f"{row.score:.3f}")
            for row in result.training.itertuples()
        ],
    )


def _draw(result: DemoResult, path: Path) -> None:
    from dvrl.report.figures import new_figure, plot_discovery, plot_values, save_figure

    figure, (left, right) = new_figure(2)
    plot_values(result.curves["DVRL"], result.is_corrupted, left)
    plot_discovery(result.curves, result.is_corrupted, right)
    save_figure(figure, path)


def _write_report(result: DemoResult, path: Path) -> None:
    """Write the report, with pictures of the digits."""
    import numpy as np

    from dvrl.actions.comparison import discovery
    from dvrl.cli.demonstration import LOOKED_AT

    found = result.detection.iloc[0]
    write_run_report(
        result.valuer,
        result.X,
        result.y,
        path,
        title="Planted wrong labels in handwritten digits",
        headline=f"The lowest {LOOKED_AT:.0%} of the values hold {found['found']} of the "
        f"{found['flipped']} flipped labels.",
        warnings=result.messages,
        fields=result.values[["correct_label", "is_flipped"]],
        images=np.round(result.X.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8),
        discovery=discovery(result.curves["DVRL"], result.is_corrupted),
        comparison=result.training,
    )
