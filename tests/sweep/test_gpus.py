"""Who has a GPU: a trial takes one where there are some, and a worker that has none sees none."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from sde_ray.config.schema import Resources
from sde_ray.sweep.cluster import actor_pool, doctor, gpus
from sde_ray.sweep.cluster.gpus import gpu_notes, with_gpus
from sde_ray.sweep.cluster.ray_session import bundles, trials_that_fit
from sde_ray.training import worker_group
from sde_ray.training.runner import RunnerResources
from sde_ray.training.worker import Worker

HIDDEN = "CUDA_VISIBLE_DEVICES"


def machine(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """This machine has so many GPUs, and Ray does not run."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setitem(gpus.sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))


def resources(gpu: Any = "auto", **more: Any) -> Resources:
    return Resources(resources_per_worker={"GPU": gpu}, **more)


@pytest.mark.parametrize(
    ("asked", "count", "taken"),
    [
        (resources(), 0, 0.0),
        (resources(), 1, 1.0),
        (resources(), 8, 1.0),
        (resources(num_workers=4), 4, 1.0),
        (resources(num_workers=4), 3, 0.0),  # two workers of a trial cannot share one
        (resources(0), 2, 0.0),
        (resources(0.5), 0, 0.5),
        (resources(address="auto"), 2, 0.0),  # this machine's are not the cluster's
    ],
)
def test_a_worker_takes_one_where_each_can_have_one(
    asked: Resources, count: int, taken: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, count)
    resolved = with_gpus(asked)
    assert taken == resolved.resources_per_worker.GPU
    assert [bundle.get("GPU", 0.0) for bundle in bundles(resolved)[1:]] == [taken] * asked.num_workers
    assert resolved.model_copy(update={"resources_per_worker": asked.resources_per_worker}) == asked


def test_a_cluster_says_how_many_it_has_and_a_gpu_holds_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    cluster = {"CPU": 64.0, "GPU": 2.0}
    monkeypatch.setitem(
        gpus.sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True, cluster_resources=lambda: cluster)
    )
    assert trials_that_fit(with_gpus(resources(address="auto")), cluster) == 2
    assert trials_that_fit(with_gpus(resources(0, address="auto")), cluster) == 64


def test_no_other_word_is_a_number_of_gpus() -> None:
    with pytest.raises(ValidationError):
        resources("all")


@pytest.mark.parametrize(("share", "visible"), [(0.0, ""), (1.0, "3"), (0.5, "3"), (None, "3")])
def test_a_worker_without_a_gpu_sees_none(share: float | None, visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HIDDEN, "3")
    Worker(gpus=share)
    assert os.environ[HIDDEN] == visible


def test_each_worker_process_is_told_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[dict[str, Any], tuple[Any, ...]]] = []

    class Remote:
        def options(self, **options: Any) -> Any:
            return SimpleNamespace(remote=lambda *arguments: told.append((options, arguments)))

    monkeypatch.setattr("ray.remote", lambda cls: Remote())
    monkeypatch.setattr("ray.util.get_current_placement_group", lambda: None)
    worker_group._actor(RunnerResources(2, 4.0, 1.0), 1)
    actor_pool._actor(resources(0), dict)
    (options, arguments), (pool_options, pool_arguments) = told
    assert (options["num_gpus"], arguments) == (1.0, (1, 2, 4.0, 1.0))
    assert (pool_options["num_gpus"], pool_arguments[2]) == (0, 0)


def test_a_pool_hides_the_gpus_of_a_machine_in_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process it would take the first one."""
    machine(monkeypatch, 1)
    started: list[Resources] = []

    def session(asked: Resources) -> Any:
        started.append(asked)
        raise RuntimeError("Ray would start")

    monkeypatch.setattr(actor_pool, "ray_session", session)
    with pytest.raises(RuntimeError, match="Ray would start"):
        list(actor_pool.map_on_actors(resources(0), dict, [({},)]))
    assert len(started) == 1


def test_plan_and_doctor_say_who_uses_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 0)
    assert gpu_notes(resources()) == gpu_notes(resources(0)) == []
    machine(monkeypatch, 2)
    assert gpu_notes(resources(address="auto")) == []
    (used,), (unused,), (too_many,) = map(gpu_notes, (resources(), resources(0), resources(num_workers=3)))
    assert used.startswith("This machine has 2 GPUs; each worker of a trial takes 1.")
    assert "GPU: 0 do not use" in unused and "GPU: 1 to train on it" in unused
    assert "3 workers do not use" in too_many
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    card = SimpleNamespace(name="NVIDIA L4", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    (check,) = doctor.gpu(doctor.Target())
    assert (check.state, check.remedy) == ("ok", "") and "each worker takes one" in check.found
