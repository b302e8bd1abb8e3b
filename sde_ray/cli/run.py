"""`sde-ray run`: a sweep from its YAML file to the verdict."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from sde_ray.cli.console import emit, err, out
from sde_ray.cli.options import Json, Sets, Sweep
from sde_ray.errors import UserError


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
    from sde_ray.cli.views.live import console_listener
    from sde_ray.config.load import load_config
    from sde_ray.pipeline import run as pipeline

    cluster = [f"resources.address={_cluster_address(address)}"] if address else []
    config = load_config(sweep, [*(sets or []), *cluster])
    result = pipeline.run(config, console_listener(as_json), with_validation=validate)
    if as_json:
        emit(result.to_dict())
    if result.interrupted:
        err().print(result.interrupted, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(130)
    if not as_json:
        out().print(
            f"\nEvery trial, curve and sample:  [bold]sde-ray ui {escape(config.run_dir.uri())}[/]", highlight=False
        )


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
