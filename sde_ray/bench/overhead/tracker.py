"""A tracking server that takes its time: stands for MLflow behind `BackgroundTracker`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_ray.config.trial import TrialConfig
from sde_ray.tracking.base import Tracker
from sde_ray.types import TrialResult


class SlowServer(Tracker):
    """Takes `seconds` for every call, and remembers which trials it knows to have ended."""

    tracking_uri = "slow://server"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ended: set[str] = set()
        self.num_logged = 0
        self.incomplete_trials: Sequence[str] = ()

    def on_sweep_start(
        self, name: str, resolved: Mapping[str, Any], folder: Path, results: Iterable[TrialResult] = ()
    ) -> None:
        for result in results:
            if result.key not in self.ended:
                self.on_trial_end(result, folder)

    def on_trial_start(self, config: TrialConfig) -> None:
        time.sleep(self.seconds)

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        time.sleep(self.seconds)
        self.ended.add(result.key)
        self.num_logged += 1

    def log_train_steps(self, config: TrialConfig, steps: Sequence[Any]) -> None:
        time.sleep(self.seconds)
