"""Bring MLflow up to date with a sweep's folder, without duplicates: after an outage, or from nothing.

    sync(config)  ->  Synced("http://mlflow:5000", trials=216, status="FINISHED")

The folder is the truth: ledger, completions, strategy, verdict, report. What MLflow has already stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from sde_ray.analysis.study import studies
from sde_ray.config.load import resolved
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.pipeline import run
from sde_ray.pipeline.comparison import comparison_view
from sde_ray.pipeline.context import PipelineContext
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.safe_text import mask, redact
from sde_ray.storage.lease import lease
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.sweep_id import SWEEP_ID_FILE, ensure_sweep_id
from sde_ray.tracking.tracking_uri import resolve_tracking_uri


@dataclass(frozen=True)
class Synced:
    """What was brought up to date. `lacking`: trials whose files MLflow's artifact store refused."""

    address: str
    trials: int
    status: str
    lacking: int


def sync(config: SweepConfig) -> Synced:
    """Write to MLflow what the folder has and MLflow lacks. `UserError` while a driver is at work or MLflow is away."""
    folder, address = config.run_dir.path, resolve_tracking_uri(config)
    tracker = MlflowTracker(address, config.mlflow.experiment_name)
    results = config.run_dir.existing_results()
    sweep_run = SweepRun(config)
    store = config.run_dir.folder
    with lease(folder, remote=store.remote):
        ensure_sweep_id(folder)
        store.upload(folder / SWEEP_ID_FILE)
        status = "FINISHED" if _is_complete(sweep_run) else "KILLED"
        try:
            tracker.on_sweep_start(config.name, resolved(config), folder, results)
            tracker.log_comparison(comparison_view(sweep_run))
            _write_end(PipelineContext(sweep_run, PipelineListener(), tracker))
            tracker.on_sweep_end(status)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"MLflow at {mask(address)} does not take the sweep: {redact(f'{type(error).__name__}: {error}')}. "
                "Nothing is lost: run the same command again when it answers."
            ) from error
    return Synced(str(mask(address)), len(results), status, len(tracker.incomplete_trials))


def _is_complete(sweep_run: SweepRun) -> bool:
    """Is nothing left to run? A search may have ended before its budget, so its queue is asked."""
    return sweep_run.queue.remaining == 0


def _write_end(context: PipelineContext) -> None:
    """Tables, files and the recommended adapters."""
    found = studies(context.config, tuple(context.sweep_run.results.values()))
    for study in found:
        run.log_study(context, study)
    context.tracker.log_files(context.run_dir.published())
    for one in run.load_conclusions(context.config, found):
        adapter = context.run_dir.adapter(one.strategy.task, one.strategy.model)
        if one.verdict is not None:
            context.run_dir.folder.download(adapter.name)
        if one.verdict is not None and adapter.is_dir():
            context.tracker.register_adapter(one.strategy, adapter)
