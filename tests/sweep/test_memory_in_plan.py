"""What a plan knows of a worker's device, and what follows where memory is short."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from helpers.plans import plan_of

from sde_ray.config.schema import Resources, WorkerResources
from sde_ray.errors import UserError
from sde_ray.sweep import device_memory
from sde_ray.sweep.cluster import gpus
from sde_ray.sweep.device_memory import Device, check_memory, trial_memory, worker_device

MIB = 2**20


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The answer of nvidia-smi on a machine with two GPUs; empty: there is no such program."""
    answer: list[str] = []

    def run(command: list[str], **settings: Any) -> Any:
        if not answer:
            raise FileNotFoundError(command[0])
        return subprocess.CompletedProcess(command, 0, "\n".join(answer))

    monkeypatch.setattr(device_memory.subprocess, "run", run)
    monkeypatch.setattr(gpus, "local_gpus", lambda: 2)
    return answer


def test_a_worker_has_its_share_of_the_smallest_gpu(driver: list[str]) -> None:
    assert worker_device(Resources()) == Device(True, None), "a driver that does not tell"
    driver += ["81559", "40960"]
    assert worker_device(Resources()) == Device(True, 40960 * MIB)
    assert worker_device(Resources(resources_per_worker=WorkerResources(GPU=0.5))) == Device(True, 20480 * MIB)
    assert worker_device(Resources(resources_per_worker=WorkerResources(GPU=0))) == Device(False)
    assert worker_device(Resources(address="auto")) == Device(True, None), "another machine's"
    assert worker_device(Resources(address="auto"), 80) == Device(True, 80 * 10**9)
    driver[:] = ["[N/A]"]
    assert worker_device(Resources()) == Device(True, None)


def test_steps_that_can_be_cut_are_told_and_others_refused() -> None:
    plan = plan_of(train={"train_batch_size": 64}, designs=["baseline"])
    (told,) = trial_memory(plan, Device(True))
    assert told.note == "" and check_memory([told]) is None, "nothing is known of the device"
    enough = told.estimate.peak + device_memory.CONTEXT
    (fits,) = trial_memory(plan, Device(True, enough))
    assert fits.note == ""
    (cut,) = trial_memory(plan, Device(True, told.estimate.training + device_memory.CONTEXT - MIB))
    assert "will be cut into smaller parts" in cut.note and check_memory([cut]) is None
    sharded = plan_of(
        train={"train_batch_size": 64}, designs=["baseline"], deepspeed={"zero_optimization": {"stage": 3}}
    )
    with pytest.raises(
        UserError, match=r"with 64 samples of .*gradient_checkpointing: true.*accumulation_steps.*more workers"
    ):
        check_memory(trial_memory(sharded, Device(True, enough // 2)))
