"""``dvrl demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dvrl.cli.base import EXIT_CODES, app
from dvrl.cli.errors import collected_warnings, one_sentence_errors, warn
from dvrl.cli.inputs import check_distinct, check_output, make_folder
from dvrl.cli.options import Report
from dvrl.cli.output import make_console, print_table, print_written, say, show_progress
from dvrl.cli.running import REPORT_ENDINGS, write_run_report

if TYPE_CHECKING:
    from dvrl.cli.demonstration import DemoResult

__all__ = ["demo"]


@app.command(epilog=EXIT_CODES)
def demo(
    ctx: typer.Context,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides the split of the data, the flips and the run.")
    ] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if missing.")
    ] = Path("dvrl-demo"),
    noise: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the training labels to flip.")
    ] = 0.2,
    report: Report = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small, short run: shows that it works, not how well.")
    ] = False,
) -> None:
    """Find planted wrong labels in scikit-learn's handwritten digits.

    Flips a share of the training labels to another digit, values the rows, and prints how
    many of the flipped rows have the lowest values, and what training without them gains.
    """
    with one_sentence_errors(ctx):
        started = time.perf_counter()
        make_folder(output)
        files = [output / "values.parquet", output / "figure.png"]
        for file in files:
            check_output(file, (file.suffix,))
        if report is not None:
            check_output(report, REPORT_ENDINGS)
        check_distinct([*files, report])

        from dvrl.cli.demonstration import LOOKED_AT, run_demo
        from dvrl.files.tables import write_table
        from dvrl.report.figures import new_figure, plot_discovery, plot_values, save_figure

        console = make_console()
        say(
            console,
            f"Handwritten digits, {noise:.0%} of the training labels flipped with seed {seed}.",
        )
        with show_progress("Valuing rows") as callback, collected_warnings() as caught:
            result = run_demo(seed, noise, quick=quick, callback=callback)

        print_table(
            console,
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
        print_table(
            console,
            "Test accuracy of logistic regression",
            ("trained on", "rows", "accuracy"),
            [
                (str(row.scheme), f"{row.rows:,}", f"{row.score:.3f}")
                for row in result.training.itertuples()
            ],
        )
        warn([*caught, *result.messages])

        write_table(result.values, files[0])
        figure, (left, right) = new_figure(2)
        plot_values(result.curves["DVRL"], result.is_corrupted, left)
        plot_discovery(result.curves, result.is_corrupted, right)
        save_figure(figure, files[1])
        if report is not None:
            _write_report(result, report)
            files.append(report)
        print_written(console, files, started)


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
