"""A runner without a model: the score is planted in the design, and every call is written to a file.

`Fakes` is the factory: picklable, with what should happen on its sleeve. Each trial that begins appends a line to
`calls`, and each rung that is run one to the file beside it, so a test can count calls over processes that are gone. A
fake trial leaves a checkpoint as a real one does, but for the engine's state.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sde_ray.config.trial import TrialConfig
from sde_ray.evaluation.racing import Opponent
from sde_ray.testing.planted import planted
from sde_ray.training import checkpoint
from sde_ray.training.runner import ResumeState, RunnerResources, WorkerDiedError
from sde_ray.types import RungResult, Status, TrialResult


@dataclass(frozen=True)
class Fakes:
    """Makes fake runners. `fail`: trials with this option raise; `die`: they kill their process; "*" means all.

    `die_once`, `lose_once`: in their second rung, for the first time, they kill their process or a worker of theirs.
    """

    calls: Path
    fail: str = ""
    die: str = ""
    die_once: str = ""
    lose_once: str = ""
    seconds: float = 0.0

    def __call__(self, place: RunnerResources) -> FakeRunner:
        return FakeRunner(self, place)

    def begun(self) -> list[dict[str, Any]]:
        """Every trial that has begun, in order: key, pid, number of workers, and how many rungs it found done."""
        return _lines(self.calls)

    def ran(self) -> list[tuple[str, int]]:
        """Every rung that was begun, in order: key and number."""
        return [(call["key"], call["rung"]) for call in _lines(self.rungs)]

    @property
    def rungs(self) -> Path:
        return self.calls.with_suffix(".rungs")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _note(path: Path, **call: Any) -> None:
    with path.open("a") as file:
        file.write(json.dumps(call) + "\n")


class FakeRunner:
    def __init__(self, fakes: Fakes, place: RunnerResources) -> None:
        self.fakes, self.place = fakes, place

    def start(self, config: TrialConfig, folder: Path) -> ResumeState:
        self.config, self.folder = config, folder
        self.rungs: list[RungResult] = []
        resumed = self._read_checkpoint()
        self.rungs += resumed.rungs
        _note(
            self.fakes.calls,
            key=config.key,
            pid=os.getpid(),
            num_workers=self.place.num_workers,
            found=len(resumed.rungs),
        )
        if self._meant(self.fakes.fail):
            raise ValueError(f"planted failure of {self.fakes.fail}")
        if self._meant(self.fakes.die):
            os._exit(1)
        return resumed

    def _read_checkpoint(self) -> ResumeState:
        self.checkpoint = None
        try:
            self.checkpoint = checkpoint.read(self.folder, self.config.key)
        except checkpoint.CheckpointError as error:
            return ResumeState(note=f"unusable: {error}")
        return ResumeState(self.checkpoint.rungs, self.checkpoint.promoted_rungs) if self.checkpoint else ResumeState()

    def _meant(self, option: str) -> bool:
        return bool(option) and option in ("*", *dict(self.config.design.options).values())

    def train_rung(self, index: int, rival: Opponent | None = None, on_checkpoint: Any = None) -> RungResult:
        _note(self.fakes.rungs, key=self.config.key, rung=index)
        if self.checkpoint:
            self.checkpoint = checkpoint.write(self.folder, replace(self.checkpoint, promoted=True))
        if index == 1 and self.fakes.ran().count((self.config.key, 1)) == 1:
            if self._meant(self.fakes.die_once):
                os._exit(1)
            if self._meant(self.fakes.lose_once):
                raise WorkerDiedError("A worker process died (planted).")
        time.sleep(self.fakes.seconds)
        share = self.config.rungs[index]
        score = planted(self.config.design, self.config.seed) * (0.5 + 0.5 * share)
        scores = {"dev": {"weighted_kappa": score, "format_adherence": 1.0}}
        self.rungs.append(RungResult(index, round(share * self.config.train_size), scores))
        if index + 1 < len(self.config.rungs):
            rivals = rival.folder.name if rival else ""
            reached = checkpoint.Checkpoint(self.config.key, tuple(self.rungs), rival=rivals)
            self.checkpoint = checkpoint.write(self.folder, reached)
        return self.rungs[-1]

    def finish(self, status: Status = "finished", error: str = "") -> TrialResult:
        (self.folder / "ended.txt").write_text(status)
        scores = self.rungs[-1].scores if self.rungs else {}
        return TrialResult(
            self.config.key,
            self.config.resolved(),
            status,
            scores,
            rungs=tuple(self.rungs),
            error=error,
            seconds={"total": 2.0},
        )

    def close(self) -> None:
        pass
