"""Packed trials of a real model on Ray: as alone, in one process; when that dies, its trials go on in another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from helpers.run_trial import run_trial
from rich.console import Console

from sde_ray.config.load import check
from sde_ray.config.schema import Resources
from sde_ray.storage.layout import PREDICTIONS
from sde_ray.sweep.cluster.packs import Packs
from sde_ray.sweep.cluster.ray_session import ray_session
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import run_sweep
from sde_ray.training.runner import RunnerResources, WorkerDiedError
from sde_ray.training.seat_group import SeatGroup
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup

pytestmark = pytest.mark.cluster
NAMED = ["baseline", "es-sde", "ew-sde", "heuristic"]


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(Resources(max_concurrent_trials=4, pack=4)) as at_once:
        assert at_once == 4, "each takes a quarter of a worker"
        assert ray.cluster_resources()["CPU"] == 1
        yield


def test_a_packed_sweep_has_the_results_of_its_trials_alone(tiny_llama: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {"name": "x", "task": "masa:d1", "model": str(tiny_llama), "designs": NAMED}
    values |= {"train_sizes": 12, "eval_size": 4, "search": {"method": "grid"}, "mlflow": {"enabled": False}}
    values |= {"train": {"max_length": 2048, "optim": "sgd", "learning_rate": 0.5}, "out_of_domain": []}
    values |= {"generation": {"max_new_tokens": 4}, "resources": {"pack": 4}, "storage_path": str(tmp_path)}
    outcome = run_sweep(check(values), progress=Progress(Console(file=io.StringIO())))
    assert {result.environment["training"] for result in outcome.results} == {"packed"}
    by_key = {result.key: result for result in outcome.results}
    alone = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    assert len(outcome.plan.trials) == len(NAMED)
    for trial in outcome.plan.trials:
        expected, got = run_trial(alone, trial, tmp_path / "alone"), by_key[trial.key]
        assert (got.status, got.error) == ("finished", "")
        assert got.losses == pytest.approx(expected.losses, abs=1e-5)
        assert got.scores == expected.scores
        there = outcome.folder / "trials" / trial.key / PREDICTIONS
        assert there.read_text() == (tmp_path / "alone" / PREDICTIONS).read_text()


@ray.remote(num_cpus=0)
class Trial:
    """A trial's process that has a seat; what it calls is answered with a name."""

    def __init__(self, packs: Any) -> None:
        self.group = SeatGroup(RunnerResources(), packs)

    def process(self) -> str:
        try:
            self.group.call("node")
        except WorkerDiedError as error:
            return type(error).__name__
        return str(self.group._workers[0].pack_id)

    def close(self) -> None:
        self.group.close()


def test_seats_are_shared_given_back_and_taken_elsewhere_when_their_process_dies() -> None:
    packs = ray.remote(Packs).options(num_cpus=0).remote(2, 1.0)
    first, second, third = (Trial.remote(packs) for _ in range(3))
    assert ray.get([one.process.remote() for one in (first, second)]) == ["0", "0"]
    assert ray.get(third.process.remote()) == "1", "the first is full"
    ray.kill(second)
    fourth = Trial.remote(packs)
    assert ray.get(fourth.process.remote()) == "0", "the seat of a trial that is gone"
    here = ray.get(first.process.remote())
    node = ray.get_runtime_context().get_node_id()
    pack, number, _ = ray.get(packs.take.remote(node, [], third))
    assert (here, number) == ("0", 1)
    ray.kill(pack)
    assert ray.get(third.process.remote()) == "WorkerDiedError"
    assert ray.get(third.process.remote()) == "2", "a new one"
    assert ray.get(first.process.remote()) == "0"
    ray.kill(packs)
