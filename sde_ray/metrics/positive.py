"""Classification metrics of the positive class ("yes"): F1, precision and recall, and accuracy beside them.

Only questions that an example asks are counted: a slot that gold leaves out was not asked. With few positives accuracy
says little, as answering "no" throughout has much of it, and an F1 of 0. A question without an answer is never a "no":
accuracy counts it as wrong, and recall where it was positive. Counts of one item, with S slots:

    gold, predicted, matched [S]    1 where the positive label is gold; is predicted; both
    right, asked [S]                1 where the answer is right; where there is a question
    items []                        1

In the strict twin nothing of a faulty completion is right: every question of it has the wrong answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, ratio
from sde_ray.metrics.span import f1, precision, recall
from sde_ray.types import Answer, Example, Parsed, Task


def _shapes(task: Task) -> Shapes:
    table = (len(task.slots),)
    return {**dict.fromkeys(("gold", "predicted", "matched", "right", "asked"), table), "items": ()}


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    asked = np.array([bool(example.answer.get(slot)) for slot in task.slots], dtype=np.float64)
    gold = _positive(task, example.answer)
    predicted = asked - gold if faulty else _positive(task, parsed.answer) * asked
    same = [example.answer.get(slot) == parsed.answer.get(slot) for slot in task.slots]
    right = np.zeros(len(task.slots)) if faulty else np.array(same, dtype=np.float64) * asked
    counts = {"gold": gold, "predicted": predicted, "matched": gold * predicted, "right": right}
    return {**counts, "asked": asked, "items": 1.0}


def _positive(task: Task, answer: Answer) -> Array:
    return np.array([task.positive in answer.get(slot, ()) for slot in task.slots], dtype=np.float64)


def accuracy(task: Task, counts: Counts) -> Array:
    """Accuracy: the share of the questions with the right answer."""
    return ratio(counts["right"], counts["asked"])


POSITIVE = Kind(
    shapes=_shapes,
    by_slot=frozenset({"gold", "predicted", "matched", "right", "asked"}),
    count=_count,
    metrics={
        "f1": Metric(f1),
        "precision": Metric(precision),
        "recall": Metric(recall),
        "accuracy": Metric(accuracy),
    },
)
