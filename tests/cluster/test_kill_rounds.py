"""Rounds of `kill -9`: a driver is killed at a random moment, and the next one goes on; nothing is lost, nothing twice.

Real drivers on a real Ray, a sweep in a folder, in a store at `file://`, and in S3 (moto's server); only the model is
missing. A round is one driver: it starts, and is killed before its first trial, during one, between two, or while it
writes. What counts is what the next driver, and a reader on another machine, make of what it has left. `make test`
plays a few rounds in the store, `make test-all` forty in each place.

The laws, after each round: what the ledger has stays as it is, and never begins again. At the end: one line a trial,
the score that an undisturbed sweep brings, each trial in flight at a kill begun once more and no other, and no lease,
lock, half file, mark, checkpoint, actor or placement group left over.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers.fake_runner import Fakes, planted
from helpers.in_process import on
from helpers.nodes import Driver, Nodes
from helpers.s3_server import S3Server

from sde_ray.config.load import load_config
from sde_ray.design.designs import make_design
from sde_ray.storage.dirty_marks import UNSENT, DirtyMarks
from sde_ray.storage.files import NEW
from sde_ray.storage.layout import TUNE
from sde_ray.storage.remote import RemoteFolder
from sde_ray.storage.uri import is_uri
from sde_ray.sweep.plan import plan
from sde_ray.types import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
LIMIT = 240.0
SLOTS = 2  # trials at a time
SECONDS = 0.08  # of a rung; a trial has two
PLACES = ("folder", "file", "s3")
FEW, MANY = 3, 40


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    here = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        here.start()
        with here.reached_from_here():
            yield here
    finally:
        here.kill()


@pytest.fixture(scope="module")
def nodes(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """One machine: its drivers and its trials share a mirror, as they do by default."""
    here = Nodes({**s3.env, "SDE_MIRROR": str(tmp_path_factory.mktemp("mirror"))})
    try:
        here.start(nodes=0, head_cpus=SLOTS)
        yield here
    finally:
        here.close()


class Study:
    """A sweep that will not come to its end in peace."""

    def __init__(self, place: str, rounds: int, folder: Path, nodes: Nodes, s3: S3Server) -> None:
        self.nodes, self.place, self.calls = nodes, folder, folder / "calls.jsonl"
        self.sweep = folder / "study.yaml"
        storage = {"folder": str(folder / "runs"), "file": f"file://{folder}/runs"}.get(place) or s3.make_bucket()
        given = {
            "task": "masa:d1",
            "search": {"method": "grid", "rungs": [0.5, 1.0]},
            "train_sizes": 40,
            "eval_size": 20,
            "out_of_domain": [],
            "seeds": list(range(max(2, rounds // 2))),  # as many trials as the rounds cannot end
            "designs": ["baseline", "es-sde", "ew-sde", "format=json", "format=lines", "labels=number"],
            "storage_path": storage,
            "mlflow": {"enabled": False},
        }
        self.sweep.write_text(yaml.safe_dump(given))
        self.config = load_config(self.sweep)
        self.trials = {trial.key: trial for trial in plan(self.config).trials}
        self.fakes = Fakes(self.calls)
        self.drivers = 0

    def start(self, seconds: float = SECONDS) -> Driver:
        self.drivers += 1
        output = self.place / f"driver-{self.drivers}.log"
        given = {"FAKE_CALLS": str(self.calls), "FAKE_SECONDS": str(seconds)}
        return self.nodes.drivers.start(["run", str(self.sweep), "--address", self.nodes.address], given, output)

    def kill_soon(self, chance: random.Random) -> None:
        """One round: a driver, killed on its way to its trials or when some more of them have begun."""
        before, driver = len(self.fakes.begun()), self.start()
        more, wait = chance.choice((0, 1, 1, 2, 3)), chance.uniform(0.0, 0.4)
        deadline = time.monotonic() + (chance.uniform(0.0, 2.0) if more == 0 else LIMIT)
        while time.monotonic() < deadline and driver.poll() is None:
            if more and len(self.fakes.begun()) >= before + more:
                break
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(driver.pid, signal.SIGKILL)
        assert driver.wait(LIMIT) == -signal.SIGKILL, driver.said()

    def entries(self) -> list[TrialResult]:
        """What a reader on another machine finds, who has seen nothing of this sweep before."""
        with tempfile.TemporaryDirectory(dir=self.place) as elsewhere, on(Path(elsewhere)):
            self.config.run_dir.refresh()
            return self.config.run_dir.ledger.entries()

    def play(self, rounds: int, chance: random.Random) -> None:
        """The rounds, and their law: what the ledger has does not change, and never begins again."""
        ended: list[TrialResult] = []
        for _ in range(rounds):
            begun = len(self.fakes.begun())
            self.kill_soon(chance)
            again = {call["key"] for call in self.fakes.begun()[begun:]} & {entry.key for entry in ended}
            assert not again, "it is in the ledger, and was begun again"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a torn line is the next driver's to set aside
                now = self.entries()
            assert now[: len(ended)] == ended, "the ledger has lost or changed what it had"
            ended = now
        assert 0 < len(ended) < len(self.trials), "the rounds have hit a sweep at work"

    def finish(self) -> None:
        """The last driver, which nobody disturbs."""
        begun, ended = len(self.fakes.begun()), {entry.key for entry in self.entries()}
        driver = self.start(seconds=0.0)
        assert driver.wait(LIMIT) == 0, driver.said()
        assert driver.said().splitlines()[-1] == f"complete: {len(self.trials)}"
        assert {call["key"] for call in self.fakes.begun()[begun:]} == set(self.trials) - ended

    def assert_whole(self, rounds: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a line that nobody can use
            entries = self.entries()
        assert Counter(entry.key for entry in entries) == Counter(self.trials.keys()), "each trial once"
        for entry in entries:
            score = planted(make_design(**entry.config["design"]), entry.config["seed"])
            assert (entry.status, entry.scores["dev"]["weighted_kappa"]) == ("finished", score)
        assert len(self.fakes.begun()) <= len(self.trials) + rounds * SLOTS, "begun twice: what was in flight at a kill"

    def assert_nothing_left(self) -> None:
        uri = self.config.run_dir.uri()
        if is_uri(uri):
            system = RemoteFolder(uri).system
            names = [name for name in system.find(uri) if system.isfile(name)]
            with on(Path(self.nodes.variables["SDE_MIRROR"])):
                assert DirtyMarks(self.config.run_dir.path).all() == {}, "all of it is in the store"
        else:
            names = [str(path) for path in self.config.run_dir.path.rglob("*")]
        odd = [name for name in names if name.endswith((NEW, "lease.json")) or "checkpoint" in name]
        odd += [name for name in names if {TUNE, ".nodes", UNSENT} & set(Path(name).parts)]
        assert odd == []
        assert self.nodes.drivers.running() == []
        self.nodes.wait_until_idle()


def assert_nothing_is_lost(place: str, rounds: int, seed: int, tmp_path: Path, nodes: Nodes, s3: S3Server) -> None:
    study = Study(place, rounds, tmp_path, nodes, s3)
    study.play(rounds, random.Random(seed))
    study.finish()
    study.assert_whole(rounds)
    study.assert_nothing_left()


@pytest.mark.parametrize("place", [one if one == "s3" else pytest.param(one, marks=pytest.mark.long) for one in PLACES])
def test_killed_drivers_lose_nothing_and_run_nothing_twice(
    place: str, tmp_path: Path, nodes: Nodes, s3: S3Server
) -> None:
    assert_nothing_is_lost(place, FEW, 0, tmp_path, nodes, s3)


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES)
def test_forty_killed_drivers_lose_nothing_and_run_nothing_twice(
    place: str, tmp_path: Path, nodes: Nodes, s3: S3Server
) -> None:
    assert_nothing_is_lost(place, MANY, 1, tmp_path, nodes, s3)
