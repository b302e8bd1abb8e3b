"""Metrics of a running sweep for Prometheus, by `ray.util.metrics`: the driver sets them, Ray's agent exports them.

    metrics = SweepMetrics(job, tracker)
    metrics.started(trial); metrics.ended(result, score)     # as `Progress`; each call is some microseconds
    metrics.refresh()                                        # at every step of Tune; works every INTERVAL_S seconds

Ray puts `ray_` before each name. A gauge of a driver that has ended, or was killed, is gone after two of Ray's report
intervals (20 s). Trials are counted from the ledger on, so a driver that resumes goes on where the last one was.
Nothing here raises into the sweep: the first failure is one warning, and the end of the metrics.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sde_ray.config.trial import TrialConfig
from sde_ray.safe_text import redact
from sde_ray.sweep.resume import trial_cost
from sde_ray.sweep.tune_job import TuneJob
from sde_ray.types import TrialResult

INTERVAL_S = 10.0  # seconds between two refreshments; Ray reports as often


@dataclass(frozen=True)
class Metric:
    """A gauge: its name without Ray's prefix, what it tells, and its tags."""

    name: str
    description: str
    tags: tuple[str, ...]

    @property
    def exported(self) -> str:
        """The name as Prometheus sees it."""
        return f"ray_{self.name}"


TRIALS = Metric(
    "sde_trials",
    "Trials by status: finished, pruned, failed (the ledger's last word on each), running.",
    ("sweep", "phase", "task", "model", "status"),
)
REMAINING = Metric(
    "sde_trials_remaining",
    "Trials that are still to end, running ones included; with adaptive the rest of its budget, in full trainings.",
    ("sweep", "phase"),
)
BEST = Metric(
    "sde_best_score",
    "Highest score of a finished trial, on the metric and split that the phase ranks by.",
    ("sweep", "phase", "task", "model", "metric", "split"),
)
GPU_SECONDS = Metric(
    "sde_gpu_seconds", "Seconds of the ended trials, times the GPUs of a trial.", ("sweep", "phase", "task", "model")
)
WORKER_SECONDS = Metric(
    "sde_worker_seconds",
    "Seconds of the ended trials, times the workers of a trial.",
    ("sweep", "phase", "task", "model"),
)
LAST_RESULT = Metric(
    "sde_last_result_timestamp_seconds", "When this driver's last trial ended, as a Unix time.", ("sweep", "phase")
)
UNSENT = Metric(
    "sde_storage_unsent_files",
    "Files and trial folders that the driver's machine has and the store behind storage_path lacks.",
    ("sweep",),
)
TRACKER_LAG = Metric(
    "sde_tracker_lag_seconds",
    "For how long MLflow has lacked something of the sweep; 0: it has everything.",
    ("sweep",),
)
METRICS = (TRIALS, REMAINING, BEST, GPU_SECONDS, WORKER_SECONDS, LAST_RESULT, UNSENT, TRACKER_LAG)

ENDED = ("finished", "pruned", "failed")
Contest = tuple[str, str]  # task and model


class Gauge(Protocol):
    """What is needed of `ray.util.metrics.Gauge`."""

    def set(self, value: float, tags: dict[str, str]) -> None: ...


def ray_gauges() -> dict[Metric, Gauge]:
    """A gauge of Ray for each metric; what they are told before Ray runs is lost, and costs nothing."""
    from ray.util import metrics

    return {one: metrics.Gauge(one.name, one.description, one.tags) for one in METRICS}


