"""Fitted adapted estimators to one file and back: arrays, JSON and skops objects, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..data.targets import ClassEncoder, TargetScaler
from ..files.archive import Archive, with_prefix, write_archive
from ..learning.settings import as_settings
from ..persistence import plain_array, read_index, split_params
from .candidates import FittedCandidate
from .outcomes import make_outcome
from .rows import RowEncoder
from .settings import AdaptationSettings

__all__ = ["KIND", "restored", "save"]

KIND = "adaptation"
ARRAYS = ("source_weights_", "source_values_")
FIGURES = ("message_", "n_fits_", "seconds_", "source_scale_", "n_features_in_", "_seed")
OUTCOME = {"metric", "link", "_unit"}
MIXTURES = ("members_", "source_only_")


def save(adapted: Any, path: Path) -> None:
    """Write a fitted estimator; an existing file is replaced in one step.

    Raises
    ------
    TypeError
        If its predictors are of a kind that cannot be written without pickle.
    """
    check_is_fitted(adapted)
    given = adapted.get_params(deep=False) | {
        "settings": as_settings(adapted.settings, AdaptationSettings).given() or None,
        "valuation": as_settings(adapted.valuation).given() or None,
    }
    params, objects = split_params(given)
    objects = {f"param_{name}": value for name, value in objects.items()}
    encoder, outcome = adapted.row_encoder_, adapted.outcome_
    names = getattr(adapted, "feature_names_in_", None)
    if not encoder.sparse:
        objects["encoder"] = encoder.encoder
    metadata: dict[str, Any] = {
        "kind": KIND,
        "class": type(adapted).__name__,
        "params": params,
        "coder": adapted.coder_.to_dict(),
        "outcome": {name: value for name, value in vars(outcome).items() if name != "coder"},
        "rows": {
            "original": encoder.original,
            "sparse": encoder.sparse,
            "columns": None if names is None else [str(name) for name in names],
        },
        "report": {name: column.tolist() for name, column in adapted.report_.items()},
        **{name: getattr(adapted, name) for name in FIGURES},
    }
    for mixture in MIXTURES:
        metadata[mixture] = []
        for number, (weight, power, member) in enumerate(getattr(adapted, mixture)):
            metadata[mixture].append(
                {
                    "weight": weight,
                    "power": power,
                    "form": member.form,
                    "n_estimators": len(member.estimators),
                }
            )
            for place, estimator in enumerate(member.estimators):
                objects[f"{mixture}{number}_{place}"] = estimator
    arrays = {name: getattr(adapted, name) for name in ARRAYS}
    if adapted._source_index is not None:
        arrays["index"] = plain_array(np.asarray(adapted._source_index))
    write_archive(path, metadata=metadata, arrays=arrays, objects=objects)


def restored(archive: Archive, classes: Mapping[str, type]) -> Any:
    """Make the estimator, one of some classes, of what :func:`save` wrote."""
    import pandas as pd

    metadata = archive.metadata
    params = dict(metadata["params"]) | with_prefix(archive.objects, "param_")
    params["values"] = tuple(params["values"])
    adapted = classes[metadata["class"]](**params)
    coder = ClassEncoder if adapted._task == "classification" else TargetScaler
    adapted.coder_ = coder.from_dict(metadata["coder"])
    state = metadata["outcome"]
    adapted.outcome_ = make_outcome(adapted._task, state["metric"], adapted.coder_)
    unknown = state.keys() - OUTCOME
    if unknown:
        raise ValueError(f"The saved outcome is damaged: it holds {sorted(unknown)}.")
    vars(adapted.outcome_).update(state)
    adapted.row_encoder_ = _row_encoder(archive)
    for name in FIGURES:
        setattr(adapted, name, metadata[name])
    for name in ARRAYS:
        setattr(adapted, name, archive.arrays[name])
    if metadata["rows"]["columns"] is not None:
        adapted.feature_names_in_ = np.array(metadata["rows"]["columns"], dtype=object)
    for mixture in MIXTURES:
        setattr(adapted, mixture, _members(archive, mixture))
    adapted.report_ = pd.DataFrame(metadata["report"])
    adapted._source_index = read_index(archive)
    return adapted


def _row_encoder(archive: Archive) -> RowEncoder:
    known = archive.metadata["rows"]
    encoder = RowEncoder(bool(known["original"]))
    encoder.sparse = bool(known["sparse"])
    if not encoder.sparse:
        encoder.columns = known["columns"]
        encoder.encoder = archive.objects["encoder"]
    return encoder


def _members(archive: Archive, mixture: str) -> list[tuple[float, float, FittedCandidate]]:
    # Weights of the source rows are kept of the mixture as a whole, in `source_weights_`.
    return [
        (
            float(each["weight"]),
            float(each["power"]),
            FittedCandidate(
                each["form"],
                tuple(
                    archive.objects[f"{mixture}{number}_{place}"]
                    for place in range(int(each["n_estimators"]))
                ),
                np.empty(0),
            ),
        )
        for number, each in enumerate(archive.metadata[mixture])
    ]
