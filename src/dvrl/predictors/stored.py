"""Fitted models as records and arrays; those of the user's own as bytes that need trust.

scikit-learn's linear models, standardising, our trees and pipelines of these are numbers, which
nobody needs to trust. For everything else there is skops, see `dvrl.files.objects`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..files.archive import is_plain
from ..files.objects import NotOpened, open_object, pack_object
from ..files.state import Count, State, checked, expect, joined, part
from .flat_trees import FlatTrees

__all__ = ["fitted_from_state", "fitted_state", "models_from_state", "models_state"]

PREDICTOR = "predictor"
# What every fitted model may have, and what some have.
OF_ALL = ("n_features_in_", "feature_names_in_", "classes_")
LINEAR = ("coef_", "intercept_", "n_iter_")
TREES = ("grown_classes_", "unit_", "middle_", "spread_")


def _known() -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Models that are kept as numbers: their classes, and attributes of their fit."""
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    from . import trees

    scaling = ("mean_", "var_", "scale_", "n_samples_seen_")
    kinds: dict[Any, tuple[str, ...]] = {StandardScaler: scaling}
    kinds |= dict.fromkeys((LinearRegression, LogisticRegression, Ridge), LINEAR)
    kinds |= {getattr(trees, name): TREES for name in trees.__all__}
    return {kind.__name__: (kind, attributes) for kind, attributes in kinds.items()}


# ---- any models, by name -----------------------------------------------------------------------


def models_state(models: Mapping[str, object]) -> State:
    """The state of scikit-learn models and other objects.

    Raises
    ------
    TypeError
        For one that could not be loaded again.
    """
    return joined(**{name: _model_state(name, model) for name, model in models.items()})


def models_from_state(
    record: dict[str, Any], arrays: dict[str, NDArray[Any]], trusted: Sequence[str]
) -> dict[str, Any]:
    """The models that `models_state` was given; those that are not trusted as `NotOpened`.

    Raises
    ------
    ValueError
        If some types are trusted, but not all that are needed.
    """
    return {name: _model(name, *part(record, arrays, name), trusted) for name in record}


def _model_state(name: str, model: Any) -> State:
    numbers = _numbers_of(model)
    if numbers is not None:
        return numbers
    data = model.data if isinstance(model, NotOpened) else None
    return {"class": "own"}, {"skops": pack_object(name, model) if data is None else data}


def _model(
    name: str, record: dict[str, Any], arrays: dict[str, NDArray[Any]], trusted: Sequence[str]
) -> Any:
    if record["class"] == "own":
        return open_object(name, expect(arrays, "skops", (None,), np.uint8), trusted)
    return _of_numbers(record, arrays)


def _numbers_of(model: Any) -> State | None:
    """The state of a model that consists of numbers; None for others."""
    from sklearn.pipeline import Pipeline

    from ..data.encoder import FeatureEncoder

    name = type(model).__name__
    if type(model) is FeatureEncoder:
        fitted = hasattr(model, "n_features_in_")
        record, arrays = joined(table=model.state()) if fitted else ({}, {})
        return {"class": name} | record, arrays
    if type(model) is Pipeline and model.memory is None and not model.verbose:
        steps = {step: _numbers_of(each) for step, each in model.steps}
        whole = {step: state for step, state in steps.items() if state is not None}
        record, arrays = joined(**whole)
        return ({"class": name, "steps": record}, arrays) if len(whole) == len(steps) else None
    kind, attributes = _known().get(name, (None, ()))
    if type(model) is not kind:
        return None
    params = model.get_params(deep=False)
    values = vars(model)
    names = [each for each in (*OF_ALL, *attributes) if values.get(each) is not None]
    arrays = {each: np.asarray(values[each]) for each in names}
    if not is_plain(params):
        return None
    record = {"class": name, "params": params}
    if values.get("trees_") is not None:
        its_record, its_arrays = joined(trees=({}, values["trees_"].state()))
        record, arrays = record | its_record, arrays | its_arrays
    return record, arrays


