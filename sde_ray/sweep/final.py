"""Runs the trials of a final comparison: given one by one, scored on test splits, without rungs or search.

They go through the same Tune, workers and ledger as a sweep, so a comparison that is stopped resumes, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_ray.config.load import SweepConfig
from sde_ray.config.schema import Search
from sde_ray.config.trial import TrialConfig
from sde_ray.sweep.plan import Contest, Plan
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import SweepOutcome, run_plan
from sde_ray.training.runner import RunnerFactory
from sde_ray.types import Design


def run_trials(
    config: SweepConfig,
    trials: Sequence[TrialConfig],
    runner_factory: RunnerFactory | None = None,
    tracker: Any = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Run these trials, each once, whatever the sweep's own search is."""
    # The objective's split only decides what progress shows; a sweep's own configuration may never name a test split.
    shown = config.objective.model_copy(update={"split": trials[0].splits[0]})
    plain = config.model_copy(update={"search": Search(method="grid"), "objective": shown})
    return run_plan(plain, plan_of(plain, trials), runner_factory, tracker, progress)


def plan_of(config: SweepConfig, trials: Sequence[TrialConfig]) -> Plan:
    """The plan that consists of exactly these trials."""
    unique = tuple({trial.key: trial for trial in trials}.values())
    contests: dict[tuple[str, str], dict[Design, tuple[TrialConfig, ...]]] = {}
    for trial in unique:
        own = contests.setdefault((trial.task, trial.model), {})
        own[trial.design] = (*own.get(trial.design, ()), trial)
    rows = tuple(Contest(task, model, own, around=next(iter(own)), axes={}) for (task, model), own in contests.items())
    return Plan(config, rows, unique, len(unique), pinned={}, dropped=(), counts={"trials": len(unique)})
