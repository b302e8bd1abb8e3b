"""RecordedTable, the scores of all designs of a task by seed; read from and written to the CSV files of this room."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median

from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError, unknown
from sde_ray.types import Design

FOLDER = Path(__file__).parent
SEED, OOD = "seed", "_ood"
MEASURED = ("format_adherence", "output_tokens", "seconds")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """What a table was recorded on: the task, without the folder of its data, and words about it.

    `whole`: it is to hold every design of the task, so that searches can be measured on it; else chosen designs only.
    """

    task: str
    description: str
    whole: bool = True


TABLES: Mapping[str, Source] = {
    "masa_d1": Source("masa:d1", "sentiment of aspects of written reviews"),
    "masa_d1_80": Source("masa:d1", "the same with 80 samples: the setting of the demo"),
    "masa_d1_base2": Source(
        "masa:d1", "the first on a second base, smaller and pretrained apart (3 layers of width 128)"
    ),
    "masa_d2": Source("masa:d2", "sentiment of other aspects of written reviews"),
    "nested_ner": Source("nested_ner", "nested entities in written sentences of biology"),
    "mams": Source("mams", "sentiment of aspects of real restaurant reviews, MAMS-ACSA"),
    "mams_smollm2_120": Source("mams", "the same reviews, SmolLM2-135M on 120 samples, named designs", whole=False),
    "mams_smollm2_300": Source("mams", "the same reviews, SmolLM2-135M on 300 samples, named designs", whole=False),
    "mams_smollm2_600": Source("mams", "the same reviews, SmolLM2-135M on 600 samples, named designs", whole=False),
    "phee_smollm2": Source("events:phee", "events of case reports, SmolLM2-135M, one axis at a time", whole=False),
    "genia_smollm2": Source("nested_ner", "entities of abstracts, SmolLM2-135M, one axis at a time", whole=False),
}


@dataclass(frozen=True)
class RecordedTable:
    """Rows of cells as text, one a design and seed; `objective` names the column of the score that is searched for."""

    objective: str
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the file, in order; that of the out-of-domain score only where a row has one."""
        away = self.objective + OOD
        return (*AXES, SEED, self.objective, *([away] if any(row.get(away) for row in self.rows) else []), *MEASURED)

    def scores(self) -> dict[Design, dict[int, float]]:
        """The objective by design and seed."""
        by_design: dict[Design, dict[int, float]] = {}
        for row in self.rows:
            by_design.setdefault(design_of_row(row), {})[int(row[SEED])] = float(row[self.objective])
        return by_design


def design_of_row(row: Row) -> Design:
    """The design of a row."""
    return make_design(**{axis: row[axis] for axis in AXES})


def sort_key(row: Row) -> tuple[list[int], int]:
    """Position of a row in its table: designs in the order of the axes' options, then seeds."""
    return [list(axis.options).index(row[name]) for name, axis in AXES.items()], int(row[SEED])


def table_path(name: str) -> Path:
    """The CSV file of a table. Raises UserError where there is no table of that name."""
    if name not in TABLES:
        raise UserError(unknown("table", name, list(TABLES)))
    return FOLDER / f"{name}.csv"


def recorded_tables() -> list[str]:
    """Names of the tables that hold rows."""
    return [name for name in TABLES if table_path(name).is_file()]


def whole_tables() -> list[str]:
    """Names of the recorded tables that hold every design of their task."""
    return [name for name in recorded_tables() if TABLES[name].whole]


@lru_cache
def load(name: str) -> RecordedTable:
    """Read a table of this room. Raises UserError where it does not exist, or holds no rows so far."""
    path = table_path(name)
    if not path.is_file():
        raise UserError(
            f"The table {name} holds no rows yet. Record some: the first lines of sweeps/masa_216.yaml say how, then "
            f"python -m sde_ray.bench.tables RUN_FOLDER {name}."
        )
    return read(path)


def read(path: Path) -> RecordedTable:
    """Read a table from a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = tuple(reader)
    columns = list(reader.fieldnames or ())
    return RecordedTable(columns[columns.index(SEED) + 1], rows)


def save(table: RecordedTable, path: Path) -> None:
    """Write a table in the order of its designs, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table.columns, lineterminator="\n", extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(sorted(table.rows, key=sort_key))
    part.replace(path)


def best_first(table: RecordedTable) -> Sequence[Row]:
    """The rows, the highest objective first."""
    return sorted(table.rows, key=lambda row: -float(row[table.objective]))


def summary(name: str) -> dict[str, str | int | float]:
    """What a table holds: task, number of designs, seeds by number of designs, and the spread of the designs' means."""
    table = load(name)
    scores = table.scores()
    seeds = Counter(seed for by_seed in scores.values() for seed in by_seed)
    means = [fmean(by_seed.values()) for by_seed in scores.values()]
    return {
        "task": TABLES[name].task,
        "designs": len(scores),
        "seeds": ", ".join(f"{seed} ({seeds[seed]})" for seed in sorted(seeds)),
        "objective": table.objective,
        "lowest": round(min(means), 3),
        "median": round(median(means), 3),
        "highest": round(max(means), 3),
    }
