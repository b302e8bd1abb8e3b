"""`sde-ray submit`: a sweep as a job of a Ray cluster."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Address, Follow, Json, Sets, Sweep

if TYPE_CHECKING:
    from sde_ray.sweep.cluster.jobs import Submission
    from sde_ray.sweep.cluster.package import Package


def submit(
    sweep: Sweep,
    address: Address = None,
    sets: Sets = None,
    follow: Follow = False,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME[=VALUE]", help="Pass a variable on. May be repeated.")
    ] = None,
    validate: Annotated[bool, typer.Option(help="Compare the assembled design with its controls.")] = True,
    check: Annotated[bool, typer.Option(help="Check the sweep here first; off if its data are on the cluster.")] = True,
    limit_mb: Annotated[float, typer.Option(min=1, help="Largest package, in MiB.")] = 100.0,
    as_json: Json = False,
) -> None:
    """Send a sweep to a Ray cluster, where it runs on its own. The same command again goes on where it stopped."""
    from sde_ray.cli.views.job_output import follow_job
    from sde_ray.config.load import load_config, webhook_variables
    from sde_ray.sweep.cluster import jobs
    from sde_ray.sweep.cluster.package import build_package

    named = webhook_variables(load_config(sweep, sets or [])) if check else []
    env_vars = jobs.environment([*(name for name in named if name in os.environ), *(env or [])])
    with tempfile.TemporaryDirectory(prefix="sde-submit-") as folder:
        package = build_package(sweep, sets or [], Path(folder), limit_mb)  # what cannot be sent is refused first
        client = jobs.connect(address)
        job = jobs.submit(client, package, jobs.JobOptions(env_vars, () if validate else ("--no-validate",)))
    if as_json:
        size = {"bytes": package.bytes, "files": package.files}
        emit({"id": job.id, "fresh": job.fresh, **size, "env": list(env_vars)})
    else:
        _print_submission(job, package, list(env_vars), client.get_address())
    if follow:
        follow_job(client, job.id)


def _print_submission(job: Submission, package: Package, env_names: list[str], address: str) -> None:
    from sde_ray.safe_text import mask

    def say(text: str, soft_wrap: bool = False) -> None:
        out().print(text, highlight=False, markup=False, soft_wrap=soft_wrap)

    name, size = package.largest
    say(
        f"Package: {package.bytes / 2**20:.1f} MiB, {package.files} files; the largest is {name} "
        f"({size / 2**20:.1f} MiB)."
    )
    if package.external_paths:
        say(f"Not sent, must be on the cluster: {', '.join(package.external_paths)}")
    if env_names:
        say(f"Variables passed on: {', '.join(env_names)} (values are never shown)")
    state = "Submitted as" if job.fresh else "At work already as"
    say(f"{state} {job.id}. It runs on the cluster: this terminal may close.")
    for verb in ("status", "logs", "stop"):
        say(f"  sde-ray {verb} {package.name} --address {mask(address)}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    app.command()(submit)
