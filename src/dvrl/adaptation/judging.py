"""What a target domain gains from a source, beside ways to train without learned weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["adaptation_comparison"]


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

    from dvrl.adaptation.candidates import CONTROLS, Domains
    from dvrl.adaptation.values import default_domain_classifier

    y_source, y_target, y_test = map(np.asarray, (y_source, y_target, y_test))
    outcome, encoder = adapted.outcome_, adapted.row_encoder_
    source = encoder.transform(X_source, adapted)
    target, test = encoder.transform(X_target, adapted), encoder.transform(X_test, adapted)
    table = []
    # Where a metric weighs all rows alike, plain fits are the same fits.
    weighs = np.ptp(outcome.base_weights(y_target)) > 0
    for base in ("plain", "metric") if weighs else ("plain",):
        domains = Domains(
            outcome,
            adapted._chosen_predictor(),
            adapted.domain_classifier or default_domain_classifier(),
            source,
            y_source,
            target,
            y_target,
            spread=1.0,
            seed=adapted._seed,
            n_jobs=adapted.n_jobs,
            settings=None,
            max_source_rows=adapted.max_source_rows,
            shared={},
            metric_weights=base == "metric",
        )
        for name, candidate in CONTROLS.items():
            prediction = domains.fit(candidate).predict(outcome, test.own)
            table.append((name, base, outcome.score(y_test, prediction)))
    used = "metric" if adapted.metric_weights and weighs else "plain"
    for name, members in (
        ("source weighted by its values", adapted.source_only_),
        ("adapted", adapted.members_),
    ):
        prediction = adapted._predictions(members, X_test)
        table.append((name, used, outcome.score(y_test, prediction)))
    return pd.DataFrame(table, columns=["scheme", "base", "score"])
