"""Rows of a sweep's ledger, merged into a recorded table: what is missing is added, what is there is compared.

    merged = merge(load("masa_d1"), ledger_rows(results, objective="weighted_kappa"))
    merged.table, merged.added, merged.compared, merged.differences

Trials of one table have the same configuration but for design and seed, so that the same seed gives the same scores: a
difference says that the code, the base or the machine trains differently from the one that recorded the table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sde_ray.bench.tables.table import MEASURED, OOD, SEED, RecordedTable, Row, design_of_row
from sde_ray.design.axes import AXES
from sde_ray.design.designs import paper_label
from sde_ray.errors import UserError
from sde_ray.types import TrialResult

VARYING = ("design", "seed", "out_of_domain", "splits")  # all else is one configuration for a whole table
UNLIKE = ("output_tokens", "seconds")  # tokens are also those of out-of-domain items, where a run has them


@dataclass(frozen=True)
class Merged:
    """A table with further rows: how many were added and compared, and each difference in words."""

    table: RecordedTable
    added: int
    compared: int
    differences: tuple[str, ...]


def check_one_configuration(results: Sequence[TrialResult], task: str) -> None:
    """Raises UserError where trials are of another task, or differ in more than design and seed."""
    tasks = {str(result.config["task"]).partition("@")[0] for result in results}
    if tasks != {task}:
        raise UserError(f"The table is of the task {task}; the run has finished trials of {sorted(tasks) or 'none'}.")
    settings = [{k: v for k, v in result.config.items() if k not in VARYING} for result in results]
    for other in settings[1:]:
        if other != settings[0]:
            keys = sorted(key for key in other if other[key] != settings[0].get(key))
            raise UserError(
                f"The run has trials that differ in {', '.join(keys)}: {json.dumps([other[key] for key in keys])} and "
                f"{json.dumps([settings[0].get(key) for key in keys])}. A table holds trials of one configuration."
            )


def ledger_rows(results: Sequence[TrialResult], objective: str) -> list[Row]:
    """One row a finished trial."""
    return [_row(result, objective) for result in results]


def _row(result: TrialResult, objective: str) -> Row:
    home, away = result.scores["dev"], result.scores.get("dev_ood", {})
    cells: dict[str, Any] = {
        objective: home[objective],
        objective + OOD: away.get(objective),
        "format_adherence": home["format_adherence"],
        "output_tokens": result.tokens.get("output"),
        "seconds": result.seconds.get("total"),
    }
    text = {name: "" if value is None else f"{value:.4f}" for name, value in cells.items()}
    return {**{axis: result.config["design"][axis] for axis in AXES}, SEED: str(result.config["seed"]), **text}


def merge(table: RecordedTable, rows: Sequence[Row]) -> Merged:
    """Add rows of designs and seeds that a table lacks; fill its empty cells; compare the others, which stay."""
    merged = {_identity(row): dict(row) for row in table.rows}
    added = compared = 0
    differences = []
    for row in rows:
        recorded = merged.get(_identity(row))
        if recorded is None:
            merged[_identity(row)] = dict(row)
            added += 1
            continue
        compared += 1
        for column in (table.objective, table.objective + OOD, *MEASURED):
            before, after = recorded.get(column, ""), row.get(column, "")
            if not before:
                recorded[column] = after
            elif after and after != before and column not in UNLIKE:
                label = paper_label(design_of_row(row))
                differences.append(f"{label}, seed {row[SEED]}: {column} is {before} in the table, {after} in the run")
    return Merged(RecordedTable(table.objective, tuple(merged.values())), added, compared, tuple(differences))


def _identity(row: Row) -> tuple[str, ...]:
    return (*(row[axis] for axis in AXES), row[SEED])
