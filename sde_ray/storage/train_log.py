"""Log of a trial's training: a JSON line an optimiser step, as in the `log_history` of Hugging Face's trainer.

    log = TrainLog(folder / "train_log.jsonl")
    log.append(steps)                        {"step": 1, "loss": 2.31, "learning_rate": 0.0001}, and so on
    log.read(after=40)                       the steps after the 40th, also while another process writes

It is there to be looked at while a trial trains, so nothing depends on it: a log that cannot be written is none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic


@dataclass(frozen=True)
class TrainStep:
    """One optimiser step, counted from 1."""

    step: int
    loss: float
    learning_rate: float


class TrainLog:
    """The file of one trial."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, steps: Sequence[TrainStep] = ()) -> None:
        """Begin anew with the steps before a trial was resumed, if any."""
        try:
            write_atomic(self.path, _lines(steps))
        except OSError:
            pass  # a full disk stops the trial where its results are written, with the whole story

    def append(self, steps: Sequence[TrainStep]) -> None:
        """Add the next steps."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_lines(steps))
        except OSError:
            pass

    def read(self, after: int = 0) -> list[TrainStep]:
        """The steps beyond number `after` with finite numbers, in order; what is no such line is passed over."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError:
            return []
        steps: dict[int, TrainStep] = {}
        for line in lines:
            try:
                entry = _step(read_json(line))
            except (ValueError, TypeError, KeyError, OverflowError):
                continue  # torn, or being written
            if entry.step > after:
                steps[entry.step] = entry
        return [steps[number] for number in sorted(steps)]


def _lines(steps: Sequence[TrainStep]) -> str:
    return "".join(json.dumps(asdict(one)) + "\n" for one in steps)


def _step(plain: dict[str, object]) -> TrainStep:
    """The step of a line; ValueError or TypeError for anything else."""
    step, *numbers = (plain[name] for name in ("step", "loss", "learning_rate"))
    if not isinstance(step, int) or isinstance(step, bool) or not 0 < step < 2**31:
        raise ValueError("step")
    loss, learning_rate = (_finite(number) for number in numbers)
    return TrainStep(step, loss, learning_rate)


def _finite(number: object) -> float:
    if not isinstance(number, int | float) or not isfinite(number):
        raise ValueError("no finite number")
    return float(number)
