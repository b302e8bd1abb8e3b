"""`sde-ray stop`: end a submitted sweep in order."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Address, Json, Sets, SubmittedSweep


def stop(sweep: SubmittedSweep, address: Address = None, sets: Sets = None, as_json: Json = False) -> None:
    """Stop a submitted sweep in order. What is finished is kept; submitting it again goes on from there."""
    from sde_ray.sweep.cluster import jobs

    job = jobs.stop(jobs.connect(address), jobs.resolve_sweep_id(sweep, sets or []))
    if as_json:
        return emit(job)
    out().print(f"{job.id}: {job.status}. Submit the same sweep again to go on.", highlight=False, markup=False)
    return None


def register(app: typer.Typer) -> None:
    app.command()(stop)
