"""Trials on nodes that are taken away, and processes that die again and again: what goes on, what fails, what is kept.

Real nodes and real drivers; the runner is fake, and once the real one on the tiny random model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from helpers.fake_runner import Fakes
from helpers.nodes import Driver, Drivers, Nodes, kill
from helpers.run_trial import run_trial

from sde_ray.config.load import load_config
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan
from sde_ray.training import checkpoint
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
LIMIT = 240.0
RUNGS = [0.25, 0.5, 0.75, 1.0]


class Spot(Nodes):
    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "RAY_worker_niceness": "0"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Spot]:
    here = Spot()
    try:
        here.start(nodes=1)
        yield here
    finally:
        here.close()


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """Drivers with a Ray of their own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    here = Drivers({**env, "RAY_worker_niceness": "0"}, tmp_path_factory.mktemp("drivers"))
    yield here
    here.close()


class Study:
    """A sweep of one trial of four rungs."""

    def __init__(self, folder: Path, drivers: Drivers, address: str = "", **values: Any) -> None:
        self.place, self.drivers, self.address = folder, drivers, address
        self.sweep, self.fakes, self.go = folder / "study.yaml", Fakes(folder / "calls.jsonl"), folder / "go"
        given = {"task": "masa:d1", "designs": ["baseline"], "train_sizes": 40, "eval_size": 20, "out_of_domain": []}
        given |= {"search": {"method": "grid", "asha": {"rungs": RUNGS}}, "storage_path": str(folder / "runs")}
        given |= {"mlflow": {"enabled": False}, "resources": {"max_concurrent_trials": 1}}
        self.sweep.write_text(yaml.safe_dump({**given, **values}))
        (self.trial,) = plan(load_config(self.sweep)).trials
        self.folder = folder / "runs" / "study" / "trials" / self.trial.key

    def start(self, hold_rung: int = -1, greed: str = "", command: str = "fake_driver", **env: str) -> Driver:
        given = {"FAKE_CALLS": str(self.fakes.calls), "FAKE_GO": str(self.go), "FAKE_HOLD_RUNG": str(hold_rung)}
        output = self.place / f"driver-{len(list(self.place.glob('driver-*.log')))}.log"
        address = ["--address", self.address] if self.address else []
        arguments = ["run", str(self.sweep), *address, *(["--no-validate"] if command == "sde-ray" else [])]
        return self.drivers.start(arguments, {**given, "FAKE_GREED": greed, **env}, output, command)

    def wait(self, condition: Callable[[], Any], driver: Driver) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert driver.poll() is None and time.monotonic() < deadline, driver.said()[-3000:]
            time.sleep(0.05)

    def wait_for_rung(self, attempt: int, driver: Driver) -> None:
        """Until so many processes have begun the trial, and it is in its third rung."""
        self.wait(lambda: len(self.fakes.begun()) >= attempt and self.progress()[0] == 2, driver)

    def finish(self, driver: Driver) -> None:
        self.go.touch()
        assert driver.wait(LIMIT) == 0, driver.said()[-3000:]

    def progress(self) -> tuple[int, int]:
        return checkpoint.progress(self.folder, self.trial.key)

    def found(self) -> list[Any]:
        """The rungs that each process of the trial found done."""
        return [call["found"] for call in self.fakes.begun()]

    def results(self) -> list[TrialResult]:
        return Ledger(self.place / "runs" / "study" / "ledger.jsonl").entries()


def take_away(nodes: Nodes) -> None:
    """The only node that is not the head is gone; another one comes."""
    nodes.remove(nodes.nodes[-1])
    nodes.add()


def test_a_trial_that_is_preempted_three_times_in_one_rung_goes_on(tmp_path: Path, nodes: Spot) -> None:
    study = Study(tmp_path, nodes.drivers, nodes.address)
    driver = study.start(hold_rung=2)
    for attempt in (1, 2, 3):
        study.wait_for_rung(attempt, driver)
        take_away(nodes)
    study.wait_for_rung(4, driver)
    study.finish(driver)
    (result,) = study.results()
    assert (result.status, len(result.rungs)) == ("finished", 4)
    assert study.found() == [0, 2, 2, 2], "each goes on where the one before was"
    assert checkpoint.progress(study.folder, study.trial.key) == (0, 0), "what has ended leaves no checkpoint"


@pytest.mark.long
def test_a_trial_that_dies_twice_fails_and_the_next_run_goes_on(tmp_path: Path, drivers: Drivers) -> None:
    """Killed in its third rung, as the kernel does it when memory runs out."""
    study = Study(tmp_path, drivers)
    driver = study.start(hold_rung=2)
    for attempt in (1, 2):
        study.wait_for_rung(attempt, driver)
        psutil.Process(int(study.fakes.begun()[-1]["pid"])).kill()
    assert driver.wait(LIMIT) == 2, driver.said()
    (failed,) = study.results()
    assert failed.status == "failed" and failed.error.endswith("It died 2 times without a new checkpoint between.")
    assert study.progress() == (2, 0), "its checkpoint stays"
    study.finish(study.start())
    assert study.found() == [0, 2, 2]
    assert [result.status for result in study.results()] == ["failed", "finished"]


