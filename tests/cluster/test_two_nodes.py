"""One trial over two nodes: each node has one CPU, so that its two workers cannot be on the same one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.nodes import Nodes
from helpers.run_trial import run_trial

from sde_ray.config.load import load_config
from sde_ray.config.trial import TrialConfig
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.long]
LIMIT = 240.0


class Brisk(Nodes):
    """By default Ray's workers give way to all else on the machine, and this test waits for them."""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "RAY_worker_niceness": "0"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    here = Brisk()
    try:
        here.start()
        yield here
    finally:
        here.close()


def write_sweep(folder: Path, model: Path, **changes: Any) -> TrialConfig:
    """A sweep of one trial of two workers with ZeRO-2, scored after two of its three steps and at the end."""
    given = {
        "name": "x",
        "task": "masa:d1",
        "designs": ["es-sde"],
        "out_of_domain": [],
        "model": str(model),
        "train_sizes": 9,
        "eval_size": 5,
        "lora": {"lora_dropout": 0.0},
        "train": {"learning_rate": 3e-2, "train_batch_size": 4, "max_length": 2048},
        "generation": {"batch_size": 4, "max_new_tokens": 10},
        "search": {"method": "grid", "asha": {"rungs": [0.5, 1.0]}},
        "resources": {"num_workers": 2, "resources_per_worker": {"CPU": 1}},
        "mlflow": {"enabled": False},
        "storage_path": str(folder / "runs"),
        **changes,
    }
    (folder / "x.yaml").write_text(yaml.safe_dump(given))
    (trial,) = plan(load_config(folder / "x.yaml")).trials
    return trial


def start(folder: Path, nodes: Nodes) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sde_ray", "run", str(folder / "x.yaml"), "--no-validate", "--address", nodes.address],
        env=nodes.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], folder: Path) -> TrialResult:
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    (result,) = Ledger(folder / "runs" / "x" / "ledger.jsonl").entries()
    assert (result.status, result.error) == ("finished", "")
    return result


def test_two_workers_on_two_nodes_are_as_one(tmp_path: Path, nodes: Nodes, tiny_llama: Path) -> None:
    trial = write_sweep(tmp_path, tiny_llama)
    assert trial.num_workers == 2
    result = finish(start(tmp_path, nodes), tmp_path)
    workers = [one for one in nodes.listed("actors") if one["class_name"] == "Worker"]
    assert len(workers) == 2
    assert len({one["node_id"] for one in workers}) == 2, "each on a node of its own"
    assert {one["node_id"] for one in workers} < {one["node_id"] for one in nodes.alive()}
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    alone = run_trial(runner, replace(trial, num_workers=1), tmp_path / "alone")
    runner.close()
    assert result.losses == pytest.approx(alone.losses, rel=1e-3) and len(result.losses) == 3
    assert result.losses[-1] != pytest.approx(result.losses[0], rel=1e-2), "it must have learned to compare anything"
    told = (tmp_path / "runs" / "x" / "trials" / trial.key / "predictions.jsonl").read_text()
    assert told == (tmp_path / "alone" / "predictions.jsonl").read_text()
