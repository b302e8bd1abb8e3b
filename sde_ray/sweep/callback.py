"""What the driver does as trials end: ledger first, then the queue, the tracker and the progress.

Ray Tune calls `SweepCallback` in the driver's own process, so the ledger and MLflow have one writer.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.safe_text import redact
from sde_ray.storage.layout import PARTIAL, RESULT
from sde_ray.storage.ledger import from_json, load_result
from sde_ray.storage.mirror import LocalFolder, open_trial_folder
from sde_ray.sweep.failure_policy import FailurePolicy, TrialProgress
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.ray_metrics import SweepMetrics
from sde_ray.sweep.trainable import RESULT_KEY
from sde_ray.sweep.tune_job import TuneJob
from sde_ray.sweep.tune_search import NOTE_KEY
from sde_ray.training import checkpoint
from sde_ray.types import TrialResult

MAX_IDENTICAL_FAILURES = 4  # so many failures with the same error, and nothing finished, end a sweep
VERIFY_SECONDS = 5.0  # between two looks whether the sweep is still this driver's


class SweepCallback(tune.Callback):
    """Tune's callback of a sweep. `stopping` ends the sweep at the next moment; `error` says why, if not the user."""

    def __init__(self, job: TuneJob, tracker: Any, progress: Progress) -> None:
        self.job, self.tracker, self.progress = job, tracker, progress
        self.metrics = SweepMetrics(job, tracker)
        self.stopping = False
        self.error: Exception | None = None
        self.ended: list[TrialResult] = []
        self.failure_policy = FailurePolicy(_checkpoint_progress)
        self._verified = time.monotonic()
        self._told: dict[str, tuple[TrialResult, bool]] = {}  # by key, from reports; whether the trial has ended

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        config: TrialConfig = trial.config["trial"]
        self.progress.started(config)
        self.metrics.started(config)
        self._track("on_trial_start", config)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.metrics.refresh()
        self._stop_if_taken_over()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep a result that came with the report, and take it out, as Tune would keep every one."""
        if result.get(NOTE_KEY):
            self.progress.say(trial.config["trial"], result[NOTE_KEY])
        if RESULT_KEY in result:
            told = json.loads(result.pop(RESULT_KEY))
            self._told[trial.config["trial"].key] = from_json(told["result"]), told["last"]
            open_trial_folder(trial.config["folder"])[0].say_unsent(told["unsent"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        store, folder = open_trial_folder(trial.config["folder"])
        store.download_trial(folder)
        told, ended = self._told.pop(trial.config["trial"].key, (None, False))
        result = told if ended else load_result(folder / RESULT) if told is None else None
        if result is None and self.stopping:
            return  # cut off by the end of the sweep: it runs again when the sweep is resumed
        so_far = told or load_result(folder / PARTIAL)
        self.record(result or so_far or _lost(trial, "The trial left no result."), store, folder)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.stopping:
            return
        said = (_reason(Path(trial.error_file)), self.failure_policy.reason(trial))
        error = f"The trial's process died: {' '.join(filter(None, said))}"
        self.record(_lost(trial, error), *open_trial_folder(trial.config["folder"]))

    def record(self, result: TrialResult, store: LocalFolder, folder: Path) -> None:
        """A trial has ended: ledger, queue, progress, tracker, in this order. Its checkpoint goes after the first.

        That of a failed trial stays for the next run, unless this run found it and came no further than it: then it may
        be the reason.
        """
        if self.error is not None:
            return
        try:
            self.job.ledger.append(result)
        except Exception as error:  # Tune would bury it under a traceback; the sweep raises it when Tune has let go
            self.error, self.stopping = error, True
            return
        found = self.job.queue.in_flight.get(result.key)
        stays = result.status == "failed" and not (found and checkpoint.progress(folder, result.key) <= found.progress)
        if not stays:
            store.delete(folder, checkpoint.NAME, checkpoint.WORKER_FILES)
        self.ended.append(result)
        self.job.sweep_run.record(result)
        self.job.queue.on_trial_end(result)
        self.progress.ended(result, self.job.score(result))
        self.metrics.ended(result, self.job.score(result))
        self._track("on_trial_end", result, folder)
        self._give_up_if_hopeless()

    def _stop_if_taken_over(self) -> None:
        """No trial of this driver counts once another one has come, while this one was paused."""
        if self.error is not None or time.monotonic() < self._verified + VERIFY_SECONDS:
            return
        self._verified = time.monotonic()
        try:
            self.job.ledger.verify()
        except UserError as error:
            self.error, self.stopping = error, True

    def _give_up_if_hopeless(self) -> None:
        first = self.ended[:MAX_IDENTICAL_FAILURES]
        if len(self.ended) == MAX_IDENTICAL_FAILURES and all(
            r.status == "failed" and r.error == first[0].error for r in first
        ):
            self.stopping = True
            self.error = UserError(f"The first {MAX_IDENTICAL_FAILURES} trials all failed: {first[0].error}")

    def _track(self, action: str, *arguments: Any) -> None:
        """A tracker that fails only warns, once for each action: the ledger has the results."""
        if self.tracker is None:
            return
        try:
            call: Callable[..., None] = getattr(self.tracker, action)
            call(*arguments)
        except Exception as error:
            warnings.warn(f"Tracking failed in {action}: {redact(f'{type(error).__name__}: {error}')}", stacklevel=2)


def _checkpoint_progress(trial: Any) -> TrialProgress:
    """How far the checkpoint of one of Tune's trials is, wherever it ran."""
    store, folder = open_trial_folder(trial.config["folder"])
    store.download_trial(folder)
    return checkpoint.progress(folder, trial.config["trial"].key)


def _lost(trial: Any, error: str) -> TrialResult:
    config: TrialConfig = trial.config["trial"]
    return TrialResult(config.key, config.resolved(), "failed", error=error)


def _reason(path: Path) -> str:
    """What Tune has noted of a death: the first line says which, the last one why."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError:
        lines = []
    said = [line for line in lines if not line.startswith("Failure #")]
    return redact(" ... ".join(dict.fromkeys([said[0], said[-1]])))[:600] if said else "no reason was given"
