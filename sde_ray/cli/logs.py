"""`sde-ray logs`: what the driver of a submitted sweep prints."""

from __future__ import annotations

import typer

from sde_ray.cli.options import Address, Follow, Sets, SubmittedSweep


def logs(sweep: SubmittedSweep, address: Address = None, follow: Follow = False, sets: Sets = None) -> None:
    """Print what the driver of a submitted sweep has printed; with --follow until it ends."""
    from sde_ray.cli.views.job_output import follow_job
    from sde_ray.sweep.cluster import job_logs, jobs

    client = jobs.connect(address)
    job_id = jobs.latest(client, jobs.resolve_sweep_id(sweep, sets or []))
    if follow:
        return follow_job(client, job_id)
    print(job_logs.logs(client, job_id))
    return None


def register(app: typer.Typer) -> None:
    app.command()(logs)
