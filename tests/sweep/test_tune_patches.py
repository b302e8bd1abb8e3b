"""What Ray Tune is told of the end of a trial's process."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController, _get_max_pending_trials
from ray.tune.experiment import Trial

from sde_ray.sweep import tune_patches
from sde_ray.sweep.failure_policy import FailurePolicy
from sde_ray.sweep.trainable import TrialTrainable
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


def test_tune_keeps_no_history_of_a_trial() -> None:
    """At 2,000 trials these were 70 MB of the driver, and seconds at the sweep's end."""
    trial = Trial("sweep", stub=True)
    controller = SimpleNamespace(_trials_to_cache={trial}, _trial_metadata={})
    with tune_patches.patched_tune(FailurePolicy(lambda trial: (0, 0)), max_pending=1):
        trial.update_last_result({"score": 0.5, "training_iteration": 1})
        assert trial.metric_analysis == {} and trial.run_metadata.metric_n_steps == {}
        assert trial.last_result["score"] == 0.5
        assert TuneController._get_trial_checkpoints(controller) == {}
    trial.update_last_result({"score": 0.5, "training_iteration": 2})
    assert trial.metric_analysis["score"]["max"] == 0.5, "Tune is as it was"


def test_a_report_has_no_second_copy_of_the_configuration() -> None:
    trainable = object.__new__(TrialTrainable)
    vars(trainable).update(_time_total=0.0, _local_ip="", _time_since_restore=0, _iterations_since_restore=0)
    vars(trainable).update(config={"trial": "large"}, _timesteps_since_restore=0, _trial_info=None)
    filled = trainable.get_auto_filled_metrics()
    assert "config" not in filled and filled["pid"] == os.getpid()


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
