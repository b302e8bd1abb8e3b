"""A whole study, top to bottom: plan, sweep, effects, strategy, validation, report. What `sde-ray run` does.

    outcome = run(load_config("sweeps/quickstart.yaml"), Story(...))

Each step leaves its file in the sweep's folder, and each is safe to repeat: what is finished is not done again. `Story`
hears what happens; it prints on the command line, and tests listen.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sde_ray import strategy as strategies
from sde_ray import validate as validation
from sde_ray import verdict as verdicts
from sde_ray.config import SweepConfig, sweep_folder
from sde_ray.plan import Plan, plan
from sde_ray.progress import Progress
from sde_ray.runner import RunnerFactory
from sde_ray.strategy import Constraints
from sde_ray.study import Study, ledger_of, studies
from sde_ray.types import Strategy, TrialConfig
from sde_ray.verdict import Verdict

NO_CONSTRAINTS = Constraints()


class Story(Protocol):
    """Hears of each step as it ends."""

    progress: Progress

    def planned(self, made: Plan) -> None: ...
    def studied(self, study: Study) -> None: ...
    def assembled(self, strategy: Strategy, path: Path) -> None: ...
    def comparing(self, trials: dict[str, list[TrialConfig]]) -> None: ...
    def judged(self, verdict: Verdict, path: Path) -> None: ...


@dataclass(frozen=True)
class Conclusion:
    """What one task and model came to. `verdict` is None until the final comparison has run."""

    study: Study
    strategy: Strategy
    path: Path
    verdict: Verdict | None = None

    def plain(self) -> dict[str, Any]:
        """For a program."""
        judged = self.verdict and {
            "words": self.verdict.words,
            "recommended": self.verdict.recommended,
            "rows": verdicts.table(self.verdict),
        }
        strategy = {**asdict(self.strategy), "design": dict(self.strategy.design.options)}
        return {"strategy": strategy, "path": str(self.path), "verdict": judged}


@dataclass(frozen=True)
class Outcome:
    """What a run has brought. `interrupted`: the user stopped it, and what is saved."""

    folder: Path
    studies: tuple[Study, ...] = ()
    conclusions: list[Conclusion] = field(default_factory=list)
    interrupted: str = ""

    def plain(self) -> dict[str, Any]:
        """For a program."""
        return {
            "folder": str(self.folder),
            "interrupted": bool(self.interrupted),
            "studies": [study.plain() for study in self.studies],
            "conclusions": [one.plain() for one in self.conclusions],
        }


class Interrupted(Exception):
    """The user has stopped a step; the message says what is saved."""


def run(
    config: SweepConfig, story: Story, with_validation: bool = True, runner_factory: RunnerFactory | None = None
) -> Outcome:
    """The whole study. `runner_factory` stands in for the training engine in tests."""
    from sde_ray.sweep import run_sweep

    folder = sweep_folder(config)
    story.planned(plan_of(config))
    swept = run_sweep(config, runner_factory, progress=story.progress)
    if swept.interrupted:
        return Outcome(folder, interrupted=swept.message)
    outcome = Outcome(folder, tuple(studies(config, swept.results)))
    for study in outcome.studies:
        story.studied(study)
    for study in decisive(outcome.studies):
        outcome.conclusions.append(assemble(config, study))
        story.assembled(outcome.conclusions[-1].strategy, outcome.conclusions[-1].path)
    if not with_validation:
        return outcome
    try:
        outcome.conclusions[:] = [validate(config, one, story, runner_factory) for one in outcome.conclusions]
    except Interrupted as stopped:
        return replace(outcome, interrupted=str(stopped))
    return outcome


def plan_of(config: SweepConfig) -> Plan:
    """What the sweep would run, with what its ledger already has."""
    return plan(config, ledger_of(config).results())


# ---- strategy ------------------------------------------------------------------------------------------------------


def decisive(found: Sequence[Study]) -> list[Study]:
    """The studies that a strategy is made from: of each task and model, the one with the most training samples."""
    largest: dict[tuple[str, str], Study] = {}
    for study in found:
        contest = (study.group.task, study.group.model)
        if contest not in largest or study.group.train_size > largest[contest].group.train_size:
            largest[contest] = study
    return list(largest.values())


def assemble(config: SweepConfig, study: Study, constraints: Constraints = NO_CONSTRAINTS) -> Conclusion:
    """The best combination that a study's evidence carries, saved in the sweep's folder."""
    strategy = strategies.assemble(
        study.results,
        study.objective,
        weights={study.split: 1.0},
        constraints=constraints,
        items=study.items[study.split],
        sweep=config.name,
    )
    path = sweep_folder(config) / f"strategy{_suffix(config, strategy)}.yaml"
    strategies.save(strategy, path)
    return Conclusion(study, strategy, path)


def _suffix(config: SweepConfig, strategy: Strategy) -> str:
    """Nothing for a sweep of one task and one model; else what tells their files apart."""
    if len(config.task) == len(config.model) == 1:
        return ""
    return "-" + re.sub(r"[^\w-]+", "_", f"{strategy.task}-{strategy.model}").strip("_")


# ---- validation ----------------------------------------------------------------------------------------------------


def validate(
    config: SweepConfig, conclusion: Conclusion, story: Story, runner_factory: RunnerFactory | None = None
) -> Conclusion:
    """The final comparison: train contenders on fresh seeds, judge, keep the verdict and the recommended adapter."""
    from sde_ray.final import run_trials

    strategy, folder = conclusion.strategy, sweep_folder(config)
    trials = validation.validation_trials(strategy, config, tuple(ledger_of(config).results().values()))
    story.comparing(trials)
    wanted = [trial for own in trials.values() for trial in own]
    ended = run_trials(config, wanted, runner_factory, progress=story.progress)
    if ended.interrupted:
        raise Interrupted(ended.message)
    results = {result.key: result for result in ended.results}
    verdict = validation.judge(strategy, trials, results, folder / "trials")
    strategy = replace(strategy, verdict=verdict.words)
    strategies.save(strategy, conclusion.path)
    path = folder / f"validation{_suffix(config, strategy)}.json"
    verdicts.save(verdict, path)
    _keep_adapter(folder, folder / f"adapter{_suffix(config, strategy)}", trials[verdict.recommended])
    story.judged(verdict, path)
    return replace(conclusion, strategy=strategy, verdict=verdict)


def _keep_adapter(folder: Path, place: Path, trials: Sequence[TrialConfig]) -> None:
    """Copy the adapter to use beside the strategy: of the largest training size, with the first seed.

    Not with the best one: to choose a seed by its test score would spend the test split on a selection.
    """
    chosen = max(trials, key=lambda trial: trial.train_size)
    source = folder / "trials" / chosen.key / "adapter"
    if source.is_dir():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place)


# ---- MLflow --------------------------------------------------------------------------------------------------------


def tracking_of(config: SweepConfig) -> str:
    """The address of a sweep's MLflow store: as set, else sqlite beside the sweeps."""
    set_to = config.mlflow.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return set_to or f"sqlite:///{(Path(config.storage) / 'mlflow.db').absolute()}"
