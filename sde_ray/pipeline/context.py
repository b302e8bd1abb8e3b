"""What the steps of `flow.py` share and hand on: who listens, where things lie, what a study came to."""

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
from sde_ray.config.load import SweepConfig
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.tracking.base import Tracker
from sde_ray.training.runner import RunnerFactory


@dataclass(frozen=True)
class Step:
    """What every step needs: the sweep, who listens, where it is logged, and what trains."""

    config: SweepConfig
    listener: PipelineListener
    tracker: Tracker
    runner_factory: RunnerFactory | None = None

    @property
    def run_dir(self) -> RunDirectory:
        return self.config.run_dir

    def keep(self, *paths: Path) -> None:
        """Files of the sweep's folder are written: MLflow gets them, and the store where there is one."""
        self.tracker.log_files(paths)
        self.run_dir.folder.push(*paths)


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
