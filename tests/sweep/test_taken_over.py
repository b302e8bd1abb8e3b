"""A driver whose sweep was taken over stops its trials under Ray; none of Ray's processes keeps its lock."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runner import Fakes
from rich.console import Console

from sde_ray.config.load import check
from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep import callback
from sde_ray.sweep.cluster.ray_session import ray_session
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import run_sweep

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SECONDS = 60.0  # that the trial takes; one that is stopped has Tune's grace to end


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(Resources(max_concurrent_trials=1)):
        yield


def holders(file: Path) -> set[int]:
    """The processes of this machine that have a file open."""
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) == str(file):
                found.add(int(descriptor.parts[2]))
        except OSError:
            continue
    return found


class TakeOver:
    """A tracker in whose time another driver comes, when the trial begins."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.came, self.locked_by = folder, 0.0, set[int]()

    def on_trial_start(self, config: Any) -> None:
        self.locked_by = holders(self.folder / "lease.lock")
        lease = self.folder / "lease.json"
        lease.write_text(json.dumps({**json.loads(lease.read_text()), "token": "another"}))
        self.came = time.monotonic()

    def on_trial_end(self, result: Any, folder: Path) -> None: ...


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read from /proc")
def test_a_driver_whose_sweep_was_taken_over_stops_before_its_long_trial_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "VERIFY_SECONDS", 0.2)
    given = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "storage_path": str(tmp_path)}
    given |= {"designs": ["baseline"], "search": {"method": "grid"}, "mlflow": {"enabled": False}}
    fakes, tracker = Fakes(tmp_path / "calls.jsonl", seconds=SECONDS), TakeOver(tmp_path / "x")
    with pytest.raises(UserError, match="Another driver has taken the sweep in"):
        run_sweep(check(given), fakes, tracker, Progress(Console(file=io.StringIO())))
    assert time.monotonic() - tracker.came < SECONDS, "the trial was not waited for"
    assert Ledger(tmp_path / "x" / "ledger.jsonl").entries() == []
    assert json.loads((tmp_path / "x" / "lease.json").read_text())["token"] == "another"
    assert tracker.locked_by == {os.getpid()}, "a process of Ray that outlives a driver must not keep its lock"
