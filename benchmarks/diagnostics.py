"""Planted failures, whether the run says so, and false alarms of healthy runs.

    python benchmarks/diagnostics.py
    python benchmarks/diagnostics.py --sets adult --scenarios "validation labels swapped"
    python benchmarks/diagnostics.py --report

Each scenario spoils the rows or the settings of a run in one way. Counted are the runs with any
warning, and with the warning that names the failure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cases import Condition, make_case
from common import RESULTS, ROOT, Ledger, environment, option_parser, parsed, seeds, write_section
from dvrl.data.noise import flip_labels
from judging import Judge, detection
from methods import DEFAULT, fit_dvrl
from tables import Row, mean_error, new_figure, provenance, saved, table

PATH = RESULTS / "diagnostics.jsonl"
PAGE = ROOT / "docs" / "benchmarks-diagnostics.md"
SETS = ("adult", "pol", "credit", "fried")
OVERFITTING = {
    "kl_weight": 0.0,
    "residual_bound": 0.0,
    "learning_rate": 0.01,
    "outer_iterations": 500,
}
# How messages begin, and what they are called here.
KINDS = {
    "The values look inverted": "inverted",
    "The values do harm as weights": "harm as weights",
    "The validation rows disagree with the training rows": "validation rows disagree",
    "The values are flat": "flat",
    "The ensemble members disagree": "members disagree",
    "The values add nothing to the marginal": "no better than the marginal",
    "The run overfits the validation rows": "overfitted",
    "The values are the marginal's": "learning dropped",
    "The run has not converged": "not converged",
    "The run was too short": "not converged",
}
RESAMPLED = "of the selections were empty or of a single class"


class SwappedProbabilities(LogisticRegression):
    """A marginal that says the opposite of what it learned."""

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        return np.asarray(super().predict_proba(X)[:, ::-1])


@dataclass(frozen=True)
class Scenario:
    """One way in which a run fails, or a healthy one.

    Attributes
    ----------
    names : tuple of str
        Warnings that name the failure; none for a healthy run, which should give none.
    condition : dict
        Of :class:`cases.Condition`.
    settings : dict
        Of DVRL.
    spoil : callable, optional
        From validation labels and a seed to the labels that the run gets.
    """

    names: tuple[str, ...] = ()
    condition: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[NDArray[Any], int], NDArray[Any]] | None = None

    @property
    def healthy(self) -> bool:
        return not self.names


def swapped(y_val: NDArray[Any], seed: int) -> NDArray[Any]:
    """Every label of two classes is the other one."""
    return flip_labels(y_val, 1.0, rng=seed)[0]


def shuffled(y_val: NDArray[Any], seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).permutation(y_val)


WRONG_VALIDATION = ("inverted", "validation rows disagree")
SCENARIOS = {
    "healthy": Scenario(),
    "healthy, no label wrong": Scenario(condition={"noise": 0.0}),
    "healthy, 40 % wrong": Scenario(condition={"noise": 0.4}),
    "healthy, 50 validation rows": Scenario(condition={"valid": 50}),
    "healthy, antithetic selections": Scenario(settings={"gradient": "antithetic"}),
    "values inverted (marginal swapped)": Scenario(
        ("inverted",),
        settings={"marginal": SwappedProbabilities(max_iter=5000)},
    ),
    "validation labels swapped": Scenario(WRONG_VALIDATION, spoil=swapped),
    "validation labels shuffled": Scenario(WRONG_VALIDATION, spoil=shuffled),
    "validation labels 10 % wrong": Scenario(WRONG_VALIDATION, condition={"noisy_validation": 0.1}),
    "validation labels 40 % wrong": Scenario(WRONG_VALIDATION, condition={"noisy_validation": 0.4}),
    "flat values (no prior, tight bound)": Scenario(
        ("flat",), settings={"prior": "none", "residual_bound": 0.02}
    ),
    "overfitted to 20 validation rows": Scenario(
        ("overfitted", "learning dropped"), condition={"valid": 20}, settings=OVERFITTING
    ),
    "the same, no marginal": Scenario(
        ("overfitted", "members disagree"),
        condition={"valid": 20},
        settings={**OVERFITTING, "marginal": "none", "prior": "none"},
    ),
    "no better than the marginal (large KL weight)": Scenario(
        ("no better than the marginal",), settings={"kl_weight": 1e4}
    ),
    "selections of a single class (batches of 4)": Scenario(
        ("selections of a single class",), settings={"gradient": "antithetic", "batch_size": 4}
    ),
}


def kind(message: str) -> str:
    """Short name of a message; its beginning where it is none of the known ones."""
    for start, name in KINDS.items():
        if message.startswith(start):
            return name
    return "selections of a single class" if RESAMPLED in message else message[:60]


def run_scenario(name: str, scenario: Scenario, data: str, seed: int) -> dict[str, Any]:
    """Fit once, and note what the run says beside what it is worth."""
    case = make_case(Condition(data, **scenario.condition), seed)
    if scenario.spoil is not None:
        case = replace(case, y_val=scenario.spoil(case.y_val, seed))
    valuer, seconds = fit_dvrl(case, dict(scenario.settings))
    judge = Judge(case)
    return {
        "scenario": name,
        "set": data,
        "seed": seed,
        "messages": list(valuer.diagnostics_.messages),
        "kinds": sorted({kind(message) for message in valuer.diagnostics_.messages}),
        "seconds": seconds,
        **detection(valuer.data_values_, case.is_wrong),
        **judge.controls(),
        "weighted": judge.weighted(valuer.data_values_),
    }


def run(options: argparse.Namespace) -> None:
    runs = Ledger(PATH)
    # By scenario first: its settings decide what is compiled.
    for name in options.scenarios:
        for data in options.sets:
            for seed in options.seeds or seeds("100-109"):
                key = {"scenario": name, "set": data, "seed": seed, "default": options.default}
                if runs.has(key):
                    continue
                line = run_scenario(name, SCENARIOS[name], data, seed)
                runs.add({**line, "default": options.default, **environment()})
                said = ", ".join(line["kinds"]) or "nothing"
                print(f"{name} | {data} seed {seed}: {said} ({line['seconds']:.1f} s)", flush=True)


def report(options: argparse.Namespace) -> None:
    frame = Ledger(PATH).frame(options.default)
    if frame.empty:
        return
    known = [name for name in SCENARIOS if (frame["scenario"] == name).any()]
    rows = [_row(name, frame[frame["scenario"] == name]) for name in known]
    by_set = [
        _row(name, part)
        for name in known
        for _, part in frame[frame["scenario"] == name].groupby("set", sort=False)
    ]
    parts = [
        _figure(frame, known),
        table([{k: v for k, v in row.items() if k != "data"} for row in rows]),
        "The same by data set:",
        table(by_set),
        provenance(frame),
    ]
    write_section("diagnostics", "\n\n".join(parts), PAGE)


def named(name: str, part: pd.DataFrame) -> pd.Series:
    """Whether each run gave a warning that names the failure."""
    return part["kinds"].map(lambda kinds: bool(set(kinds) & set(SCENARIOS[name].names)))


def warned(part: pd.DataFrame) -> pd.Series:
    return part["kinds"].map(bool)


def _row(name: str, part: pd.DataFrame) -> Row:
    scenario = SCENARIOS[name]
    counts = part["kinds"].explode().dropna().value_counts()
    gain = part.assign(gain=part["weighted"] - part["noisy"])
    return {
        "planted": name,
        "data": part["set"].iloc[0],
        "runs": len(part),
        "any warning": f"{warned(part).mean():.0%}",
        "names the failure": "-" if scenario.healthy else f"{named(name, part).mean():.0%}",
        "warnings": ", ".join(f"{each} {count}" for each, count in counts.items()) or "none",
        "AUROC": mean_error(part, "auroc"),
        "weighted - noisy": mean_error(gain, "gain"),
    }


def _figure(frame: pd.DataFrame, known: list[str]) -> str:
    figure, (ax,) = new_figure(panel_size=(7.5, 1.0 + 0.32 * len(known)))
    for place, name in enumerate(known):
        part = frame[frame["scenario"] == name]
        healthy = SCENARIOS[name].healthy
        ax.barh(place, 100 * warned(part).mean(), color="#BBBBBB", height=0.7)
        if not healthy:
            ax.barh(place, 100 * named(name, part).mean(), color="#0072B2", height=0.4)
    ax.set_yticks(range(len(known)), known, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlim=(0, 100), xlabel="runs (percent): any warning (grey), named the failure (blue)")
    ax.spines[["top", "right"]].set_visible(False)
    return saved(figure, "benchmark-diagnostics", "Runs with a warning, by what was planted")


def main() -> None:
    parser = option_parser(__doc__, sets=SETS, methods=("default",), known_methods=("default",))
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    options = parsed(parser, DEFAULT)
    if options.settings:
        parser.error("--settings is not used here; the scenarios have settings of their own.")
    if not options.report:
        run(options)
    report(options)


if __name__ == "__main__":
    main()
