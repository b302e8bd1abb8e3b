"""The group `sde-ray bench`, with its subgroup `sde-ray bench search`."""

from __future__ import annotations

import typer

from sde_ray.cli.bench import calibration, search, table, warm

COMMANDS = (warm, table, calibration)
SEARCH_COMMANDS = (search,)


def register(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure the package itself.", no_args_is_help=True)
    search_group = typer.Typer(
        help="Search methods against known truth: regret by method and cost.", no_args_is_help=True
    )
    bench.add_typer(search_group, name="search")
    for command in COMMANDS:
        command.register(bench)
    for command in SEARCH_COMMANDS:
        command.register(search_group)
    app.add_typer(bench, name="bench")
