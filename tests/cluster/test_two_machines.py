"""Two machines that share nothing but a bucket: neither sees a file of the other's, not by any path.

Each has a home, a temporary and a working folder of its own, and a mount namespace in which those of the other are
empty. A real S3 protocol (moto's server) is between them; the trials are trained for good, on the embedded model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.nodes import Machine, Nodes
from helpers.s3_server import S3Server
from helpers.small_run import write_sweep_file

pytestmark = [pytest.mark.cluster, pytest.mark.long]
LIMIT = 400.0
TEXT = "Great food, but the service was slow."


@dataclass
class Pair:
    """The first machine has the head, the driver and a CPU; the second has a CPU."""

    first: Machine
    second: Machine
    nodes: Nodes
    s3: S3Server

    def start(self) -> None:
        self.nodes.variables = {**self.s3.env, **self.first.env}
        self.nodes.start(nodes=0, head_cpus=1)
        self.nodes.variables = {**self.s3.env, **self.second.env}
        self.nodes.add(before_it=self.second.command())

    def run(self, machine: Machine, *arguments: str) -> str:
        """`sde-ray ARGUMENTS` there; what it has printed."""
        return self.call(machine, sys.executable, "-m", "sde_ray", *arguments)

    def call(self, machine: Machine, *command: str) -> str:
        env = {**self.nodes.env, **self.s3.env, **machine.env}
        done = subprocess.run(machine.command(*command), env=env, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    nodes, s3 = Nodes(), S3Server(tmp_path / "s3")
    folders = tmp_path / "first", tmp_path / "second"
    first = Machine(folders[0], hidden=(folders[1],)).make()
    second = Machine(folders[1], hidden=(folders[0], nodes.folder)).make()
    here = Pair(first, second, nodes, s3)
    try:
        s3.start()
        here.start()
        for one, other in ((first, second), (second, first)):
            assert os.listdir(other.folder) and not here.call(one, "ls", str(other.folder))
        yield here
    finally:
        nodes.close()
        s3.kill()


def test_a_bucket_is_all_that_two_machines_need_to_share(tmp_path: Path, pair: Pair) -> None:
    """Trials run on both, and a third machine reads, reports and predicts from the address what the driver's does."""
    storage = pair.s3.make_bucket()
    values = {"storage_path": f"{storage}/runs", "out_of_domain": [], "resources": {"resources_per_worker": {"CPU": 1}}}
    write_sweep_file(pair.first.work / "shared.yaml", "masa:d1", **values)
    pair.run(pair.first, "run", "shared.yaml", "--address", pair.nodes.address)
    workers = {one["node_id"] for one in pair.nodes.listed("actors") if one["class_name"] == "Worker"}
    assert workers == {one["node_id"] for one in pair.nodes.alive()}, "trials have run on both"
    machines = (pair.first, pair.second)
    trained = [{path.parents[1].name for path in one.home.rglob("trials/*/adapter/sde.json")} for one in machines]
    assert all(trained) and trained[0] != trained[1], "each has in its mirror what it has trained"
    pair.nodes.close()

    run = f"{storage}/runs/shared"
    third = Machine(tmp_path / "third", hidden=(pair.first.folder, pair.second.folder)).make()
    here, there = (json.loads(pair.run(machine, "effects", run, "--json")) for machine in (pair.first, third))
    assert here == there
    for machine in (pair.first, third):
        pair.run(machine, "report", run)
    pages = [next(machine.home.rglob("report.html")).read_text() for machine in (pair.first, third)]
    assert pages[0] == pages[1]
    answers = [pair.run(machine, "predict", run, TEXT, "--json") for machine in (pair.first, third)]
    assert answers[0] == answers[1] and json.loads(answers[0])
    assert os.listdir(third.work) == [], "nothing but the address was needed"
