"""The report's table of fields: how well a design fills each field of a task of records, counted from its completions.

count_fields(task, examples, parsed)     {("relation", "year"): [gold, answered, equal], ...}
write_fields(task, {"assembled": counts, "baseline": counts})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.report.html import Html, table
from sde_ray.data.record_values import leaf_paths
from sde_ray.metrics.record import field_counts
from sde_ray.types import Example, Parsed, Task

FieldCounts = Mapping[tuple[str, str], npt.NDArray[np.float64]]
"""By slot and path of a field: values in gold, in the answers, and equal in both."""


def count_fields(task: Task, examples: Sequence[Example], parsed: Sequence[Parsed]) -> FieldCounts:
    """Counts of every field of a task of records, over all items."""
    totals = {(slot, path): np.zeros(3) for slot in task.slots for path, _ in leaf_paths(task.fields[slot])}
    for example, one in zip(examples, parsed, strict=True):
        for slot, by_path in field_counts(task, example, one).items():
            for path, counts in by_path.items():
                totals[slot, path] += counts
    return totals


def add_counts(several: Sequence[FieldCounts]) -> FieldCounts:
    """The counts of several trials together."""
    return {key: np.sum([one[key] for one in several], axis=0) for key in several[0]}


def write_fields(task: Task, designs: Mapping[str, FieldCounts]) -> Html | None:
    """A row a field: how often gold has it, and its F1 in each design; None where no design was counted."""
    if not designs:
        return None
    first = next(iter(designs.values()))
    rows = []
    for (slot, path), (gold, *_) in first.items():
        name = path if len(task.slots) == 1 else f"{slot}: {path}"
        rows.append(
            {"field": name, "gold": f"{gold:.0f}", **{title: _f1(one[slot, path]) for title, one in designs.items()}}
        )
    shown = {"field": "field", "values in gold": "gold", **{title: title for title in designs}}
    return table(shown, rows, "F1 of each field, records paired as for field_f1")


def _f1(counts: npt.NDArray[np.float64]) -> float | None:
    gold, answered, equal = counts
    return float(2 * equal / (gold + answered)) if gold + answered else None
