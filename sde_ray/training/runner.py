"""What a sweep needs of whatever runs its trials.

A runner lives on one device bundle over many trials: `begin`, then `rung` for each rung wanted, then `end`. The sweep
imports only this protocol, so that tests drive search, resume and tracking with a runner that has no model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sde_ray.config.trial import TrialConfig
from sde_ray.evaluation.racing import Opponent
from sde_ray.types import RungResult, Status, TrialResult


@dataclass(frozen=True)
class RunnerResources:
    """The room of one runner: `bundles` workers with `cpus` and `gpus` each."""

    bundles: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class ResumeState:
    """How a trial begins: from the start, or where its checkpoint in the folder says.

    `rungs`: what was scored before, which is not run again; at the first `passed` of them the trial was let go on.
    `note`: why a checkpoint is not used.
    """

    rungs: tuple[RungResult, ...] = ()
    passed: int = 0
    note: str = ""


class WorkerDiedError(RuntimeError):
    """A process of the runner is gone, which is not the trial's doing: it may begin again, on another runner."""


class Runner(Protocol):
    """Runs one trial at a time; an exception of `begin` or `rung` leaves it usable after `end("failed", ...)`."""

    def begin(self, config: TrialConfig, folder: Path) -> ResumeState:
        """Load the examples, write the samples, attach a fresh adapter, or that of the last rung where the folder has a
        checkpoint of this trial. Writes `config.json` before anything runs.
        """

    def rung(self, index: int, rival: Opponent | None = None) -> RungResult:
        """Train to `config.train.rungs[index]`, then decode and score every split of the trial; leave a checkpoint.

        With a rival, a trial that is clearly behind it on the first items is given up (`RungResult.given_up`).
        """

    def end(self, status: Status = "finished", error: str = "") -> TrialResult:
        """Save the adapter of a trial that did not fail, take the engine down, keep the base model."""

    def close(self) -> None:
        """Let the workers go."""


RunnerFactory = Callable[[RunnerResources], Runner]
