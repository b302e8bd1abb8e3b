"""`sde-ray run`: a sweep from its YAML file to the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sde_ray.cli.console import emit, err, out
from sde_ray.cli.options import Json, Sets, Sweep
from sde_ray.errors import UserError

if TYPE_CHECKING:
    from sde_ray.config.schema import SweepConfig


def run(
    sweep: Sweep,
    sets: Sets = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help='The Ray cluster that this driver is in: "auto", or HEAD:6379.'),
    ] = None,
    validate: Annotated[bool, typer.Option(help="Compare the assembled design with its controls.")] = True,
    as_json: Json = False,
) -> None:
    """Run a sweep from its YAML file to a validated strategy. The same command again goes on where it stopped."""
    err().print("Starting: the plan first, then Ray.", highlight=False)
    cluster = [f"resources.address={_cluster_address(address)}"] if address else []
    from sde_ray.cli.views.live import console_listener
    from sde_ray.config.load import load_config
    from sde_ray.pipeline import run as pipeline

    config = load_config(sweep, [*(sets or []), *cluster])
    result = pipeline.run(config, console_listener(as_json), with_validation=validate)
    if as_json:
        emit(result.to_dict())
    if result.interrupted:
        err().print(result.interrupted, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(130)
    if not as_json and config.mlflow.enabled:
        out().print(f"\nEvery trial, curve and sample:  {_comparison(config)}", highlight=False, soft_wrap=True)


def _comparison(config: SweepConfig) -> str:
    """The page that compares the trials, or the command that serves it where the runs are in a file."""
    from sde_ray.safe_text import mask
    from sde_ray.tracking.tracking_uri import resolve_tracking_uri
    from sde_ray.tracking.ui import sweep_address

    command = f"[bold]sde-ray ui {escape(config.run_dir.uri())}[/]"
    tracking_uri = resolve_tracking_uri(config)
    if not tracking_uri.startswith(("http://", "https://")):
        return command
    try:
        folder, name = config.run_dir.path, config.mlflow.experiment_name
        return escape(sweep_address(str(mask(tracking_uri)), tracking_uri, name, folder))
    except UserError:  # it is away, which was said already
        return command


def _cluster_address(address: str) -> str:
    """The address, if a driver can be in the cluster that it names."""
    from sde_ray.safe_text import mask

    if address.startswith(("http://", "https://")):
        raise UserError(
            f"{mask(address)} takes jobs, it is no place for a driver. From outside the cluster: sde-ray submit "
            'SWEEP.yaml --address ...; inside it, give --address auto, or "HEAD:6379".'
        )
    return address


def register(app: typer.Typer) -> None:
    app.command()(run)
