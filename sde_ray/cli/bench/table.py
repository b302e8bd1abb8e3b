"""`sde-ray bench table`: the recorded 216 designs."""

from __future__ import annotations

from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def bench_table(
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Rows to print, best first.")] = 20,
    as_json: Json = False,
) -> None:
    """The 216 designs on the bundled `masa:d1`, as measured for this release."""
    from sde_ray.bench.designs import COLUMNS, read

    rows = read()
    if as_json:
        return emit(rows)
    designs = table(f"{len(rows)} rows, the best {min(n, len(rows))}", *COLUMNS)
    for row in rows[:n]:
        designs.add_row(*(row[column] for column in COLUMNS))
    out().print(designs)


def register(app: typer.Typer) -> None:
    app.command("table")(bench_table)
