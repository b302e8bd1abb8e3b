"""A sweep on a cluster: `submit` it as a job, ask for its `status` and `logs`, `stop` it, `sync` MLflow afterwards."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sde_ray.cli.console import emit, err, out, table
from sde_ray.cli.options import Json, Place, Sets, Sweep
from sde_ray.errors import UserError

if TYPE_CHECKING:
    from sde_ray.sweep.cluster.jobs import Job, Sent
    from sde_ray.sweep.cluster.package import Package

Address = Annotated[
    str | None,
    typer.Option("--address", help="The cluster's dashboard, http://HEAD:8265; default: RAY_API_SERVER_ADDRESS."),
]
Which = Annotated[
    str, typer.Argument(help="A sweep's YAML file, the folder or address of its run, or its name.", metavar="SWEEP")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show the driver's output until the sweep ends.")]
COLOURS = {"SUCCEEDED": "green", "RUNNING": "cyan", "FAILED": "bold red", "STOPPED": "yellow"}


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
    from sde_ray.config.load import load_config
    from sde_ray.sweep.cluster import jobs
    from sde_ray.sweep.cluster import package as packing

    if check:
        load_config(sweep, sets or [])
    passed = jobs.environment(env or [])
    client = jobs.connect(address)
    with tempfile.TemporaryDirectory(prefix="sde-submit-") as folder:
        package = packing.pack(sweep, sets or [], Path(folder), limit_mb)
        sent = jobs.submit(client, package, jobs.Request(passed, () if validate else ("--no-validate",)))
    if as_json:
        emit({"id": sent.id, "fresh": sent.fresh, "bytes": package.bytes, "files": package.files, "env": list(passed)})
    else:
        _tell(sent, package, list(passed), client.get_address())
    if follow:
        _follow(client, sent.id)


def _tell(sent: Sent, package: Package, passed: list[str], address: str) -> None:
    from sde_ray.config.load import mask

    say = out()
    name, size = package.largest
    say.print(
        f"Package: {package.bytes / 2**20:.1f} MiB, {package.files} files; the largest is {name} "
        f"({size / 2**20:.1f} MiB).",
        highlight=False,
        markup=False,
    )
    if package.stays:
        say.print(f"Not sent, must be on the cluster: {', '.join(package.stays)}", highlight=False, markup=False)
    if passed:
        say.print(f"Variables passed on: {', '.join(passed)} (values are never shown)", highlight=False, markup=False)
    state = "Submitted as" if sent.fresh else "At work already as"
    say.print(f"{state} {sent.id}. It runs on the cluster: this terminal may close.", highlight=False, markup=False)
    for verb in ("status", "logs", "stop"):
        command = f"  sde-ray {verb} {package.name} --address {mask(address)}"
        say.print(command, highlight=False, markup=False, soft_wrap=True)


def _follow(client: Any, submission: str) -> None:
    from sde_ray.sweep.cluster import jobs

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        ended = jobs.follow(client, submission, write)
    except KeyboardInterrupt:
        err().print(f"\nNo longer following; {submission} goes on. To stop it: sde-ray stop", highlight=False)
        raise typer.Exit(0) from None
    if ended != "SUCCEEDED":
        err().print(f"{submission}: {ended}", highlight=False)
        raise typer.Exit(1)


def status(sweep: Which, address: Address = None, sets: Sets = None, as_json: Json = False) -> None:
    """Say how a submitted sweep is doing: its jobs, the trials that have ended, the best so far."""
    from sde_ray.sweep.cluster import jobs

    found = jobs.status(jobs.connect(address), _name(sweep, sets))
    if as_json:
        return emit(found)
    shown = table("", "job", "status", "since", "took", "trials", "best so far")
    for job in found:
        shown.add_row(job.id, f"[{COLOURS.get(job.status, 'default')}]{job.status}[/]", *_times(job),
                      job.progress.partition("]")[0].lstrip("["), job.best)  # fmt: skip
    out().print(shown)
    if found[-1].status == "FAILED":
        out().print(f"\n{found[-1].message}\nWhy: sde-ray logs {found[-1].sweep}", highlight=False, markup=False)
    return None


def _times(job: Job) -> tuple[str, str]:
    from sde_ray.sweep.progress import duration

    if job.started is None:
        return "", ""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started))
    return since, duration((job.ended or time.time()) - job.started)


def logs(sweep: Which, address: Address = None, follow: Follow = False, sets: Sets = None) -> None:
    """Print what the driver of a submitted sweep has printed; with --follow until it ends."""
    from sde_ray.sweep.cluster import jobs

    client = jobs.connect(address)
    last = jobs.latest(client, _name(sweep, sets))
    if follow:
        return _follow(client, last)
    print(jobs.logs(client, last))
    return None


def stop(sweep: Which, address: Address = None, sets: Sets = None, as_json: Json = False) -> None:
    """Stop a submitted sweep in order. What is finished is kept; submitting it again goes on from there."""
    from sde_ray.sweep.cluster import jobs

    job = jobs.stop(jobs.connect(address), _name(sweep, sets))
    if as_json:
        return emit(job)
    out().print(f"{job.id}: {job.status}. Submit the same sweep again to go on.", highlight=False, markup=False)
    return None


def sync(
    place: Place,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Bring MLflow up to date with a sweep's folder, without duplicates: after an outage, or from nothing."""
    from sde_ray.analysis import study
    from sde_ray.pipeline import mlflow_sync as syncing

    done = syncing.sync(study.open_sweep(place, sets or []))
    if as_json:
        return emit(done)
    lack = f" The files of {done.lacking} trials could not be stored." if done.lacking else ""
    text = f"{done.address} has all {done.trials} trials of the sweep, which is {done.status}.{lack}"
    out().print(text, highlight=False, markup=False)
    return None


def _name(sweep: str, sets: list[str] | None) -> str:
    """The sweep's id on the cluster, from its file or folder; a bare name stands for itself."""
    from sde_ray.safe_yaml import assign, read_yaml
    from sde_ray.storage.uri import is_uri, split
    from sde_ray.sweep.cluster.jobs import sweep_id

    if is_uri(sweep):
        storage, name = split(sweep)
        return sweep_id(name, storage)
    place = Path(sweep)
    if place.is_dir():
        place = place / "sweep.yaml"
    if not place.is_file():
        if place.suffix in (".yaml", ".yml") or sets:
            raise UserError(f'There is no file "{sweep}". Give a sweep\'s YAML file, its folder, or its name.')
        return sweep
    values: dict[str, Any] = {"name": place.stem, **read_yaml(place)}
    for one in sets or []:
        assign(values, one)
    name = str(values["name"])
    return sweep_id(name, str(values["storage_path"])) if "storage_path" in values else name


def register(app: typer.Typer) -> None:
    app.command()(submit)
    app.command()(status)
    app.command()(logs)
    app.command()(stop)
    app.command()(sync)
