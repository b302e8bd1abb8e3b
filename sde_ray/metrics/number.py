"""Metrics of free answers that are numbers: mean absolute error, in the data's units and as a share of the range.

The task declares the range of each such slot. An answer that is no number, or none at all, has the largest error that
the range allows for that item, and no answer has a larger one: what cannot be parsed never scores better than a wrong
number, and one absurd number does not drown all others. So has a number for a slot that gold leaves out. A slot that
both leave out is not counted.

Higher is better for every metric here, so errors are negative (as in scikit-learn). To the counts of free.py, where a
slot with a range is right if the numbers are equal ("12" and "12.0"), come: `rated`, `parsable`, `error`, `share` (S,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_ray.data.schema import parse_number
from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, ratio
from sde_ray.metrics.free import FREE
from sde_ray.types import Answer, Example, Parsed, Task

_ADDED = ("rated", "parsable", "error", "share")


def _shapes(task: Task) -> Shapes:
    return {**FREE.shapes(task), **dict.fromkeys(_ADDED, (len(task.slots),))}


def _number(answer: Answer, slot: str) -> float | None:
    values = answer.get(slot, ())
    return parse_number(values[0]) if len(values) == 1 else None


def _judge(gold: float | None, answer: float | None, answered: bool, low: float, high: float) -> tuple[float, ...]:
    """Counts of a slot: whether it is rated, whether the answer is a number, its error, and that by the range."""
    if gold is None and not answered:
        return 0.0, 0.0, 0.0, 0.0
    worst = high - low if gold is None else min(max(gold - low, high - gold), high - low)
    error = worst if gold is None or answer is None else min(abs(answer - gold), worst)
    return 1.0, float(answer is not None), error, error / (high - low)


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    counts: dict[str, Any] = {name: list(value) for name, value in FREE.count(task, example, parsed, faulty).items()}
    counts |= {name: [0.0] * len(task.slots) for name in _ADDED}
    for place, slot in enumerate(task.slots):
        if slot not in task.ranges:
            continue
        gold, answer = _number(example.answer, slot), None if faulty else _number(parsed.answer, slot)
        answered = faulty or bool(parsed.answer.get(slot))
        for name, value in zip(_ADDED, _judge(gold, answer, answered, *task.ranges[slot]), strict=True):
            counts[name][place] = value
        right = gold == answer if gold is not None else not answered
        for name in ("exact", "within", "raw"):
            counts[name][place] = right and not faulty
    return counts


def neg_mae(task: Task, counts: Counts) -> Array:
    """Mean absolute error with a minus sign, in the units of the data; 0 is perfect. Of slots with one range only."""
    return -ratio(counts["error"], counts["rated"])


def neg_nmae(task: Task, counts: Counts) -> Array:
    """Mean absolute error as a share of each slot's range, with a minus sign: from -1 to 0."""
    return -ratio(counts["share"], counts["rated"])


def parsable(task: Task, counts: Counts) -> Array:
    """Share of the rated slots whose answer is a number; 1 where none is to be rated."""
    return ratio(counts["parsable"], counts["rated"], empty=(counts["slots"] > 0).astype(float))


def has_range(task: Task, slot: str) -> bool:
    """Whether the slot, or any slot where none is named, holds a number."""
    return slot in task.ranges if slot else bool(task.ranges)


def has_one_range(task: Task, slot: str) -> bool:
    """Whether errors are in one unit: those of the slot, or of all slots where none is named."""
    return slot in task.ranges if slot else len(set(task.ranges.values())) == 1


NUMBER = Kind(
    shapes=_shapes,
    by_slot=FREE.by_slot | frozenset(_ADDED),
    count=_count,
    metrics={
        "neg_mae": Metric(neg_mae, bounds=None, applies=has_one_range),
        "neg_nmae": Metric(neg_nmae, bounds=(-1.0, 0.0), applies=has_range),
        "parsable": Metric(parsable, strict=False, applies=has_range),
        **FREE.metrics,
    },
)
