"""The experiment behind ``dvrl demo``: planted wrong labels in scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dvrl.actions.comparison import detection_scores, discovery, robust_comparison
from dvrl.data.noise import flip_labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LOOKED_AT", "DemoResult", "run_demo"]

LOOKED_AT = 0.2
"""Share of the rows, lowest values first, that the demo looks at and prunes."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes
    ----------
    detection : pandas.DataFrame
        One row per method: ``method``, ``found`` (flipped rows in the lowest 20 %),
        ``flipped`` (all of them), ``share``, ``auroc``.
    training : pandas.DataFrame
        Test accuracy per way of training, see
        :func:`~dvrl.actions.comparison.robust_comparison`.
    values : pandas.DataFrame
        One line per training row, with its value, its label and whether it was flipped.
    curves : dict of str to ndarray
        The values of each method, for the discovery figure.
    is_corrupted : ndarray of bool
        Which training rows were flipped.
    messages : list of str
        What the diagnostics of the run say.
    valuer : DVRLClassifier
        Fitted on the noisy rows.
    X : ndarray of shape (n_rows, 64)
        Their pixels, 0 to 16.
    y : ndarray of shape (n_rows,)
        Their noisy labels.
    """

    detection: pd.DataFrame
    training: pd.DataFrame
    values: pd.DataFrame
    curves: dict[str, NDArray[np.floating]]
    is_corrupted: NDArray[np.bool_]
    messages: list[str]
    valuer: Any
    X: NDArray[np.floating]
    y: NDArray[Any]


def run_demo(
    seed: int = 0,
    noise: float = 0.2,
    *,
    quick: bool = False,
    callback: Callable[[Any], None] | None = None,
) -> DemoResult:
    """Flip labels of scikit-learn's digits, value the rows, compare.

    Parameters
    ----------
    seed : int
        Decides the split, the flips and the run.
    noise : float
        Share of the training labels to flip to another digit.
    quick : bool
        A smaller problem and a shorter run: shows that everything works, not how well.
    callback : callable, optional
        Told about the progress of the run, as `fit` of :class:`dvrl.DVRLClassifier`.

    Returns
    -------
    DemoResult
    """
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from dvrl.valuation import DVRLClassifier

    n_train, n_val = (300, 100) if quick else (1000, 300)
    shorter: dict[str, Any] = {"outer_iterations": 20, "ensemble_size": 1} if quick else {}
    X, y = load_digits(return_X_y=True)
    X, X_rest, y_clean, y_rest = train_test_split(
        X, y, train_size=n_train, stratify=y, random_state=seed
    )
    X_val, X_test, y_val, y_test = train_test_split(
        X_rest, y_rest, train_size=n_val, stratify=y_rest, random_state=seed
    )
    y_noisy, is_corrupted = flip_labels(y_clean, noise, np.random.default_rng(seed))

    valuer = DVRLClassifier("logistic", random_state=seed, settings=shorter)
    valuer.fit(X, y_noisy, X_val=X_val, y_val=y_val, callback=callback)

    curves: dict[str, NDArray[np.floating]] = {"DVRL": np.asarray(valuer.data_values_)}
    marginal = getattr(valuer, "marginal_values_", None)
    if marginal is not None:
        curves["marginal only"] = np.asarray(marginal)
    training = robust_comparison(
        valuer,
        X,
        y_noisy,
        X_val,
        y_val,
        X_test,
        y_test,
        predictor=make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        is_corrupted=is_corrupted,
        prune_fraction=LOOKED_AT,
    )
    values = valuer.to_frame().assign(label=y_noisy, correct_label=y_clean, is_flipped=is_corrupted)
    return DemoResult(
        detection=_detection(curves, is_corrupted),
        training=training,
        values=values.rename_axis("row").reset_index(),
        curves=curves,
        is_corrupted=is_corrupted,
        messages=list(valuer.diagnostics_.messages),
        valuer=valuer,
        X=X,
        y=y_noisy,
    )


def _detection(
    curves: dict[str, NDArray[np.floating]], is_corrupted: NDArray[np.bool_]
) -> pd.DataFrame:
    import pandas as pd

    n_corrupted = int(is_corrupted.sum())
    # Constant values stand for a random order: ties count by their mean over all orders.
    methods = {**curves, "random order (expected)": np.zeros(len(is_corrupted))}
    table = []
    for method, values in methods.items():
        share = float(discovery(values, is_corrupted, [LOOKED_AT])["found"].iloc[0])
        auroc = detection_scores(values, is_corrupted)["auroc"]
        table.append((method, round(share * n_corrupted), n_corrupted, share, auroc))
    return pd.DataFrame(table, columns=["method", "found", "flipped", "share", "auroc"])
