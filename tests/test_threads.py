"""The same bits for any number of OpenMP and BLAS threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FIT = """
import hashlib, sys, warnings
import numpy as np
from dvrl import DVRLClassifier
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.normal(size=(700, 24))
y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
y[:500] = np.where(rng.random(500) < 0.2, 1 - y[:500], y[:500])
valuer = DVRLClassifier(
    settings={"outer_iterations": 6}, random_state=0
).fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:], checkpoint=sys.argv[1], resume=True)
for array in (valuer.marginal_.train_scores_, valuer.data_values_, valuer.predict_proba(X)):
    print(hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest())
"""


def fit(checkpoint, n_threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(n_threads))
    command = [sys.executable, "-c", FIT, str(checkpoint)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
def test_values_do_not_depend_on_the_number_of_threads(tmp_path):
    one = fit(tmp_path / "one", 1)
    assert fit(tmp_path / "two", 2) == one
    # A run that began with two threads goes on with one.
    assert fit(tmp_path / "two", 1) == one