class SweepMetrics:
    """Sets the metrics of a job as its trials start and end.

    Args:
        job: the trials that run.
        tracker: tells by `lag_s` how far MLflow is behind; None where nothing is tracked.
        gauges: makes the gauges; Ray's by default.
    """

    def __init__(
        self, job: TuneJob, tracker: Any = None, gauges: Callable[[], Mapping[Metric, Gauge]] = ray_gauges
    ) -> None:
        self._job, self._tracker, self._make_gauges = job, tracker, gauges
        self._sweep = job.sweep_run.config.name
        self._gauges: Mapping[Metric, Gauge] = {}
        self._results: dict[str, tuple[str, float]] = {}  # status and seconds of each trial that has ended, by key
        self._counts: Counter[tuple[Contest, str]] = Counter()
        self._running: dict[str, Contest] = {}
        self._contests: set[Contest] = set()
        self._remaining: float = job.queue.remaining  # here, before a trial is handed out, every queue knows it
        self._best: dict[Contest, float] = {}
        self._seconds: dict[Contest, float] = {}
        self._last_result = 0.0
        self._next = 0.0
        self._broken = False
        self._safely(self._begin)

    def started(self, trial: TrialConfig) -> None:
        """A trial has started, or goes on."""
        self._running[trial.key] = (trial.task, trial.model)
        self._contests.add((trial.task, trial.model))
        self._safely(self._set_trials)

    def ended(self, result: TrialResult, score: float | None) -> None:
        """A trial has ended, and is in the ledger."""
        self._running.pop(result.key, None)
        self._last_result = time.time()
        self._remaining -= trial_cost(self._job.sweep_run.config, result) if self._job.search else 1.0
        self._safely(self._count, result, score)
        self._safely(self._set_all)

    def refresh(self) -> None:
        """Set what changes without a trial's end, if that was not done in the last seconds."""
        if time.monotonic() >= self._next:
            self._safely(self._set_all)

    def _safely(self, action: Callable[..., None], *arguments: Any) -> None:
        if self._broken:
            return
        try:
            action(*arguments)
        except Exception as error:  # whatever goes wrong here, the sweep goes on
            self._broken = True
            warnings.warn(
                f"The sweep exports no metrics any more: {redact(f'{type(error).__name__}: {error}')}. It goes on.",
                stacklevel=3,
            )

    def _begin(self) -> None:
        self._gauges = self._make_gauges()
        for result in self._job.queue.matched.values():
            self._count(result, self._job.score(result))
        self._set_all()

    def _count(self, result: TrialResult, score: float | None) -> None:
        contest, seconds = contest_of(result), result.seconds.get("total", 0.0)
        before, seconds_before = self._results.get(result.key, ("", 0.0))
        self._results[result.key] = result.status, seconds
        self._counts[contest, before] -= 1
        self._counts[contest, result.status] += 1
        self._seconds[contest] = self._seconds.get(contest, 0.0) + seconds - seconds_before
        self._contests.add(contest)
        if result.status == "finished" and score is not None:
            self._best[contest] = max(score, self._best.get(contest, score))

    # ---- setting -----------------------------------------------------------------------------------------------------

    def _set_all(self) -> None:
        self._next = time.monotonic() + INTERVAL_S
        self._set_trials()
        self._set_scores()
        self._set_seconds()
        if self._last_result:
            self._set(LAST_RESULT, self._last_result)
        self._set(UNSENT, self._job.sweep_run.run_dir.folder.unsent)
        lag = getattr(self._tracker, "lag_s", None)
        if lag is not None:
            self._set(TRACKER_LAG, lag)

    def _set_trials(self) -> None:
        running = Counter(self._running.values())
        for task, model in self._contests:
            for status in ENDED:
                self._set(TRIALS, self._counts[(task, model), status], task=task, model=model, status=status)
            self._set(TRIALS, running[task, model], task=task, model=model, status="running")
        self._set(REMAINING, max(0.0, self._remaining))

    def _set_scores(self) -> None:
        for (task, model), score in self._best.items():
            metric = self._job.sweep_run.metric(task)
            self._set(BEST, score, task=task, model=model, metric=metric, split=self._job.split)

    def _set_seconds(self) -> None:
        resources = self._job.sweep_run.resources
        for (task, model), seconds in self._seconds.items():
            workers = seconds * resources.num_workers
            self._set(WORKER_SECONDS, workers, task=task, model=model)
            self._set(GPU_SECONDS, workers * resources.resources_per_worker.gpus, task=task, model=model)

    def _set(self, metric: Metric, value: float, /, **tags: str) -> None:
        every = {"sweep": self._sweep, "phase": self._job.phase, **tags}
        self._gauges[metric].set(float(value), {tag: every[tag] for tag in metric.tags})


def contest_of(result: TrialResult) -> Contest:
    """Task and model of a trial."""
    return str(result.config["task"]), str(result.config["model"])
