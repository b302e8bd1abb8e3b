"""The machine: `doctor` examines it, `bench` measures the package on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.bench.calibration import calibration
from sde_ray.cli.bench.search import search
from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json, Sets

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}

bench = typer.Typer(help="Measure the package itself.", no_args_is_help=True)
bench.add_typer(search, name="search")
search.command("calibration")(calibration)


def doctor(
    sweep: Annotated[Path | None, typer.Argument(help="Examine for this sweep's storage and tracking.")] = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Examine the machine; each finding comes with its remedy. Exit code 2 if anything failed."""
    from sde_ray.sweep.cluster.doctor import Place, examine

    place = Place()
    if sweep is not None:
        from sde_ray.config.load import load_config

        config = load_config(sweep, sets or [])
        place = Place(config.storage_path, config.mlflow.tracking_uri)
    checks = examine(place)
    if as_json:
        emit(checks)
    else:
        shown = table("", "", "check", "found", "remedy")
        for check in checks:
            shown.add_row(f"[{COLOURS[check.state]}]{check.state}[/]", check.name, check.found, check.remedy)
        out().print(shown)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(2)


@bench.command("warm")
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
    shown = table("", "measure", "value", right=("value",))
    for name, value in measured.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        shown.add_row(name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else text)
    out().print(shown)


@bench.command("table")
def bench_table(
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Rows to print, best first.")] = 20,
    as_json: Json = False,
) -> None:
    """The 216 designs on the bundled `masa:d1`, as measured for this release."""
    from sde_ray.bench.designs import COLUMNS, read

    rows = read()
    if as_json:
        return emit(rows)
    shown = table(f"{len(rows)} rows, the best {min(n, len(rows))}", *COLUMNS)
    for row in rows[:n]:
        shown.add_row(*(row[column] for column in COLUMNS))
    out().print(shown)


def register(app: typer.Typer) -> None:
    app.command()(doctor)
    app.add_typer(bench, name="bench")
