"""A driver of nothing but a lease and a ledger, as a process; its trials are over after a moment.

    python -m helpers.lease_driver LOCATION --trials 16 --seconds 2 --pause 0.05

It prints "begins SEED" and "ended SEED" for each trial that the ledger lacks, and "complete"; a `UserError` goes to
stderr, with exit code 2. `--machine` makes it a process of another machine, `--no-locks` takes file locks away, and
`--hold 4` lets it wait for a word after four trials.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.storage import file_lock, lease_record, process
from sde_ray.storage.lease import lease
from sde_ray.storage.mirror import open_folder
from sde_ray.types import Status, TrialResult

LIMIT = 180.0  # seconds after which a driver is killed, so that no test waits for ever


def of_seed(seed: int, status: Status = "finished", error: str = "") -> TrialResult:
    config = {"task": "masa:d1", "design": {"format": "lines"}, "seed": seed}
    return TrialResult(content_hash(config), config, status, {"dev": {"weighted_kappa": 0.5}}, error=error)


class Driver:
    """The process, from its start to its end."""

    def __init__(
        self, location: str | Path, *options: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        command = [*prefix, sys.executable, "-u", "-m", "helpers.lease_driver", str(location), *options]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.said: list[str] = []
        self._limit = threading.Timer(LIMIT, self.process.kill)
        self._limit.daemon = True
        self._limit.start()

    def wait_for(self, line: str, count: int = 1) -> None:
        """Wait until it has said a line that begins so, `count` times in all."""
        assert self.process.stdout
        while sum(one.startswith(line) for one in self.said) < count:
            said = self.process.stdout.readline()
            assert said, f"it ended with {self.process.wait()}: {self.process.stderr and self.process.stderr.read()}"
            self.said.append(said.strip())

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said on stderr, when it has ended; one that waits is told to go on."""
        said, errors = self.process.communicate("go on\n")
        self._limit.cancel()
        self.said += said.splitlines()
        return self.process.returncode, errors


def drive(location: str, trials: int, seconds: float, pause: float, hold: int) -> None:
    folder = open_folder(location)
    with (
        lease(folder.folder.absolute(), seconds, folder.remote) as held,
        folder.open_ledger(held.check) as ledger,
    ):
        print("holds", flush=True)
        ledger.repair()
        ended = ledger.results()
        for seed in range(trials):
            result = of_seed(seed)
            if result.key not in ended:
                print("begins", seed, flush=True)
                time.sleep(pause)
                ledger.append(result)
                print("ended", seed, flush=True)
                hold -= 1
                if hold == 0:
                    print("waits", flush=True)
                    sys.stdin.readline()
    print("complete", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("location")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.05)
    parser.add_argument("--hold", type=int, default=0)
    parser.add_argument("--settle", type=float, default=0.2)
    parser.add_argument("--machine", default="")
    parser.add_argument("--no-locks", action="store_true")
    given = parser.parse_args()
    lease_record.SETTLE = given.settle
    if given.machine:
        process._place = lambda: (given.machine, "pid:[1]")
    if given.no_locks:
        file_lock.HeldLock.acquire = lambda self, timeout=0.0: None  # type: ignore[method-assign]
    try:
        drive(given.location, given.trials, given.seconds, given.pause, given.hold)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
