"""`sde-ray bench table`: the recorded scores of all designs."""

from __future__ import annotations

from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def bench_table(
    name: Annotated[str, typer.Argument(help="The table; empty: a list of them.")] = "",
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Rows to print, best first.")] = 20,
    as_json: Json = False,
) -> None:
    """All designs of a task on the embedded base, with every seed that was recorded."""
    from sde_ray.bench.tables.table import best_first, load

    if not name:
        return _list(as_json)
    recorded = load(name)
    rows = best_first(recorded)
    if as_json:
        return emit(rows)
    designs = table(f"{name}: {len(rows)} rows, the best {min(n, len(rows))}", *recorded.columns)
    for row in rows[:n]:
        designs.add_row(*(row[column] for column in recorded.columns))
    return out().print(designs)


def _list(as_json: bool) -> None:
    from sde_ray.bench.tables.table import TABLES, recorded_tables, summary

    summaries = {name: summary(name) for name in recorded_tables()}
    if as_json:
        return emit(summaries)
    names = table("", "table", "task", "designs", "seeds", "objective", "lowest", "median", "highest")
    for name, facts in summaries.items():
        names.add_row(name, *map(str, facts.values()))
    out().print(names)
    for name in summaries:
        out().print(f"{name}: {TABLES[name].description}", highlight=False)
    return None


def register(app: typer.Typer) -> None:
    app.command("table")(bench_table)
