"""A valuation run, from files to a fitted estimator: what `value`, `detect`, ... share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dvrl.cli import inputs
from dvrl.cli.errors import EXIT_UNTRUSTED, collected_warnings, warn
from dvrl.cli.options import RowOptions, RunOptions, Task
from dvrl.cli.output import Screen, show_progress

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Rows", "Split", "Valuation", "read_training_rows", "value_rows", "write_run_report"]


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
        return model_by_name(name or default, self.task.value, seed)


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

    def write_report(self, path: Path | None, **sections: Any) -> None:
        """Write the report of the run, where one is asked for; see `write_run_report`."""
        if path is None:
            return
        rows = self.rows
        write_run_report(self.valuer, rows.X, rows.y, path, warnings=self.warnings, **sections)

    def finish(self, strict: bool, more: Sequence[str] = ()) -> None:
        """Say the warnings on standard error, and end with 1 where they are to count."""
        warn([*self.warnings, *more])
        if strict and self.valuer.diagnostics_.messages:
            raise typer.Exit(EXIT_UNTRUSTED)


def read_training_rows(screen: Screen, options: RowOptions, left_out: Sequence[str] = ()) -> Rows:
    """Read training and validation rows, and choose the task.

    Parameters
    ----------
    screen : Screen
        Where to say what was chosen.
    options : RowOptions
        Of tables that exist.
    left_out : sequence of str
        Columns of the training table that are no features, beside those to drop.

    Returns
    -------
    Rows
    """
    X, y = inputs.read_rows(options.train, options.target, options.id_column)
    assert y is not None  # a target was named
    left_out = [*(options.drop or ()), *left_out]
    others = X[[name for name in left_out if name in X.columns]]
    X = inputs.without_columns(X, left_out, options.train)
    chosen = inputs.choose_task(screen, options.task, y, options.target)
    rows = Rows(X, y, None, None, chosen, others)
    if options.valid is None:
        return rows
    return Rows(X, y, *rows.others(options.valid, options.target), chosen, others)


def value_rows(screen: Screen, rows: Rows, options: RunOptions, **more: Any) -> Valuation:
    """Fit the estimator with a progress display.

    Parameters
    ----------
    screen : Screen
    rows : Rows
    options : RunOptions
    **more
        Arguments of the estimator's `fit` that are no options of every command.

    Returns
    -------
    Valuation
    """
    valuer = inputs.make_valuer(
        rows.task,
        options.predictor,
        options.seed,
        preset=options.preset.value,
        metric=options.metric,
        settings={
            "outer_iterations": options.outer_iterations,
            "ensemble_size": options.ensemble_size,
        },
        max_seconds=options.max_seconds,
        n_jobs=options.n_jobs,
    )
    with (
        show_progress("Valuing rows", quiet=screen.quiet) as callback,
        collected_warnings() as caught,
    ):
        valuer.fit(rows.X, rows.y, X_val=rows.X_val, y_val=rows.y_val, callback=callback, **more)
    return Valuation(rows, valuer, caught)


def write_run_report(valuer: Any, X: Any, y: Any, path: Path, **sections: Any) -> None:
    """Write the report of a run with groups of rows in words; `sections` as in `report_of`."""
    from dvrl.actions.explain import explain_values
    from dvrl.report.html import report_of

    found = explain_values(valuer.data_values_, X, y=y)
    report_of(valuer, X, y, path, insights=found.sentences, groups=found.table, **sections)
