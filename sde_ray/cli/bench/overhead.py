"""`sde-ray bench overhead`: what a sweep's driver spends on a trial, in time and memory, on a simulated cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json
from sde_ray.errors import UserError, unknown


def bench_overhead(
    trials: Annotated[int, typer.Option(min=1, help="Trials at least; whole seeds of all designs are run.")] = 2000,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the simulated cluster, one trial each.")] = 100,
    tracker_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that the tracking server takes for a call; 0: nothing is tracked.")
    ] = 0.0,
    method: Annotated[str, typer.Option(help="The search method.")] = "grid",
    as_json: Json = False,
) -> None:
    """Driver time and memory of a trial, first against last: a sweep without a model on simulated nodes."""
    from sde_ray.search import METHODS

    if method not in METHODS:
        raise UserError(unknown("search method", method, tuple(METHODS)))
    from sde_ray.bench.overhead.measure import measure

    measured = measure(trials, nodes, tracker_seconds, method)
    if as_json:
        return emit(measured)
    rows = table("", "trials", "CPU ms a trial", "ms a trial", "memory MiB", "KiB a trial")
    for block in measured["blocks"]:
        rows.add_row(block["trials"], *(f"{value:.1f}" for name, value in block.items() if name != "trials"))
    out().print(rows)
    for title in ("last / first", "tracking"):
        if title in measured:
            text = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in measured[title].items())
            out().print(f"{title}: {text}", highlight=False, markup=False)
    text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measured["settings"].items())
    out().print(f"\n{text}", highlight=False, markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    app.command("overhead")(bench_overhead)
