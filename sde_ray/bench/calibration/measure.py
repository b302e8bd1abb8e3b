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
from pathlib import Path
from typing import Any

from sde_ray.bench.calibration.cells import Cell, Sums, summarise
from sde_ray.bench.calibration.rows import ROWS
from sde_ray.storage.jsonl_cache import JsonlCache


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
        The cells in their order, each with its ratios.
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
    return [_measured(cell, [counted[sweep.key] for sweep in planned if sweep.cell == cell]) for cell in cells]


def _measured(cell: Cell, sweeps: Sequence[Mapping[str, Sequence[float]]]) -> Measured:
    return Measured(cell, len(sweeps), summarise(sweeps))


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
