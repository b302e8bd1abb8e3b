"""Failure policy: whether a trial whose process has died is started again.

    policy = FailurePolicy(lambda trial: (2, 40))       how far the trial's checkpoint is: rungs, steps
    policy.on_death(trial, error)
    policy.should_recover(trial)

Preemption is no failure: a trial whose node was taken away goes on as often as it is taken. Any other death (out of
memory, a crash, a kill) is one, and the trial is started once more. Both are counted from the trial's last progress, a
checkpoint that is newer than at the death before; so a trial that takes its node down each time fails, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sde_ray.training.nodes import was_preempted
from sde_ray.training.runner import WorkerDiedError

MAX_FAILURES = 1  # deaths of a trial's own without progress between, after which it is started again
MAX_PREEMPTIONS = 4  # the same for deaths with its node

TrialProgress = tuple[int, int]


@dataclass
class _Deaths:
    progress: TrialProgress
    failures: int = 0
    preemptions: int = 0


class FailurePolicy:
    """Counts the deaths of each of Tune's trials. `progress`: how far its checkpoint is, in rungs and steps."""

    def __init__(self, progress: Callable[[Any], TrialProgress]) -> None:
        self._progress = progress
        self._deaths: dict[str, _Deaths] = {}

    def on_death(self, trial: Any, error: Exception | None) -> None:
        """A process of the trial has died of this error, one of Ray's."""
        progress = self._progress(trial)
        deaths = self._deaths.get(trial.trial_id)
        if deaths is None or progress > deaths.progress:
            deaths = self._deaths[trial.trial_id] = _Deaths(progress)
        if is_preemption(error):
            deaths.preemptions += 1
        else:
            deaths.failures += 1

    def should_recover(self, trial: Any) -> bool:
        """Whether the trial is started again after its last death."""
        deaths = self._deaths[trial.trial_id]
        return deaths.failures <= MAX_FAILURES and deaths.preemptions <= MAX_PREEMPTIONS

    def reason(self, trial: Any) -> str:
        """Why a trial is not started again, as a sentence to put behind what its last process died of."""
        deaths = self._deaths.get(trial.trial_id, _Deaths((0, 0)))
        if deaths.preemptions > MAX_PREEMPTIONS:
            return (
                f"It lost its node {deaths.preemptions} times without a new checkpoint between: it may be the cause. "
                "If its nodes only live too short, lower resources.checkpoint_interval_s and run it again."
            )
        times = deaths.failures + deaths.preemptions
        return f"It died {times} times without a new checkpoint between." if times > 1 else ""


def is_preemption(error: Exception | None) -> bool:
    """Whether what Ray says of a trial's end is that a node was taken away, its own or one of a worker's."""
    from ray.exceptions import RayActorError, RayTaskError

    if isinstance(error, RayTaskError):
        return isinstance(error.cause, WorkerDiedError) and error.cause.preempted
    return isinstance(error, RayActorError) and was_preempted(error)
