"""Libraries that may be missing on a machine, or missing something themselves."""

from __future__ import annotations

from typing import Any

__all__ = ["load_lightgbm"]


def load_lightgbm() -> Any:
    """Import LightGBM, whose wheel for Linux needs the system's OpenMP library.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        In one sentence, with what to install.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImportError(
            f"LightGBM cannot be loaded ({cause}); install the system package libgomp1 (Debian, "
            "Ubuntu) or libgomp (Fedora, Alpine), or lightgbm itself where it is not installed."
        ) from error
    return lightgbm
