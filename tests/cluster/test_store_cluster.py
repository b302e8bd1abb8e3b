"""A sweep in a store on a real cluster of two nodes: each node and each driver has a mirror of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from helpers.fake_runner import Fakes, planted
from helpers.nodes import Nodes, kill

from sde_ray.config.load import load_config
from sde_ray.design.designs import make_design
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan

pytestmark = [pytest.mark.cluster, pytest.mark.faults, pytest.mark.long]
LIMIT = 240.0
SMALL = {"train_sizes": 40, "eval_size": 20, "out_of_domain": [], "mlflow": {"enabled": False}}


class Apart(Nodes):
    """Nodes that share nothing but the store: the head's mirror is `mirror-0`, those of the nodes come next."""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "SDE_MIRROR": str(self.mirror(len(self.nodes)))}

    def mirror(self, number: int) -> Path:
        return self.folder / f"mirror-{number}"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Apart]:
    here = Apart()
    try:
        here.start()
        yield here
    finally:
        here.close()


def driver(
    sweep: Path, calls: Path, env: Mapping[str, str], address: str, seconds: float = 0.3
) -> subprocess.Popen[str]:
    """`fake_driver` as a process; its output comes as one stream of lines."""
    command = [sys.executable, "-m", "helpers.fake_driver", "run", str(sweep), "--address", address]
    given = {**env, "FAKE_CALLS": str(calls), "FAKE_SECONDS": str(seconds), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=sweep.parent
    )


def test_nodes_that_share_nothing_but_the_store_finish_what_a_killed_driver_began(tmp_path: Path, nodes: Apart) -> None:
    designs = ["baseline", "es-sde", "ew-sde", "format=json", "format=lines", "labels=number"]
    given = {"task": "masa:d1", "designs": designs, "search": {"method": "grid"}, **SMALL}
    given |= {"storage_path": f"file://{tmp_path}/runs"}
    sweep, calls = tmp_path / "study.yaml", tmp_path / "calls.jsonl"
    sweep.write_text(yaml.safe_dump(given))
    trials = {trial.key for trial in plan(load_config(sweep)).trials}
    truth = tmp_path / "runs" / "study"

    first = driver(sweep, calls, nodes.env, nodes.address, 0.5)
    deadline = time.monotonic() + LIMIT
    while len(Ledger(truth / "ledger.jsonl").results() if truth.is_dir() else ()) < 2:
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()[0]
        time.sleep(0.05)
    kill([first.pid])
    first.communicate()
    assert json.loads((truth / "lease.json").read_text())["pid"] == first.pid, "it had no time to let go"
    before = set(Ledger(truth / "ledger.jsonl").results())

    elsewhere = {**nodes.env, "SDE_MIRROR": str(nodes.mirror(9))}
    second = driver(sweep, calls, elsewhere, nodes.address, 0.0)
    said, _ = second.communicate(timeout=LIMIT)
    assert second.returncode == 0 and "complete: 6" in said, said
    entries = Ledger(truth / "ledger.jsonl").entries()
    assert Counter(entry.key for entry in entries) == Counter(trials)
    assert all(
        entry.scores["dev"]["weighted_kappa"] == planted(make_design(**entry.config["design"])) for entry in entries
    )
    begun = Counter(call["key"] for call in Fakes(calls).begun())
    assert set(begun) == trials and all(begun[key] == 1 for key in before)

    on_nodes = [{path.parent.name for path in nodes.mirror(n).rglob("ended.txt")} for n in (1, 2)]
    assert all(on_nodes) and set().union(*on_nodes) >= trials, "both nodes have run trials, each in its own mirror"
    assert {path.parent.name for path in truth.glob("trials/*/result.json")} == trials
    assert not list(truth.rglob("*.new")) and not list(truth.glob(".nodes/*"))
    assert not (truth / "lease.json").exists()


def test_the_memory_of_a_driver_is_refused_before_anything_runs(tmp_path: Path, nodes: Apart) -> None:
    sweep = tmp_path / "study.yaml"
    sweep.write_text(yaml.safe_dump({"task": "masa:d1", "storage_path": "memory://runs", **SMALL}))
    process = driver(sweep, tmp_path / "calls.jsonl", nodes.env, nodes.address)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 2 and "the memory of this process" in said, said
    assert Fakes(tmp_path / "calls.jsonl").begun() == []
