"""The table of calibration rows: for each, what it counts and in which worlds and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sde_ray.bench.calibration import adaptive, intervals, recorded, savings, verdicts
from sde_ray.bench.calibration.cells import Cell, Sums
from sde_ray.bench.worlds import WORLDS
from sde_ray.errors import UserError, unknown

Count = Callable[[Cell, int, int], Sums]


@dataclass(frozen=True)
class Row:
    """A row: its title with what is right, its worlds and sizes, and how many sweeps are simulated (by size).

    `pooled`: its worlds are also counted together.
    """

    title: str
    count: Count
    worlds: tuple[str, ...]
    sizes: tuple[str, ...]
    sweeps: int
    fewer: Mapping[str, int] = field(default_factory=dict)
    pooled: bool = False

    def number(self, cell: Cell) -> int:
        """How many sweeps are simulated for a cell."""
        return self.fewer.get(cell.size, self.sweeps)


def _simulated(count: Callable[..., Sums]) -> Count:
    """A count of one simulated sweep, with a source of randomness of its own."""
    return _Simulated(count)


@dataclass(frozen=True)
class _Simulated:
    count_sweep: Callable[..., Sums]

    def __call__(self, cell: Cell, number: int, seed: int) -> Sums:
        return self.count_sweep(cell, cell.random(seed, number))


INTERACTING = tuple(name for name in WORLDS if name != "equal")
ROWS: dict[str, Row] = {
    "intervals": Row(
        "Share of nominal 95% intervals that hold the truth (right: 0.93 to 0.97)",
        _simulated(intervals.intervals), INTERACTING, ("24x2", "24x2-3", "40x2", "216x2"), 90, {"216x2": 45},
        pooled=True,
    ),
    "one_at_a_time": Row(
        "The same, of trials that vary one axis at a time",
        _simulated(intervals.intervals), ("H",), ("10x2", "10x5"), 90,
    ),
    "adaptive": Row(
        "After an adaptive search of 22 trials (right: 0.93 to 0.97; predicted too high by 0)",
        _simulated(adaptive.adaptive), ("A", "B", "E"), ("22",), 80, pooled=True,
    ),
    "equal": Row(
        "All designs equal: share of sweeps with a false claim (right: at most 0.05)",
        _simulated(intervals.equal_designs), ("equal",), ("10x2", "10x5", "24x2", "40x2", "216x2"), 90, {"216x2": 45},
    ),
    "verdict": Row(
        "Sweep, assembly and final comparison with as many seeds: share of false verdicts (right: at most 0.05)",
        _simulated(verdicts.verdict), ("A", "E", "G"), ("24x1", "24x2"), 80,
    ),
    "forced": Row(
        "Final comparison of equal designs, by the noise and the number of seeds (right: 0.93 to 0.97; at most 0.05)",
        _simulated(verdicts.forced), verdicts.KINDS, ("1", "2", "3", "5"), 300,
    ),
    "looks": Row(
        "The same, looked at after two, three and five seeds: any false claim (right: at most 0.05)",
        _simulated(verdicts.looks), tuple(verdicts.DEVIATIONS), ("2-3-5",), 300,
    ),
    "savings": Row(
        "Sample efficiency, by the number of seeds (right: 0.93 to 0.97)",
        _simulated(savings.sample_efficiency), ("sd .04",), ("2", "3", "5"), 400,
    ),
    "recorded": Row(
        "Recorded designs: the difference of a held-out seed (right: 0.93 to 0.97 of the last two shares)",
        recorded.held_out_seed, ("masa_d1",), tuple(recorded.POOLS), recorded.GROUPS,
    ),
}  # fmt: skip
NOT_MADE = {("forced", verdicts.FAILED, "1")}  # without its only seed a control has no score


def select_cells(rows: Sequence[str] = (), worlds: Sequence[str] = (), sizes: Sequence[str] = ()) -> list[Cell]:
    """The cells of these rows, worlds and sizes; of all where none are named. Raises UserError for another name."""
    every = [Cell(name, world, size) for name, row in ROWS.items() for world in row.worlds for size in row.sizes]
    every = [cell for cell in every if (cell.row, cell.world, cell.size) not in NOT_MADE]
    for what, chosen, known in (
        ("row", rows, [cell.row for cell in every]),
        ("world", worlds, [cell.world for cell in every]),
        ("size", sizes, [cell.size for cell in every]),
    ):
        for name in chosen:
            if name not in known:
                raise UserError(unknown(what, name, list(dict.fromkeys(known))))
    cells = [
        cell
        for cell in every
        if (not rows or cell.row in rows) and (not worlds or cell.world in worlds) and (not sizes or cell.size in sizes)
    ]
    if not cells:
        raise UserError(
            "No row has such worlds and sizes together. Leave out --worlds or --sizes to see what there is."
        )
    return cells
