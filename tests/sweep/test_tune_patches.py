"""What Ray Tune is told of the end of a trial's process."""

from __future__ import annotations

from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError

from sde_ray.sweep import tune_patches


def test_a_process_that_the_memory_monitor_killed_is_an_actor_that_died() -> None:
    told = tune_patches.as_actor_error(OutOfMemoryError("1 worker(s) were killed\nObject store memory usage: ..."))
    assert isinstance(told, RayActorError) and str(told) == "1 worker(s) were killed"


@pytest.mark.parametrize("known", [ActorDiedError(), RayTaskError("f", "text", ValueError()), ValueError("a defect")])
def test_what_tune_knows_or_nobody_does_stays_as_it_is(known: Exception) -> None:
    assert tune_patches.as_actor_error(known) is known


def test_tune_hears_of_deaths_only(monkeypatch: pytest.MonkeyPatch) -> None:
    on_progress: list[Any] = []
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", RayActorManager._actor_task_failed)  # put back after it
    monkeypatch.setattr(
        tune_patches, "_task_failed", lambda manager, task, exception: on_progress.append((task, exception))
    )
    tune_patches.patch_tune_oom_errors()
    RayActorManager._actor_task_failed(None, tracked_actor_task="task", exception=OutOfMemoryError("too much"))
    ((task, exception),) = on_progress
    assert task == "task" and isinstance(exception, RayActorError)
