"""The ``dvrl`` command.

Heavy imports stay inside the commands, so that ``dvrl --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["app", "main"]

EXIT_UNTRUSTED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

TABLE_ENDINGS = (".parquet", ".csv", ".tsv")
# Columns of the output; an id column of the same name could not stand beside them.
OUTPUT_COLUMNS = (
    "data_value",
    "data_value_std",
    "marginal",
    "rank",
    "prediction",
    "probability",
)
MODEL_NAME = "model.dvrl"
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
N_LOWEST_SHOWN = 10

# Columns whose numbers lie between 0 and 1.
SHARE_COLUMNS = ("data_value", "data_value_std", "marginal", "label_probability")

EXIT_CODES = (
    "Exit codes: 0 fine; 1 the run is flagged as not trustworthy (only with --strict); 2 wrong "
    "usage or bad input, with one sentence on standard error; 130 interrupted by Ctrl-C."
)

app = typer.Typer(
    name="dvrl",
    help="How much does each training row help? Data valuation by reinforcement learning.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class Task(StrEnum):
    """What is predicted."""

    auto = "auto"
    classification = "classification"
    regression = "regression"


class Predictor(StrEnum):
    """The model that the rows are valued for."""

    logistic = "logistic"
    ridge = "ridge"
    mlp = "mlp"
    lightgbm = "lightgbm"


class Preset(StrEnum):
    """A named set of settings."""

    default = "default"
    paper = "paper"
    released = "released"


class Progress(Protocol):
    """What an estimator tells its callback."""

    iteration: int
    total: int
    reward: float
    seconds_elapsed: float
    seconds_left: float | None


class InputError(Exception):
    """Bad input: one sentence with the cause and the fix."""


def main() -> None:
    """Run the command line; the entry point of the ``dvrl`` command."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        import dvrl

        typer.echo(f"dvrl {dvrl.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    ctx: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, for bug reports.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    ctx.obj = debug


# ---------------------------------------------------------------------------------- commands


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
    quick: Annotated[
        bool, typer.Option("--quick", help="A small, short run: shows that it works, not how well.")
    ] = False,
) -> None:
    """Find planted wrong labels in scikit-learn's handwritten digits.

    Flips a share of the training labels to another digit, values the rows, and prints how
    many of the flipped rows have the lowest values, and what training without them gains.
    """
    with _one_sentence_errors(ctx):
        started = time.perf_counter()
        _make_folder(output)
        files = [output / "values.parquet", output / "figure.png"]
        for file in files:
            _check_output(file, (file.suffix,))

        from dvrl.experiments.demo import LOOKED_AT, run_demo
        from dvrl.report.figures import new_figure, plot_discovery, plot_values, save_figure
        from dvrl.tables import write_table

        console = _console()
        _say(
            console,
            f"Handwritten digits, {noise:.0%} of the training labels flipped with seed {seed}.",
        )
        with _progress("Valuing rows") as callback, _collected_warnings() as caught:
            result = run_demo(seed, noise, quick=quick, callback=callback)

        _print_table(
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
        _print_table(
            console,
            "Test accuracy of logistic regression",
            ("trained on", "rows", "accuracy"),
            [
                (str(row.scheme), f"{row.rows:,}", f"{row.score:.3f}")
                for row in result.training.itertuples()
            ],
        )
        _warn([*caught, *result.messages])

        write_table(result.values, files[0])
        figure, (left, right) = new_figure(2)
        plot_values(result.curves["DVRL"], result.is_corrupted, left)
        plot_discovery(result.curves, result.is_corrupted, right)
        save_figure(figure, files[1])
        _print_written(console, files, started)


@app.command(epilog=EXIT_CODES)
def value(
    ctx: typer.Context,
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN", help="Table of training rows (.csv or .parquet).")
    ],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    valid: Annotated[
        Path | None,
        typer.Option(
            help="Table of trusted validation rows with the same columns. Without it, a part of "
            "TRAIN is held out."
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="Column that names the rows; kept in the output, not a feature."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ] = Path("values.parquet"),
    figure: Annotated[
        Path | None, typer.Option(help="Picture of the values (.png, .svg or .pdf).")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help=f"Where to save the fitted estimator for `dvrl score`: a file, or an existing "
            f"folder, which gets {MODEL_NAME}."
        ),
    ] = None,
    task: Annotated[
        Task,
        typer.Option(
            metavar="TASK",
            help="auto, classification or regression; auto takes text, yes/no and whole numbers "
            "of few different values as classes.",
        ),
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
        str | None,
        typer.Option(
            help="What counts as good on the validation rows, such as log_loss, accuracy, auc, "
            "mse, r2, or the name of a scikit-learn scorer."
        ),
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(help="Settings: our own, the paper's, or those of its released code."),
    ] = Preset.default,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same values.")] = 0,
    outer_iterations: Annotated[
        int | None, typer.Option(min=1, help="Updates of the value estimator.")
    ] = None,
    ensemble_size: Annotated[
        int | None, typer.Option(min=1, help="Independent runs to average; gives the spread.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after this time and use what was learned.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File that keeps the state of the run.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
    n_jobs: Annotated[
        int | None,
        typer.Option(help="Parallel fits of a predictor such as lightgbm; -1 uses every core."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when the diagnostics warn.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress and no summary; warnings and errors only."),
    ] = False,
) -> None:
    """Value the rows of a table.

    Low values point at rows that do not help, such as rows with a wrong label.

    [bold]Example:[/bold] dvrl value train.csv --target income --valid valid.csv -o values.parquet
    """
    with _one_sentence_errors(ctx, checkpoint=checkpoint):
        started = time.perf_counter()
        if model is not None and model.is_dir():
            model = model / MODEL_NAME
        if resume and checkpoint is None:
            raise InputError("--resume needs to know from where; add --checkpoint FILE.")
        _check_inputs([train, valid])
        _check_value_outputs([train, valid], output, figure, model, checkpoint)

        from dvrl.tables import write_table

        console = _console(quiet=quiet)
        X, y = _read_rows(train, target, id_column)
        X_val, y_val = (None, None)
        if valid is not None:
            X_val, y_val = _read_rows(valid, target, None)  # its ids are not needed
            X_val = _same_columns(X_val, list(X.columns), valid)
        chosen = _choose_task(console, task, y, target)
        valuer = _make_valuer(
            chosen,
            predictor,
            seed,
            preset=preset.value,
            metric=metric,
            outer_iterations=outer_iterations,
            ensemble_size=ensemble_size,
            max_seconds=max_seconds,
            checkpoint=None if checkpoint is None else str(checkpoint),
            resume=resume,
            n_jobs=n_jobs,
        )
        with (
            _progress("Valuing rows", quiet=quiet) as callback,
            _collected_warnings() as caught,
        ):
            valuer.set_params(callback=callback)
            valuer.fit(X, y, X_val=X_val, y_val=y_val)
        valuer.set_params(callback=None)  # belongs to this terminal, not to the saved model

        frame = valuer.to_frame()
        write_table(_with_row_names(frame), output)
        written = [output]
        if figure is not None:
            _draw(valuer, figure)
            written.append(figure)
        if model is not None:
            valuer.save(model)
            written.append(model)
        _print_summary(console, valuer, valid)
        _warn([*caught, *valuer.diagnostics_.messages])
        _print_written(console, written, started)
        if strict and valuer.diagnostics_.messages:
            raise typer.Exit(EXIT_UNTRUSTED)


@app.command(epilog=EXIT_CODES)
def score(
    ctx: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="What `dvrl value --model` saved.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Table of rows (.csv or .parquet).")],
    target: Annotated[
        str | None,
        typer.Option(help="Column with the labels. Values need it; predictions do not."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that names the rows; kept in the output.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ] = Path("scored.parquet"),
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="Type from another package that MODEL may create; may be repeated. The error "
            "names the types. Only for files from people you trust.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No summary; warnings and errors only.")
    ] = False,
) -> None:
    """Value and predict rows that were not in the training table.

    [bold]Example:[/bold] dvrl score model.dvrl new.csv --target income -o scored.parquet
    """
    with _one_sentence_errors(ctx):
        started = time.perf_counter()
        if model.is_dir():
            model = model / MODEL_NAME
        _check_inputs([model, file])
        _check_output(output, TABLE_ENDINGS)
        _check_distinct([model, file, output])

        import dvrl
        from dvrl.tables import write_table

        console = _console(quiet=quiet)
        try:
            valuer = dvrl.load(model, trusted=tuple(trust or ()))
        except ValueError as error:
            hint = " On the command line, add --trust TYPE for each of them."
            raise InputError(f"{error}{hint if 'trusted=' in str(error) else ''}") from error
        X, y = _read_rows(file, target, id_column)
        X = _same_columns(X, list(valuer.feature_names_in_), file)
        scored = _scored(valuer, X, y)
        if y is None:
            _say(console, "No --target given: predictions only, no values.")
        write_table(_with_row_names(scored), output)
        _print_written(console, [output], started)


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
    drop: Annotated[
        list[str] | None, typer.Option(help="Column to leave out; may be repeated.")
    ] = None,
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
        int | None, typer.Option(help="Parallel fits of a predictor such as lightgbm.")
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
    with _one_sentence_errors(ctx):
        started = time.perf_counter()
        _check_inputs([train, valid, test])
        _make_folder(output)
        figure = output / "figure.png"
        _check_output(figure, (figure.suffix,))

        from dvrl.experiments.side_by_side import compare as compare_methods
        from dvrl.report.figures import draw_comparison, save_figure

        console = _console(quiet=quiet)
        X, y = _read_rows(train, target, id_column)
        X = _without_columns(X, drop or [], train)
        others: dict[str, Any] = {}
        for path, rows, labels in ((valid, "X_val", "y_val"), (test, "X_test", "y_test")):
            if path is not None:
                frame, others[labels] = _read_rows(path, target, None)
                others[rows] = _same_columns(frame, list(X.columns), path)
        chosen = _choose_task(console, task, y, target)
        result = compare_methods(
            X,
            y,
            **others,
            methods=None if methods is None else _names(methods),
            predictor=_predictor(chosen, predictor, seed),
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
        _print_written(console, [*written, figure], started)


@app.command(epilog=EXIT_CODES)
def apply(
    ctx: typer.Context,
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="The table that was reviewed.")],
    review: Annotated[
        Path, typer.Option(help="Decisions exported from the report: id, decision, new_label.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")
    ],
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="Column that names the rows; by default their numbers, from 0."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column of the labels; needed when rows are relabelled.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No summary; warnings and errors only.")
    ] = False,
) -> None:
    """Clean a table as it was reviewed in a report.

    Drops and relabels the rows that the review says; all else stays as it is.

    [bold]Example:[/bold] dvrl apply train.csv --review review.csv --target income -o cleaned.csv
    """
    with _one_sentence_errors(ctx):
        started = time.perf_counter()
        _check_inputs([train, review])
        _check_output(output, TABLE_ENDINGS)
        _check_distinct([train, review, output])

        from dvrl.experiments.review import apply_review

        console = _console(quiet=quiet)
        done = apply_review(train, review, output, id_column=id_column, target=target)
        _say(
            console,
            f"{done.n_relabelled:,} relabelled, {done.n_dropped:,} dropped, {done.n_kept:,} kept "
            f"on purpose; {done.n_rows:,} rows in all.",
        )
        if done.unseen_labels:
            new = _listed(done.unseen_labels)
            _warn([f"new labels that no row had before: {new}. Check their spelling."])
        _print_written(console, [output], started)


