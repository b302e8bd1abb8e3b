"""`sde-ray doctor`: the machine examined, each finding with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json, Sets

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    sweep: Annotated[Path | None, typer.Argument(help="Examine for this sweep's storage and tracking.")] = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Examine the machine; each finding comes with its remedy. Exit code 2 if anything failed."""
    from sde_ray.sweep.cluster.doctor import Target, examine

    target = Target()
    if sweep is not None:
        from sde_ray.config.load import load_config

        config = load_config(sweep, sets or [])
        target = Target(config.storage_path, config.mlflow.tracking_uri)
    checks = examine(target)
    if as_json:
        emit(checks)
    else:
        checks_table = table("", "", "check", "found", "remedy")
        for check in checks:
            state = f"[{COLOURS[check.state]}]{check.state}[/]"
            checks_table.add_row(state, check.name, check.found, check.remedy)
        out().print(checks_table)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(2)


def register(app: typer.Typer) -> None:
    app.command()(doctor)
