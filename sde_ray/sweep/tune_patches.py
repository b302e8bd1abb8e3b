"""Every death of a trial's process is a death, for Ray Tune too.

Tune knows an actor that died (`RayActorError`) and a task that raised (`RayTaskError`), and gives the whole run up at
anything else. Ray's memory monitor ends processes with an `OutOfMemoryError`, which is neither: a trial that takes too
much memory would end the sweep.
"""

from __future__ import annotations

from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

_task_failed = RayActorManager._actor_task_failed


def as_actor_error(exception: Exception) -> Exception:
    """What Tune can take: Ray's other errors about a process, as the death of its actor; all else as it is."""
    if isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
        # Its first line says what happened; after it comes a page on the whole machine.
        return RayActorError(error_msg=str(exception).partition("\n")[0])
    return exception


def patch_tune_oom_errors() -> None:
    """Let Tune, in this process, take every such error as a trial's; safe to call again."""

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:  # Ray gives them by name
        _task_failed(manager, tracked_actor_task, as_actor_error(exception))

    RayActorManager._actor_task_failed = failed
