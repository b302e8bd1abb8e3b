"""The group `sde-ray bench`, with its subgroups `sde-ray bench search` and `sde-ray bench engine`."""

from __future__ import annotations

import typer

from sde_ray.cli.bench import calibration, engine, overhead, search, serve, table, warm

COMMANDS = (warm, serve, table, calibration, overhead)
SEARCH_COMMANDS = (search,)
ENGINE_COMMANDS = (engine,)


def register(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure the package itself.", no_args_is_help=True)
    search_group = typer.Typer(
        help="Search methods against known truth: regret by method and cost.", no_args_is_help=True
    )
    engine_group = typer.Typer(
        help="Speed and fidelity of the engine, beside transformers, peft and plain Ray Tune.", no_args_is_help=True
    )
    bench.add_typer(search_group, name="search")
    bench.add_typer(engine_group, name="engine")
    for command in COMMANDS:
        command.register(bench)
    for command in SEARCH_COMMANDS:
        command.register(search_group)
    for command in ENGINE_COMMANDS:
        command.register(engine_group)
    app.add_typer(bench, name="bench")
