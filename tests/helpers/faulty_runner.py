"""Fake trials that meet a fault: held until the test says so, or out of memory in one of the three ways it happens.

    Faulty(calls, hold=5, go=str(folder / "go"))        # the fifth trial and all later ones wait for the file `go`
    Faulty(calls, hold_rung=2, go=str(folder / "go"))   # every trial waits in its third rung for the file `go`
    Faulty(calls, greed="json=limit,number=kill")       # trials with these options take memory until something ends it

What ends it: "limit" the process' own address space (an exception), "kill" a SIGKILL as the kernel's OOM killer sends
it, "monitor" whatever watches from outside, Ray's memory monitor in the tests.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.fake_runner import FakeRunner, Fakes

from sde_ray.config.trial import TrialConfig
from sde_ray.training.runner import ResumeState, RunnerResources
from sde_ray.types import RungResult

PATIENCE = 240.0  # seconds that a held trial waits; a test that forgets it must still end
MOST = 4 * 2**30  # bytes that a greedy trial takes at most
BLOCK = 32 * 2**20


@dataclass(frozen=True)
class Faulty(Fakes):
    hold: int = 0
    hold_rung: int = -1
    go: str = ""
    greed: str = ""

    def __call__(self, place: RunnerResources) -> FaultyRunner:
        return FaultyRunner(self, place)


class FaultyRunner(FakeRunner):
    fakes: Faulty

    def start(self, config: TrialConfig, folder: Path, *more: Any) -> ResumeState:
        resumed = super().start(config, folder, *more)
        self._place = len(self.fakes.begun())
        for one in filter(None, self.fakes.greed.split(",")):
            option, _, end = one.partition("=")
            if self._meant(option):
                GREED[end]()
        return resumed

    def train_rung(self, index: int, *more: Any) -> RungResult:
        deadline = time.monotonic() + PATIENCE
        holds = 0 < self.fakes.hold <= self._place or index == self.fakes.hold_rung
        while holds and not os.path.exists(self.fakes.go):
            assert time.monotonic() < deadline, "the test forgot to let it go"
            time.sleep(0.02)
        return super().train_rung(index, *more)


def _until_the_limit() -> None:
    import numpy

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * BLOCK, before[1]))
    try:
        taken = []
        while True:
            taken.append(numpy.ones(BLOCK, numpy.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _until_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _until_seen() -> None:
    taken = [bytearray(b"1") * BLOCK for _ in range(MOST // BLOCK)]  # each block is touched, so it counts
    time.sleep(PATIENCE)
    raise AssertionError(f"nobody minded {len(taken)} blocks")


GREED = {"limit": _until_the_limit, "kill": _until_killed, "monitor": _until_seen}
