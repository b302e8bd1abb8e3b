"""Trial state: what a running trial has come to: rungs, losses, faults, seconds by phase, tokens by part.

TrialState ──to_checkpoint──▶ Checkpoint ──resume_from──▶ TrialState ──result──▶ TrialResult
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from sde_ray import metrics
from sde_ray.config.trial import TrialConfig
from sde_ray.design.asking import Asking
from sde_ray.evaluation.racing import Opponent
from sde_ray.storage.layout import TRAIN_LOG
from sde_ray.storage.train_log import TrainLog, TrainStep
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.training.worker import TrialInfo
from sde_ray.types import Parsed, RungResult, Status, TrialResult

PART_S = 5.0  # seconds of training between two looks at whether a checkpoint is due, or the node will be taken away


class TrialState:
    """The state of a running trial: rungs, losses, faults, seconds by phase, tokens by part."""

    info: TrialInfo
    asking: Asking

    def __init__(self, config: TrialConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.rungs: list[RungResult] = []
        self.faults: dict[str, dict[str, int]] = {}
        self.losses: list[float] = []
        self.log = TrainLog(folder / TRAIN_LOG)
        self.seconds: dict[str, float] = {}
        self.tokens: dict[str, float] = {}
        self.curation: dict[str, float] = {}
        self.general: dict[str, float] = {}
        self.environment: dict[str, str] = {}
        self.out_of_memory = self.skipped_steps = 0
        self.checkpoint: Checkpoint | None = None
        self.seconds_per_step = PART_S  # until it is measured
        self.must_leave = False
        self._started = self.saved_at = self.looked_at = time.perf_counter()
        self._warned = False
        folder.mkdir(parents=True, exist_ok=True)

    def add_seconds(self, phase: str, started: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - started

    def steps_since(self, done: int) -> list[TrainStep]:
        """The steps after the first `done` ones, for the log."""
        pairs = zip(self.losses[done:], self.info.learning_rates[done:], strict=False)
        return [TrainStep(done + n, loss, rate) for n, (loss, rate) in enumerate(pairs, 1)]

    @property
    def is_saved(self) -> bool:
        """Whether the checkpoint is of this very step."""
        return self.checkpoint is not None and self.checkpoint.progress == (len(self.rungs), len(self.losses))

    def seconds_unsaved(self) -> float:
        """Seconds since the last attempt to save the trial."""
        return time.perf_counter() - self.saved_at

    def warn(self, text: str) -> None:
        """Warn of checkpoints, once."""
        if not self._warned:
            warnings.warn(text, stacklevel=3)
        self._warned = True

    def to_checkpoint(self, worker_files: dict[str, str], rival: Opponent | None, promoted: bool) -> Checkpoint:
        """The trial's progress; the engine's state is in the workers' files."""
        total = self.seconds.get("total", 0.0) + time.perf_counter() - self._started
        return Checkpoint(
            key=self.config.key,
            rungs=tuple(self.rungs),
            losses=tuple(self.losses),
            faults={split: dict(counts) for split, counts in self.faults.items()},
            tokens=dict(self.tokens),
            seconds={**self.seconds, "total": total},
            rival=rival.folder.name if rival else "",
            promoted=promoted,
            worker_files=worker_files,
        )

    def resume_from(self, saved: Checkpoint) -> None:
        """Take over the progress of a checkpoint."""
        self.checkpoint, self.rungs, self.losses = saved, list(saved.rungs), list(saved.losses)
        self.saved_at = time.perf_counter()
        self.faults = {split: dict(counts) for split, counts in saved.faults.items()}
        self.tokens = dict(saved.tokens)
        for phase, seconds in saved.seconds.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def count_faults(self, split: str, parsed: Sequence[Parsed]) -> None:
        counts = self.faults.setdefault(split, {})
        for kind, number in metrics.fault_counts(parsed).items():
            counts[kind] = counts.get(kind, 0) + number

    def result(self, status: Status, error: str, peak_memory_mb: float) -> TrialResult:
        self.add_seconds("total", self._started)
        return TrialResult(
            key=self.config.key,
            config=self.config.resolved(),
            status=status,
            scores=self.rungs[-1].scores if self.rungs else {},
            faults={split: dict(counts) for split, counts in self.faults.items()},
            rungs=tuple(self.rungs),
            error=error,
            seconds={phase: round(seconds, 4) for phase, seconds in self.seconds.items()},
            tokens={part: round(number, 4) for part, number in self.tokens.items()},
            losses=tuple(self.losses),
            curation=dict(self.curation),
            general=dict(self.general),
            environment=dict(self.environment),
            out_of_memory=self.out_of_memory,
            skipped_steps=self.skipped_steps,
            peak_memory_mb=round(peak_memory_mb, 1),
        )
