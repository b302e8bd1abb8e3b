"""A cluster that grows by Ray's own autoscaler: all nodes come at once, and no more trials run than the user allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.autoscaling import AutoscalingNodes, autoscaling_nodes
from helpers.fake_runner import Fakes
from helpers.nodes import Driver

from sde_ray.storage.ledger import Ledger

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
LIMIT = 240.0
SIX = ["baseline", "es-sde", "ew-sde", "format=json", "format=lines", "labels=number"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[AutoscalingNodes]:
    with autoscaling_nodes() as here:
        yield here


class Study:
    """A sweep whose trials all wait for the file `go`."""

    def __init__(self, folder: Path, nodes: AutoscalingNodes, resources: dict[str, Any], **values: Any) -> None:
        self.nodes, self.folder, self.calls, self.go = nodes, folder, folder / "calls.jsonl", folder / "go"
        given = {"task": "masa:d1", "designs": SIX, "search": {"method": "grid"}, "out_of_domain": []}
        given |= {"train_sizes": 40, "eval_size": 20, "storage_path": str(folder / "runs")}
        given |= {"resources": resources, "mlflow": {"enabled": False}}
        (folder / "study.yaml").write_text(yaml.safe_dump({**given, **values}))

    def start(self) -> Driver:
        given = {"FAKE_CALLS": str(self.calls), "FAKE_GO": str(self.go), "FAKE_HOLD": "1"}
        arguments = ["run", str(self.folder / "study.yaml"), "--address", self.nodes.address]
        return self.nodes.drivers.start(arguments, given, self.folder / "driver.log")

    def begun(self) -> int:
        return len(Fakes(self.calls).begun())

    def wait(self, condition: Callable[[], bool], driver: Driver) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert driver.poll() is None and time.monotonic() < deadline, driver.said()
            time.sleep(0.2)

    def finish(self, driver: Driver) -> None:
        self.go.touch()
        assert driver.wait(LIMIT) == 0, driver.said()
        entries = Ledger(self.folder / "runs" / "study" / "ledger.jsonl").entries()
        assert [entry.status for entry in entries] == ["finished"] * len(SIX)


def test_a_sweep_grows_to_all_nodes_at_once_and_to_the_users_cap_only(tmp_path: Path, nodes: AutoscalingNodes) -> None:
    """Two nodes for a cap of two; then four, the most there may be, for the six trials of another sweep without one."""
    (tmp_path / "capped").mkdir()
    capped = Study(tmp_path / "capped", nodes, {"max_concurrent_trials": 2})
    driver = capped.start()
    capped.wait(lambda: capped.begun() == 2, driver)
    assert (nodes.placement_groups("CREATED"), nodes.placement_groups("PENDING")) == (2, 0)
    assert len(nodes.alive()) == 1 + 2
    free = Study(tmp_path, nodes, {})
    other = free.start()
    free.wait(lambda: free.begun() == 2, other)
    assert nodes.placement_groups("PENDING") == 4, "its other trials wait all at once"
    assert len(nodes.alive()) == 1 + 4
    assert capped.begun() == 2, "room came, and the cap holds"
    capped.finish(driver)
    free.wait(lambda: free.begun() == 4, other)
    free.finish(other)
