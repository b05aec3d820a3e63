"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

# Tests run in two processes (pyproject.toml); on two cores their OpenMP threads would wait for
# each other. OpenMP reads this when it is loaded, so before anything else is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from dvrl.cli.compiled import keep_compiled_code

# Most of the time of short fits is compilation: what one test compiled serves all, in this run and
# the next. JAX, not yet imported here, reads this once.
keep_compiled_code()

# The same examples in every run; to look for new ones, pass --hypothesis-profile=default.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

# Files of tests that fit whole estimators again and again, or start browsers and other processes.
# All other tests of this folder are marked quick.
LONG = {
    "test_cli",
    "test_cli_uses",
    "test_diagnostics",
    "test_documents",
    "test_estimators",
    "test_methods",
    "test_one_answer",
    "test_predictors",
    "test_quality",
    "test_reliability",
    "test_report_browser",
    "test_report_html",
    "test_shrinkage",
    "test_side_by_side",
    "test_training",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        own = item.path.parent == Path(__file__).parent
        if own and item.path.stem not in LONG and not item.get_closest_marker("slow"):
            item.add_marker("quick")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def small_table() -> pd.DataFrame:
    """60 rows of two classes, with a numeric and a text feature and a column of row names."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=60)
    return pd.DataFrame(
        {
            "name": [f"r{number}" for number in range(60)],
            "size": size,
            "colour": rng.choice(["red", "green"], size=60),
            "label": np.where(size + 0.3 * rng.normal(size=60) > 0, "yes", "no"),
        }
    )


@pytest.fixture
def train_csv(tmp_path: Path, small_table: pd.DataFrame) -> Path:
    path = tmp_path / "train.csv"
    small_table.iloc[:40].to_csv(path, index=False)
    return path


@pytest.fixture
def valid_csv(tmp_path: Path, small_table: pd.DataFrame) -> Path:
    path = tmp_path / "valid.csv"
    small_table.iloc[40:].to_csv(path, index=False)
    return path
