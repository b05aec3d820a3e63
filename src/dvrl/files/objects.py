"""scikit-learn objects in archives: of known types only, and without pickle."""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = []


KNOWN_PACKAGES = ("sklearn", "skrub", "dvrl")
# Parts of known packages that evaluate what they are given, or are not meant to be loaded.
UNKNOWN_MODULES = ("skrub._data_ops", "sklearn.externals")
# A Python class, but scikit-learn follows the indices of its nodes without looking. The trees
# that the command line grows are arrays (`dvrl.predictors.trees`).
UNKNOWN_NAMES = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})
UNKNOWN_MODULE_PARTS = frozenset({"tests", "conftest", "_testing", "_test_common"})
KNOWN_NAMES = frozenset(
    {
        "collections.OrderedDict",
        "functools.partial",  # as harmless as its function, which must be known too
        "numpy.dtype",
        "sklearn.utils.validation.check_array",
        "skrub._table_vectorizer._created_by_predicate",
    }
)
# Predicates over one column, univariate scores of a column, types of a column.
KNOWN_PREFIXES = (
    "skrub._dataframe._common.is_",
    "skrub.selectors._selectors._",
    "sklearn.feature_selection._univariate_selection.",
    "polars.datatypes.classes.",
)
HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE: set for classes written in Python, not Cython


def encode_object(name: str, value: object) -> bytes:
    import skops.io

    try:
        data: bytes = skops.io.dumps(value)
    except (TypeError, pickle.PicklingError) as error:  # skops asks objects for their pickle state
        raise TypeError(
            f"The object {name!r} ({type(value).__name__}) cannot be stored without pickle: {error}"
        ) from error
    return data


def damaged(path: str | os.PathLike[str]) -> ValueError:
    return ValueError(f"{os.fspath(path)} is damaged; write it again or restore a copy.")


def refuse_unknown_types(
    object_data: Mapping[str, bytes], trusted: Sequence[str], path: str | os.PathLike[str]
) -> None:
    unknown = {name for data in object_data.values() for name in _untrusted_types(data, path)}
    unknown = {name for name in unknown - set(trusted) if not _is_known(name)}
    if unknown:
        names = sorted(unknown)
        raise ValueError(
            f"{os.fspath(path)} holds objects of types that dvrl does not know"
            f" ({', '.join(names)}); if you trust where the file comes from, read it with"
            f" trusted={names!r}."
        )


def _untrusted_types(data: bytes, path: str | os.PathLike[str]) -> list[str]:
    import skops.io

    try:
        names: list[str] = skops.io.get_untrusted_types(data=data)
    except Exception as error:  # skops raises many kinds for content it cannot follow
        raise damaged(path) from error
    return names


def decode_object(data: bytes, path: str | os.PathLike[str]) -> Any:
    """Construct an object; its types have been looked at before."""
    import skops.io

    try:
        value = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    except Exception as error:
        raise ValueError(
            f"{os.fspath(path)} holds an object that cannot be rebuilt ({error}); it was probably"
            " written with other versions of scikit-learn or skrub: use those, or write it again."
        ) from error
    return value


def _is_known(name: str) -> bool:
    """Whether a type or function outside skops' own list may be loaded."""
    if name in KNOWN_NAMES or name.startswith(KNOWN_PREFIXES):
        return True
    if name in UNKNOWN_NAMES:
        return False
    module_name, _, attribute = name.rpartition(".")
    parts = module_name.split(".")
    if parts[0] not in KNOWN_PACKAGES or UNKNOWN_MODULE_PARTS.intersection(parts):
        return False
    if any(module_name == m or module_name.startswith(m + ".") for m in UNKNOWN_MODULES):
        return False
    try:
        value = getattr(importlib.import_module(module_name), attribute, None)
    except ImportError:
        return False
    # Classes that the module only imports are another package's.
    return (
        isinstance(value, type)
        and _is_of_known_package(value)
        and not any(_is_of_known_package(c) and _is_cython(c) for c in value.__mro__)
    )


def _is_of_known_package(class_: type) -> bool:
    return class_.__module__.split(".")[0] in KNOWN_PACKAGES


def _is_cython(class_: type) -> bool:
    """Whether the memory of the class would be filled from the file as it stands."""
    return not class_.__flags__ & HEAP_TYPE
