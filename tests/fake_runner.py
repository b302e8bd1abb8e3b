"""A runner without a model: the score is planted in the design, every call is written to a file that outlives actors.

`PLANTED` gives the score of a design; the best one is `BEST`. Each begun trial appends its key to `$SDE_FAKE_CALLS`.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from sde_ray.design import make
from sde_ray.runner import RunnerPlace
from sde_ray.types import RungResult, Status, TrialConfig, TrialResult

BEST = make(instruction="first", format="lines", unmentioned="placeholder")
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


def planted(config: TrialConfig) -> float:
    """Additive in the options, with a little noise that depends on design and seed."""
    noise = random.Random(f"{config.design.slug}/{config.seed}").uniform(-0.004, 0.004)
    return 0.4 + sum(WORTH.get(option, 0.0) for _, option in config.design.options) + noise


class FakeRunner:
    """Scores at once; `SDE_FAKE_SECONDS` makes a rung take time, `SDE_FAKE_FAIL` names an option that fails."""

    def __init__(self, place: RunnerPlace) -> None:
        self.place = place

    def begin(self, config: TrialConfig, folder: Path) -> None:
        self.config, self.rungs = config, []
        call = {"key": config.key, "pid": os.getpid(), "bundles": self.place.bundles}
        with open(os.environ["SDE_FAKE_CALLS"], "a") as file:
            file.write(json.dumps(call) + "\n")
        failing = os.environ.get("SDE_FAKE_FAIL", "")
        if failing and (failing == "all" or failing in dict(config.design.options).values()):
            raise ValueError(f"planted failure of {failing}")
        if os.environ.get("SDE_FAKE_DIE", "") in dict(config.design.options).values():
            os._exit(1)

    def rung(self, index: int) -> RungResult:
        time.sleep(float(os.environ.get("SDE_FAKE_SECONDS", "0")))
        share = self.config.train.rungs[index]
        score = planted(self.config) * (0.5 + 0.5 * share)
        scores = {"dev": {"weighted_kappa": score, "format_adherence": 1.0}}
        if self.config.out_of_domain:
            scores["dev_ood"] = {"weighted_kappa": score - 0.1}
        self.rungs.append(RungResult(index, round(share * self.config.train_size), scores))
        return self.rungs[-1]

    def end(self, status: Status = "finished", error: str = "") -> TrialResult:
        scores = self.rungs[-1].scores if self.rungs else {}
        seconds = {"total": 1.0}
        return TrialResult(
            self.config.key, self.config.resolved(), status, scores, {}, tuple(self.rungs), error, seconds
        )

    def close(self) -> None:
        pass


def make_fake(place: RunnerPlace) -> FakeRunner:
    return FakeRunner(place)
