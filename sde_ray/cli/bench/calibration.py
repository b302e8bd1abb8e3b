"""`sde-ray bench calibration`: do intervals hold the truth, and are claims right, where the truth is known?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sde_ray.cli.console import emit, err, out, table
from sde_ray.cli.options import Json

if TYPE_CHECKING:
    from sde_ray.bench.calibration.measure import Measured


def calibration(
    rows: Annotated[str, typer.Option(help="Only these rows, separated by commas: intervals,forced,...")] = "",
    worlds: Annotated[str, typer.Option(help="Only these worlds or kinds of noise: A,B,...")] = "",
    sizes: Annotated[str, typer.Option(help="Only these sizes of sweeps or numbers of seeds: 24x2,216x2,...")] = "",
    sweeps: Annotated[int | None, typer.Option(min=1, help="Simulated sweeps for each cell.")] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="A JSONL file of counts; the same command goes on from it.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other worlds.")] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_json: Json = False,
) -> None:
    """Check intervals and claims on simulated sweeps whose truth is known, and on recorded ones; no model."""
    from sde_ray.bench.calibration.measure import measure
    from sde_ray.bench.calibration.rows import ROWS, select_cells

    cells = select_cells(*([name for name in names.split(",") if name] for names in (rows, worlds, sizes)))
    measured = measure(cells, out_file, sweeps, jobs, seed, _progress)
    if as_json:
        return emit([cell.to_dict() for cell in measured])
    for row, group in groupby(measured, key=lambda cell: cell.cell.row):
        lines = list(_lines(list(group)))
        if markdown:
            print("\n".join(_markdown(ROWS[row].title, lines)))
        else:
            out().print(_rich(ROWS[row].title, lines))
    return None


def _progress(done: int, total: int) -> None:
    console = err()
    if console.is_terminal:
        console.print(f"{done}/{total} sweeps", end="\r", highlight=False)


def _lines(group: Sequence[Measured]) -> Iterator[list[str]]:
    """The heading and the lines of a table."""
    names = list(dict.fromkeys(name for cell in group for name in cell.ratios))
    yield ["world", "size", "sweeps", *names]
    for cell in group:
        cells = [_cell(cell.ratios.get(name)) for name in names]
        yield [cell.cell.world, cell.cell.size, str(cell.sweeps), *cells]


def _cell(ratio: tuple[float, float] | None) -> str:
    """A ratio with half its 95% interval."""
    if ratio is None:
        return "–"
    value, half_width = ratio
    return f"{value:.3f} ±{half_width:.3f}" if half_width == half_width else f"{value:.3f}"


def _markdown(title: str, lines: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *body = lines
    yield f"\n{title}\n"
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(line)} |" for line in body)


def _rich(title: str, lines: Sequence[Sequence[str]]) -> Any:
    head, *body = lines
    rates = table(f"\n{title}", *head, right=tuple(head[2:]))
    for line in body:
        rates.add_row(*line)
    return rates


def register(app: typer.Typer) -> None:
    app.command("calibration")(calibration)
