"""What the steps of a pipeline share and hand on: the run, who listens, what a study came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sde_ray.analysis import verdict as verdicts
from sde_ray.analysis.cross_study import cross_studies
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import Verdict
from sde_ray.config.schema import SweepConfig
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.base import Tracker
from sde_ray.training.runner import RunnerFactory


class Interrupted(Exception):
    """The user has stopped a step; the message says what is saved."""


@dataclass(frozen=True)
class PipelineContext:
    """What every step needs: the run, who listens, where it is logged, and what trains."""

    sweep_run: SweepRun
    listener: PipelineListener
    tracker: Tracker
    runner_factory: RunnerFactory | None = None

    @property
    def config(self) -> SweepConfig:
        return self.sweep_run.config

    @property
    def run_dir(self) -> RunDirectory:
        return self.sweep_run.run_dir

    def publish(self, *paths: Path) -> None:
        """Upload files of the run's directory: to MLflow, and to the remote storage where there is one."""
        self.tracker.log_files(paths)
        self.run_dir.folder.upload(*paths)


@dataclass(frozen=True)
class StudyConclusion:
    """What one task and model came to. `verdict` is None until the final comparison has run."""

    study: Study
    strategy: Strategy
    path: Path
    verdict: Verdict | None = None

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        judged = self.verdict and {
            "summary": self.verdict.summary,
            "recommended": self.verdict.recommended,
            "action": self.verdict.action,
            "rows": verdicts.verdict_table(self.verdict),
        }
        strategy = {**asdict(self.strategy), "design": dict(self.strategy.design.options)}
        return {"strategy": strategy, "path": str(self.path), "verdict": judged}


@dataclass(frozen=True)
class PipelineResult:
    """What a run has brought. `interrupted`: the user stopped it, and what is saved."""

    folder: Path
    studies: tuple[Study, ...] = ()
    conclusions: Sequence[StudyConclusion] = ()
    report: Path | None = None
    interrupted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "folder": str(self.folder),
            "interrupted": bool(self.interrupted),
            "report": self.report and str(self.report),
            "studies": [study.to_dict() for study in self.studies],
            "across": [family.to_dict() for family in cross_studies(self.studies)],
            "conclusions": [one.to_dict() for one in self.conclusions],
        }
