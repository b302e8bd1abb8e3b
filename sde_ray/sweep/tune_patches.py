"""What Ray Tune does when a trial's process dies, and what it keeps of a trial, for the time of a sweep.

Tune knows an actor that died (`RayActorError`) and a task that raised (`RayTaskError`), and gives the whole run up at
anything else. Ray's memory monitor ends processes with an `OutOfMemoryError`, which is neither: a trial that takes too
much memory would end the sweep. And Tune counts the deaths of a trial's whole life against one number (`max_failures`);
a sweep asks its own policy (`failure_policy.py`). Beside that, Tune lets one trial wait for room where the searcher is
not its own; a sweep lets as many wait as may run (`cluster/concurrency.py`).

Of every trial Tune also keeps the history of each metric, and at the end writes all trials into a file to resume from.
A sweep has its ledger, so neither is kept: a driver's memory holds the results, and little else that grows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.trainable.metadata import _TrainingRunMetadata

from sde_ray.sweep.failure_policy import FailurePolicy

MAX_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"


def as_actor_error(exception: Exception) -> Exception:
    """What Tune can take: Ray's other errors about a process, as the death of its actor; all else as it is."""
    if isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
        # Its first line says what happened; after it comes a page on the whole machine.
        return RayActorError(error_msg=str(exception).partition("\n")[0])
    return exception


@contextmanager
def patched_tune(policy: FailurePolicy, max_pending: int) -> Iterator[None]:
    """Inside, Tune in this process takes every such error as a trial's, and the policy says whether it goes on.

    `max_pending`: how many trials may wait for room.
    """
    task_failed, handle_error = RayActorManager._actor_task_failed, Trial.handle_error

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:  # Ray gives them by name
        task_failed(manager, tracked_actor_task, as_actor_error(exception))

    def died(trial: Any, exc: Any = None) -> None:
        handle_error(trial, exc)
        policy.on_death(trial, exc)

    methods: list[tuple[type, str, Any]] = [
        (RayActorManager, "_actor_task_failed", failed),
        (Trial, "handle_error", died),
        (Trial, "should_recover", lambda trial: policy.should_recover(trial)),
        (_TrainingRunMetadata, "update_metric", lambda *arguments, **keywords: None),
        (TuneController, "_get_trial_checkpoints", lambda controller: {}),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in methods]
    pending = os.environ.get(MAX_PENDING)
    os.environ[MAX_PENDING] = str(max_pending)
    try:
        for owner, name, method in methods:
            setattr(owner, name, method)
        yield
    finally:
        os.environ.pop(MAX_PENDING)
        if pending is not None:
            os.environ[MAX_PENDING] = pending
        for owner, name, method in before:
            setattr(owner, name, method)
