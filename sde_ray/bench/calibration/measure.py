"""Calibration over processes: counts the sweeps of cells, keeps every count in a file, and goes on from it.

    table = measure(select_cells(["forced"]), path=Path("calibration.jsonl"), jobs=2)
    table[0].ratios["false better"]      (0.017, 0.015)

Every sweep draws from a source of its own (seed, cell, number), so the numbers are the same whatever the number of
processes, and a run that was cut off ends in the same table.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sde_ray.bench.calibration.cells import Cell, Sums, summarise
from sde_ray.bench.calibration.rows import ROWS
from sde_ray.storage.jsonl_cache import JsonlCache

ALL = "all"  # the world of a pooled cell


@dataclass(frozen=True)
class Sweep:
    """One sweep to simulate."""

    cell: Cell
    number: int
    seed: int

    @property
    def key(self) -> str:
        return f"{self.cell}/{self.seed}/{self.number}"


@dataclass(frozen=True)
class Measured:
    """A finished cell: name -> (ratio, half its 95% interval)."""

    cell: Cell
    sweeps: int
    ratios: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ratios = {name: {"value": value, "half_width": half} for name, (value, half) in self.ratios.items()}
        return {"row": self.cell.row, "world": self.cell.world, "size": self.cell.size, "sweeps": self.sweeps} | ratios


def measure(
    cells: Sequence[Cell],
    path: Path | None = None,
    sweeps: int | None = None,
    jobs: int = 1,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Simulate and count.

    Args:
        cells: what is counted (`rows.select_cells`).
        path: a JSONL file of counts; those that it holds are not made again, all others are added to it.
        sweeps: how many are simulated for each cell; None: as many as the row says.
        jobs: processes.
        seed: the same seed gives the same numbers.
        on_progress: called with the number of sweeps done and their total.

    Returns:
        The cells in their order, each with its ratios; after those of a row that is pooled, one a size over all its
        worlds ("all").
    """
    planned = [Sweep(cell, number, seed) for cell in cells for number in range(sweeps or ROWS[cell.row].number(cell))]
    planned.sort(key=lambda sweep: sweep.number)  # cells by turns: a run that is cut off says something of each
    cache = JsonlCache(path) if path else None
    counted: dict[str, Any] = dict(cache.read()) if cache else {}
    missing = [sweep for sweep in planned if sweep.key not in counted]
    done = len(planned) - len(missing)
    for sweep, sums in _each(missing, jobs):
        counted[sweep.key] = sums
        if cache:
            cache.append(sweep.key, sums)
        done += 1
        on_progress(done, len(planned))
    by_cell: dict[Cell, list[Sums]] = {cell: [] for cell in cells}
    for sweep in planned:
        by_cell[sweep.cell].append(counted[sweep.key])
    measured = []
    for row, group in groupby(cells, key=lambda cell: cell.row):
        own = {cell: by_cell[cell] for cell in group}
        measured += [Measured(cell, len(sums), summarise(sums)) for cell, sums in {**own, **_pooled(row, own)}.items()]
    return measured


def _pooled(row: str, by_cell: Mapping[Cell, Sequence[Sums]]) -> dict[Cell, list[Sums]]:
    """The sweeps of all worlds by size, for a row that is pooled and has several worlds."""
    if not ROWS[row].pooled or len({cell.world for cell in by_cell}) < 2:
        return {}
    sizes = dict.fromkeys(cell.size for cell in by_cell)
    return {
        Cell(row, ALL, size): [sums for cell, own in by_cell.items() if cell.size == size for sums in own]
        for size in sizes
    }


def _each(sweeps: Sequence[Sweep], jobs: int) -> Iterator[tuple[Sweep, Sums]]:
    if jobs == 1:
        yield from map(_count, sweeps)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # a process a core; spawned ones read this at their start
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_count, sweeps, chunksize=4)


def _count(sweep: Sweep) -> tuple[Sweep, Sums]:
    return sweep, ROWS[sweep.cell.row].count(sweep.cell, sweep.number, sweep.seed)
