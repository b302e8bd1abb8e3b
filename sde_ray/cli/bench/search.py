"""`sde-ray bench search`: how well each search method finds the best design, where the truth is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sde_ray.cli.console import emit, err, out, table
from sde_ray.cli.options import Json
from sde_ray.errors import UserError, unknown

if TYPE_CHECKING:
    from sde_ray.bench.search.contest import Regrets, World

Names = Annotated[list[str] | None, typer.Option("--method", help="Only this method; may be repeated.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes.")]
Save = Annotated[
    Path | None, typer.Option(help="A file of JSON lines: what it holds is not run again, what is run is added to it.")
]
Against = Annotated[str, typer.Option(help="The method that all others are compared with, replication by replication.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print tables of Markdown, as docs/benchmarks.md has them.")]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
ADAPTIVE = "adaptive"


def planted(
    surfaces: Annotated[int, typer.Option(min=1, help="Surfaces of each family.")] = 100,
    family: Annotated[list[str] | None, typer.Option("--family", help="Only this family; may be repeated.")] = None,
    method: Names = None,
    against: Against = ADAPTIVE,
    save: Save = None,
    jobs: Jobs = CORES,
    markdown: Markdown = False,
    as_json: Json = False,
) -> None:
    """On response surfaces drawn at random over the 216 designs; no model involved."""
    from sde_ray.bench.search import planted
    from sde_ray.bench.search.contest import COSTS
    from sde_ray.bench.search.contestants import BASIC
    from sde_ray.bench.search.truth import FAMILIES, TUNING

    families = {**FAMILIES, **TUNING}
    chosen, methods = family or list(FAMILIES), method or list(BASIC)
    _check_names("family", chosen, families)
    _check_methods(methods, against)
    worlds = [(planted.world(name, surfaces), COSTS, families[name].description) for name in chosen]
    _contest(
        worlds,
        methods,
        against,
        save,
        jobs,
        _form(as_json, markdown),
        planted.NOTE.format(designs=len(planted.designs())),
    )


def recorded(
    repeats: Annotated[int, typer.Option(min=1, help="Searches of each method.")] = 100,
    name: Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be repeated.")] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", help="fresh or held_out; may be repeated. Both where left out.")
    ] = None,
    method: Names = None,
    against: Against = ADAPTIVE,
    save: Save = None,
    jobs: Jobs = CORES,
    markdown: Markdown = False,
    as_json: Json = False,
) -> None:
    """On recorded tables (`sde-ray bench table`): fresh noise around a denoised truth, or held-out seeds."""
    from sde_ray.bench.search import recorded
    from sde_ray.bench.search.contestants import BASIC, WITH_RUNGS
    from sde_ray.bench.tables.table import whole_tables

    methods = method or [name for name in BASIC if name not in WITH_RUNGS]
    _check_methods(methods, against)
    if rungs := sorted(set(methods) & set(WITH_RUNGS)):
        raise UserError(
            f"{', '.join(rungs)}: recorded tables have no scores at rungs, so this tells nothing. Leave it out."
        )
    _check_names("protocol", protocol or [], recorded.PROTOCOLS)
    worlds: list[tuple[World, Sequence[int], str]] = []
    tables: dict[str, None] = {}
    for one in name or whole_tables():
        for way in protocol or recorded.PROTOCOLS:
            try:
                worlds.append((recorded.world(one, way, repeats), recorded.costs(one), _PROTOCOLS[way]))
            except UserError as error:  # too few seeds
                if name:
                    raise
                err().print(f"{one}, {way}: left out. {error}", highlight=False, markup=False)
            else:
                tables[one] = None
    _contest(
        worlds,
        methods,
        against,
        save,
        jobs,
        _form(as_json, markdown),
        "\n".join(map(recorded.note, tables)),
    )


_PROTOCOLS = {"fresh": "denoised truth, fresh noise", "held_out": "judged by a seed that no search saw"}


def _check_names(what: str, names: Sequence[str], choices: Iterable[str]) -> None:
    options = list(choices)
    for name in names:
        if name not in options:
            raise UserError(unknown(what, name, options))


def _check_methods(methods: Sequence[str], against: str) -> None:
    from sde_ray.bench.search.contestants import NAMES, OPTIONAL

    _check_names("method", methods, NAMES)
    if against != ADAPTIVE:
        _check_names("method", [against], methods)
    if set(methods) & set(OPTIONAL):
        from sde_ray.bench.search.botorch_search import check_installed

        check_installed()


def _form(as_json: bool, markdown: bool) -> str:
    """How tables are printed: "json", "markdown", or "" for a terminal."""
    return "json" if as_json else "markdown" if markdown else ""


def _contest(
    worlds: Sequence[tuple[World, Sequence[int], str]],
    methods: Sequence[str],
    against: str,
    save: Path | None,
    jobs: int,
    output: str,
    note: str,
) -> None:
    from sde_ray.bench.search.contest import run_contest
    from sde_ray.bench.search.summary import differences, means

    summaries: dict[str, Any] = {}
    with _Counter(sum(len(world.seeds) for world, _, _ in worlds) * len(methods), "searches") as on_progress:
        for world, costs, description in worlds:
            regrets = run_contest(world, methods, costs, jobs, save, on_progress)
            compared = differences(regrets, against) if against in regrets else {}
            summaries[world.name] = {"regret": means(regrets), "differences": compared}
            if output == "markdown":
                print(
                    "\n".join(
                        markdown_table(
                            world.name.partition("@")[0],
                            description,
                            regrets,
                            against if against in regrets else methods[0],
                        )
                    )
                )
            elif not output:
                _show(world, description, regrets, against)
    if output == "json":
        return emit({**summaries, "against": against, "note": note})
    return out().print("\n" + note, highlight=False)


def _show(world: World, description: str, regrets: Regrets, against: str) -> None:
    from sde_ray.bench.search.summary import differences, means

    costs = list(next(iter(regrets.values())))
    columns = tuple(f"cost {cost}" for cost in costs)
    title = f"\n{world.name.partition('@')[0]}: {description}; {len(world.seeds)} searches"
    rows = table(title, "method", *columns, right=columns)
    for method, by_cost in means(regrets).items():
        cells = by_cost.values()
        rows.add_row(
            method, *(f"{c['mean_regret']:.4f} ±{c['standard_error']:.4f} ({c['within_0.01']:.0%})" for c in cells)
        )
    out().print(rows)
    out().print("mean regret ± its standard error (share within 0.01 of the best)", style="dim")
    if against not in regrets or len(regrets) == 1:
        return
    rows = table("", f"{against} less", *columns, right=columns)
    for method, by_cost in differences(regrets, against).items():
        cells = by_cost.values()
        rows.add_row(method, *(f"{c['difference']:+.4f} ±{c['standard_error']:.4f} {c['result']}" for c in cells))
    out().print(rows)
    out().print("paired difference of regrets ± its standard error; a tie is below two of these", style="dim")


def markdown_table(title: str, description: str, regrets: Regrets, against: str) -> list[str]:
    """Lines of Markdown: the regret of one method, and how much more each other one has, with standard errors."""
    from sde_ray.bench.search.summary import TIE, differences, means

    by_cost = means({against: regrets[against]})[against]
    cells = [f"{c['mean_regret']:.4f} ±{c['standard_error']:.4f} ({c['within_0.01']:.0%})" for c in by_cost.values()]
    lines = [
        f"**{title}**: {description}; {len(regrets[against][min(by_cost)])} searches",
        "",
        f"| method | {' | '.join(map(str, by_cost))} |",
        f"|---|{'--:|' * len(by_cost)}",
        f"| `{against}`: regret | {' | '.join(cells)} |",
    ]
    for other, row in differences(regrets, against).items():
        more = [
            f"{-c['difference']:+.4f} ±{c['standard_error']:.4f}{' (tie)' if c['result'] == TIE else ''}"
            for c in row.values()
        ]
        lines.append(f"| `{other}`: more | {' | '.join(more)} |")
    return [*lines, ""]


class _Counter:
    """A counter on stderr, where that is a terminal."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done = total, what, 0
        self.console = err()

    def __enter__(self) -> Callable[[], None]:
        return self.on_progress

    def on_progress(self) -> None:
        self.done += 1
        if self.console.is_terminal:
            self.console.print(f"{self.done}/{self.total} {self.what}", end="\r", highlight=False)

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.console.print(" " * 40, end="\r")


def register(app: typer.Typer) -> None:
    app.command("planted")(planted)
    app.command("recorded")(recorded)
