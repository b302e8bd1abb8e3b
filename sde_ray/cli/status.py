"""`sde-ray status`: how a submitted sweep is doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Address, Json, Sets, SubmittedSweep

if TYPE_CHECKING:
    from sde_ray.sweep.cluster.jobs import Job

COLOURS = {"SUCCEEDED": "green", "RUNNING": "cyan", "FAILED": "bold red", "STOPPED": "yellow"}


def status(sweep: SubmittedSweep, address: Address = None, sets: Sets = None, as_json: Json = False) -> None:
    """Say how a submitted sweep is doing: its jobs, the trials that have ended, the best so far."""
    from sde_ray.sweep.cluster import jobs

    attempts = jobs.status(jobs.connect(address), jobs.resolve_sweep_id(sweep, sets or []))
    if as_json:
        return emit(attempts)
    jobs_table = table("", "job", "status", "since", "took", "trials", "best so far")
    for job in attempts:
        state = f"[{COLOURS.get(job.status, 'default')}]{job.status}[/]"
        trials = job.progress.partition("]")[0].lstrip("[")
        jobs_table.add_row(job.id, state, *_times(job), trials, job.best)
    out().print(jobs_table)
    latest = attempts[-1]
    if latest.status == "FAILED":
        out().print(f"\n{latest.message}\nWhy: sde-ray logs {latest.sweep}", highlight=False, markup=False)
    return None


def _times(job: Job) -> tuple[str, str]:
    """When a job started, and how long it took or has taken."""
    from sde_ray.sweep.progress import duration

    if job.started is None:
        return "", ""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started))
    return since, duration((job.ended or time.time()) - job.started)


def register(app: typer.Typer) -> None:
    app.command()(status)
