"""Runner: the protocol of whatever runs a sweep's trials.

A runner lives on one device bundle over many trials: `start`, then `train_rung` for each rung, then `finish`. The sweep
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
    """Resources of one runner: `num_workers` workers with `cpus` and `gpus` each (as in Ray's `ScalingConfig`).

    `checkpoint_interval_s`: seconds of training after which a trial is saved within a rung; None: between rungs only.
    """

    num_workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    checkpoint_interval_s: float | None = 300.0


@dataclass(frozen=True)
class ResumeState:
    """Where a trial starts: at its beginning (no rungs), or at the checkpoint in its folder.

    `rungs`: what was scored before, which is not run again; after the first `promoted_rungs` of them the trial was
    promoted to the next rung. `note`: why a checkpoint is not used.
    """

    rungs: tuple[RungResult, ...] = ()
    promoted_rungs: int = 0
    note: str = ""


class WorkerDiedError(RuntimeError):
    """A process of the runner is gone, which is not the trial's doing: it may start again, on another runner.

    `preempted`: its node was taken away, or is going to be.
    """

    def __init__(self, message: str, preempted: bool = False) -> None:
        super().__init__(message)
        self.preempted = preempted


class Runner(Protocol):
    """Runs one trial at a time; an exception of `start` or `train_rung` leaves it usable after `finish("failed")`."""

    def start(self, config: TrialConfig, folder: Path) -> ResumeState:
        """Prepare a trial: load the examples, write the samples, add a fresh adapter or restore a checkpoint's.

        Args:
            config: the trial; written to `folder/config.json` before anything runs.
            folder: the trial's own folder, made if needed; a checkpoint of this trial in it is resumed.

        Returns:
            The rungs that need not be run again.

        Raises:
            UserError: when data, model or settings cannot be used.
            WorkerDiedError: when a process of the runner died.
        """

    def train_rung(
        self, index: int, rival: Opponent | None = None, on_checkpoint: Callable[[], None] | None = None
    ) -> RungResult:
        """Train to `config.rungs[index]`, then decode and score every split of the trial; write a checkpoint.

        Args:
            index: which rung.
            rival: a trial that is clearly behind it on the first items is stopped (`RungResult.stopped_early`).
            on_checkpoint: called after each checkpoint within the rung.

        Raises:
            WorkerDiedError: when a process of the runner died, or has to leave its node; the trial is saved then.
        """

    def finish(self, status: Status = "finished", error: str = "") -> TrialResult:
        """Save the adapter of a trial that did not fail, destroy the engine, keep the base model."""

    def close(self) -> None:
        """Stop the workers."""


RunnerFactory = Callable[[RunnerResources], Runner]
