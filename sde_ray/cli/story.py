"""What `sde-ray run` tells while it works: each step of `flow.run`, as it ends."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sde_ray.cli import planned, tables
from sde_ray.cli.strategy import strategy as show_strategy
from sde_ray.plan import Plan
from sde_ray.progress import Progress
from sde_ray.study import Study
from sde_ray.types import Strategy


class Story:
    """Prints the steps on a console."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console, self.progress = console, progress

    def planned(self, made: Plan) -> None:
        self.console.print("\n".join(planned.summary(made)), highlight=False)

    def studied(self, study: Study) -> None:
        self.console.print(tables.study(study))

    def assembled(self, strategy: Strategy, path: Path) -> None:
        self.console.print(show_strategy(strategy))
        self.console.print(f"saved in {path}\n", highlight=False, markup=False)
