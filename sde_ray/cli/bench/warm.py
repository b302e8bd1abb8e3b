"""`sde-ray bench warm`: how soon a trial trains in a warm worker, and how soon in a new process."""

from __future__ import annotations

from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def bench_warm(
    model: Annotated[str, typer.Option(help="The base model.")] = "tiny",
    trials: Annotated[int, typer.Option(min=1, help="Warm trials to time.")] = 3,
    as_json: Json = False,
) -> None:
    """Seconds from handing over a trial to its first optimiser step: warm worker against cold process."""
    from sde_ray.bench import warm

    measured = warm.measure(trials, model)
    if as_json:
        return emit(measured)
    measures = table("", "measure", "value", right=("value",))
    for name, value in measured.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        measures.add_row(name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else text)
    out().print(measures)


def register(app: typer.Typer) -> None:
    app.command("warm")(bench_warm)
