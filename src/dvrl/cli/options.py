"""Options that several commands share, so that they are written and explained once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "MODEL_NAME",
    "TABLE_ENDINGS",
    "Drop",
    "EnsembleSize",
    "IdColumn",
    "Jobs",
    "MaxSeconds",
    "Metric",
    "OuterIterations",
    "Predictor",
    "PredictorName",
    "Preset",
    "PresetName",
    "Quiet",
    "Report",
    "Seed",
    "Strict",
    "Target",
    "Task",
    "TaskName",
    "TrainTable",
    "Valid",
]

TABLE_ENDINGS = (".parquet", ".csv", ".tsv")
MODEL_NAME = "model.dvrl"


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
    gradient_boosting = "gradient_boosting"


class Preset(StrEnum):
    """A named set of settings."""

    default = "default"
    paper = "paper"
    released = "released"


TrainTable = Annotated[
    Path, typer.Argument(metavar="TRAIN", help="Table of training rows (.csv or .parquet).")
]
Target = Annotated[str, typer.Option(help="Column to predict.")]
Valid = Annotated[
    Path | None,
    typer.Option(
        help="Table of trusted validation rows with the same columns. Without it, a part of "
        "TRAIN is held out."
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option("--id", help="Column that names the rows; kept in the output, not a feature."),
]
Drop = Annotated[list[str] | None, typer.Option(help="Column that is no feature; may be repeated.")]
TaskName = Annotated[
    Task,
    typer.Option(
        metavar="TASK",
        help="auto, classification or regression; auto takes text, yes/no and whole numbers "
        "of few different values as classes.",
    ),
]
PredictorName = Annotated[
    Predictor | None,
    typer.Option(
        help="The model the rows are valued for; by default logistic for classes and ridge "
        "for numbers.",
        show_default=False,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        help="What counts as good on the validation rows, such as log_loss, accuracy, auc, "
        "mse, r2, or the name of a scikit-learn scorer."
    ),
]
PresetName = Annotated[
    Preset,
    typer.Option(help="Settings: our own, the paper's, or those of its released code."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same values.")]
OuterIterations = Annotated[int | None, typer.Option(min=1, help="Updates of the value estimator.")]
EnsembleSize = Annotated[
    int | None, typer.Option(min=1, help="Independent runs to average; gives the spread.")
]
MaxSeconds = Annotated[
    float | None, typer.Option(min=0.1, help="Stop after this time and use what was learned.")
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Parallel fits of such a predictor as gradient_boosting; -1 for all."),
]
Report = Annotated[
    Path | None, typer.Option(help="Page about the result for the browser (.html), works offline.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when the diagnostics warn.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress and no summary; warnings and errors only."),
]
