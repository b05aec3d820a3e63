"""``dvrl value`` and ``dvrl score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.cli.base import command
from dvrl.cli.errors import InputError
from dvrl.cli.inputs import check_files, in_folder, read_rows, same_columns
from dvrl.cli.options import (
    REPORT_ENDINGS,
    TABLE_ENDINGS,
    Checkpoint,
    Figure,
    IdColumn,
    NewRows,
    OptionalTarget,
    Output,
    Quiet,
    Resume,
    RowOptions,
    RunOptions,
    Save,
    Saved,
    Trust,
)
from dvrl.cli.output import Screen, print_summary, with_row_names
from dvrl.cli.running import read_training_rows, value_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["score", "value"]


@command()
def value(
    rows: RowOptions,
    run: RunOptions,
    output: Output = Path("values.parquet"),
    figure: Figure = None,
    save: Save = None,
    checkpoint: Checkpoint = None,
    resume: Resume = False,
) -> None:
    """Value the rows of a table.

    Low values point at rows that do not help, such as rows with a wrong label.

    [bold]Example:[/bold] dvrl value train.csv --target income --valid valid.csv -o values.parquet
    """
    if resume and checkpoint is None:
        raise InputError("--resume needs to know from where; add --checkpoint FILE.")
    from dvrl.files.tables import write_table
    from dvrl.report.figures import FIGURE_ENDINGS

    save = in_folder(save)
    check_files(
        [rows.train, rows.valid],
        (output, TABLE_ENDINGS),
        (figure, FIGURE_ENDINGS),
        (run.report, REPORT_ENDINGS),
        (save, ()),
        (checkpoint, ()),
    )
    screen = Screen(run.quiet)
    valuation = value_rows(
        screen,
        read_training_rows(screen, rows),
        run,
        checkpoint=checkpoint,
        resume=resume,
    )
    write_table(with_row_names(valuation.valuer.to_frame()), output)
    if figure is not None:
        _draw(valuation.valuer, figure)
    valuation.write_report(run.report, title=f"What are the rows of {rows.train.name} worth?")
    if save is not None:
        valuation.valuer.save(save)
    print_summary(screen, valuation.valuer)
    screen.wrote(output, figure, run.report, save)
    valuation.finish(run.strict)


def _draw(valuer: Any, path: Path) -> None:
    from dvrl.report.figures import new_figure, plot_history, plot_values, save_figure

    figure, (left, right) = new_figure(2)
    plot_values(valuer.data_values_, ax=left)
    plot_history(valuer.history_, ax=right)
    save_figure(figure, path)


@command()
def score(
    saved: Saved,
    rows: NewRows,
    target: OptionalTarget = None,
    id_column: IdColumn = None,
    output: Output = Path("scored.parquet"),
    trust: Trust = None,
    quiet: Quiet = False,
) -> None:
    """Value and predict rows that were not in the training table.

    A value needs --target; without it the output holds predictions only.

    [bold]Example:[/bold] dvrl score model.dvrl new.csv --target income -o scored.parquet
    """
    saved = in_folder(saved) or saved
    check_files([saved, rows], (output, TABLE_ENDINGS))
    import dvrl
    from dvrl.files.tables import write_table

    screen = Screen(quiet)
    try:
        valuer = dvrl.load(saved, trusted=tuple(trust or ()))
        X, y = read_rows(rows, target, id_column)
        scored = _scored(valuer, same_columns(X, list(valuer.feature_names_in_), rows), y)
    except ValueError as error:
        hint = " On the command line, add --trust TYPE for each of them."
        raise InputError(f"{error}{hint if 'trusted=' in str(error) else ''}") from error
    if "data_value" not in scored:
        why = "No --target given" if y is None else "The model is adapted to another domain"
        screen.say(f"{why}: predictions only, no values.")
    write_table(with_row_names(scored), output)
    screen.wrote(output)


def _scored(valuer: Any, X: pd.DataFrame, y: Any) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    if y is not None and hasattr(valuer, "value"):
        columns["data_value"] = valuer.value(X, y)
    columns["prediction"] = valuer.predict(X)
    if hasattr(valuer, "predict_proba"):
        columns["probability"] = valuer.predict_proba(X).max(axis=1)
    return pd.DataFrame(columns, index=X.index)
