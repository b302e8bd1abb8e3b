"""A runner without a model: the score is planted in the design, and every call is written to a file.

`Fakes` is the factory: picklable, with what should happen on its sleeve. Each trial that begins appends a line to
`calls`, so a test can count calls over processes that are gone.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from sde_ray.design import make
from sde_ray.race import Rival
from sde_ray.runner import RunnerPlace
from sde_ray.types import Design, RungResult, Status, TrialConfig, TrialResult

BEST = make(instruction="first", format="lines")
WORTH = {
    "first": 0.2,
    "lines": 0.2,
    "json": 0.05,
    "omit": -0.1,
    "on": -0.05,
    "number": -0.1,
    "cot": -0.02,
    "rcot": -0.03,
}


def planted(design: Design, seed: int = 0) -> float:
    """Additive in the options, with a little noise that depends on design and seed."""
    noise = random.Random(f"{design.slug}/{seed}").uniform(-0.004, 0.004)
    return 0.4 + sum(WORTH.get(option, 0.0) for _, option in design.options) + noise


@dataclass(frozen=True)
class Fakes:
    """Makes fake runners. `fail`: trials with this option raise; `die`: they kill their process; "*" means all."""

    calls: Path
    fail: str = ""
    die: str = ""
    seconds: float = 0.0

    def __call__(self, place: RunnerPlace) -> FakeRunner:
        return FakeRunner(self, place)

    def begun(self) -> list[dict[str, object]]:
        """Every trial that has begun, in order: key, pid, bundles."""
        return [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []


class FakeRunner:
    def __init__(self, fakes: Fakes, place: RunnerPlace) -> None:
        self.fakes, self.place = fakes, place

    def begin(self, config: TrialConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.rungs: list[RungResult] = []
        with self.fakes.calls.open("a") as file:
            file.write(json.dumps({"key": config.key, "pid": os.getpid(), "bundles": self.place.bundles}) + "\n")
        if self._meant(self.fakes.fail):
            raise ValueError(f"planted failure of {self.fakes.fail}")
        if self._meant(self.fakes.die):
            os._exit(1)

    def _meant(self, option: str) -> bool:
        return bool(option) and option in ("*", *dict(self.config.design.options).values())

    def rung(self, index: int, rival: Rival | None = None) -> RungResult:
        time.sleep(self.fakes.seconds)
        share = self.config.train.rungs[index]
        score = planted(self.config.design, self.config.seed) * (0.5 + 0.5 * share)
        scores = {"dev": {"weighted_kappa": score, "format_adherence": 1.0}}
        self.rungs.append(RungResult(index, round(share * self.config.train_size), scores))
        return self.rungs[-1]

    def end(self, status: Status = "finished", error: str = "") -> TrialResult:
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
