"""Ray Tune `Trainable` with `reuse_actors`: one process runs many trials on one runner and its resident base model.

Tune calls `step` once a rung. After each, the result so far is in the trial's folder (`partial.json`, at the end
`result.json`) before the driver gets the report, which is a score and a number, so that the driver stays small. A rung
of a resumed trial that is already scored is reported once more, not trained again. A failing trial is a result like any
other, and the process runs the next one. Only when a process of the runner has died, or its node will be taken away,
does the trial end with an error; whether Tune starts it again is up to the failure policy (`failure_policy.py`).
"""

from __future__ import annotations

import time
import traceback
from typing import Any

from ray import tune

from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.evaluation.racing import Opponent
from sde_ray.plugins import code_of, trust
from sde_ray.safe_text import redact
from sde_ray.storage.files import write_atomic
from sde_ray.storage.layout import ERROR, PARTIAL, RESULT
from sde_ray.storage.ledger import save_result
from sde_ray.storage.mirror import open_trial_folder
from sde_ray.sweep.tune_search import BUDGET_KEY, NOTE_KEY, PROMOTED_KEY, RUNG_KEY, SCORE_KEY
from sde_ray.tasks.trial_task import trust_trial
from sde_ray.training.runner import ResumeState, Runner, RunnerFactory, RunnerResources, WorkerDiedError
from sde_ray.types import RungResult, Status, TrialResult

RESULT_KEY = "kept"  # in a report: the result itself, where the driver may not see the trial's folder


class TrialTrainable(tune.Trainable):
    """One trial after another on one runner.

    `config`: trial, folder (a path or URI), metric, split, factor (of the budget), rival (a trial's folder, or "").
    """

    def setup(self, config: dict[str, Any], factory: RunnerFactory, resources: RunnerResources) -> None:
        self._factory, self._resources = factory, resources
        self._runner: Runner | None = None
        self._open = False
        self._start_trial(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close_trial()
        self._start_trial(new_config)
        return True

    def _start_trial(self, config: dict[str, Any]) -> None:
        self._config = config
        self._trial: TrialConfig = config["trial"]
        trust(*(module for pair in self._trial.design.options for name in pair for module in code_of(name)))
        others = (*self._trial.out_of_domain, *self._trial.tasks_read)
        trust_trial(self._trial.task, others, self._trial.definition)
        self._store, self._folder = open_trial_folder(config["folder"])
        self._rungs: list[RungResult] = []
        self._resume_state = ResumeState()
        self._started = time.perf_counter()

    def step(self) -> dict[str, Any]:
        rung = len(self._rungs)
        try:
            self._rungs.append(self._run(rung))
            stopped_early = bool(self._rungs[-1].stopped_early)
            last = stopped_early or len(self._rungs) == len(self._trial.rungs)
            result = self._finish("pruned" if stopped_early else "finished") if last else self._so_far()
        except WorkerDiedError:
            self._open = False  # nothing is left to end in order; what is saved is in the folder
            self._discard_runner()
            raise
        except Exception as error:  # the trial boundary: a failed trial is data
            last, result = True, self._failure(error)
        save_result(self._folder / (RESULT if last else PARTIAL), result)
        if last:
            (self._folder / PARTIAL).unlink(missing_ok=True)
        kept = self._store.upload_trial(self._folder, result, last)
        score = result.scores.get(self._config["split"], {}).get(self._config["metric"])
        report = {BUDGET_KEY: self._config["factor"] ** rung, RUNG_KEY: rung, "done": last, **self._resume_info(rung)}
        report |= {RESULT_KEY: kept} if kept else {}
        return report if score is None or result.status == "failed" else {**report, SCORE_KEY: score}

    def _run(self, rung: int) -> RungResult:
        if rung == 0:
            self._started = time.perf_counter()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store.start_trial(self._folder)
            for name in (RESULT, PARTIAL):
                (self._folder / name).unlink(missing_ok=True)
            self._runner = self._runner or self._factory(self._resources)
            self._open = True
            self._resume_state = self._runner.start(self._trial, self._folder)
        assert self._runner is not None
        before = self._resume_state.rungs
        return before[rung] if rung < len(before) else self._runner.train_rung(rung, self._rival(), self._upload)

    def _upload(self) -> None:
        """The trial has a checkpoint within a rung: it must not go with this node."""
        self._store.upload_trial(self._folder, None, last=False)

    def _resume_info(self, rung: int) -> dict[str, Any]:
        """What the driver hears of an earlier run of this trial: that the search let it pass here, and a remark."""
        note = self._resume_state.note if rung == 0 else ""
        return {PROMOTED_KEY: rung < self._resume_state.promoted_rungs, **({NOTE_KEY: note} if note else {})}

    def _rival(self) -> Opponent | None:
        """Whom this trial races: told when it was handed out, in-domain only."""
        if not self._config.get("rival"):
            return None
        store, folder = open_trial_folder(self._config["rival"])
        store.download_trial(folder)
        return Opponent(folder, self._config["metric"])

    def _finish(self, status: Status) -> TrialResult:
        assert self._runner is not None
        self._open = False
        return self._runner.finish(status)

    def _so_far(self) -> TrialResult:
        """What the ledger keeps if the trial goes no further."""
        trial, rungs = self._trial, tuple(self._rungs)
        return TrialResult(
            trial.key, trial.resolved(), "pruned", rungs[-1].scores, rungs=rungs, seconds=self._seconds()
        )

    def _failure(self, fault: Exception) -> TrialResult:
        """The failure as a result; a runner that cannot even end its trial is let go."""
        text = describe(fault)
        bare = TrialResult(self._trial.key, self._trial.resolved(), "failed", error=text, seconds=self._seconds())
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._folder / ERROR, redact("".join(traceback.format_exception(fault))))
        if self._runner is None or not self._open:
            return bare
        try:
            self._open = False
            return self._runner.finish("failed", text)
        except Exception:
            self._discard_runner()
            return bare

    def _close_trial(self) -> None:
        """End a trial that Tune has stopped between two rungs."""
        if self._runner is None or not self._open:
            return
        self._open = False
        try:
            self._runner.finish("pruned")
        except Exception:
            self._discard_runner()
        self._store.upload_trial(self._folder, None, last=True)

    def _discard_runner(self) -> None:
        runner, self._runner = self._runner, None
        try:
            if runner is not None:
                runner.close()
        except Exception:
            pass  # it is gone either way; the next trial makes a new one

    def _seconds(self) -> dict[str, float]:
        return {"total": round(time.perf_counter() - self._started, 4)}

    def cleanup(self) -> None:
        self._close_trial()
        self._discard_runner()

    def get_auto_filled_metrics(self, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """What Tune adds to a report, without the trial's configuration: the driver has it, and would keep another."""
        filled: dict[str, Any] = super().get_auto_filled_metrics(*arguments, **keywords)
        filled.pop("config", None)
        return filled

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial that dies goes on from the checkpoint in its folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a trial that dies goes on from the checkpoint in its folder."""


def describe(fault: BaseException) -> str:
    """An error as one text without secrets: what a user caused in full, anything else with its type."""
    return redact(str(fault) if isinstance(fault, UserError) else f"{type(fault).__name__}: {fault}")
