"""The output of a job on a cluster, copied to this terminal while it runs."""

from __future__ import annotations

import sys
from typing import Any

import typer

from sde_ray.cli.console import err


def follow_job(client: Any, job_id: str) -> None:
    """Print what a job's driver prints until it ends. Exit code 1 unless it succeeds; Ctrl-C only stops the copy."""
    from sde_ray.sweep.cluster import job_logs

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        status = job_logs.follow(client, job_id, write)
    except KeyboardInterrupt:
        err().print(f"\nNo longer following; {job_id} goes on. To stop it: sde-ray stop", highlight=False)
        raise typer.Exit(0) from None
    if status != "SUCCEEDED":
        err().print(f"{job_id}: {status}", highlight=False)
        raise typer.Exit(1)
