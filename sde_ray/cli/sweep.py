"""`plan` says what would run and what it costs; `run` runs it, from the YAML file to the verdict."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from sde_ray.cli.console import emit, err, out
from sde_ray.cli.options import Json, Sets, Sweep


def plan(sweep: Sweep, sets: Sets = None, as_json: Json = False) -> None:
    """List what a sweep would run, what was pinned or dropped and why, and what it costs. Trains nothing."""
    from sde_ray import flow
    from sde_ray.cli import planned
    from sde_ray.config import load_config

    made = flow.plan_of(load_config(sweep, sets or []))
    if as_json:
        return emit(planned.plain(made))
    return planned.show(made)


def run(
    sweep: Sweep,
    sets: Sets = None,
    validate: Annotated[bool, typer.Option(help="Compare the assembled design with its controls.")] = True,
    as_json: Json = False,
) -> None:
    """Run a sweep from its YAML file to a validated strategy. The same command again goes on where it stopped."""
    from sde_ray import flow
    from sde_ray.config import load_config

    config = load_config(sweep, sets or [])
    from sde_ray.cli.story import Story

    story = Story(err() if as_json else out(), config)
    try:
        outcome = flow.run(config, story, with_validation=validate)
    except KeyboardInterrupt:
        err().print(f"\nStopped. {escape(flow.saved(config))} The same command goes on from there.")
        raise typer.Exit(130) from None
    if as_json:
        return emit(outcome.plain())
    out().print(f"\nAll runs, curves and samples:  [bold]sde-ray ui {escape(str(sweep))}[/]")


def add_to(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(plan)
