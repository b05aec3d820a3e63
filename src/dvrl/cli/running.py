"""A valuation run, from files to a fitted estimator: what `value`, `detect`, ... share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dvrl.cli import inputs
from dvrl.cli.errors import EXIT_UNTRUSTED, InputError, collected_warnings, warn
from dvrl.cli.options import Predictor, Task
from dvrl.cli.output import show_progress

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["Rows", "Split", "Valuation", "read_training_rows", "value_rows", "write_run_report"]

REPORT_ENDINGS = (".html", ".htm")


@dataclass(frozen=True)
class Rows:
    """Rows as they were read, checked.

    Attributes
    ----------
    X, y : DataFrame and Series, indexed by the row names
    X_val, y_val : DataFrame and Series, or None where rows of X are to be held out
    task : Task
        Classification or regression.
    left_out : DataFrame
        Columns of the training table that are no features.
    """

    X: pd.DataFrame
    y: pd.Series[Any]
    X_val: pd.DataFrame | None
    y_val: pd.Series[Any] | None
    task: Task
    left_out: pd.DataFrame

    def others(self, path: Path, target: str) -> tuple[pd.DataFrame, pd.Series[Any]]:
        """Read rows of another table with the same features."""
        X, y = inputs.read_rows(path, target, None)  # their ids are not needed
        assert y is not None  # a target was named
        return inputs.same_columns(X, list(self.X.columns), path), y

    def model(self, name: str | None, seed: int) -> Any:
        """Make a model for the rows by its name; by default that of the task."""
        from dvrl.predictors.registry import model_by_name

        default = "logistic" if self.task is Task.classification else "ridge"
        try:
            return model_by_name(name or default, self.task.value, seed)
        except ImportError as error:
            raise InputError(str(error)) from None


class Split(NamedTuple):
    """Training rows with their values, and validation rows: those given, or held out."""

    values: Any
    X: pd.DataFrame
    y: Any
    X_val: pd.DataFrame
    y_val: Any


@dataclass(frozen=True)
class Valuation:
    """Rows, and what a fitted estimator says about them.

    Attributes
    ----------
    rows : Rows
    valuer : DVRLClassifier or DVRLRegressor
    caught : list of str
        Warnings of the library during the run.
    """

    rows: Rows
    valuer: Any
    caught: list[str]

    @property
    def split(self) -> Split:
        """Training and validation rows."""
        rows, values = self.rows, self.valuer.data_values_
        if rows.X_val is not None:
            return Split(values, rows.X, rows.y, rows.X_val, rows.y_val)
        held, trained = self.valuer.validation_indices_, self._trained()
        take = rows.X.iloc, rows.y.iloc
        return Split(values[trained], *(t[trained] for t in take), *(t[held] for t in take))

    @property
    def split_valuer(self) -> Any:
        """The estimator as if it had been fitted on the training rows of `split` alone."""
        if self.rows.X_val is not None:
            return self.valuer
        trained = self._trained()
        marginal = getattr(self.valuer, "marginal_values_", None)
        return SimpleNamespace(
            data_values_=self.valuer.data_values_[trained],
            marginal_values_=None if marginal is None else marginal[trained],
            score=self.valuer.score,
        )

    def _trained(self) -> Any:
        import numpy as np

        everything = np.arange(len(self.valuer.data_values_))
        return np.setdiff1d(everything, self.valuer.validation_indices_)

    @property
    def warnings(self) -> list[str]:
        """What the library and the diagnostics warn about, each once."""
        return list(dict.fromkeys([*self.caught, *self.valuer.diagnostics_.messages]))

    def write_report(self, path: Path, **sections: Any) -> None:
        """Write the report of the run, see `write_run_report`."""
        rows = self.rows
        write_run_report(self.valuer, rows.X, rows.y, path, warnings=self.warnings, **sections)

    def finish(self, strict: bool, more: Sequence[str] = ()) -> None:
        """Say the warnings on standard error, and end with 1 where they are to count."""
        warn([*self.warnings, *more])
        if strict and self.valuer.diagnostics_.messages:
            raise typer.Exit(EXIT_UNTRUSTED)


def read_training_rows(
    console: Console,
    train: Path,
    target: str,
    *,
    valid: Path | None,
    id_column: str | None,
    task: Task,
    left_out: Sequence[str] = (),
) -> Rows:
    """Read training and validation rows, and choose the task.

    Parameters
    ----------
    console : Console
        Where to say what was chosen.
    train, valid : Path
        Tables that exist.
    target, id_column : str
    task : Task
    left_out : sequence of str
        Columns of the training table that are no features.

    Returns
    -------
    Rows
    """
    X, y = inputs.read_rows(train, target, id_column)
    assert y is not None  # a target was named
    others = X[[name for name in left_out if name in X.columns]]
    X = inputs.without_columns(X, left_out, train)
    chosen = inputs.choose_task(console, task, y, target)
    rows = Rows(X, y, None, None, chosen, others)
    if valid is None:
        return rows
    return Rows(X, y, *rows.others(valid, target), chosen, others)


def value_rows(
    console: Console, rows: Rows, predictor: Predictor | None, seed: int, **parameters: Any
) -> Valuation:
    """Fit the estimator with a progress display.

    Parameters
    ----------
    console : Console
    rows : Rows
    predictor : Predictor or None
    seed : int
    **parameters
        Of the estimator; `checkpoint` and `resume` of its `fit`.

    Returns
    -------
    Valuation
    """
    going = {name: parameters.pop(name) for name in ("checkpoint", "resume") if name in parameters}
    valuer = inputs.make_valuer(rows.task, predictor, seed, **parameters)
    with (
        show_progress("Valuing rows", quiet=console.quiet) as callback,
        collected_warnings() as caught,
    ):
        valuer.fit(rows.X, rows.y, X_val=rows.X_val, y_val=rows.y_val, callback=callback, **going)
    return Valuation(rows, valuer, caught)


def write_run_report(
    valuer: Any,
    X: Any,
    y: Any,
    path: Path,
    *,
    title: str,
    **sections: Any,
) -> None:
    """Write the report of a run: what every command shows, and what is its own.

    Parameters
    ----------
    valuer : DVRLClassifier or DVRLRegressor
    X, y : rows and labels that it was fitted on
    path : Path
    title : str
    **sections
        Further arguments of :func:`dvrl.report.html.report_of`.
    """
    from dvrl.actions.explain import explain_values
    from dvrl.report.html import report_of

    found = explain_values(valuer.data_values_, X, y=y)
    report_of(
        valuer,
        X,
        y,
        path,
        title=title,
        insights=found.sentences,
        groups=found.table,
        **sections,
    )
