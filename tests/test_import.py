"""Importing the package is quick, because heavy modules wait until they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dvrl

HEAVY = ("jax", "sklearn", "skrub", "pandas", "scipy", "matplotlib", "pyarrow", "equinox")


def _loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("statement", ["import dvrl", "import dvrl.cli", "import dvrl.report"])
def test_import_loads_nothing_heavy(statement: str) -> None:
    assert not _loaded_after(statement) & set(HEAVY)


def test_import_does_not_even_load_numpy() -> None:
    assert "numpy" not in _loaded_after("import dvrl")


def test_every_public_name_can_be_loaded() -> None:
    for name in dvrl.__all__:
        assert getattr(dvrl, name) is not None
    assert set(dvrl.__all__) <= set(dir(dvrl))


def test_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert dvrl.__version__ == version("dvrl")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dvrl.nothing  # noqa: B018


@pytest.mark.slow
def test_the_readme_example_runs() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    code = readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "auroc" in done.stdout
