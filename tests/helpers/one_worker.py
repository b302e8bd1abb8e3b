"""Runners on a worker in this process, for tests that train a real model."""

from __future__ import annotations

from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker import Worker
from sde_ray.training.worker_group import WorkerGroup


def runner_on(worker: Worker, checkpoint_interval_s: float | None = None) -> TrialRunner:
    """A new runner on a worker that has detached: what the one before knew is gone, but for the resident base."""
    worker.end_trial()
    group = WorkerGroup(RunnerResources(checkpoint_interval_s=checkpoint_interval_s), in_process=True)
    group._workers = [worker]
    return TrialRunner(group)