# ------------------------------------------------------------------------- steps of a command


def _read_rows(
    path: Path, target: str | None, id_column: str | None
) -> tuple[pd.DataFrame, pd.Series[Any] | None]:
    """Features with the rows named by the id column, and the target column."""
    import pandas as pd

    from dvrl.tables import read_table, split_target

    if id_column in OUTPUT_COLUMNS:
        raise InputError(f"{id_column!r} is a column of the output; rename the --id column.")
    frame = read_table(path)
    if frame.index.nlevels > 1:  # rows can carry one name each
        frame = frame.reset_index(drop=True)
    try:
        if target is not None:
            X, y, ids = split_target(frame, target, id_column)
            return X.set_axis(ids), y.set_axis(ids)
        if id_column is not None and id_column != frame.index.name:
            X, names, _ = split_target(frame, id_column)
            return X.set_axis(pd.Index(names, name=id_column)), None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return frame, None


def _same_columns(frame: pd.DataFrame, names: list[str], path: Path) -> pd.DataFrame:
    """The columns a model or a training table has, in its order."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(f"{path} lacks {_listed(missing)}; it needs every feature of TRAIN.")
    return frame[names]


def _choose_task(console: Console, task: Task, y: Any, target: str) -> Task:
    """Decide what is predicted, and say so when the user did not."""
    if task is not Task.auto:
        return task
    chosen, why = guess_task(y)
    _say(
        console,
        f"Task: {chosen.value}, because {target!r} holds {why}. Choose the other one with --task.",
    )
    return chosen


def guess_task(y: pd.Series[Any]) -> tuple[Task, str]:
    """Tell classes from numbers by looking at a target column.

    Text, yes/no and categories are classes. So are whole numbers with two different
    values, or with at most 20 that are also fewer than 5 % of the rows.

    Parameters
    ----------
    y : pandas.Series
        The target column.

    Returns
    -------
    task : Task
        Classification or regression.
    why : str
        What was seen, for a sentence.
    """
    import numpy as np
    from pandas.api import types

    if types.is_bool_dtype(y.dtype):
        return Task.classification, "yes/no values"
    if types.is_datetime64_any_dtype(y.dtype):
        raise InputError("The target holds dates; turn them into numbers or classes first.")
    if not types.is_numeric_dtype(y.dtype):
        return Task.classification, "text or categories"
    known = y.dropna()
    numbers = known.to_numpy(dtype=float)
    n_different = int(known.nunique())
    # Whole numbers stored as floats are what a gap makes of an integer column.
    if not np.array_equal(numbers, np.round(numbers)):
        return Task.regression, "numbers with fractions"
    if n_different <= 2 or (n_different <= 20 and n_different < 0.05 * len(known)):
        return Task.classification, f"whole numbers with only {n_different} different values"
    return Task.regression, f"whole numbers with {n_different} different values"


def _make_valuer(task: Task, predictor: Predictor | None, seed: int, **settings: Any) -> Any:
    """The estimator for a task, not fitted."""
    from dvrl import DVRLClassifier, DVRLRegressor

    kind = DVRLClassifier if task is Task.classification else DVRLRegressor
    return kind(_predictor(task, predictor, seed), random_state=seed, **settings)


def _predictor(task: Task, predictor: Predictor | None, seed: int) -> Any:
    """The model for a task, by name or as an estimator."""
    classes = task is Task.classification
    if predictor is None:
        predictor = Predictor.logistic if classes else Predictor.ridge
    wrong = Predictor.ridge if classes else Predictor.logistic
    if predictor is wrong:
        other = "logistic" if classes else "ridge"
        raise InputError(
            f"--predictor {predictor.value} does not fit the task {task.value}; "
            f"use {other}, mlp or lightgbm, or change --task."
        )
    return _lightgbm(classes, seed) if predictor is Predictor.lightgbm else predictor.value


def _without_columns(frame: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(f"{path} has no column {_listed(missing)} to drop.")
    return frame.drop(columns=list(names))


def _names(methods: str) -> list[str]:
    """Keys of methods, from a list with commas."""
    return [name.strip() for name in methods.split(",") if name.strip()]


def _lightgbm(classes: bool, seed: int) -> Any:
    try:
        import lightgbm
    except ImportError:
        raise InputError(
            "--predictor lightgbm needs the lightgbm package; "
            'install it with: pip install "dvrl[lightgbm]"'
        ) from None
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    # One thread per fit: fits run beside each other.
    return kind(verbose=-1, n_jobs=1, random_state=seed)


def _scored(valuer: Any, X: pd.DataFrame, y: Any) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    if y is not None:
        columns["data_value"] = valuer.value(X, y)
    columns["prediction"] = valuer.predict(X)
    if hasattr(valuer, "predict_proba"):
        columns["probability"] = valuer.predict_proba(X).max(axis=1)
    return pd.DataFrame(columns, index=X.index)


def _with_row_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the index into the first column; without an id column it is the row number."""
    return frame.reset_index(names=str(frame.index.name or "row"))


