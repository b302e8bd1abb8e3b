"""Ray Tune in this very process, one trial after another: what `sweep._tune` does, without Ray.

    monkeypatch.setattr(sweep, "_tune", in_process.tune)

Each trial runs on a `TrialTrainable` as Tune would run it, and the `SweepCallback` hears of it as from Tune.
`Machines` lets a trial run as if on another machine: with another mirror.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sde_ray.storage import mirror as stores
from sde_ray.storage import remote
from sde_ray.storage.uri import MIRROR
from sde_ray.sweep.callback import SweepCallback
from sde_ray.sweep.run import trainable_config
from sde_ray.sweep.trainable import TrialTrainable
from sde_ray.sweep.tune_job import TuneJob
from sde_ray.training.runner import RunnerResources


class Killed(BaseException):
    """The process is gone: nothing that catches an exception may catch this."""


@contextmanager
def on(machine: Path) -> Any:
    """As if on another machine: it has its own mirror, and has seen nothing of any store."""
    before = os.environ.get(MIRROR)
    kept = dict(stores._remotes)
    stores._remotes.clear()
    remote.fetch_file.cache_clear()
    os.environ[MIRROR] = str(machine)
    try:
        yield
    finally:
        os.environ.pop(MIRROR, None) if before is None else os.environ.update({MIRROR: before})
        stores._remotes.clear()
        stores._remotes.update(kept)
        remote.fetch_file.cache_clear()


@dataclass
class Tune:
    """Stands in for `sweep._tune`. `node`: where trials run; `before`, `after`: called around each with its number."""

    node: Path | None = None
    before: Callable[[int], None] = lambda number: None
    after: Callable[[int], None] = lambda number: None
    reports: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, job: TuneJob, factory: Any, tracker: Any, progress: Any) -> bool:
        recorder, number = SweepCallback(job, tracker, progress), 0
        while not recorder.stopping and (trial := job.queue.next_trial()) is not None:
            self.before(number)
            self._run({**trainable_config(job, trial), "metric": "weighted_kappa"}, factory, recorder)
            self.after(number)
            number += 1
        if recorder.error is not None:
            raise recorder.error
        return False

    def _run(self, given: dict[str, Any], factory: Any, recorder: SweepCallback) -> None:
        trial, done = SimpleNamespace(config=given), False
        recorder.on_trial_start(0, [], trial)
        if self.node is None:
            warm = self._warm(given, factory)
        else:
            with on(self.node):
                warm = self._warm(given, factory)
        while not done:
            if self.node is None:
                report = warm.step()
            else:
                with on(self.node):
                    report = warm.step()
            self.reports.append(dict(report))
            done = bool(report["done"])
            recorder.on_trial_result(0, [], trial, report)
        recorder.on_trial_complete(0, [], trial)

    @staticmethod
    def _warm(given: dict[str, Any], factory: Any) -> TrialTrainable:
        warm = TrialTrainable.__new__(TrialTrainable)
        warm.setup(given, factory, RunnerResources())
        return warm
