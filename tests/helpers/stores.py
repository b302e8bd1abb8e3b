"""Sweeps in a plain folder and in stores of several kinds: fixtures and questions of the tests of storage.

`quick` takes the waiting out and gives each test a mirror, an empty memory and a network that works; `run` runs a sweep
with fake runners, in this process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import in_process
from helpers.fake_runner import FakeRunner, Fakes
from helpers.flaky_store import Flaky
from helpers.in_process import on

from sde_ray.config.load import check
from sde_ray.config.schema import SweepConfig
from sde_ray.storage import lease_record, remote
from sde_ray.storage.dirty_marks import UNSENT
from sde_ray.storage.layout import LEDGER
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.remote import RemoteFolder
from sde_ray.storage.uri import is_uri
from sde_ray.sweep import run as sweep
from sde_ray.sweep.run import run_sweep
from sde_ray.training.runner import RunnerResources
from sde_ray.types import Status, TrialResult

__all__ = ["DESIGNS", "KINDS", "Run", "begun", "configure", "quick", "results", "runs", "storage", "there", "unsent"]

DESIGNS = ["baseline", "es-sde", "ew-sde", "format=json"]
KINDS = ["path", "file", "memory", "flaky"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No waiting; a mirror of the test's own; an empty memory and a network that works."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(remote, "BACKOFF_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    monkeypatch.setattr(lease_record, "SETTLE", 0.0)
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    Flaky.be()
    with on(tmp_path / "here"):
        yield
    Flaky.be()


def storage(kind: str, folder: Path) -> str:
    return {"path": str(folder / "runs"), "memory": f"memory://{folder.name}/runs"}.get(kind, f"{kind}://{folder}/runs")


def configure(kind: str, folder: Path, **values: Any) -> SweepConfig:
    given: dict[str, Any] = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "designs": DESIGNS}
    given |= {"search": {"method": "grid"}, "storage_path": storage(kind, folder), "mlflow": {"enabled": False}}
    return check({**given, **values})


@dataclass(frozen=True)
class Writers(Fakes):
    """Fake runners that leave what a real trial leaves."""

    def __call__(self, location: RunnerResources) -> FakeRunner:
        return _Writer(self, location)


class _Writer(FakeRunner):
    def finish(self, status: Status = "finished", error: str = "") -> TrialResult:
        (self.folder / "adapter").mkdir(exist_ok=True)
        (self.folder / "adapter" / "sde.json").write_text(json.dumps({"trial": self.config.key}))
        row = {"split": "dev", "id": "1", "prediction": "food: positive", "task": self.config.task}
        (self.folder / "predictions.jsonl").write_text(json.dumps(row) + "\n")
        (self.folder / "config.json").write_text(json.dumps({"key": self.config.key, **self.config.resolved()}))
        return super().finish(status, error)


Run = Callable[..., sweep.SweepOutcome]


@pytest.fixture(name="run")
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    def run(config: SweepConfig, tune: in_process.Tune | None = None) -> sweep.SweepOutcome:
        monkeypatch.setattr(sweep, "_tune", tune or in_process.Tune())
        return run_sweep(config, Writers(tmp_path / "calls.jsonl"))

    return run


def begun(folder: Path) -> int:
    return len(Fakes(folder / "calls.jsonl").begun())


def there(config: SweepConfig) -> set[str]:
    """What the store has of the sweep; of a plain folder, what is in it."""
    if is_uri(config.storage_path):
        return set(RemoteFolder(config.run_dir.uri()).list())
    return {path.relative_to(config.run_dir.path).as_posix() for path in config.run_dir.path.rglob("*")}


def results(config: SweepConfig) -> dict[str, TrialResult]:
    return Ledger(config.run_dir.path / LEDGER).results()


def unsent(config: SweepConfig) -> list[str]:
    return sorted(path.name for path in (config.run_dir.path / UNSENT).glob("*"))
