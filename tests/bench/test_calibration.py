"""The calibration counts what it says, goes on from its file, and gives the same numbers however it is run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from sde_ray.bench.calibration.cells import Cell, Tally, summarise, sweep_trials
from sde_ray.bench.calibration.measure import Sweep, measure
from sde_ray.bench.calibration.rows import ROWS, select_cells
from sde_ray.bench.worlds import one_at_a_time
from sde_ray.cli.bench.calibration import calibration as command
from sde_ray.errors import UserError
from sde_ray.storage.jsonl_cache import JsonlCache


def ratios(cell: Cell, sweeps: int) -> dict[str, float]:
    (row,) = measure([cell], sweeps=sweeps)
    return {name: value for name, (value, _) in row.ratios.items()}


# ---- sums, ratios, errors ------------------------------------------------------------------------------------------


def test_a_ratio_is_of_sums_and_its_error_is_of_sweeps() -> None:
    """Intervals of one sweep err together: ten of ten and none of ten, by turns, are not twenty independent ones."""
    ((value, half),) = summarise([{"x": (10.0 * (n % 2), 10.0)} for n in range(100)]).values()
    assert value == 0.5 and half == pytest.approx(0.098, abs=0.002)
    ((value, half),) = summarise([{"x": (1.0, 1.0)}, {"x": (0.0, 3.0)}, {}]).values()
    assert value == 0.25 and half > 0.2


def test_none_in_many_sweeps_is_not_never() -> None:
    none, all_of_them = summarise([{"x": (0.0, 1.0), "y": (1.0, 1.0)}] * 36).values()
    assert none[0] == 0 and 0.05 < none[1] < 0.1 and all_of_them == (1.0, pytest.approx(none[1]))
    assert math.isnan(summarise([{"x": (1.0, 3.0)}])["x"][1])  # a single sweep says nothing of its own error


def test_an_interval_is_counted_once_and_only_where_there_is_one() -> None:
    tally = Tally()
    for low, high in ((0.0, 1.0), (2.0, 3.0), (None, None)):
        tally.hold("x", low, high, 0.5, "width")
    assert tally.sums == {"x": (1.0, 2.0), "width": (2.0, 2.0)}


def test_sizes_of_sweeps() -> None:
    random = np.random.default_rng(0)
    assert {design for design, _ in sweep_trials("10x3", random)} == set(one_at_a_time())
    trials = sweep_trials("24x2-3", random)
    seeds = [sum(design == other for other, _ in trials) for design in dict.fromkeys(design for design, _ in trials)]
    assert len(seeds) == 24 and seeds.count(3) == 6 and seeds.count(2) == 18
    assert len(sweep_trials("216x2", random)) == 432


# ---- rows ----------------------------------------------------------------------------------------------------------

SMALL = [
    Cell("intervals", "F", "24x2-3"), Cell("one_at_a_time", "H", "10x2"), Cell("equal", "equal", "24x2"),
    Cell("verdict", "E", "24x2"), Cell("forced", "a failed trial", "2"), Cell("looks", "sd .034", "2-3-5"),
    Cell("savings", "sd .04", "3"), Cell("recorded", "masa_d1", "middle"), Cell("adaptive", "B", "22"),
]  # fmt: skip


SLOW = ("adaptive", "recorded")  # seconds: 1,296 trials to choose from, three fits of 432 trials


@pytest.mark.parametrize("cell", [pytest.param(c, marks=[pytest.mark.slow] * (c.row in SLOW)) for c in SMALL], ids=str)
def test_every_row_counts(cell: Cell) -> None:
    counted = ratios(cell, 1)
    shares = {name: value for name, value in counted.items() if name in SHARES}
    assert shares and all(0 <= value <= 1 for value in shares.values())
    assert all(math.isfinite(value) for value in counted.values())


SHARES = {
    "effects", "any two designs", "two tried designs", "best predicted - baseline", "interactions", "intervals",
    "a design leads", "an option is better or worse", "false better", "false worse", "savings", "inside",
    "with its noise", "assembled - baseline",
}  # fmt: skip


def test_the_small_cells_are_of_all_rows() -> None:
    assert {cell.row for cell in SMALL} == set(ROWS)
    assert set(SMALL) <= set(select_cells())


@pytest.mark.long
@pytest.mark.parametrize("size", ["24x2", "40x2"])
def test_intervals_of_a_fraction_hold_the_truth(size: str) -> None:
    """A rough count; the command counts more."""
    assert 0.85 <= ratios(Cell("intervals", "A", size), 8)["effects"] <= 1.0


@pytest.mark.slow
def test_claims_are_rare_where_nothing_is_true() -> None:
    assert ratios(Cell("equal", "equal", "24x2"), 6)["an option is better or worse"] <= 0.2
    assert ratios(Cell("forced", "sd .026", "3"), 10)["false better"] <= 0.2


def test_names_are_chosen_and_checked() -> None:
    assert select_cells(["forced"], ["sd .034"], ["2"]) == [Cell("forced", "sd .034", "2")]
    assert {cell.world for cell in select_cells(["intervals"], ["A", "B"])} == {"A", "B"}
    with pytest.raises(UserError, match=r"forced"):
        select_cells(["force"])
    with pytest.raises(UserError, match=r"together"):
        select_cells(["forced"], ["A"])


# ---- files and processes -------------------------------------------------------------------------------------------


def test_a_cut_file_goes_on_to_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell("forced", "sd .034", "2"), Cell("one_at_a_time", "H", "10x2")]
    whole = measure(cells, tmp_path / "whole.jsonl", sweeps=4)
    lines = [line for line in (tmp_path / "whole.jsonl").read_text().splitlines() if line]
    assert len(lines) == 8
    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[:3]) + "\n" + lines[3][: len(lines[3]) // 2])  # torn in the fourth line
    counted: list[int] = []
    assert measure(cells, cut, sweeps=4, on_progress=lambda done, total: counted.append(done)) == whole
    assert counted == [4, 5, 6, 7, 8]
    monkeypatch.setattr("sde_ray.bench.calibration.measure._count", None)  # nothing is counted again
    assert measure(cells, cut, sweeps=4) == whole


def test_the_same_seed_gives_the_same_numbers_whatever_else_is_counted(tmp_path: Path) -> None:
    cell = Cell("forced", "sd .034", "2")
    alone = measure([cell], sweeps=3)
    assert measure([Cell("forced", "sd .051", "2"), cell], sweeps=3)[1:] == alone
    assert measure([cell], tmp_path / "counts.jsonl", sweeps=3) == alone
    assert measure([cell], tmp_path / "counts.jsonl", sweeps=3, seed=1) != alone  # other worlds, in the same file
    assert measure([cell], tmp_path / "counts.jsonl", sweeps=3) == alone


def test_worlds_are_pooled_by_size(tmp_path: Path) -> None:
    """Of all worlds together the error is that of so many more sweeps."""
    sums = {"effects": (8.0, 9.0)}, {"effects": (4.0, 9.0)}
    cells = [Cell("intervals", world, "24x2") for world in "AB"]
    cache = JsonlCache(tmp_path / "counts.jsonl")
    for cell, number in ((cell, number) for cell in cells for number in (0, 1)):
        cache.append(Sweep(cell, number, 0).key, sums["AB".index(cell.world)])
    first, second, both = measure(cells, cache.path, sweeps=2)
    assert both.cell == Cell("intervals", "all", "24x2") and both.sweeps == 4
    assert [row.ratios["effects"][0] for row in (first, second, both)] == pytest.approx([8 / 9, 4 / 9, 6 / 9])
    assert len(measure(cells[:1], cache.path, sweeps=2)) == 1


@pytest.mark.slow
def test_processes_give_the_same_numbers() -> None:
    cells = [Cell("forced", "sd .034", "2"), Cell("one_at_a_time", "H", "10x2")]
    assert measure(cells, sweeps=4, jobs=2) == measure(cells, sweeps=4)


def test_the_command_prints_tables_markdown_and_json(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command)
    path = tmp_path / "counts.jsonl"
    chosen = [
        "--rows",
        "forced,looks",
        "--worlds",
        "sd .034",
        "--sizes",
        "2,2-3-5",
        "--sweeps",
        "2",
        "--out",
        str(path),
    ]
    (first, second) = json.loads(CliRunner().invoke(app, [*chosen, "--json"]).stdout)
    assert first["row"] == "forced" and first["sweeps"] == 2 and 0 <= first["intervals"]["value"] <= 1
    assert second["size"] == "2-3-5" and "either" in second
    printed = CliRunner().invoke(app, chosen).stdout
    assert "Final comparison of equal designs" in printed and "±" in printed
    pages = CliRunner().invoke(app, [*chosen, "--markdown"]).stdout.splitlines()
    assert "| sd .034 | 2 | 2 |" in "\n".join(pages) and pages.count("") == 4