def _draw(valuer: Any, path: Path) -> None:
    from dvrl.report.figures import new_figure, plot_history, plot_values, save_figure

    figure, (left, right) = new_figure(2)
    plot_values(valuer.data_values_, ax=left)
    plot_history(valuer.history_, ax=right)
    save_figure(figure, path)


# ------------------------------------------------------------------- checks before work starts


def _check_inputs(paths: Sequence[Path | None]) -> None:
    for path in paths:
        if path is not None and not path.is_file():
            raise InputError(f"There is no file {path}; check the path.")


def _check_value_outputs(
    inputs: Sequence[Path | None],
    output: Path,
    figure: Path | None,
    model: Path | None,
    checkpoint: Path | None,
) -> None:
    from dvrl.report.figures import FIGURE_ENDINGS

    _check_output(output, TABLE_ENDINGS)
    if figure is not None:
        _check_output(figure, FIGURE_ENDINGS)
    for path in (model, checkpoint):
        if path is not None:
            _check_output(path, ())
    _check_distinct([*inputs, output, figure, model, checkpoint])


def _check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a path that cannot be written, before hours of work are lost to it."""
    if endings and path.suffix.lower() not in endings:
        raise InputError(f"{path} has no known ending; use {' or '.join(endings)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}; make it or choose another.")
    existing = path if path.exists() else path.parent
    if not os.access(existing, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written; choose a place you may write to.")


def _check_distinct(paths: Sequence[Path | None]) -> None:
    """Refuse to write over an input or to write two things to one place."""
    seen = set()
    for path in paths:
        if path is None:
            continue
        place = path.resolve()
        if place in seen:
            raise InputError(f"{path} is named twice; give every file its own name.")
        seen.add(place)


def _make_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be made ({error.strerror}); choose another.") from None


# -------------------------------------------------------------------------- errors and signals


@contextmanager
def _one_sentence_errors(ctx: typer.Context, checkpoint: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong into one sentence and an exit code."""
    debug = bool(ctx.obj)
    try:
        yield
    except KeyboardInterrupt:
        kept = ""
        if checkpoint is not None and checkpoint.exists():
            kept = f" The run is kept in {checkpoint}; continue with --resume."
        _fail(f"Interrupted.{kept}", EXIT_INTERRUPTED)
    except (InputError, ValueError, TypeError, OSError) as error:
        if debug:
            raise
        _fail(f"error: {error}", EXIT_BAD_INPUT)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Keep what the library warns about, to be shown as lines after the work."""
    from dvrl.exceptions import DataValuationWarning

    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DataValuationWarning)
        yield messages
    messages.extend(str(entry.message) for entry in caught)


def _warn(messages: Sequence[str]) -> None:
    """Say each warning once, also when the rest is quiet."""
    for message in dict.fromkeys(messages):
        typer.echo(f"warning: {message}", err=True)


# ----------------------------------------------------------------------- what the user gets to see


def _console(quiet: bool = False) -> Console:
    from rich.console import Console

    # Files and pipes have no width of their own; 80 columns would cut tables.
    width = None if sys.stdout.isatty() else 110
    return Console(quiet=quiet, highlight=False, width=width)


def _say(console: Console, message: str) -> None:
    """Print text as it is: a path may hold what Rich takes for markup, or be long."""
    console.print(message, markup=False, soft_wrap=True)


def _print_table(
    console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def _print_written(console: Console, files: Sequence[Path], started: float) -> None:
    for file in files:
        _say(console, f"Wrote {file}")
    _say(console, f"Took {_duration(time.perf_counter() - started)}.")


def _print_summary(console: Console, valuer: Any, valid: Path | None) -> None:
    if console.quiet:
        return
    values = valuer.data_values_
    _say(console, f"{len(values):,} rows valued.")
    held_out = getattr(valuer, "validation_indices_", None)
    if valid is None and held_out is not None:
        _say(console, f"{len(held_out):,} of the rows were held out as validation rows.")
    share = min(1.0, N_LOWEST_SHOWN / len(values))
    lowest = valuer.suspects(fraction=share).head(N_LOWEST_SHOWN).dropna(axis=1, how="all")
    _print_table(
        console,
        "Lowest values",
        (str(lowest.index.name or "row"), *(name.replace("_", " ") for name in lowest.columns)),
        [
            [_cell(entry, name) for entry, name in zip(row, ("", *lowest.columns), strict=True)]
            for row in lowest.itertuples()
        ],
    )
    for line in str(valuer.diagnostics_).splitlines():
        if not line.startswith("!"):  # these are the warnings, which follow
            _say(console, line)


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
    _print_table(
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
        _say(console, "Found: share of the wrong labels among the 20 % of lowest values.")
    _say(
        console,
        f"Out: mean {result.removal_metric} on the {result.judged_on} rows while 0 to 50 % of "
        "the rows are removed. Good values keep it high when the lowest go, and lower it when the "
        "highest go.",
    )
    if result.judged_on == "validation":
        _say(console, "The methods have seen these rows; add --test for rows they have not.")


def _cell(entry: Any, column: str) -> str:
    if not isinstance(entry, float):
        return str(entry)
    return f"{entry:.3f}" if column in SHARE_COLUMNS else f"{entry:.4g}"


def _listed(names: Sequence[Any], limit: int = 8) -> str:
    """Some names in quotes, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@contextmanager
