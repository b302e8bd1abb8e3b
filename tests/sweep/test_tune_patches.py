"""What Ray Tune is told of the end of a trial's process."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.execution.tune_controller import _get_max_pending_trials
from ray.tune.experiment import Trial

from sde_ray.sweep import tune_patches
from sde_ray.sweep.failure_policy import FailurePolicy
from sde_ray.sweep.tune_search import QueueSearcher


def test_a_process_that_the_memory_monitor_killed_is_an_actor_that_died() -> None:
    told = tune_patches.as_actor_error(OutOfMemoryError("1 worker(s) were killed\nObject store memory usage: ..."))
    assert isinstance(told, RayActorError) and str(told) == "1 worker(s) were killed"


@pytest.mark.parametrize("known", [ActorDiedError(), RayTaskError("f", "text", ValueError()), ValueError("a defect")])
def test_what_tune_knows_or_nobody_does_stays_as_it_is(known: Exception) -> None:
    assert tune_patches.as_actor_error(known) is known


def test_tune_hears_of_deaths_only(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(
        RayActorManager, "_actor_task_failed", lambda manager, task, exception: told.append((task, exception))
    )
    with tune_patches.patched_tune(FailurePolicy(lambda trial: (0, 0)), max_pending=1):
        RayActorManager._actor_task_failed(None, tracked_actor_task="task", exception=OutOfMemoryError("too much"))
    ((task, exception),) = told
    assert task == "task" and isinstance(exception, RayActorError)


def test_tune_asks_the_policy_whether_a_trial_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trial, "local_path", None)  # no file of its errors
    trial = Trial("sweep", stub=True, max_failures=0)
    policy = FailurePolicy(lambda trial: (0, 0))
    with tune_patches.patched_tune(policy, max_pending=1):
        trial.handle_error(RayActorError())
        assert trial.should_recover()
        trial.handle_error(RayActorError())
        assert not trial.should_recover()
        trial.handle_error(None)
    assert "died 3 times" in policy.reason(trial)


def test_after_a_sweep_tune_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another use of Tune in the same process, such as a notebook's own, must not meet a sweep's rules."""
    monkeypatch.setenv(tune_patches.MAX_PENDING, "7")
    before = Trial.handle_error, Trial.should_recover, RayActorManager._actor_task_failed
    with pytest.raises(ZeroDivisionError), tune_patches.patched_tune(FailurePolicy(lambda trial: (0, 0)), 200):
        assert _get_max_pending_trials(QueueSearcher(lambda: None, lambda: False, lambda trial: {})) == 200  # type: ignore[arg-type]
        assert (Trial.handle_error, Trial.should_recover, RayActorManager._actor_task_failed) != before
        _ = 1 / 0
    assert (Trial.handle_error, Trial.should_recover, RayActorManager._actor_task_failed) == before
    assert os.environ[tune_patches.MAX_PENDING] == "7"
