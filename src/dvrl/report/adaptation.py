"""The report of an adaptation to another domain: whether the source helps, and how much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvrl.report.page import panel, plain_table, write_page

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["candidates_of", "write_adaptation_report"]


def candidates_of(adapted: Any) -> pd.DataFrame:
    """The ways to train that were judged, best first, as people read them.

    Parameters
    ----------
    adapted : AdaptedClassifier or AdaptedRegressor
        Fitted.

    Returns
    -------
    pandas.DataFrame of shape (n_candidates, 4)
        Texts: what was trained on, the metric, the mean loss less that of the target rows alone
        with its standard error, and the weight in the final predictor. The index is that of
        ``report_``.
    """
    import pandas as pd

    found = adapted.report_.sort_values("loss", kind="stable")
    lines = [
        (
            row.candidate,
            f"{row.score:.4g}",
            f"{row.difference:+.3g} ± {row.standard_error:.2g}",
            f"{row.weight:.2f}" if row.weight > 0 else "-",
        )
        for row in found.itertuples()
    ]
    titles = ["trained on", adapted.outcome_.metric, "loss less target only", "weight"]
    return pd.DataFrame(lines, columns=titles, index=found.index)


def write_adaptation_report(
    adapted: Any,
    path: str | os.PathLike[str],
    *,
    title: str = "What is the source worth to the target domain?",
    test_score: float | None = None,
) -> Path:
    """Write the report of a fitted adaptation: one HTML file, complete in itself.

    Parameters
    ----------
    adapted : AdaptedClassifier or AdaptedRegressor
        Fitted.
    path : path-like
        Ends in ``.html``.
    title : str
    test_score : float, optional
        The metric on rows that chose nothing.

    Returns
    -------
    pathlib.Path
        Where it was written.

    Raises
    ------
    ValueError
        If the name does not end in ``.html``, or `adapted` is not fitted.
    FileNotFoundError
        If the folder does not exist.
    """
    from sklearn.utils.validation import check_is_fitted

    from dvrl.report.charts import values_chart

    check_is_fitted(adapted)
    facts = {
        "Source rows": f"{len(adapted.source_values_):,}",
        "Mean weight of a source row (1: like a target row, 0: not used)": (
            f"{adapted.source_scale_:.3g}"
        ),
        "Fits": f"{adapted.n_fits_:,}",
        "Seconds": f"{adapted.seconds_:.1f}",
    }
    if test_score is not None:
        facts = {f"{adapted.outcome_.metric} on the test rows": f"{test_score:.4g}", **facts}
    lines = candidates_of(adapted)
    final = int(lines.index.get_indexer(adapted.report_.index[-1:])[0])
    candidates = plain_table(lines, marked=final)
    for column in candidates["columns"][1:]:
        column["number"] = True
    return write_page(
        path,
        "adaptation.html.j2",
        title=title,
        headline=adapted.message_,
        panels=[
            panel(
                "values",
                "Values of the source rows",
                "Low values mark source rows that do not help on the target domain.",
                values_chart(adapted.source_values_),
            )
        ],
        candidates=candidates,
        facts=facts,
    )
