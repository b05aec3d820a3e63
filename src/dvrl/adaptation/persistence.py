"""Fitted adapted estimators to one file and back: a record and arrays, no pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..data.encoder import FeatureEncoder
from ..data.rows import index_from_state, index_state
from ..files.archive import Archive, write_archive
from ..files.state import Count, Finite, State, checked, expect, joined, part
from ..persistence import coder_of, own_models, params_from, plain_params
from ..predictors.stored import models_from_state, models_state
from .candidates import FittedCandidate
from .outcomes import make_outcome
from .rows import RowEncoder

__all__ = ["KIND", "restored", "save"]

KIND = "adaptation"
MIXTURES = ("members_", "source_only_")


@dataclass(frozen=True)
class Member:
    """What a file says of a member of a mixture."""

    weight: Finite
    power: Finite
    form: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class AdaptationRecord:
    """What a file says of an adapted estimator beside its parts."""

    estimator: str
    params: dict[str, Any]
    metric: str
    link: Literal["identity", "log"]
    unit: Finite
    original: bool
    sparse: bool
    columns: tuple[str, ...] | None
    message: str
    n_fits: Count
    seconds: Finite
    source_scale: Finite
    n_features_in: Count
    seed: Count
    members: tuple[Member, ...]
    source_only: tuple[Member, ...]
    report: dict[str, tuple[Any, ...]]


def save(adapted: Any, path: Path) -> None:
    """Write a fitted estimator; an existing file is replaced in one step.

    Raises
    ------
    TypeError
        If one of its predictors could not be loaded again.
    """
    check_is_fitted(adapted)
    models = own_models(adapted)
    mixtures = {name: _members(getattr(adapted, name), name, models) for name in MIXTURES}
    rows, outcome = adapted.row_encoder_, adapted.outcome_
    names = getattr(adapted, "feature_names_in_", None)
    record = AdaptationRecord(
        estimator=type(adapted).__name__,
        params=plain_params(adapted),
        metric=outcome.metric,
        link=outcome.link,
        unit=getattr(outcome, "_unit", 1.0),
        original=rows.original,
        sparse=rows.sparse,
        columns=None if names is None else tuple(map(str, names)),
        message=adapted.message_,
        n_fits=adapted.n_fits_,
        seconds=adapted.seconds_,
        source_scale=adapted.source_scale_,
        n_features_in=adapted.n_features_in_,
        seed=adapted._seed,
        members=mixtures["members_"],
        source_only=mixtures["source_only_"],
        report={name: tuple(column.tolist()) for name, column in adapted.report_.items()},
    )
    states = {"coder": adapted.coder_.state(), "models": models_state(models)}
    if not rows.sparse:
        states["encoder"] = rows.encoder.state()
    if adapted._source_index is not None:
        states["index"] = index_state(adapted._source_index)
    parts, arrays = joined(**states)
    arrays |= {"weights": adapted.source_weights_, "values": adapted.source_values_}
    write_archive(path, {"kind": KIND, "adaptation": asdict(record), "parts": parts}, arrays)


def restored(
    archive: Archive,
    classes: Mapping[str, type],
    *,
    trusted: Sequence[str] = (),
    predictor: Any = None,
) -> Any:
    """Make the estimator, one of some classes, of what :func:`save` wrote."""
    import pandas as pd

    record = checked(AdaptationRecord, archive.record["adaptation"])
    parts = archive.record["parts"]

    def of(name: str) -> State:
        return part(parts, archive.arrays, name)

    models = models_from_state(*of("models"), trusted)
    adapted = params_from(classes[record.estimator], record.params, models, predictor)
    adapted.coder_ = coder_of(adapted).from_state(*of("coder"))
    adapted.outcome_ = make_outcome(adapted._task, record.metric, adapted.coder_)
    adapted.outcome_.link, adapted.outcome_._unit = record.link, record.unit
    adapted.row_encoder_ = rows = RowEncoder(record.original)
    rows.sparse = record.sparse
    if not record.sparse:
        rows.columns = None if record.columns is None else list(record.columns)
        rows.encoder = FeatureEncoder.from_state(*of("encoder"))
    adapted.message_, adapted.n_fits_ = record.message, record.n_fits
    adapted.seconds_, adapted.source_scale_ = record.seconds, record.source_scale
    adapted.n_features_in_, adapted._seed = record.n_features_in, record.seed
    if record.columns is not None:
        adapted.feature_names_in_ = np.array(record.columns, dtype=object)
    adapted.members_ = _fitted(record.members, models)
    adapted.source_only_ = _fitted(record.source_only, models)
    adapted.report_ = pd.DataFrame({name: list(cells) for name, cells in record.report.items()})
    adapted.source_weights_ = expect(archive.arrays, "weights", (None,), low=0.0)
    shape = adapted.source_weights_.shape
    adapted.source_values_ = expect(archive.arrays, "values", shape, low=0.0)
    adapted._source_index = index_from_state(*of("index")) if "index" in parts else None
    return adapted


def _members(mixture: Any, name: str, models: dict[str, object]) -> tuple[Member, ...]:
    """What is said of the members of a mixture; their models are added to the others."""
    said = []
    for number, (weight, power, member) in enumerate(mixture):
        names = tuple(f"predictor {name}{number}.{n}" for n in range(len(member.estimators)))
        models |= dict(zip(names, member.estimators, strict=True))
        said.append(Member(float(weight), float(power), member.form, names))
    return tuple(said)


def _fitted(
    members: tuple[Member, ...], models: Mapping[str, Any]
) -> list[tuple[float, float, FittedCandidate]]:
    # Weights of the source rows are kept of the mixture as a whole.
    none = np.empty(0)
    return [
        (
            each.weight,
            each.power,
            FittedCandidate(each.form, tuple(models[name] for name in each.models), none),
        )
        for each in members
    ]
