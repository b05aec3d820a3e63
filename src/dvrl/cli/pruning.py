"""``dvrl prune``: the table without the rows of lowest value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.cli.base import command
from dvrl.cli.errors import collected_warnings
from dvrl.cli.inputs import check_files
from dvrl.cli.options import (
    REPORT_ENDINGS,
    TABLE_ENDINGS,
    Output,
    RemovedFraction,
    RowOptions,
    RunOptions,
    Task,
    Test,
)
from dvrl.cli.output import Screen
from dvrl.cli.running import Valuation, read_training_rows, value_rows

if TYPE_CHECKING:
    import pandas as pd

    from dvrl.actions.removal import FractionChoice

__all__ = ["prune"]

CURVE_REPEATS = 3


@command()
def prune(
    rows: RowOptions,
    run: RunOptions,
    test: Test = None,
    output: Output = Path("pruned.csv"),
    fraction: RemovedFraction = None,
) -> None:
    """Write the table without the rows of lowest value.

    How many to remove is chosen on the validation rows: the fewest that do as well as the best
    share, give or take one standard error. Rows keep all of their columns and their order. With
    --test or --report, shows what removing rows does.

    [bold]Example:[/bold] dvrl prune train.csv --target income --valid valid.csv -o pruned.csv
    """
    check_files(
        [rows.train, rows.valid, test], (output, TABLE_ENDINGS), (run.report, REPORT_ENDINGS)
    )
    from dvrl.actions import removal
    from dvrl.files.tables import copy_rows

    screen = Screen(run.quiet)
    read = read_training_rows(screen, rows)
    tested = None if test is None else read.others(test, rows.target)
    how = {
        "predictor": read.model(run.predictor, run.seed),
        "n_jobs": run.n_jobs,
        "random_state": run.seed,
    }
    valuation = value_rows(screen, read, run)
    headline = f"{fraction or 0.0:.0%} of the rows were removed, as asked for."
    if fraction is None:
        choice = removal.choose_fraction(*valuation.split, **how)
        fraction, headline = choice.fraction, _reason(choice, len(valuation.split.y_val))
        screen.say(headline)
    with collected_warnings() as caught:
        kept = removal.prune(valuation.valuer.data_values_, read.X, read.y, fraction)
    copy_rows(rows.train, kept.rows, output)
    screen.say(f"{len(kept.rows):,} of {len(read.y):,} rows kept.")
    if tested is not None or run.report is not None:
        curve = _curve(screen, valuation, tested, how)
        title = f"Which rows of {rows.train.name} can go?"
        valuation.write_report(run.report, title=title, headline=headline, removal=curve)
    screen.wrote(output, run.report)
    valuation.finish(run.strict, caught)


def _reason(choice: FractionChoice, n_valid: int) -> str:
    """What was chosen and why."""
    if choice.fraction == 0.0:
        return (
            f"No rows are removed: on {n_valid:,} validation rows no share is better than all rows "
            "by more than one standard error."
        )
    scores = choice.table.set_index("removed")["score"]
    gain = scores[choice.fraction] - scores.iloc[0]
    return (
        f"{choice.fraction:.0%} of the rows are removed: the smallest share within one standard "
        f"error of the best ({choice.best:.0%}) on {n_valid:,} validation rows, {gain:+.3g} in the "
        "score."
    )


def _curve(screen: Screen, run: Valuation, tested: Any, how: dict[str, Any]) -> pd.DataFrame:
    """The removal curve on the test rows, or else on the validation rows; printed as a table."""
    from dvrl.actions.removal import removal_curve

    values, X, y, *others = run.split
    curve = removal_curve(values, X, y, *(tested or others), repeats=CURVE_REPEATS, **how)
    means = curve.groupby(["removed", "order"], sort=False)["score"].mean().unstack("order")
    metric = "accuracy" if run.rows.task is Task.classification else "R2"
    screen.table(
        f"Mean {metric} on the {'validation' if tested is None else 'test'} rows",
        ("removed", *map(str, means.columns)),
        [
            (f"{removed:.0%}", *(f"{score:.3f}" for score in scores))
            for removed, scores in zip(means.index, means.to_numpy(), strict=True)
        ],
    )
    if tested is None:
        screen.say("The values have seen these rows; add --test for rows they have not.")
    return curve
