"""What `sde-ray run` tells while it works: each step of `flow.run`, as it ends."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sde_ray.analysis.cross_study import CrossStudy
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import Verdict
from sde_ray.cli.views import cross_study, plan, tables
from sde_ray.cli.views import strategy as shown
from sde_ray.config.trial import TrialConfig
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.progress import Progress


class PipelineListener:
    """Prints the steps on a console."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console, self.progress = console, progress

    def planned(self, made: Plan) -> None:
        self.console.print("\n".join(plan.summary(made)), highlight=False)

    def studied(self, study: Study) -> None:
        self.console.print(tables.study(study), highlight=False)

    def compared(self, family: CrossStudy) -> None:
        self.console.print(cross_study.across(family), highlight=False)

    def assembled(self, strategy: Strategy, path: Path) -> None:
        self.console.print(shown.strategy(strategy), highlight=False)
        self._saved(path)

    def comparing(self, trials: dict[str, list[TrialConfig]]) -> None:
        count = len({trial.key for own in trials.values() for trial in own})
        names = ", ".join(trials)
        self.console.print(f"Final comparison: {count} trials on fresh seeds, of {names}.", highlight=False)

    def judged(self, verdict: Verdict, path: Path) -> None:
        self.console.print()
        self.console.print(shown.verdict(verdict), highlight=False)
        self._saved(path)

    def reported(self, path: Path) -> None:
        self.console.print(f"All of it on one page: {path}", highlight=False, markup=False)

    def _saved(self, path: Path) -> None:
        self.console.print(f"saved in {path}\n", highlight=False, markup=False)
