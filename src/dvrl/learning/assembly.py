"""From settings and encoded rows to an engine: every "auto" is decided here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..data.table import Table
from ..numerics.padding import pad, padded_size
from ..predictors.base import Fitted, Parameters, Traced, is_traced
from ..predictors.registry import named_predictor, on_host
from ..predictors.rewards import Reward, make_reward
from ..predictors.sparse import fit_on_words
from ..predictors.traced import fit_traced, n_columns_of
from .engines import Engine, FusedEngine, HostEngine
from .evaluators import HostEvaluator, Judge, ScorerEvaluator, started
from .loop import Problem, Program
from .run import train
from .schedule import Progress, Schedule, TrainingResult
from .settings import CONVERGED, RunSettings, check_selections

__all__ = ["Assembly", "fit_final_predictor"]

Floats = NDArray[np.float32]

# A KL weight of 40 / sqrt(validation rows): 2 for 400, 5.7 for 50, 12.6 for 10. Fewer validation
# rows are easier to overfit, so the policy is held closer to its prior. Without a marginal the
# prior is one coin for all rows and deserves less trust.
KL_WEIGHT_NUMERATORS = {True: 40.0, False: 10.0}
# Ridge penalty in the loop per row of a batch: a stiff predictor is moved by many rows at once and
# overfits neither its own rows nor the validation rows (docs/implementation-details.md).
INNER_L2_PER_ROW = {True: 0.03, False: 0.3}
RELEASED_EPOCHS = 100
DEFAULT_INNER_ITERATIONS = 100
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001}


@dataclass
class Assembly:
    """Puts a run together.

    Attributes
    ----------
    task : {"classification", "regression"}
    coder : ClassEncoder or TargetScaler
    settings : RunSettings
    metric : str or callable
    predictor : str, Traced, Predictor or estimator
    n_jobs : int or None
    seed : int
    """

    task: str
    coder: Any
    settings: RunSettings
    metric: Any
    predictor: Any
    n_jobs: int | None
    seed: int
    traced: Traced | None = field(init=False)
    reward: Reward = field(init=False)

    def __post_init__(self) -> None:
        self.predictor = by_name(self.predictor, self.task, self.settings)
        self.traced = self.predictor if is_traced(self.predictor) else None
        self.reward = make_reward(self.metric, self.task, self.coder.n_outputs)
        check_selections(self.gradient, self.settings.baseline, self.settings.n_selections)

    @property
    def gradient(self) -> str:
        """The gradient estimator, "auto" decided."""
        exact = self.traced is not None and self.reward.differentiable and not self.reward.on_host
        if self.settings.gradient == "auto":
            return "through_fit" if exact else "antithetic"
        if self.settings.gradient == "through_fit" and not exact:
            raise ValueError(
                "gradient='through_fit' needs a built-in predictor and a differentiable metric "
                f"(here {self.reward.name!r}); use gradient='antithetic' or 'auto'."
            )
        return self.settings.gradient

    @property
    def n_selections(self) -> int:
        """Selections per update; the gradient through the fit needs no draws."""
        if self.gradient == "through_fit":
            return 1
        return self._number("n_selections", 8)

    @property
    def ensemble_size(self) -> int:
        """Members; black boxes are too dear for more than one unless asked for."""
        return self._number("ensemble_size", 1 if self.traced is None else 3)

    def _number(self, name: str, automatic: int) -> int:
        value = getattr(self.settings, name)
        return automatic if value == "auto" else int(value)

    def _schedule_defaults(self) -> tuple[int, float]:
        """Outer iterations and learning rate of "auto"."""
        if self.gradient == "through_fit":
            return 60, 3e-3
        return (300, 1e-3) if self.traced is not None else (60, 3e-3)

    def engine(
        self, training: Table, validation: Table, differences: Floats, prior_logits: Floats
    ) -> Engine:
        """Engine for training and validation rows.

        Parameters
        ----------
        training, validation : Table
            Of n and m rows, with targets and labels.
        differences, prior_logits : (n, c or 0), (n,) float32
        """
        problem = self._problem(training, validation, differences, prior_logits)
        program, hyper = self._program(), self._hyper(len(training), len(validation))
        if self.traced is not None and not self.reward.on_host:
            return FusedEngine(program, problem, hyper)
        if self.traced is not None:
            judge = Judge(self.reward, self.coder, validation)
            return HostEngine(
                program, problem, hyper, ScorerEvaluator(program, problem, hyper, judge)
            )
        predictor = on_host(self.predictor, self.coder, n_jobs=self.n_jobs, seed=self.seed)
        judge = Judge(self.reward, self.coder, validation, predictor.sees)
        evaluator = HostEvaluator(predictor, training, judge, self.seed)
        return HostEngine(program, problem, hyper, evaluator)

    def _problem(
        self, training: Table, validation: Table, differences: Floats, prior_logits: Floats
    ) -> Problem:
        X, X_validation = training.features, validation.features
        n_features = X.shape[1]
        n_columns = padded_size(n_features)
        if self.traced is not None:
            n_columns = n_columns_of(self.traced, n_features)
        n_rows, n_validation = padded_size(len(X)), padded_size(len(X_validation))
        with np.errstate(over="ignore"):  # targets of 1e300 are infinite in float32
            center, scale = np.float32(self.coder.center), np.float32(self.coder.scale)
        return Problem(
            X=jnp.asarray(pad(X, n_rows, n_columns)),
            Y=jnp.asarray(pad(training.targets, n_rows)),
            differences=jnp.asarray(pad(differences, n_rows)),
            prior_logits=jnp.asarray(pad(prior_logits, n_rows)),
            mask=jnp.asarray(pad(np.ones(len(X), np.float32), n_rows)),
            X_validation=jnp.asarray(pad(X_validation, n_validation, n_columns)),
            Y_validation=jnp.asarray(pad(validation.targets, n_validation)),
            validation_mask=jnp.asarray(pad(validation.weights, n_validation)),
            used_features=np.asarray(n_features),
            center=jnp.asarray(center),
            scale=jnp.asarray(scale),
        )

    def _program(self) -> Program:
        linear_solved = getattr(self.traced, "linear_fits", False)
        return Program(
            predictor=self.traced,
            reward=self.reward,
            gradient=self.gradient,
            baseline=self.settings.baseline,
            n_selections=self.n_selections,
            # A solved fit does not depend on its start: the last one is the nearest.
            persistent=self.settings.predictor_start == "persistent" or linear_solved,
            classification=self.task == "classification",
            zero_output=self.settings.prior == "marginal",
            residual_bound=self.settings.residual_bound or None,
            averaging=self.settings.averaging,
        )

    def _hyper(self, n_rows: int, n_validation: int) -> dict[str, Any]:
        settings = self.settings
        has_marginal = settings.marginal != "none"
        kl_weight = settings.kl_weight
        if kl_weight == "auto":
            numerator = KL_WEIGHT_NUMERATORS[has_marginal]
            has_prior = settings.prior == "marginal"
            kl_weight = numerator / math.sqrt(n_validation) if has_prior else 0.0
        l2 = settings.inner_l2
        if l2 == "auto":
            l2 = INNER_L2_PER_ROW[has_marginal] * min(n_rows, settings.batch_size)
        learning_rate = settings.learning_rate
        if learning_rate == "auto":
            learning_rate = self._schedule_defaults()[1]
        values = {
            "learning_rate": learning_rate,
            "inner_learning_rate": inner_learning_rate(self.traced, settings),
            "l2": l2,
            "kl_weight": kl_weight,
            "exploration_weight": settings.exploration_weight,
            "baseline_window": settings.baseline_window,
        }
        return {name: jnp.float32(value) for name, value in values.items()}

    def train(
        self,
        engine: Engine,
        *,
        pretrained: Any,
        checkpoint: Path | None,
        resume: bool,
        callback: Callable[[Progress], object] | None,
    ) -> TrainingResult:
        """Run the loop on an engine of this assembly."""
        schedule = Schedule(
            outer_iterations=self._number("outer_iterations", self._schedule_defaults()[0]),
            ensemble_size=self.ensemble_size,
            batch_size=self.settings.batch_size,
            seed=self.seed,
            max_seconds=self.settings.max_seconds,
            checkpoint=checkpoint,
            resume=resume,
            callback=callback,
            validation_share=self.settings.validation_share,
        )
        return train(engine, schedule, pretrained=self._pretrained(engine, pretrained))

    def _pretrained(self, engine: Engine, pretrained: Any) -> Parameters | None:
        """Where fits start: parameters of a traced predictor; a predictor of the host keeps it."""
        if pretrained is None:
            return None
        if isinstance(pretrained, str) and pretrained != "all_rows":
            raise ValueError(f"pretrained={pretrained!r} is unknown; use 'all_rows' or parameters.")
        evaluator = getattr(engine, "evaluator", None)
        if self.traced is None:
            assert isinstance(evaluator, HostEvaluator)
            all_rows = isinstance(pretrained, str)
            evaluator.start = (
                started(evaluator.predictor, evaluator.rows, self.seed) if all_rows else pretrained
            )
            return None
        if not isinstance(pretrained, str):
            # A fitted predictor, or its parameters alone.
            params = getattr(pretrained, "params", pretrained)
            return _checked_parameters(self.traced, params, engine.problem)
        problem = engine.problem
        n_rows, n_columns = int(np.sum(problem.mask)), int(problem.used_features)
        rows = Table(np.asarray(problem.X)[:n_rows, :n_columns], np.asarray(problem.Y)[:n_rows])
        return fit_traced(
            for_one_fit(self.traced, n_rows),
            rows,
            np.ones(n_rows, np.float32),
            l2=final_l2(self.settings),
            seed=self.seed,
        ).params


def _checked_parameters(predictor: Traced, params: Parameters, problem: Problem) -> Parameters:
    """The caller's parameters, if they have the shapes of this predictor and table."""
    expected = problem.start_of(predictor, np.random.default_rng(0))
    wanted: Any = jax.tree.structure(expected)
    if jax.tree.structure(params) != wanted or (
        list(map(np.shape, jax.tree.leaves(params)))
        != list(map(np.shape, jax.tree.leaves(expected)))
    ):
        raise ValueError(
            "pretrained holds parameters of another predictor or table; pass predictor_.params "
            "of an estimator fitted on the same columns and classes."
        )
    return params


