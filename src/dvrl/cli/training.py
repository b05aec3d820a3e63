"""``dvrl train``: a model that the wrong rows hardly touch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.cli.base import command
from dvrl.cli.errors import InputError
from dvrl.cli.inputs import check_files, in_folder
from dvrl.cli.options import (
    MODEL_NAME,
    REPORT_ENDINGS,
    FinalPredictor,
    FinalRows,
    RemovedFraction,
    RowOptions,
    RunOptions,
    Save,
    Scheme,
    Task,
    Test,
    TrainedOn,
    UseOfValues,
)
from dvrl.cli.output import Screen
from dvrl.cli.running import Valuation, read_training_rows, value_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["train_model"]


@command("train")
def train_model(
    rows: RowOptions,
    run: RunOptions,
    test: Test = None,
    final_predictor: FinalPredictor = None,
    final_rows: TrainedOn = FinalRows.training,
    scheme: UseOfValues = Scheme.weights,
    fraction: RemovedFraction = None,
    save: Save = Path(MODEL_NAME),
) -> None:
    """Train a model with the values as weights, or without the rows of lowest value.

    The model need not be the predictor that the rows are valued for. It is saved without pickle;
    `dvrl score` predicts with it. With --test, ways to train are compared.

    [bold]Example:[/bold] dvrl train train.csv --target income --valid valid.csv --test test.csv
    """
    save = in_folder(save)
    check_files([rows.train, rows.valid, test], (save, ()), (run.report, REPORT_ENDINGS))
    if final_rows is FinalRows.both and rows.valid is None:
        raise InputError("--final-rows both trains on validation rows; name them with --valid.")
    from dvrl.actions.removal import choose_fraction
    from dvrl.actions.robust import train_robust, with_predictor

    screen = Screen(run.quiet)
    read = read_training_rows(screen, rows)
    tested = None if test is None else read.others(test, rows.target)
    model = read.model(final_predictor or run.predictor, run.seed)
    valuation = value_rows(screen, read, run)
    split = valuation.split
    if scheme is Scheme.pruning and fraction is None:
        fraction = choose_fraction(
            *split, predictor=model, n_jobs=run.n_jobs, random_state=run.seed
        ).fraction
    fitted = train_robust(
        valuation.valuer,
        read.X,
        read.y,
        model,
        scheme=scheme.value,
        fraction=fraction,
        final_rows=final_rows.value,
        X_val=split.X_val,
        y_val=split.y_val,
    )
    with_predictor(valuation.valuer, fitted).save(save)
    removed = None if scheme is Scheme.weights else fraction or 0.0
    headline = _headline(model, removed, len(read.y), final_rows)
    screen.say(headline)
    compared = None if tested is None else _compare(screen, valuation, tested, model, fraction)
    title = f"A robust model from {rows.train.name}"
    valuation.write_report(run.report, title=title, headline=headline, comparison=compared)
    screen.wrote(save, run.report)
    valuation.finish(run.strict)


def _headline(model: Any, removed: float | None, n_rows: int, final_rows: FinalRows) -> str:
    """What was trained, on what; `removed` is None where the values are weights."""
    name = type(model).__name__
    more = " Validation rows were trained on, too." if final_rows is FinalRows.both else ""
    if removed is None:
        return f"{name} trained on {n_rows:,} rows with the data values as weights.{more}"
    left = n_rows - round(removed * n_rows)
    return f"{name} trained on {left:,} of {n_rows:,} rows, without those of lowest value.{more}"


def _compare(
    screen: Screen, run: Valuation, tested: Any, model: Any, fraction: float | None
) -> pd.DataFrame:
    """Ways to train, on the test rows; printed as a table."""
    from dvrl.actions.comparison import robust_comparison

    _, *split = run.split
    compared = robust_comparison(
        run.split_valuer,
        *split,
        *tested,
        predictor=model,
        prune_fraction="auto" if fraction is None else fraction,
    )
    metric = "accuracy" if run.rows.task is Task.classification else "R2"
    screen.table(
        f"On the test rows ({metric})",
        ("trained on", "rows", metric),
        [(str(row.scheme), f"{row.rows:,}", f"{row.score:.3f}") for row in compared.itertuples()],
    )
    return compared
