"""`sde-ray bench table`: recorded scores of designs, by trial or by design."""

from __future__ import annotations

from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def bench_table(
    name: Annotated[str, typer.Argument(help="The table; empty: a list of them.")] = "",
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Rows to print, best first.")] = 20,
    designs: Annotated[
        bool, typer.Option("--designs", help="By design: mean, and difference to the baseline.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recorded scores of designs, every seed."""
    from sde_ray.bench.tables.table import best_first, load

    if not name:
        return _list(as_json)
    recorded = load(name)
    if designs:
        return _by_design(name, n, as_json)
    rows = best_first(recorded)
    if as_json:
        return emit(rows)
    listed = table(f"{name}: {len(rows)} rows, the best {min(n, len(rows))}", *recorded.columns)
    for row in rows[:n]:
        listed.add_row(*(row[column] for column in recorded.columns))
    return out().print(listed)


def _by_design(name: str, n: int, as_json: bool) -> None:
    from sde_ray.analysis.estimate import format_estimate
    from sde_ray.bench.tables.by_design import score_designs
    from sde_ray.bench.tables.table import load
    from sde_ray.design.designs import paper_label

    recorded = load(name)
    scored = score_designs(recorded)
    if as_json:
        return emit([{"label": paper_label(one.design), **one.to_dict()} for one in scored])
    rows = table(
        f"{name}: {len(scored)} designs, the best {min(n, len(scored))}",
        "design",
        recorded.objective,
        "seeds",
        "difference to the baseline",
    )
    for one in scored[:n]:
        gap = one.difference
        shown = "" if gap is None else format_estimate(gap.value, gap.low, gap.high, " (no interval)")
        rows.add_row(paper_label(one.design), f"{one.mean:.3f}", " ".join(f"{score:.3f}" for score in one.seeds), shown)
    return out().print(rows)


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
