"""Every option of the command line, declared once: it means the same in all commands.

A command's signature names the options it takes. Those that several commands take together are
records (`RowOptions`, `RunOptions`), which `dvrl.cli.base.command` takes apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dvrl.methods import METHODS

TABLE_ENDINGS = (".parquet", ".csv", ".tsv")
REPORT_ENDINGS = (".html", ".htm")
MODEL_NAME = "model.dvrl"

# Written out, so that --help does not wait for numpy; tests compare them.
METHOD_NAMES = ("dvrl", *METHODS)
ADAPTATION_METRICS = ("log_loss", "accuracy", "balanced_accuracy", "mse", "mae", "rmspe")


class Task(StrEnum):
    """What is predicted."""

    auto = "auto"
    classification = "classification"
    regression = "regression"


class Predictor(StrEnum):
    """A model by its name."""

    logistic = "logistic"
    ridge = "ridge"
    mlp = "mlp"
    random_forest = "random_forest"
    gradient_boosting = "gradient_boosting"


class Preset(StrEnum):
    """A named set of settings."""

    default = "default"
    paper = "paper"
    released = "released"


class Scheme(StrEnum):
    """How the values are used."""

    weights = "weights"
    pruning = "pruning"


class FinalRows(StrEnum):
    """What the final predictor is trained on."""

    training = "training"
    both = "both"


# In the order of the help.
PANELS = ("Rows", "Valuation", "Final predictor", "Output", "Run")
_rows, _values, _model, _output, _run = (
    partial(typer.Option, rich_help_panel=panel) for panel in PANELS
)

# ------------------------------------------------------------------------------------- rows

Train = Annotated[
    Path, typer.Argument(metavar="TRAIN", help="Table of training rows (.csv or .parquet).")
]
Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="Table of source rows (.csv or .parquet).")
]
Saved = Annotated[
    Path, typer.Argument(metavar="SAVED", help="Fitted estimator that --save has written.")
]
NewRows = Annotated[Path, typer.Argument(metavar="ROWS", help="Table of rows (.csv or .parquet).")]
Target = Annotated[str, _rows(help="Column to predict.")]
OptionalTarget = Annotated[str | None, _rows(help="Column to predict.")]
Valid = Annotated[
    Path | None,
    _rows(
        help="Table of trusted validation rows with the same columns. Without it, a part of "
        "TRAIN is held out."
    ),
]
TargetRows = Annotated[
    Path,
    _rows(
        "--valid",
        help="Table of trusted validation rows with the same columns: the target domain's, at "
        "least 10.",
    ),
]
Test = Annotated[
    Path | None, _rows(help="Table of test rows with the same columns; they choose nothing.")
]
Predict = Annotated[
    Path | None, _rows(help="Table of rows to predict; they need no column to predict.")
]
IdColumn = Annotated[
    str | None,
    _rows("--id", help="Column that names the rows, no feature; by default their numbers, from 0."),
]
Drop = Annotated[list[str] | None, _rows(help="Column that is no feature; may be repeated.")]
TaskName = Annotated[
    Task,
    _rows(
        metavar="TASK",
        help="auto, classification or regression; auto takes text, yes/no and whole numbers "
        "of few different values as classes.",
    ),
]
KnownErrors = Annotated[
    str | None,
    _rows(
        help="Column of TRAIN that marks rows known to be wrong (yes/no); not a feature. "
        "Shows how many of them are found."
    ),
]
PlantNoise = Annotated[
    float, _rows(min=0.0, max=0.9, help="Share of the training labels to make wrong.")
]
TrainRows = Annotated[int | None, _rows(min=2, help="Take so many random training rows.")]
ValidRows = Annotated[int | None, _rows(min=1, help="Hold out so many validation rows.")]
Review = Annotated[Path, _rows(help="Decisions exported from the report: id, decision, new_label.")]
Trust = Annotated[
    list[str] | None,
    _rows(
        metavar="TYPE",
        help="Type from another package that SAVED may create; may be repeated. The error "
        "names the types. Only for files from people you trust.",
    ),
]

# -------------------------------------------------------------------------------- valuation

PredictorName = Annotated[
    Predictor | None,
    _values(
        metavar="MODEL",
        help=f"The model the rows are valued for: {', '.join(Predictor)}; by default logistic for "
        "classes and ridge for numbers.",
        show_default=False,
    ),
]
Metric = Annotated[
    str | None,
    _values(
        help="What counts as good on the validation rows, such as log_loss, accuracy, auc, "
        "mse, r2, or the name of a scikit-learn scorer."
    ),
]
AdaptationMetric = Annotated[
    str | None,
    _values(
        "--metric",
        help=f"What counts as good on the validation rows: {', '.join(ADAPTATION_METRICS)}; by "
        "default log_loss or mse. balanced_accuracy and rmspe also weigh the rows in training.",
    ),
]
PresetName = Annotated[
    Preset, _values(help="Settings: our own, the paper's, or those of its released code.")
]
OuterIterations = Annotated[int | None, _values(min=1, help="Updates of the value estimator.")]
EnsembleSize = Annotated[
    int | None, _values(min=1, help="Independent runs to average; gives the spread.")
]
Methods = Annotated[
    str | None,
    _values(help=f"Some of {', '.join(METHOD_NAMES)}, with commas; by default all."),
]
SourceValues = Annotated[str, _values(help="Kinds of source values to try, with commas.")]

# -------------------------------------------------------------------------- final predictor

FinalPredictor = Annotated[
    Predictor | None,
    _model(
        metavar="MODEL",
        help="The model to train in the end; by default the predictor the rows are valued for.",
        show_default=False,
    ),
]
UseOfValues = Annotated[
    Scheme, _model(help="Use the values as weights of the rows, or remove the lowest rows.")
]
TrainedOn = Annotated[
    FinalRows, _model(help="Train on the validation rows (--valid), too, with weight 1: both.")
]

# ----------------------------------------------------------------------------------- output

Output = Annotated[Path, _output("--output", "-o", help="Table to write (.csv or .parquet).")]
Folder = Annotated[Path, _output(help="Folder for the results; made if missing.")]
Predictions = Annotated[
    Path, _output(help="Where the predictions for --predict go (.csv or .parquet).")
]
Figure = Annotated[Path | None, _output(help="Picture of the values (.png, .svg or .pdf).")]
Report = Annotated[
    Path | None, _output(help="Page about the result for the browser (.html), works offline.")
]
Save = Annotated[
    Path | None,
    _output(
        help="Where to save the fitted estimator, for `dvrl score`: a file, or an existing folder, "
        f"which gets {MODEL_NAME}."
    ),
]
# A list needs a length; how many rows to remove can be chosen.
ListedFraction = Annotated[
    float,
    _output("--fraction", min=0.001, max=1.0, help="Share of the rows to take, lowest first."),
]
RemovedFraction = Annotated[
    float | None,
    _output(
        "--fraction",
        min=0.0,
        max=0.99,
        help="Share of the rows to take, lowest first.",
        show_default="chosen on the validation rows",
    ),
]

# -------------------------------------------------------------------------------------- run

Seed = Annotated[int, _run(min=0, help="The same seed gives the same result.")]
MaxSeconds = Annotated[
    float | None, _run(min=0.1, help="Stop valuing after this time and use what was learned.")
]
Checkpoint = Annotated[Path | None, _run(help="File that keeps the state of the run.")]
Resume = Annotated[bool, _run("--resume", help="Continue from the checkpoint.")]
Jobs = Annotated[
    int | None,
    _run(help="Parallel fits of such a predictor as gradient_boosting; -1 for all."),
]
Quick = Annotated[
    bool, _run("--quick", help="A small, short run: shows that it works, not how well.")
]
Strict = Annotated[bool, _run("--strict", help="Exit with 1 when the diagnostics warn.")]
Quiet = Annotated[
    bool, _run("--quiet", "-q", help="No progress and no summary; warnings and errors only.")
]


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """Which rows are valued, and what is predicted."""

    train: Train
    target: Target
    valid: Valid = None
    id_column: IdColumn = None
    drop: Drop = None
    task: TaskName = Task.auto


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How rows are valued, and what is said about it."""

    predictor: PredictorName = None
    metric: Metric = None
    preset: PresetName = Preset.default
    outer_iterations: OuterIterations = None
    ensemble_size: EnsembleSize = None
    report: Report = None
    seed: Seed = 0
    max_seconds: MaxSeconds = None
    n_jobs: Jobs = None
    strict: Strict = False
    quiet: Quiet = False
