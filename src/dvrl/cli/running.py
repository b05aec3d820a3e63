"""A valuation run, from files to a fitted estimator: what `value`, `detect`, ... share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dvrl.cli import inputs
from dvrl.cli.errors import EXIT_UNTRUSTED, collected_warnings, warn
from dvrl.cli.options import Predictor, Task
from dvrl.cli.output import show_progress

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["Valuation", "value_rows"]


@dataclass(frozen=True)
class Valuation:
    """Rows, and what a fitted estimator says about them.

    Attributes
    ----------
    valuer : DVRLClassifier or DVRLRegressor
    X, y : DataFrame and Series, indexed by the row names
    X_val, y_val : DataFrame and Series, or None where rows of X were held out
    task : Task
    caught : list of str
        Warnings of the library during the run.
    """

    valuer: Any
    X: pd.DataFrame
    y: pd.Series[Any]
    X_val: pd.DataFrame | None
    y_val: pd.Series[Any] | None
    task: Task
    caught: list[str]

    @property
    def warnings(self) -> list[str]:
        """What the library and the diagnostics warn about, each once."""
        return list(dict.fromkeys([*self.caught, *self.valuer.diagnostics_.messages]))

    def warn(self) -> None:
        """Say the warnings on standard error."""
        warn(self.warnings)

    def exit_if_flagged(self, strict: bool) -> None:
        """End with the exit code for runs that cannot be trusted, where that is asked for."""
        if strict and self.valuer.diagnostics_.messages:
            raise typer.Exit(EXIT_UNTRUSTED)


def value_rows(
    console: Console,
    train: Path,
    target: str,
    *,
    valid: Path | None,
    id_column: str | None,
    task: Task,
    predictor: Predictor | None,
    seed: int,
    left_out: tuple[str, ...] = (),
    **settings: Any,
) -> Valuation:
    """Read the rows, choose the task, and fit the estimator with a progress display.

    Parameters
    ----------
    console : Console
    train, valid : Path
        Training and validation tables, checked to exist.
    target, id_column : str
    task : Task
    predictor : Predictor or None
    seed : int
    left_out : tuple of str
        Columns of the training table that are no features.
    **settings
        Of the estimator.

    Returns
    -------
    Valuation
    """
    X, y = inputs.read_rows(train, target, id_column)
    assert y is not None  # a target was named
    X = inputs.without_columns(X, left_out, train)
    X_val, y_val = None, None
    if valid is not None:
        X_val, y_val = inputs.read_rows(valid, target, None)  # its ids are not needed
        X_val = inputs.same_columns(X_val, list(X.columns), valid)
    chosen = inputs.choose_task(console, task, y, target)
    valuer = inputs.make_valuer(chosen, predictor, seed, **settings)
    with (
        show_progress("Valuing rows", quiet=console.quiet) as callback,
        collected_warnings() as caught,
    ):
        valuer.set_params(callback=callback)
        valuer.fit(X, y, X_val=X_val, y_val=y_val)
    valuer.set_params(callback=None)  # belongs to this terminal, not to a saved model
    return Valuation(valuer, X, y, X_val, y_val, chosen, caught)