@pytest.mark.long
def test_a_checkpoint_from_which_a_trial_only_fails_is_given_up(tmp_path: Path, drivers: Drivers) -> None:
    """Each run ends with exit code 2, as all its trials failed; the third one starts from the beginning."""
    study = Study(tmp_path, drivers)
    driver = study.start(hold_rung=2)
    for attempt in (1, 2):
        study.wait_for_rung(attempt, driver)
        psutil.Process(int(study.fakes.begun()[-1]["pid"])).kill()
    assert driver.wait(LIMIT) == 2
    assert study.start(greed="natural=kill").wait(LIMIT) == 2, "it dies as soon as it has found its checkpoint"
    assert study.progress() == (0, 0)
    study.finish(study.start())
    assert study.found() == [0, 2, 2, 2, 0]
    assert study.results()[-1].status == "finished"


@pytest.mark.long
def test_memory_that_runs_out_twice_fails_the_trial(tmp_path: Path, drivers: Drivers) -> None:
    study = Study(tmp_path, drivers)
    assert study.start(greed="natural=kill").wait(LIMIT) == 2
    (failed,) = study.results()
    assert failed.status == "failed" and study.found() == [0, 0]


# ---- real training ---------------------------------------------------------------------------------------------------

REAL: dict[str, Any] = {
    "designs": ["es-sde"],
    "train_sizes": 600,
    "eval_size": 4,
    "train": {"train_batch_size": 1, "learning_rate": 1e-3, "max_length": 2048},
    "lora": {"lora_dropout": 0.2},
    "generation": {"max_new_tokens": 4},
    "search": {"method": "grid"},
}


def drain(nodes: Nodes, seconds: int = 60) -> None:
    """The notice that Ray gives of a spot node: its cloud's, or by `ray start --block` at SIGTERM."""
    (node,) = [one["node_id"] for one in nodes.alive() if not one["is_head_node"]]
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", nodes.address]
    command += ["--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    subprocess.run([*command, "--deadline-remaining-seconds", str(seconds)], env=nodes.env, check=True)


def running(nodes: Nodes) -> list[dict[str, Any]]:
    return [one for one in nodes.listed("actors") if one["state"] == "ALIVE"]


@pytest.mark.slow
@pytest.mark.long
def test_a_drain_notice_saves_the_trial_and_another_node_goes_on(tmp_path: Path, nodes: Spot, tiny_llama: Path) -> None:
    """In the middle of a trial of one rung; to the same digits as without."""
    study = Study(tmp_path, nodes.drivers, nodes.address, model=str(tiny_llama), **REAL)
    driver = study.start(command="sde-ray")
    study.wait(lambda: any(one["class_name"] == "Worker" for one in running(nodes)), driver)
    drain(nodes)  # the base model is being loaded, or it trains
    noticed = time.monotonic()
    study.wait(lambda: study.progress()[1] > 0, driver)
    assert time.monotonic() - noticed < 60, "five seconds after its start, however long a busy machine takes for that"
    saved = study.progress()
    old = nodes.nodes[-1]
    nodes.add()
    study.wait(lambda: driver.poll() == 0 or study.results(), driver)
    nodes.remove(old)
    assert driver.wait(LIMIT) == 0, driver.said()
    (result,) = study.results()
    runner = TrialRunner(WorkerGroup(RunnerResources(cpus=0.99), in_process=True))
    whole = run_trial(runner, study.trial, tmp_path / "whole")
    runner.close()
    assert (result.status, result.losses, result.rungs) == ("finished", whole.losses, whole.rungs)
    assert 0 < saved[1] < len(whole.losses)


@pytest.mark.slow
@pytest.mark.long
def test_a_long_rung_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path: Path, tiny_llama: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    drivers = Drivers({**env, "RAY_worker_niceness": "0"}, tmp_path)
    try:
        resources = {"max_concurrent_trials": 1, "checkpoint_interval_s": 1}
        study = Study(tmp_path, drivers, model=str(tiny_llama), **{**REAL, "resources": resources})
        driver = study.start(command="sde-ray")
        study.wait(lambda: study.progress()[1] > 0, driver)
        kill([driver.pid])
        saved = study.progress()
        assert saved[0] == 0 and saved[1] > 0
        again = study.start(command="sde-ray")
        assert again.wait(LIMIT) == 0, again.said()
    finally:
        drivers.close()
    (result,) = study.results()
    runner = TrialRunner(WorkerGroup(RunnerResources(cpus=0.99), in_process=True))
    whole = run_trial(runner, study.trial, tmp_path / "whole")
    runner.close()
    assert (result.status, result.losses, result.rungs) == ("finished", whole.losses, whole.rungs)
