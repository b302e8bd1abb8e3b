"""Bring MLflow up to date with a sweep's folder, without duplicates: after an outage, or from nothing.

    sync(config)  ->  Synced("http://mlflow:5000", trials=216, status="FINISHED")

The folder is the truth: ledger, completions, strategy, verdict, report. What MLflow has already stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sde_ray.analysis.cross_study import CrossStudy
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.study import Study, ledger_of, results_of, studies
from sde_ray.analysis.verdict import Verdict
from sde_ray.config.load import SweepConfig, mask, place_of, resolved, sweep_folder
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.pipeline import run
from sde_ray.pipeline.context import Step
from sde_ray.storage.lease import lease
from sde_ray.storage.mirror import open_folder
from sde_ray.sweep.adaptive_queue import make_trial_queue
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import scorer
from sde_ray.tracking.mlflow_tracker import SWEEP_ID, MlflowTracker, identity_of, tracking_of

FILES = ("strategy*.yaml", "validation*.json", "report.html", "analysis*.json", "analysis*.svg", "robustness*.json")


@dataclass(frozen=True)
class Synced:
    """What was brought up to date. `lacking`: trials whose files MLflow's artifact store refused."""

    address: str
    trials: int
    status: str
    lacking: int


def sync(config: SweepConfig) -> Synced:
    """Write to MLflow what the folder has and MLflow lacks. `UserError` while a driver is at work or MLflow is away."""
    folder, address = sweep_folder(config), tracking_of(config)
    tracker = MlflowTracker(address, config.mlflow.experiment)
    results = results_of(config)
    store = open_folder(place_of(config))
    with lease(folder, remote=store.remote):
        identity_of(folder)
        store.push(folder / SWEEP_ID)
        status = "FINISHED" if _complete(config) else "KILLED"
        try:
            tracker.on_sweep_start(config.name, resolved(config), folder, results)
            _write_end(Step(config, Silence(), tracker), folder)
            tracker.on_sweep_end(status)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"MLflow at {mask(address)} does not take the sweep: {mask(f'{type(error).__name__}: {error}')}. "
                "Nothing is lost: run the same command again when it answers."
            ) from error
    return Synced(str(mask(address)), len(results), status, len(tracker.lacking))


def _complete(config: SweepConfig) -> bool:
    """Is nothing left to run? A search may have ended before its budget, so the agenda is asked."""
    results = ledger_of(config).results()
    return make_trial_queue(run.plan_of(config), scorer(config), results).left == 0


def _write_end(step: Step, folder: Path) -> None:
    """Tables, files and the recommended adapters."""
    found = studies(step.config, results_of(step.config))
    for study in found:
        run.log_study(step, study)
    step.tracker.log_files(sorted(path for pattern in FILES for path in folder.glob(pattern)))
    for one in run.load_conclusions(step.config, found):
        adapter = folder / f"adapter{step.suffix(one.strategy.task, one.strategy.model)}"
        if one.verdict is not None:
            step.store.pull(adapter.name)
        if one.verdict is not None and adapter.is_dir():
            step.tracker.register_adapter(one.strategy, adapter)


class Silence:
    """A story that nobody hears."""

    def __init__(self) -> None:
        self.progress = Progress()

    def planned(self, made: Plan) -> None: ...
    def studied(self, study: Study) -> None: ...
    def compared(self, family: CrossStudy) -> None: ...
    def assembled(self, strategy: Strategy, path: Path) -> None: ...
    def comparing(self, trials: dict[str, list[TrialConfig]]) -> None: ...
    def judged(self, verdict: Verdict, path: Path) -> None: ...
    def reported(self, path: Path) -> None: ...
