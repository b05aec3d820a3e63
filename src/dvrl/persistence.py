"""Fitted estimators to one file and back: arrays, JSON and skops objects, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .data.targets import ClassEncoder, TargetScaler
from .diagnostics.findings import Diagnostics
from .files.archive import Archive, with_prefix, write_archive
from .learning.settings import as_settings
from .references.marginal import Marginal

__all__ = [
    "KIND",
    "plain_array",
    "read_index",
    "restored",
    "save",
    "split_params",
]

# The kind of file.
KIND = "valuation"
# The predictor of a table with texts.
WORDS = "linear on words"
FITTED_ARRAYS = ("data_values_", "data_values_std_", "marginal_values_", "_label_scores")


def save(estimator: Any, path: Path, *, with_rows: bool) -> None:
    """Write a fitted estimator; an existing file is replaced in one step.

    Raises
    ------
    TypeError
        If the robust predictor is of a kind that cannot be written without pickle.
    ValueError
        If the marginal consists of training rows, which are to be left out.
    """
    import jax

    coder, marginal, policy = estimator.coder_, estimator.marginal_, estimator._policy
    marginal_record, marginal_arrays, marginal_objects = marginal.state(with_rows=with_rows)
    params, param_objects = split_params(
        {
            **estimator.get_params(deep=False),
            # Those that are no JSON, such as parameters to start from, are not needed again.
            "settings": split_params(as_settings(estimator.settings).given())[0] or None,
        }
    )
    predictor_metadata, predictor_arrays, predictor_objects = _predictor_state(estimator.predictor_)
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(estimator, name) for name in FITTED_ARRAYS if hasattr(estimator, name)
    }
    arrays["labels"] = plain_array(estimator._labels)
    if estimator._index is not None:
        arrays["index"] = plain_array(np.asarray(estimator._index))
    if estimator.validation_indices_ is not None:
        arrays["validation_indices"] = estimator.validation_indices_
    arrays |= {f"history_{name}": values for name, values in estimator.history_.items()}
    arrays |= _leaves("estimator", jax.tree.leaves(policy.estimators))
    arrays |= {f"marginal_{name}": array for name, array in marginal_arrays.items()}
    metadata = {
        "kind": KIND,
        "class": type(estimator).__name__,
        "params": params,
        "coder": coder.to_dict(),
        "marginal": marginal_record,
        "diagnostics": estimator.diagnostics_.to_dict(),
        "n_members": estimator.n_members_,
        "prior": policy.has_prior,
        "kept_share": policy.kept_share,
        "residual_bound": policy.estimators.bound,
        "predictor": predictor_metadata,
        "n_features_in": estimator.n_features_in_,
        "feature_names_in": (
            [str(name) for name in estimator.feature_names_in_]
            if hasattr(estimator, "feature_names_in_")
            else None
        ),
    }
    objects = {
        "encoder": estimator.encoder_,
        **{f"marginal_{name}": model for name, model in marginal_objects.items()},
        **{f"param_{name}": value for name, value in param_objects.items()},
        **predictor_objects,
    }
    write_archive(path, metadata=metadata, arrays=arrays | predictor_arrays, objects=objects)


def restored(archive: Archive, classes: Mapping[str, type]) -> Any:
    """Make the estimator, one of some classes, of what :func:`save` wrote."""
    import jax
    import jax.numpy as jnp

    from .learning.learn import Policy
    from .learning.network import DataValueEstimator

    metadata = archive.metadata
    params = dict(metadata["params"]) | with_prefix(archive.objects, "param_")
    estimator = classes[metadata["class"]](**params)
    coder = ClassEncoder if estimator._task == "classification" else TargetScaler
    estimator.coder_ = coder.from_dict(metadata["coder"])
    estimator.encoder_ = archive.objects["encoder"]
    marginal = Marginal.from_state(
        metadata["marginal"],
        with_prefix(archive.arrays, "marginal_", besides=("marginal_values_",)),
        with_prefix(archive.objects, "marginal_"),
        n_features=len(estimator.encoder_.columns_out_),
        n_jobs=estimator.n_jobs,
    )
    for name in FITTED_ARRAYS:
        if name in archive.arrays:
            setattr(estimator, name, archive.arrays[name])
    template = DataValueEstimator.draw(
        np.random.default_rng(0),
        n_features=1,
        n_padded=0,
        n_outputs=1,
        n_differences=1,
        zero_output=False,
        bound=metadata["residual_bound"],
    )
    leaves = [jnp.asarray(leaf) for leaf in _read_leaves(archive, "estimator")]
    estimator._policy = Policy(
        marginal,
        jax.tree.unflatten(jax.tree.structure(template), leaves),
        has_prior=bool(metadata["prior"]),
        # Files of earlier versions say nothing: they keep all that was learned.
        kept_share=float(metadata.get("kept_share", 1.0)),
    )
    estimator._labels = archive.arrays["labels"]
    estimator._index = read_index(archive)
    estimator.validation_indices_ = archive.arrays.get("validation_indices")
    estimator.history_ = with_prefix(archive.arrays, "history_")
    estimator.diagnostics_ = _diagnostics(metadata["diagnostics"])
    estimator.n_members_ = int(metadata["n_members"])
    estimator.n_features_in_ = int(metadata["n_features_in"])
    if metadata["feature_names_in"] is not None:
        estimator.feature_names_in_ = np.array(metadata["feature_names_in"], dtype=object)
    estimator.predictor_ = _restored_predictor(archive, estimator.coder_)
    return estimator


def _leaves(prefix: str, leaves: list[Any]) -> dict[str, NDArray[Any]]:
    return {f"{prefix}_{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}


def _read_leaves(archive: Archive, prefix: str) -> list[NDArray[Any]]:
    found = with_prefix(archive.arrays, f"{prefix}_")
    return [found[str(number)] for number in range(len(found))]


def plain_array(values: NDArray[Any]) -> NDArray[Any]:
    """Make an array of a dtype that needs no pickle; objects become text."""
    return values.astype(str) if values.dtype == object else values


def read_index(archive: Archive) -> Any:
    """Read the names of rows, where they have any."""
    if "index" not in archive.arrays:
        return None
    import pandas as pd

    return pd.Index(archive.arrays["index"])


def split_params(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split constructor parameters into JSON and scikit-learn objects, and leave out the rest.

    Callables and random states shaped the fit, which is over: they are not needed again.
    """
    plain, objects = {}, {}
    for name, value in params.items():
        if isinstance(value, BaseEstimator):
            objects[name] = value
        elif isinstance(value, Path):
            plain[name] = str(value)
        else:
            try:
                plain[name] = json.loads(json.dumps(value))
            except TypeError:
                continue
    return plain, objects


