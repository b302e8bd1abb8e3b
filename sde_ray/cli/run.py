"""`run` runs a sweep, from the YAML file to the verdict; `plan` says what would run and what it costs."""

from __future__ import annotations

from pathlib import Path
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
    from sde_ray.analysis import study
    from sde_ray.cli.views.live import console_listener
    from sde_ray.config.load import load_config, place_of, sweep_folder
    from sde_ray.pipeline import run as flow
    from sde_ray.sweep.stale import notes

    config = load_config(sweep, [*(sets or []), *([f"resources.address={_inside(address)}"] if address else [])])
    study.look(config)
    for note in notes(flow.plan_of(config), study.ledger_of(config).results(), sweep_folder(config)):
        err().print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    outcome = flow.run(config, console_listener(as_json), with_validation=validate)
    if as_json:
        emit(outcome.to_dict())
    if outcome.interrupted:
        err().print(outcome.interrupted, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(130)
    if not as_json:
        out().print(
            f"\nEvery trial, curve and sample:  [bold]sde-ray ui {escape(place_of(config))}[/]", highlight=False
        )


def _inside(address: str) -> str:
    """The address, if a driver can be in the cluster that it names."""
    from sde_ray.config.load import mask

    if address.startswith(("http://", "https://")):
        raise UserError(
            f"{mask(address)} takes jobs, it is no place for a driver. From outside the cluster: sde-ray submit "
            'SWEEP.yaml --address ...; inside it, give --address auto, or "HEAD:6379".'
        )
    return address


def plan(sweep: Sweep, sets: Sets = None, as_json: Json = False) -> None:
    """List what a sweep would run, what was pinned or dropped and why, and what it costs. Trains nothing."""
    from sde_ray.analysis import study
    from sde_ray.cli.views import plan as planned
    from sde_ray.config.load import load_config, sweep_folder
    from sde_ray.pipeline import run as flow
    from sde_ray.sweep.stale import notes

    config = load_config(sweep, sets or [])
    study.look(config)
    made = flow.plan_of(config)
    for note in notes(made, study.ledger_of(config).results(), sweep_folder(config)):
        err().print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    if all(model == "tiny" or Path(model).is_dir() for model in made.config.model):  # others need a download
        from sde_ray.sweep.tokenizer_check import drop_unencodable

        made = drop_unencodable(made)
    if as_json:
        return emit(planned.plain(made))
    return planned.show(made)


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(plan)