def _of_numbers(record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    from sklearn.pipeline import Pipeline

    from ..data.encoder import FeatureEncoder

    name = record["class"]
    if name == FeatureEncoder.__name__:
        if "table" not in record:
            return FeatureEncoder()
        return FeatureEncoder.from_state(*part(record, arrays, "table"))
    if name == Pipeline.__name__:
        steps = record["steps"]
        return Pipeline([(step, _of_numbers(*part(steps, arrays, step))) for step in steps])
    kind, attributes = _known()[name]
    model = kind(**record["params"])
    for each in (*OF_ALL, *attributes):
        if each in arrays:
            # A number comes as an array without dimensions.
            vars(model)[each] = arrays[each][()]
    if "n_features_in_" in arrays:
        model.n_features_in_ = int(expect(arrays, "n_features_in_", (), np.integer, low=0))
    if kind.__module__ == f"{__package__}.trees" and "n_features_in_" in arrays:
        model.trees_ = None
        if "trees" in record:
            flat = FlatTrees.from_state(part(record, arrays, "trees")[1], model.n_features_in_)
            model.trees_ = flat
        model.check_trees()
    return model


# ---- the robust predictor ----------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """What a file says of the robust predictor."""

    form: Literal["black box", "words", "linear", "mlp", "own traced", "own", "not kept"]
    name: str
    sees: Literal["own", "features"]
    own: dict[str, Any]


@dataclass(frozen=True)
class TracedRecord:
    """What a file says of a predictor that is traced by JAX."""

    fields: dict[str, Any]
    n_columns: Count
    n_outputs: Count


def fitted_state(fitted: Any) -> tuple[State, dict[str, object]]:
    """The state of a fitted predictor, and models to be kept beside it.

    A predictor of the user's own is asked for its ``state``; without one only its name is kept.
    """
    from .blackbox import FittedBlackBox
    from .sparse import FittedOnWords
    from .traced import FittedTraced

    models: dict[str, object] = {}
    own: State = {}, {}
    name, form, sees = type(fitted).__name__, "not kept", "features"
    if isinstance(fitted, NotOpened):
        name = fitted.name
    elif isinstance(fitted, FittedBlackBox):
        form, models = "black box", {PREDICTOR: fitted.estimator_}
        sees = fitted.sees
    elif isinstance(fitted, FittedOnWords):
        form, own = "words", fitted.model.state()
    elif isinstance(fitted, FittedTraced):
        name = type(fitted.predictor).__name__
        form, own = _traced_state(fitted)
    elif hasattr(fitted, "state"):
        form, own = "own", fitted.state()
    record, arrays = joined(own=own)
    return (asdict(Record(form, name, sees, {})) | record, arrays), models  # type: ignore[arg-type]


def fitted_from_state(
    record: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    models: Mapping[str, Any],
    *,
    coder: Any,
    handed: Any = None,
) -> Any:
    """The predictor that `fitted_state` was given.

    Parameters
    ----------
    record, arrays, models
        What `fitted_state` returned; models that were not opened as `NotOpened`.
    coder : ClassEncoder or TargetScaler
    handed : predictor, optional
        The user's own, whose ``from_state`` takes the state of its fit.

    Returns
    -------
    fitted predictor, or NotOpened
        The latter where it was not kept, or needs `handed`, and this is None.
    """
    from .blackbox import FittedBlackBox
    from .sparse import FittedOnWords, SparseLinear

    known = checked(Record, record)
    own = part(record, arrays, "own")
    if known.form == "black box":
        model = models[PREDICTOR]
        if isinstance(model, NotOpened):
            return model
        return FittedBlackBox((model,), coder, known.sees)
    if known.form == "words":
        return FittedOnWords(SparseLinear.from_state(*own))
    if known.form in ("linear", "mlp"):
        return _traced(_traced_kinds()[known.form], *own)
    if known.form == "own traced" and hasattr(handed, "init"):
        return _traced(handed, *own)
    if known.form == "own" and hasattr(handed, "from_state"):
        return handed.from_state(*own)
    fix = "fit again to predict"
    if known.form != "not kept":
        fix = "hand it in again to predict: dvrl.load(path, predictor=...)"
    return NotOpened(known.name, f"The predictor {known.name} was not saved in this file; {fix}.")


def _traced_state(fitted: Any) -> tuple[str, State]:
    import jax

    forms = {kind: form for form, kind in _traced_kinds().items()}
    form = forms.get(type(fitted.predictor), "own traced")
    given = {} if form == "own traced" else asdict(fitted.predictor)
    record = TracedRecord(given, fitted.n_columns, fitted.n_outputs)
    leaves = jax.tree.leaves(fitted.params)
    arrays = {str(number): np.asarray(leaf) for number, leaf in enumerate(leaves)}
    return form, (asdict(record), arrays)


def _traced_kinds() -> dict[str, Any]:
    from .linear import LinearPredictor
    from .networks import MLPPredictor

    return {"linear": LinearPredictor, "mlp": MLPPredictor}


def _traced(predictor: Any, record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """A fitted predictor of a class that takes the fields of the record, or of an object."""
    import jax

    from .traced import FittedTraced

    known = checked(TracedRecord, record)
    if isinstance(predictor, type):
        predictor = checked(predictor, known.fields)
    largest = max((array.size for array in arrays.values()), default=0)
    if max((known.n_outputs, *getattr(predictor, "hidden", ()))) > largest:
        raise ValueError("The saved predictor is damaged: its layers are of other sizes.")
    rng = np.random.default_rng(0)
    # Axes that differ are those of the feature columns.
    one, two = (jax.tree.flatten(predictor.init(rng, n, known.n_outputs)) for n in (1, 2))
    leaves = []
    for number, pair in enumerate(zip(one[0], two[0], strict=True)):
        shape = tuple(
            a if a == b else known.n_columns for a, b in zip(*map(np.shape, pair), strict=True)
        )
        leaves.append(expect(arrays, str(number), shape))
    params = jax.tree.unflatten(one[1], leaves)
    return FittedTraced(predictor, params, known.n_columns, known.n_outputs)
