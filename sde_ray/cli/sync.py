"""`sde-ray sync`: MLflow brought up to date with a sweep's folder."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, Sets, SweepOrRun, TrustCode


def sync(sweep: SweepOrRun, sets: Sets = None, trust_code: TrustCode = None, as_json: Json = False) -> None:
    """Bring MLflow up to date with a sweep's folder, without duplicates: after an outage, or from nothing."""
    from sde_ray.config.open import open_sweep
    from sde_ray.pipeline import mlflow_sync

    synced = mlflow_sync.sync(open_sweep(sweep, sets or []))
    if as_json:
        return emit(synced)
    lack = f" The files of {synced.lacking} trials could not be stored." if synced.lacking else ""
    text = f"{synced.address} has all {synced.trials} trials of the sweep, which is {synced.status}.{lack}"
    out().print(text, highlight=False, markup=False)
    return None


def register(app: typer.Typer) -> None:
    app.command()(sync)
