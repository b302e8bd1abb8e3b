"""`sde-ray bench serve`: requests a second of a served adapter, and how long one waits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def bench_serve(
    place: Annotated[
        str, typer.Argument(help="A validated sweep's folder or address, or those of one trial.", metavar="PLACE")
    ],
    parallel: Annotated[list[int] | None, typer.Option(min=1, max=500, help="Clients at a time; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each number of clients asks.")] = 5.0,
    max_batch: Annotated[int, typer.Option(min=1, help="Texts decoded together, at most.")] = 32,
    as_json: Json = False,
) -> None:
    """Requests a second and milliseconds of a request with 1, 10 and 100 clients at a time, on this machine."""
    from sde_ray.bench.serving import measure
    from sde_ray.models.predictor import Predictor

    loads = [asdict(load) for load in measure(Predictor.load(place), parallel or (1, 10, 100), seconds, max_batch)]
    if as_json:
        return emit(loads)
    columns = ("clients", "requests", "a second", "p50 ms", "p99 ms", "failed")
    shown = table("", *columns, right=columns)
    for load in loads:
        shown.add_row(*(f"{value:g}" for value in load.values()))
    out().print(shown)


def register(app: typer.Typer) -> None:
    app.command("serve")(bench_serve)
