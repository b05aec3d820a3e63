"""Short constructors: what few users turn is in ``settings=``, and names that moved say where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from inspect import signature
from typing import Any, ClassVar, ParamSpec, Self

from sklearn.base import BaseEstimator

from .settings import as_settings, did_you_mean

__all__ = ["WithSettings", "with_hints"]

Arguments = ParamSpec("Arguments")


class WithSettings(BaseEstimator):
    """An estimator with ``settings=``, a record of some class or a dict."""

    _settings_class: ClassVar[type]
    _arguments_of_fit: ClassVar[tuple[str, ...]] = ()
    settings: Any

    @classmethod
    def _setting_names(cls) -> tuple[str, ...]:
        return tuple(each.name for each in fields(cls._settings_class))

    @classmethod
    def _refuse_moved(cls, parameters: Mapping[str, Any]) -> None:
        """Say where a parameter is that is none of the estimator."""
        for name, value in parameters.items():
            if name in cls._setting_names():
                told = repr(value) if isinstance(value, str | int | float) else "..."
                raise TypeError(f"{name} is a setting: pass settings={{{name!r}: {told}}}.")
            if name in cls._arguments_of_fit:
                raise TypeError(f"{name} is an argument of fit: pass it to fit.")

    def set_params(self, **params: Any) -> Self:
        """Change parameters; ``settings__NAME`` changes one setting, and leaves the others.

        Parameters
        ----------
        **params
            Names and values.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For an unknown name, or one that is a setting or an argument of `fit`.
        """
        self._refuse_moved(params)
        if any(name.startswith("settings__") for name in params):
            given = params.pop("settings", self.settings)
            super().set_params(settings=as_settings(given, self._settings_class))
        super().set_params(**params)
        return self


def with_hints(init: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Let a constructor say what is meant by a name that it does not know."""
    known = signature(init).parameters

    @wraps(init)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        estimator: Any = args[0]
        estimator._refuse_moved(kwargs)
        for name in kwargs:
            if name not in known:
                hint = did_you_mean(name, [*known, *estimator._setting_names()])
                raise TypeError(f"{type(estimator).__name__} has no parameter {name!r}.{hint}")
        init(*args, **kwargs)

    return checked
