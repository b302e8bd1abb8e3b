"""`sde-ray bench search`: how well each search method finds the best design, where the truth is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json
from sde_ray.errors import UserError, unknown

if TYPE_CHECKING:
    from sde_ray.bench.search.contest import RegretTable

Names = Annotated[list[str] | None, typer.Option("--method", help="Only this method; may be repeated.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes.")]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def planted(
    surfaces: Annotated[int, typer.Option(min=1, help="Surfaces of each family.")] = 200,
    family: Annotated[list[str] | None, typer.Option("--family", help="Only this family; may be repeated.")] = None,
    method: Names = None,
    jobs: Jobs = CORES,
    as_json: Json = False,
) -> None:
    """On response surfaces drawn at random over the 216 designs. Minutes on two cores; no model involved."""
    from sde_ray.bench.search import planted
    from sde_ray.bench.search.contestants import CONTESTANTS
    from sde_ray.bench.search.truth import FAMILIES, TUNING

    all_families = {**FAMILIES, **TUNING}
    families, methods = family or list(FAMILIES), method or list(CONTESTANTS)
    _check_names("family", families, all_families)
    _check_names("method", methods, CONTESTANTS)
    with _Counter(surfaces * len(families), "surfaces") as on_progress:
        regrets = planted.measure(families, methods, surfaces, jobs=jobs, on_progress=on_progress)
    if as_json:
        return emit(regrets)
    for name in families:
        _show(f"{name}: {all_families[name].description}; {surfaces} surfaces", regrets[name])
    return out().print("\n" + planted.NOTE.format(designs=len(planted.designs())))


def recorded(
    repeats: Annotated[int, typer.Option(min=1, help="Searches of each method.")] = 100,
    method: Names = None,
    jobs: Jobs = CORES,
    as_json: Json = False,
) -> None:
    """On the recorded trials of the embedded base (`sde-ray bench table`)."""
    from sde_ray.bench.search import recorded
    from sde_ray.bench.search.contestants import WITHOUT_RUNGS

    methods = method or list(WITHOUT_RUNGS)
    _check_names("method", methods, WITHOUT_RUNGS)
    with _Counter(repeats, "searches") as on_progress:
        regrets = recorded.measure(methods, repeats, jobs=jobs, on_progress=on_progress)
    if as_json:
        return emit({**regrets, "note": recorded.note()})
    for name, by_method in regrets.items():
        _show(f"{name}: {repeats} searches", by_method)
    return out().print("\n" + recorded.note())


def _check_names(what: str, names: Sequence[str], choices: Iterable[str]) -> None:
    options = list(choices)
    for name in names:
        if name not in options:
            raise UserError(unknown(what, name, options))


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


def _show(title: str, by_method: RegretTable) -> None:
    costs = list(next(iter(by_method.values())))
    columns = tuple(f"cost {cost}" for cost in costs)
    regrets = table(f"\n{title}", "method", *columns, right=columns)
    for method, by_cost in by_method.items():
        cells = [f"{number(row['mean_regret'])} ({row['within_0.01']:.0%})" for row in by_cost.values()]
        regrets.add_row(method, *cells)
    out().print(regrets)
    out().print("mean regret (share within 0.01 of the best)", style="dim")


def register(app: typer.Typer) -> None:
    app.command("planted")(planted)
    app.command("recorded")(recorded)