def _progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that shows the progress on standard error.

    A moving bar on a terminal; elsewhere, such as in a log file, a line now and then.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(title) as callback:
            yield callback
    else:
        yield _PlainLines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(title, total=None, detail="preparing")

        def callback(progress: Any) -> None:
            bar.update(
                line,
                total=progress.total,
                completed=progress.iteration,
                detail=_progress_detail(progress),
            )

        yield callback


def _say_method(name: str) -> None:
    """Say which method is at work, on standard error."""
    typer.echo(f"{name} ...", err=True)


class _PlainLines:
    """Progress as lines: at the first report, then every tenth of the run or half a minute."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.next_share = 0.0
        self.next_time = 0.0

    def __call__(self, progress: Progress) -> None:
        share = progress.iteration / max(progress.total, 1)
        if share < min(self.next_share, 1.0) and progress.seconds_elapsed < self.next_time:
            return
        self.next_share = share + 0.1
        self.next_time = progress.seconds_elapsed + 30.0
        typer.echo(
            f"{self.title}: {progress.iteration} of {progress.total}, {_progress_detail(progress)}",
            err=True,
        )


def _progress_detail(progress: Any) -> str:
    detail = f"reward {progress.reward:.4f}"
    if progress.seconds_left is not None and progress.iteration < progress.total:
        detail += f", {_duration(progress.seconds_left)} left"
    return detail


if __name__ == "__main__":
    main()
