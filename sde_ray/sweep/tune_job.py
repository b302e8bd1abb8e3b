"""What Ray Tune is given to run: the trials of a queue, where they are recorded, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass

from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.queue import Score, TrialQueue
from sde_ray.sweep.sweep_run import SweepRun


@dataclass(frozen=True)
class TuneJob:
    """Trials for Ray Tune, in the order of a queue.

    `split`: where they are scored, by `score`. `search`: they are the sweep's own, which are stopped early and race.
    """

    sweep_run: SweepRun
    queue: TrialQueue
    ledger: Ledger
    split: str
    score: Score
    search: bool = True

    @property
    def phase(self) -> str:
        """`sweep` for the search's own trials, `validation` for those of a comparison."""
        return "sweep" if self.search else "validation"
