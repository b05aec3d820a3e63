"""LightGBM as a black box: values from at most 500 fits, and the pruned predictor.

    python benchmarks/black_box.py
    python benchmarks/black_box.py --sets adult --seeds 100
    python benchmarks/black_box.py --report

DVRL's reward comes from a small LightGBM; the same small LightGBM, trained with the values as
weights, is judged on test rows. *Pruned*: LightGBM with its own defaults, trained without the rows
of lowest value; how many is what `dvrl.actions.choose_fraction` says on the validation rows.
"""

from __future__ import annotations

import argparse
from typing import Any

from cases import Case, Condition, make_case
from common import RESULTS, ROOT, Ledger, option_parser, parsed, seeds_for, write_section
from dvrl.actions import choose_fraction, prune
from judging import Judge, record
from methods import DEFAULT, METHODS, REFERENCES, Valued
from tables import (
    Row,
    dot_figure,
    gap_closed,
    groups,
    mean_error,
    method_rows,
    paired_rows,
    provenance,
    shown,
    table,
    title,
    training_rows,
    with_sign,
)

PATH = RESULTS / "black_box.jsonl"
PAGE = ROOT / "docs" / "benchmarks-black-box.md"
SETS = ("adult", "blog", "pol", "2dplanes", "fried", "credit", "higgs", "imdb")
COMPARED = ("default", "default, logistic", "marginal", *REFERENCES, "random", "confident learning")
MOST_FITS = 500


def small_lightgbm(seed: int) -> Any:
    """The black box: small trees, so that 500 fits take seconds."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=50,
        num_leaves=8,
        learning_rate=0.1,
        n_jobs=1,
        random_state=seed,
        verbose=-1,
    )


def usual_lightgbm(case: Case) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=1, random_state=case.seed, verbose=-1)


def pruned(case: Case, judge: Judge, valued: Valued) -> dict[str, Any]:
    """Test accuracy of LightGBM on the rows that are kept, the share chosen on validation rows."""
    usual = Judge(case, usual_lightgbm)
    choice = choose_fraction(
        valued.values,
        case.matrix,
        case.y,
        case.matrix_val,
        case.y_val,
        predictor=usual_lightgbm(case),
        random_state=case.seed,
    )
    kept = prune(valued.values, case.matrix, case.y, choice.fraction)
    controls = usual.controls()
    return {
        "pruned": usual.score(kept.X, kept.y),
        "pruned_share": choice.fraction,
        "pruned_noisy": controls["noisy"],
        "pruned_oracle": controls["oracle"],
    }


def run(options: argparse.Namespace) -> None:
    runs = Ledger(PATH)
    for name in options.sets:
        condition = Condition(name, noise=options.noise)
        for seed in seeds_for(name, options.seeds):
            settings = {"predictor": small_lightgbm(seed), **(options.settings or {})}
            record(
                runs,
                condition.key(seed),
                options.methods,
                lambda condition=condition, seed=seed: make_case(condition, seed),
                tag=options.default,
                settings=settings,
                make_model=lambda case: small_lightgbm(case.seed),
                more=pruned if name in options.pruned else None,
            )


def report(options: argparse.Namespace) -> None:
    frame = Ledger(PATH).frame(options.default)
    if frame.empty:
        return
    most = max(frame.loc[frame["method"] == "default", "fits"], default=0)
    over = "" if most <= MOST_FITS else f" **More than {MOST_FITS} fits were used.**"
    drawn = ("default", "marginal", "default, logistic", "out-of-bag forest", "confident learning")
    parts = []
    for noise, part in frame.groupby("noise", sort=False):
        name = f"benchmark-black-box-{noise:.0%}".rstrip("%")
        label = f"accuracy of the weighted LightGBM, less that of clean rows only ({noise:.0%})"
        parts += [
            f"### {noise:.0%} of the training labels wrong",
            dot_figure(part, "weighted", drawn, name, label=label, value=_less_than_oracle),
            f"At most {most} fits per run of the default.{over} Paired differences:",
            table(paired_rows(part)),
            "Training without values:",
            table(training_rows(part)),
            "All methods:",
            table(method_rows(part, METHODS)),
        ]
        if "pruned" in part and part["pruned"].notna().any():
            judged = part[part["pruned"].notna()]
            rows = [_pruned_row(group, judged) for group in groups(judged, METHODS)]
            parts += ["Pruned predictor:", table(rows)]
    write_section("black-box", "\n\n".join([*parts, provenance(frame)]), PAGE)


def _less_than_oracle(group: Any) -> tuple[float, float]:
    difference = group["weighted"] - group["oracle"]
    return float(difference.mean()), float(difference.sem())


def _pruned_row(group: Any, part: Any) -> Row:
    same = part[(part["set"] == group["set"].iloc[0]) & (part["method"] == "marginal")]
    prior = same.set_index("seed")["pruned"]
    difference = (group.set_index("seed")["pruned"] - prior).dropna()
    renamed = group.assign(noisy=group["pruned_noisy"], oracle=group["pruned_oracle"])
    return {
        "data": group["set"].iloc[0],
        "method": title(group["method"].iloc[0]),
        "seeds": len(group),
        "pruned": mean_error(group, "pruned"),
        "share removed": mean_error(group, "pruned_share", 2),
        "- pruned by the prior": with_sign(difference) if len(difference) else "-",
        "all rows": mean_error(group, "pruned_noisy"),
        "clean rows only": mean_error(group, "pruned_oracle"),
        "gap closed": shown(gap_closed(renamed, "pruned")),
    }


def main() -> None:
    parser = option_parser(__doc__, sets=SETS, methods=COMPARED, known_methods=METHODS)
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument(
        "--pruned", nargs="*", default=["adult"], metavar="SET", help="sets of the pruned predictor"
    )
    options = parsed(parser, DEFAULT)
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
