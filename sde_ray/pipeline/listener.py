"""Callbacks of a pipeline run: a base class whose methods do nothing, as Ray's `Callback` and HF's `TrainerCallback`.

    class Notebook(PipelineListener):
        def on_verdict(self, verdict, path):
            display(verdict.words)

`cli/views/live.py` prints each step on a console; a plain `PipelineListener()` prints the progress of trials only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sde_ray.analysis.cross_study import CrossStudy
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import Verdict
from sde_ray.config.trial import TrialConfig
from sde_ray.sweep.data_summary import DataSummary
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.progress import Progress


class PipelineListener:
    """Callbacks of `pipeline.run.run`, one for each step; override those that you need.

    Args:
        progress: what shows the trials of a sweep as they end; stderr by default.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or Progress()

    def on_notes(self, notes: Sequence[str]) -> None:
        """Before the first trial: what the run's folder has that does not fit the plan, a sentence each."""

    def on_data(self, data: Sequence[DataSummary]) -> None:
        """Before the first trial: items, metric and texts of each task."""

    def on_plan(self, plan: Plan) -> None:
        """Before the first trial: what the sweep will run."""

    def on_study(self, study: Study) -> None:
        """The trials of one task, model and training size have ended."""

    def on_cross_study(self, comparison: CrossStudy) -> None:
        """Several models, tasks or sizes were compared with each other."""

    def on_strategy(self, strategy: Strategy, path: Path) -> None:
        """A strategy was assembled and saved at `path`."""

    def on_validation_start(self, trials: Mapping[str, Sequence[TrialConfig]]) -> None:
        """Before the final comparison: the trials of each contender, by its name."""

    def on_verdict(self, verdict: Verdict, path: Path) -> None:
        """The final comparison has ended; its verdict is saved at `path`."""

    def on_report(self, path: Path) -> None:
        """The report was written at `path`."""
