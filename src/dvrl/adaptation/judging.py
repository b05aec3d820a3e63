"""What a target domain gains from a source, beside ways to train without learned weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..numerics.paired import standard_error
from .candidates import CONTROLS, Candidate, Domains

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["adaptation_comparison", "candidate_table"]

Numbers = NDArray[np.float64]


def adaptation_comparison(
    adapted: Any,
    X_source: Any,
    y_source: ArrayLike,
    X_target: Any,
    y_target: ArrayLike,
    X_test: Any,
    y_test: ArrayLike,
) -> pd.DataFrame:
    """Score an adapted predictor and its controls on test rows of the target domain.

    Nothing is chosen on the test rows: every way to train is fixed beforehand and scored once.

    Parameters
    ----------
    adapted : AdaptedClassifier or AdaptedRegressor
        Fitted on the source and target rows that follow.
    X_source, y_source : array-like, sparse matrix or frame; array-like
    X_target, y_target : likewise
    X_test, y_test : likewise
        Rows used for the scores and nothing else.

    Returns
    -------
    pandas.DataFrame
        Columns ``scheme``, ``base`` (``"metric"`` where predictors were fitted with the base
        weights of the metric, ``"plain"`` where not) and ``score`` (the metric).
    """
    import pandas as pd

    y_source, y_target, y_test = map(np.asarray, (y_source, y_target, y_test))
    outcome, encoder = adapted.outcome_, adapted.row_encoder_
    source, target, test = (encoder.transform(X, adapted) for X in (X_source, X_target, X_test))
    table = []
    # Where a metric weighs all rows alike, plain fits are the same fits.
    weighs = np.ptp(outcome.base_weights(y_target)) > 0
    for base in ("plain", "metric") if weighs else ("plain",):
        plan = replace(adapted._plan(), metric_weights=base == "metric")
        domains = Domains(plan, lambda: (source, target), y_source, y_target)
        for name, candidate in CONTROLS.items():
            prediction = domains.fit(candidate).predict(outcome, test.own)
            table.append((name, base, outcome.score(y_test, prediction)))
    used = "metric" if adapted._plan().metric_weights and weighs else "plain"
    for name, members in (
        ("source weighted by its values", adapted.source_only_),
        ("adapted", adapted.members_),
    ):
        prediction = adapted._predictions(members, X_test)
        table.append((name, used, outcome.score(y_test, prediction)))
    return pd.DataFrame(table, columns=["scheme", "base", "score"])


def candidate_table(
    outcome: Any, y: NDArray[Any], candidates: list[Candidate], predictions: list[Numbers]
) -> pd.DataFrame:
    """Score, loss and paired difference to the target rows alone of each candidate.

    The last of `predictions` is that of the mixture, which has no candidate.
    """
    import pandas as pd

    losses = [outcome.losses(y, each) for each in predictions]
    alone = losses[candidates.index(CONTROLS["target only"])]
    return pd.DataFrame(
        {
            "candidate": [*(each.name for each in candidates), "adapted"],
            "control": [*(each.is_control for each in candidates), False],
            "score": [outcome.score(y, each) for each in predictions],
            "loss": [float(each.mean()) for each in losses],
            "difference": [float((each - alone).mean()) for each in losses],
            "standard_error": [standard_error(each - alone) for each in losses],
        }
    )
