"""Fitted estimators to one file and back: a record and arrays, no pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data.rows import index_from_state, index_state
from .data.targets import ClassEncoder, TargetScaler
from .data.transformer import encoder_from_state, encoder_state
from .diagnostics.findings import Diagnostics
from .files.archive import Archive, is_plain, write_archive
from .files.state import Count, Finite, Share, State, checked, expect, joined, part
from .predictors.stored import fitted_from_state, fitted_state, models_from_state, models_state
from .references.marginal import Marginal

__all__ = ["KIND", "coder_of", "own_models", "params_from", "plain_params", "restored", "save"]

# The kind of file.
KIND = "valuation"
PARAM = "parameter "


@dataclass(frozen=True)
class ValuationRecord:
    """What a file says of an estimator beside its parts."""

    estimator: str
    params: dict[str, Any]
    n_members: Count
    prior: bool
    kept_share: Share
    residual_bound: Finite | None
    n_features_in: Count
    feature_names_in: tuple[str, ...] | None


def save(estimator: Any, path: Path, *, with_rows: bool) -> None:
    """Write a fitted estimator; an existing file is replaced in one step.

    Raises
    ------
    TypeError
        If a model of the user's own could not be loaded again.
    ValueError
        If the marginal consists of training rows, which are to be left out.
    """
    policy = estimator._policy
    marginal = policy.marginal.state(with_rows=with_rows)
    predictor, predictor_models = fitted_state(estimator.predictor_)
    models = own_models(estimator) | marginal[2] | predictor_models
    encoder, encoder_models = encoder_state(estimator.encoder_)
    models |= encoder_models
    names = getattr(estimator, "feature_names_in_", None)
    record = ValuationRecord(
        estimator=type(estimator).__name__,
        params=plain_params(estimator),
        n_members=estimator.n_members_,
        prior=policy.has_prior,
        kept_share=policy.kept_share,
        residual_bound=policy.estimators.bound,
        n_features_in=estimator.n_features_in_,
        feature_names_in=None if names is None else tuple(map(str, names)),
    )
    parts, arrays = joined(
        run=_run_state(estimator),
        coder=estimator.coder_.state(),
        encoder=encoder,
        marginal=marginal[:2],
        predictor=predictor,
        models=models_state(models),
    )
    diagnostics = asdict(estimator.diagnostics_)
    known = {"kind": KIND, "valuation": asdict(record), "diagnostics": diagnostics}
    write_archive(path, known | {"parts": parts}, arrays)


def restored(
    archive: Archive,
    classes: Mapping[str, type],
    *,
    trusted: Sequence[str] = (),
    predictor: Any = None,
) -> Any:
    """Make the estimator, one of some classes, of what :func:`save` wrote.

    Parameters
    ----------
    archive : Archive
    classes : mapping of str to type
    trusted : sequence of str
        Types that may be created of the user's own models.
    predictor : predictor, optional
        The user's own, handed in again.
    """
    from .learning.learn import Policy

    record = checked(ValuationRecord, archive.record["valuation"])

    def of(name: str) -> State:
        return part(archive.record["parts"], archive.arrays, name)

    models = models_from_state(*of("models"), trusted)
    estimator = params_from(classes[record.estimator], record.params, models, predictor)
    estimator.coder_ = coder_of(estimator).from_state(*of("coder"))
    estimator.encoder_ = encoder_from_state(*of("encoder"), models)
    marginal = Marginal.from_state(
        *of("marginal"),
        models,
        n_features=len(estimator.encoder_.columns_out_),
        n_jobs=estimator.n_jobs,
    )
    estimator.predictor_ = fitted_from_state(
        *of("predictor"), models, coder=estimator.coder_, handed=predictor
    )
    estimator.diagnostics_ = checked(Diagnostics, archive.record["diagnostics"])
    estimator.n_members_, estimator.n_features_in_ = record.n_members, record.n_features_in
    if record.feature_names_in is not None:
        estimator.feature_names_in_ = np.array(record.feature_names_in, dtype=object)
    _restore_run(estimator, *of("run"))
    networks = _networks(part(*of("run"), "network")[1], record.residual_bound)
    estimator._policy = Policy(marginal, networks, record.prior, record.kept_share)
    return estimator


def _run_state(estimator: Any) -> State:
    """Values, labels, names of rows, history and networks."""
    import jax

    leaves = jax.tree.leaves(estimator._policy.estimators)
    parts: dict[str, State] = {
        "history": ({"names": tuple(estimator.history_)}, dict(estimator.history_)),
        "network": ({}, {str(number): np.asarray(leaf) for number, leaf in enumerate(leaves)}),
    }
    if estimator._index is not None:
        parts["index"] = index_state(estimator._index)
    record, arrays = joined(**parts)
    arrays |= {
        "labels": estimator._labels,
        "label_scores": estimator._label_scores,
        "values": estimator.data_values_,
        "values_std": estimator.data_values_std_,
    }
    if hasattr(estimator, "marginal_values_"):
        arrays["marginal_values"] = estimator.marginal_values_
    if estimator.validation_indices_ is not None:
        arrays["validation"] = estimator.validation_indices_
    return record, arrays


def _restore_run(estimator: Any, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    estimator._labels = expect(arrays, "labels", (None,), None)
    n, n_outputs = len(estimator._labels), estimator.coder_.n_outputs
    estimator._label_scores = expect(arrays, "label_scores", (n, n_outputs))
    estimator.data_values_ = expect(arrays, "values", (n,), low=0.0, high=1.0)
    # Without a spread where there is one member only.
    estimator.data_values_std_ = expect(arrays, "values_std", (n,), None).astype(np.float64)
    if "marginal_values" in arrays:
        estimator.marginal_values_ = expect(arrays, "marginal_values", (n,), low=0.0, high=1.0)
    estimator.validation_indices_ = None
    if "validation" in arrays:
        at = expect(arrays, "validation", (None,), np.integer, low=0, high=n - 1)
        estimator.validation_indices_ = at
    estimator._index = None
    if "index" in record:
        estimator._index = index_from_state(*part(record, arrays, "index"))
        if len(estimator._index) != n:
            raise ValueError("The saved file is damaged: its rows and their names do not fit.")
    history, histories = part(record, arrays, "history")
    estimator.history_ = {name: histories[name] for name in history["names"]}


def _networks(arrays: dict[str, NDArray[Any]], bound: float | None) -> Any:
    """Networks, one of each member along the first axis."""
    import jax
    import jax.numpy as jnp

    from .learning.network import DataValueEstimator

    template = DataValueEstimator.draw(
        np.random.default_rng(0),
        n_features=1,
        n_padded=0,
        n_outputs=1,
        n_differences=1,
        zero_output=False,
        bound=bound,
    )
    leaves, structure = jax.tree.flatten(template)
    found = [
        expect(arrays, str(number), (None,) * (1 + leaf.ndim)) for number, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in found])


# ---- shared with other estimators --------------------------------------------------------------


def coder_of(estimator: Any) -> Any:
    """The class of the coder of targets."""
    return ClassEncoder if estimator._task == "classification" else TargetScaler


def plain_params(estimator: Any) -> dict[str, Any]:
    """Parameters that a record can hold; settings as dicts of what is given.

    Callables, random states and parameters to start from shaped the fit, which is over: they are
    not needed again.
    """
    plain = {}
    for name, value in estimator.get_params(deep=False).items():
        if hasattr(value, "given"):
            value = value.given()
        if isinstance(value, Mapping):
            value = {each: v for each, v in value.items() if is_plain(v)}
        if is_plain(value):
            plain[name] = value
    return plain


def own_models(estimator: Any) -> dict[str, object]:
    """Models among the parameters, by what messages call them."""
    return {
        f"{PARAM}{name}": value
        for name, value in estimator.get_params(deep=False).items()
        if hasattr(value, "get_params")
        and (hasattr(value, "predict") or hasattr(value, "transform"))
    }


def params_from(
    kind: type, params: dict[str, Any], models: Mapping[str, Any], predictor: Any = None
) -> Any:
    """An estimator of a class with the parameters of a file."""
    own = {
        name.removeprefix(PARAM): model for name, model in models.items() if name.startswith(PARAM)
    }
    handed = {} if predictor is None else {"predictor": predictor}
    return kind(**(params | own | handed))