def by_name(predictor: Any, task: str, settings: RunSettings) -> Any:
    """Make the predictor behind a name; anything else as it is."""
    if not isinstance(predictor, str):
        return predictor
    optimizer = settings.inner_optimizer
    if optimizer == "auto":
        optimizer = "adam" if predictor == "mlp" else "sgd"
    return named_predictor(
        predictor,
        task,
        steps=_inner_steps(predictor, settings),
        batch_size=settings.inner_batch_size,
        optimizer=optimizer,
    )


def for_one_fit(predictor: Traced, n_rows: int) -> Any:
    """The form of a traced predictor for a fit that is done once, on so many rows."""
    make = getattr(predictor, "for_one_fit", None)
    return predictor if make is None else make(n_rows)


def _inner_steps(name: str, settings: RunSettings) -> int | None:
    steps = settings.inner_iterations
    if steps == CONVERGED or (name != "mlp" and steps in ("auto", "released")):
        return None
    if steps == "auto":
        return DEFAULT_INNER_ITERATIONS
    if steps == "released":  # Keras epochs over the batch
        return RELEASED_EPOCHS * -(-settings.batch_size // settings.inner_batch_size)
    return int(steps)


def inner_learning_rate(predictor: Any, settings: RunSettings) -> float:
    """Step length of the mini-batches, "auto" decided by the optimizer."""
    if settings.inner_learning_rate != "auto":
        return float(settings.inner_learning_rate)
    return LEARNING_RATES[getattr(predictor, "optimizer", "adam")]


def final_l2(settings: RunSettings) -> float:
    """Ridge penalty of the final fit; a solved fit without one may have no optimum."""
    return settings.l2 if settings.l2 > 0 else 1.0


def fit_final_predictor(
    predictor: Any,
    rows: Table,
    weights: Floats,
    *,
    task: str,
    coder: Any,
    settings: RunSettings,
    n_jobs: int | None,
    seed: int,
) -> Fitted:
    """Train the robust predictor on weighted rows."""
    chosen = by_name(predictor, task, settings)
    if not is_traced(chosen):
        return on_host(chosen, coder, n_jobs=n_jobs, seed=seed).fit(
            rows, weights[np.newaxis], seed=seed
        )
    final = for_one_fit(chosen, len(rows))
    if getattr(final, "linear_fits", False) and rows.words is not None:
        return fit_on_words(rows, weights, seed)
    return fit_traced(final, rows, weights, l2=final_l2(settings), seed=seed)