def _predictor_state(
    predictor: Any,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]:
    import jax

    from .predictors.blackbox import FittedBlackBox
    from .predictors.sparse import FittedOnWords

    if isinstance(predictor, FittedBlackBox):
        return (
            {"form": "black box", "sees": predictor.sees},
            {},
            {"predictor": predictor.estimator_},
        )
    if isinstance(predictor, FittedOnWords):
        arrays, record = predictor.model.state()
        return {"form": WORDS, **record}, {f"words_{name}": a for name, a in arrays.items()}, {}
    inner = predictor.predictor
    if type(inner).__name__ not in _traceable_types():
        raise TypeError(
            f"A {type(inner).__name__} cannot be saved; set final_predictor to a built-in or "
            "scikit-learn predictor before fitting."
        )
    metadata = {
        "form": type(inner).__name__,
        "fields": asdict(inner),
        "n_columns": predictor.n_columns,
        "n_outputs": predictor.n_outputs,
    }
    return metadata, _leaves("predictor", jax.tree.leaves(predictor.params)), {}


def _traceable_types() -> dict[str, Any]:
    from .predictors.linear import LinearPredictor
    from .predictors.networks import MLPPredictor

    return {"LinearPredictor": LinearPredictor, "MLPPredictor": MLPPredictor}


def _restored_predictor(archive: Archive, coder: Any) -> Any:
    import jax

    from .predictors.blackbox import FittedBlackBox
    from .predictors.sparse import FittedOnWords, SparseLinear
    from .predictors.traced import FittedTraced

    metadata = archive.metadata["predictor"]
    if metadata["form"] == "black box":
        return FittedBlackBox((archive.objects["predictor"],), coder, str(metadata["sees"]))
    if metadata["form"] == WORDS:
        return FittedOnWords(
            SparseLinear.from_state(with_prefix(archive.arrays, "words_"), metadata)
        )
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in metadata["fields"].items()
    }
    predictor = _traceable_types()[metadata["form"]](**given)
    n_outputs = int(metadata["n_outputs"])
    template = predictor.init(np.random.default_rng(0), 1, n_outputs)
    params = jax.tree.unflatten(jax.tree.structure(template), _read_leaves(archive, "predictor"))
    return FittedTraced(predictor, params, int(metadata["n_columns"]), n_outputs)


def _diagnostics(content: dict[str, Any]) -> Diagnostics:
    names = {field.name for field in fields(Diagnostics)}
    known = {name: value for name, value in content.items() if name in names}
    for name in ("messages", "value_range"):
        known[name] = tuple(known[name])
    return Diagnostics(**known)
