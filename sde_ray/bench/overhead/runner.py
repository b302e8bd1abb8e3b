"""Planted runner: a trial without a model, whose result is as large as a real one's."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from sde_ray.config.trial import TrialConfig
from sde_ray.evaluation.racing import Opponent
from sde_ray.training.runner import ResumeState, RunnerResources
from sde_ray.types import RungResult, Status, TrialResult

SLOTS = "abcdefghijkl"  # as many metrics by slot as a table task has
STEPS = 100


class PlantedRunner:
    """Runs a trial in no time (see `Runner`)."""

    def __init__(self, resources: RunnerResources) -> None:
        self.resources = resources

    def start(self, config: TrialConfig, folder: Path) -> ResumeState:
        self._config, self._rungs = config, list[RungResult]()
        return ResumeState()

    def train_rung(self, index: int, rival: Opponent | None = None, on_checkpoint: Any = None) -> RungResult:
        share, config = self._config.rungs[index], self._config
        noise = random.Random(config.key)
        score = share * random.Random(config.design.slug).random() + noise.gauss(0, 0.01)
        metrics = {f"weighted_kappa/{slot}": score + noise.gauss(0, 0.05) for slot in SLOTS}
        scores = {"dev": {"weighted_kappa": score, "format_adherence": 1.0, **metrics}}
        self._rungs.append(RungResult(index, round(share * config.train_size), scores))
        return self._rungs[-1]

    def finish(self, status: Status = "finished", error: str = "") -> TrialResult:
        return TrialResult(
            self._config.key,
            self._config.resolved(),
            status,
            self._rungs[-1].scores if self._rungs else {},
            rungs=tuple(self._rungs),
            faults={"dev": {"missing slot": 3, "unknown label": 1}},
            error=error,
            seconds={"total": 2.0, "train": 1.2, "decode": 0.8},
            tokens={"train": 100.0, "output": 20.0},
            losses=tuple(round(2.0 / (step + 1), 6) for step in range(STEPS)),
        )

    def close(self) -> None:
        """Nothing is held."""
