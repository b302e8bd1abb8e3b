"""A whole study, top to bottom: plan, sweep, effects, strategy, validation, report. What `sde-ray run` does.

    outcome = run(load_config("sweeps/quickstart.yaml"), Story(...))

Each step leaves its file in the sweep's folder, and each is safe to repeat: what is finished is not done again. `Story`
hears what happens; it prints on the command line, and tests listen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from sde_ray import strategy as strategies
from sde_ray.config import SweepConfig, sweep_folder
from sde_ray.plan import Plan, plan
from sde_ray.progress import Progress
from sde_ray.runner import RunnerFactory
from sde_ray.strategy import Constraints
from sde_ray.study import Study, ledger_of, studies
from sde_ray.types import Strategy

NO_CONSTRAINTS = Constraints()


class Story(Protocol):
    """Hears of each step as it ends."""

    progress: Progress

    def planned(self, made: Plan) -> None: ...
    def studied(self, study: Study) -> None: ...
    def assembled(self, strategy: Strategy, path: Path) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What a run has brought. `interrupted`: the user stopped it; what is finished is saved."""

    folder: Path
    studies: tuple[Study, ...] = ()
    strategies: tuple[Strategy, ...] = ()
    interrupted: str = ""

    def plain(self) -> dict[str, Any]:
        """For a program."""
        return {
            "folder": str(self.folder),
            "interrupted": bool(self.interrupted),
            "studies": [study.plain() for study in self.studies],
            "strategies": [plain_strategy(one) for one in self.strategies],
        }


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
    found = tuple(studies(config, swept.results))
    for study in found:
        story.studied(study)
    assembled = [assemble(config, study) for study in decisive(found)]
    for strategy, path in assembled:
        story.assembled(strategy, path)
    return Outcome(folder, found, tuple(strategy for strategy, _ in assembled))


def decisive(found: Sequence[Study]) -> list[Study]:
    """The studies that a strategy is made from: of each task and model, the one with the most training samples."""
    largest: dict[tuple[str, str], Study] = {}
    for study in found:
        contest = (study.group.task, study.group.model)
        if contest not in largest or study.group.train_size > largest[contest].group.train_size:
            largest[contest] = study
    return list(largest.values())


def assemble(config: SweepConfig, study: Study, constraints: Constraints = NO_CONSTRAINTS) -> tuple[Strategy, Path]:
    """The best combination that a study's evidence carries, saved in the sweep's folder."""
    strategy = strategies.assemble(
        study.results,
        study.objective,
        weights={study.split: 1.0},
        constraints=constraints,
        items=study.items[study.split],
        sweep=config.name,
    )
    path = strategy_path(config, study)
    strategies.save(strategy, path)
    return strategy, path


def strategy_path(config: SweepConfig, study: Study) -> Path:
    """`strategy.yaml`, or with several tasks or models one file each, named by both."""
    if len(config.task) == len(config.model) == 1:
        return sweep_folder(config) / "strategy.yaml"
    name = re.sub(r"[^\w-]+", "_", f"{study.group.task}-{study.group.model}").strip("_")
    return sweep_folder(config) / f"strategy-{name}.yaml"


def tracking_of(config: SweepConfig) -> str:
    """The address of a sweep's MLflow store: as set, else sqlite beside the sweeps."""
    set_to = config.mlflow.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return set_to or f"sqlite:///{(Path(config.storage) / 'mlflow.db').absolute()}"


def plan_of(config: SweepConfig) -> Plan:
    """What the sweep would run, with what its ledger already has."""
    return plan(config, ledger_of(config).results())


def plain_strategy(strategy: Strategy) -> dict[str, Any]:
    return {**asdict(strategy), "design": dict(strategy.design.options)}
