"""Extraction metrics of records (relations, event arguments, nested objects): micro F1 of records and of their fields.

A record is right if all its fields are: texts are compared without case and white space, labels whole, numbers as
numbers, lists without their order; records as multisets, so that a copy of a right one is wrong. `field_f1` gives
credit for parts: the records of a slot are assigned one to one, so that as many leaves as possible agree (Kuhn 1955),
and leaves (path, value) are counted, "authors.name" the same for every author. Counts of one item with S slots: `gold`,
`predicted`, `matched` (S,) of records, `gold_leaves`, `predicted_leaves`, `matched_leaves` (S,), and `exact`, `items`.

In the strict twin a faulty completion has no hit, and at least one wrong record with one wrong leaf (as in span.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sde_ray.data.record_values import exact_record
from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, ratio
from sde_ray.metrics.span_matching import normalize
from sde_ray.types import Example, Parsed, RecordField, Task

Fields = tuple[RecordField, ...]
Leaf = tuple[str, str]
Leaves = Counter[Leaf]
"""Path and value of every field that holds no record, how often each."""

_BY_SLOT = ("gold", "predicted", "matched", "gold_leaves", "predicted_leaves", "matched_leaves")


def _shapes(task: Task) -> Shapes:
    return {**dict.fromkeys(_BY_SLOT, (len(task.slots),)), "exact": (), "items": ()}


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    rows = []
    for slot in task.slots:
        gold, predicted = (_records(task, slot, answer.get(slot, ())) for answer in (example.answer, parsed.answer))
        matched = (Counter(one.whole for one in gold) & Counter(one.whole for one in predicted)).total()
        leaves = [sum(one.leaves.total() for one in several) for several in (gold, predicted)]
        same = matched_leaves([one.leaves for one in gold], [one.leaves for one in predicted]).total()
        rows.append((len(gold), len(predicted), matched, *leaves, same))
    counts: dict[str, Any] = {
        name: list(column) for name, column in zip(_BY_SLOT, zip(*rows, strict=True), strict=True)
    }
    exact = counts["gold"] == counts["predicted"] == counts["matched"]
    if faulty:
        counts = _all_wrong(counts)
    return {**counts, "exact": exact and not faulty, "items": 1}


def _all_wrong(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of a completion of which nothing is right, and of which something is wrong."""
    nothing = [0] * len(counts["gold"])
    wrong = dict(counts)
    for name in ("predicted", "predicted_leaves"):
        wrong[name] = counts[name] if any(counts[name]) else [1, *nothing[1:]]
    return {**wrong, "matched": nothing, "matched_leaves": nothing}


class ComparedRecord:
    """A record as it is compared: as a `whole`, and by its `leaves`."""

    def __init__(self, text: str, fields: Fields) -> None:
        record = exact_record(text)
        self.whole = _whole(record, fields)
        self.leaves: Leaves = Counter(_leaves(record, fields, ""))


def _records(task: Task, slot: str, texts: Sequence[str]) -> list[ComparedRecord]:
    return [_compared(text, task.fields[slot]) for text in texts]


@lru_cache(maxsize=65_536)
def _compared(text: str, fields: Fields) -> ComparedRecord:
    return ComparedRecord(text, fields)


def _whole(record: Mapping[str, Any], fields: Fields) -> tuple[Any, ...]:
    """The record as a hashable value that is equal for records that count as the same."""
    parts: list[Any] = []
    for one in fields:
        value = record.get(one.name)
        if value is None:
            parts.append(None)
        elif one.many:
            parts.append(tuple(sorted((_value(item, one) for item in value), key=repr)))
        else:
            parts.append(_value(value, one))
    return tuple(parts)


def _value(value: Any, one: RecordField) -> Any:
    """A field's value as it is compared: of a record all its fields."""
    if one.type == "record":
        return _whole(value, one.fields)
    return normalize(value) if one.type in ("text", "span") else str(value)


def _leaves(record: Mapping[str, Any], fields: Fields, before: str) -> Iterator[Leaf]:
    for one in fields:
        if one.name not in record:
            continue
        for value in record[one.name] if one.many else [record[one.name]]:
            if one.type == "record":
                yield from _leaves(value, one.fields, f"{before}{one.name}.")
            else:
                yield f"{before}{one.name}", _value(value, one)


def matched_leaves(gold: Sequence[Leaves], predicted: Sequence[Leaves]) -> Leaves:
    """Leaves that agree, where each gold record is assigned one prediction at most, so that as many as possible do."""
    if not gold or not predicted:
        return Counter()
    if len(gold) == len(predicted) == 1:
        return gold[0] & predicted[0]
    from scipy.optimize import linear_sum_assignment

    common = [[one & other for other in predicted] for one in gold]
    pairs = linear_sum_assignment(np.array([[same.total() for same in row] for row in common]), maximize=True)
    return sum((common[row][column] for row, column in zip(*pairs, strict=True)), Counter[Leaf]())


def field_counts(task: Task, example: Example, parsed: Parsed) -> Mapping[str, Mapping[str, tuple[int, int, int]]]:
    """By slot and path of a field: how many values gold has, how many the answer has, and how many agree."""
    by_slot = {}
    for slot in task.slots:
        gold, predicted = (
            [one.leaves for one in _records(task, slot, answer.get(slot, ()))]
            for answer in (example.answer, parsed.answer)
        )
        totals = [Counter[str](), Counter[str](), Counter[str]()]
        for total, several in zip(totals, (gold, predicted, [matched_leaves(gold, predicted)]), strict=True):
            for leaves in several:
                for (path, _), times in leaves.items():
                    total[path] += times
        paths = dict.fromkeys(path for total in totals for path in total)
        by_slot[slot] = {path: (totals[0][path], totals[1][path], totals[2][path]) for path in paths}
    return by_slot


def _ratio(part: Array, whole: Array, counts: Counts) -> Array:
    """`part / whole`; where nothing was to be found and nothing was predicted, everything is right: 1."""
    nothing = (counts["gold"] + counts["predicted"] == 0) & (counts["items"] > 0)
    return ratio(part, whole, empty=nothing.astype(float))


def record_f1(task: Task, counts: Counts) -> Array:
    """F1 of whole records, micro over slots and items."""
    return _ratio(2 * counts["matched"], counts["gold"] + counts["predicted"], counts)


def field_f1(task: Task, counts: Counts) -> Array:
    """F1 of the fields' values, micro over slots and items, the records assigned one to one."""
    leaves = counts["gold_leaves"] + counts["predicted_leaves"]
    return np.where(leaves > 0, ratio(2 * counts["matched_leaves"], leaves), record_f1(task, counts))


def precision(task: Task, counts: Counts) -> Array:
    """Precision: the share of the predicted records that are right."""
    return _ratio(counts["matched"], counts["predicted"], counts)


def recall(task: Task, counts: Counts) -> Array:
    """Recall: the share of the gold records that are predicted."""
    return _ratio(counts["matched"], counts["gold"], counts)


def exact_match(task: Task, counts: Counts) -> Array:
    """Exact match: the share of texts whose records are all right, and no other is there."""
    return ratio(counts["exact"], counts["items"])


RECORD = Kind(
    shapes=_shapes,
    by_slot=frozenset(_BY_SLOT),
    count=_count,
    metrics={
        "record_f1": Metric(record_f1),
        "field_f1": Metric(field_f1),
        "precision": Metric(precision),
        "recall": Metric(recall),
        "exact_match": Metric(exact_match, by_slot=False),
    },
)
