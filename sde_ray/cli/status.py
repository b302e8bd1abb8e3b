"""`sde-ray status`: how a run is doing, here, at an address, or on a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sde_ray.cli.console import emit
from sde_ray.cli.options import Address, Json, RunOrName, Sets, TrustCode
from sde_ray.errors import UserError

if TYPE_CHECKING:
    from sde_ray.config.schema import SweepConfig

API_SERVER = "RAY_API_SERVER_ADDRESS"


def status(
    sweep: RunOrName,
    address: Address = None,
    sets: Sets = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Say how a run is doing: its trials, the best so far, its driver, what is missing. Reads the run, changes nothing.

    With --address, or a name that is no run here, also its jobs on that cluster.
    """
    from sde_ray.cli.views import status as view

    run = _read_here(sweep, sets or [], address)
    on_cluster: list[Any] = []
    notes: list[str] = []
    if address or os.environ.get(API_SERVER) or run is None:
        try:
            on_cluster, run = _ask_cluster(sweep, address, sets or [], run)
        except UserError as error:
            if address:
                raise
            if run is None:
                raise UserError(f'"{sweep}" has no run here, and no cluster tells of one. {error}') from None
            notes.append(f"The cluster of {API_SERVER} was not asked: {error}")
    if as_json:
        return emit({"run": run, "jobs": on_cluster, "notes": notes})
    return view.show(run, on_cluster, notes)


def _run_here(sweep: str, sets: list[str]) -> SweepConfig | None:
    """The configuration of a run that this machine can read: a YAML file, a folder, an address, a name in `runs`."""
    from sde_ray.config.open import open_sweep
    from sde_ray.storage.layout import SWEEP
    from sde_ray.storage.uri import is_uri

    named = Path("runs") / sweep
    if not is_uri(sweep) and not Path(sweep).exists() and (named / SWEEP).is_file():
        sweep = str(named)
    if not is_uri(sweep) and not Path(sweep).exists():
        return None
    config = open_sweep(sweep, sets)
    return config if config.run_dir.sweep.is_file() else None


def _read_here(sweep: str, sets: list[str], address: str | None) -> dict[str, Any] | None:
    """The status of a run that this machine can read; None where it cannot, and a cluster is to be asked."""
    try:
        config = _run_here(sweep, sets)
    except UserError:
        if address:  # such as a sweep whose data are on the cluster only
            return None
        raise
    return _read(config) if config else None


def _read(config: SweepConfig) -> dict[str, Any]:
    from sde_ray.pipeline.status import run_status

    return run_status(config).to_dict()


def _ask_cluster(
    sweep: str, address: str | None, sets: list[str], run: dict[str, Any] | None
) -> tuple[list[Any], dict[str, Any] | None]:
    """The jobs of a sweep, and its run where it was not read here: from its storage, else by the cluster."""
    from sde_ray.sweep.cluster import jobs

    sweep_id = jobs.resolve_sweep_id(sweep, sets)
    client = jobs.connect(address)
    found = jobs.status(client, sweep_id)
    if run is None:
        config = _shared_run(jobs.run_location(client, sweep_id))
        run = _read(config) if config else jobs.run_status(client, sweep_id)
    return found, run


def _shared_run(location: str) -> SweepConfig | None:
    """The configuration of a cluster's run whose folder or address can be read from here, too."""
    try:
        return _run_here(location, [])
    except UserError:
        return None


def register(app: typer.Typer) -> None:
    app.command()(status)
