"""What `sde-ray run` prints while it works: a `PipelineListener` for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from sde_ray.analysis.cross_study import CrossStudy
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import Verdict
from sde_ray.cli.console import err, out
from sde_ray.cli.views.cross_study import cross_study_view
from sde_ray.cli.views.plan import print_notes, summary
from sde_ray.cli.views.strategy import strategy_view, verdict_view
from sde_ray.cli.views.study import study_view
from sde_ray.config.trial import TrialConfig
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.sweep.data_summary import DataSummary
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.progress import Progress


class ConsoleListener(PipelineListener):
    """Prints each step of a pipeline run on a console as it ends."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(progress)
        self.console = console
        self._data: Sequence[DataSummary] = ()

    def on_notes(self, notes: Sequence[str]) -> None:
        print_notes(notes)

    def on_data(self, data: Sequence[DataSummary]) -> None:
        self._data = data

    def on_plan(self, plan: Plan) -> None:
        self.console.print("\n".join(summary(plan, self._data)), highlight=False)

    def on_study(self, study: Study) -> None:
        self.console.print(study_view(study), highlight=False)

    def on_cross_study(self, comparison: CrossStudy) -> None:
        self.console.print(cross_study_view(comparison), highlight=False)

    def on_strategy(self, strategy: Strategy, path: Path) -> None:
        self.console.print(strategy_view(strategy), highlight=False)
        self._saved(path)

    def on_validation_start(self, trials: Mapping[str, Sequence[TrialConfig]]) -> None:
        count = len({trial.key for contender in trials.values() for trial in contender})
        names = ", ".join(trials)
        self.console.print(f"Final comparison: {count} trials on fresh seeds, of {names}.", highlight=False)

    def on_verdict(self, verdict: Verdict, path: Path) -> None:
        self.console.print()
        self.console.print(verdict_view(verdict), highlight=False)
        self._saved(path)

    def on_report(self, path: Path) -> None:
        self.console.print(f"All of it on one page: {path}", highlight=False, markup=False)

    def _saved(self, path: Path) -> None:
        self.console.print(f"saved in {path}\n", highlight=False, markup=False)


def console_listener(as_json: bool = False) -> ConsoleListener:
    """Steps on stdout, trials on stderr. With --json stdout is the program's, and the person watches on stderr."""
    return ConsoleListener(err() if as_json else out(), Progress(err()))
