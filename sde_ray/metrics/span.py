"""Extraction metrics of spans (entities, event triggers): micro precision, recall and F1, plain and soft.

A prediction is a pair (slot, span): the slot must be right, the span is compared without case and white space. Plain:
equal strings, duplicates by counts. `_soft`: near strings by the task's rule `span_match`, paired one to one, so that
soft is never below plain. Counts of one item with S slots: `gold`, `predicted`, `matched`, `near` (S,) and `items`.

In the strict twin a faulty completion has no hit, and at least one wrong prediction: else a faulty answer to a text
that has no span would cost nothing. The published scorer removed duplicates from the hits but not from the misses
(PAPER.md 1.13, 21).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, ratio
from sde_ray.metrics.span_matching import count_matches, is_near, is_near_and_within, normalize
from sde_ray.types import Example, Parsed, Task

SPAN_MATCHES = {"within": is_near_and_within, "near": is_near}


def _shapes(task: Task) -> Shapes:
    table = (len(task.slots),)
    return {"gold": table, "predicted": table, "matched": table, "near": table, "items": ()}


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    gold = [[normalize(span) for span in example.answer.get(slot, ())] for slot in task.slots]
    predicted = [[normalize(span) for span in parsed.answer.get(slot, ())] for slot in task.slots]
    both = list(zip(gold, predicted, strict=True))
    counts: dict[str, Any] = {
        "gold": [len(spans) for spans in gold],
        "predicted": [len(spans) for spans in predicted],
        "matched": [(Counter(one) & Counter(other)).total() for one, other in both],
        "near": [count_matches(one, other, SPAN_MATCHES[task.span_match]) for one, other in both],
        "items": 1,
    }
    if faulty:
        nothing = [0] * len(task.slots)
        wrong = counts["predicted"] if any(counts["predicted"]) else [1, *nothing[1:]]
        counts |= {"matched": nothing, "near": nothing, "predicted": wrong}
    return counts


def _ratio(part: Array, whole: Array, counts: Counts) -> Array:
    """`part / whole`; where nothing was to be found and nothing was predicted, everything is right: 1."""
    nothing = (counts["gold"] + counts["predicted"] == 0) & (counts["items"] > 0)
    return ratio(part, whole, empty=nothing.astype(float))


def precision(task: Task, counts: Counts) -> Array:
    """Precision: the share of the predictions that are right."""
    return _ratio(counts["matched"], counts["predicted"], counts)


def recall(task: Task, counts: Counts) -> Array:
    """Recall: the share of the gold spans that are predicted."""
    return _ratio(counts["matched"], counts["gold"], counts)


def f1(task: Task, counts: Counts) -> Array:
    """F1: the harmonic mean of precision and recall, micro over slots and items."""
    return _ratio(2 * counts["matched"], counts["gold"] + counts["predicted"], counts)


def precision_soft(task: Task, counts: Counts) -> Array:
    """Precision with near spans counted as right."""
    return precision(task, {**counts, "matched": counts["near"]})


def recall_soft(task: Task, counts: Counts) -> Array:
    """Recall with near spans counted as right."""
    return recall(task, {**counts, "matched": counts["near"]})


def f1_soft(task: Task, counts: Counts) -> Array:
    """F1 with near spans counted as right."""
    return f1(task, {**counts, "matched": counts["near"]})


SPAN = Kind(
    shapes=_shapes,
    by_slot=frozenset({"gold", "predicted", "matched", "near"}),
    count=_count,
    metrics={
        "precision": Metric(precision),
        "recall": Metric(recall),
        "f1": Metric(f1),
        "precision_soft": Metric(precision_soft),
        "recall_soft": Metric(recall_soft),
        "f1_soft": Metric(f1_soft),
    },
)
