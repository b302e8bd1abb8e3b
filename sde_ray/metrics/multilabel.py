"""Classification metrics of sets of labels: F1 micro and macro, exact match. A slot without labels is the empty set.

For tasks with several labels in one slot or more; a slot with one label is a set of one. Counts of one item, with C
labels of all slots in turn and S slots:

    gold, predicted, matched [C]        1 where the label is in the gold set; in the predicted one; in both
    exact, slots [S]                    1 where both sets are equal; 1
    sentence, items []                  1 where all sets are equal; 1

A label counts in its own slot only. The strict twin of a faulty completion has no hit, and one wrong prediction where
it has none at all, as for spans: else a faulty answer to a text without labels would cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, label_blocks, ratio
from sde_ray.metrics.label import sentence_accuracy
from sde_ray.metrics.slot_label import mean_f1, slot_mean
from sde_ray.types import Answer, Example, Parsed, Task

FURTHER = 0  # "not mentioned" is the empty set, no class


def _shapes(task: Task) -> Shapes:
    table, slots = (label_blocks(task, FURTHER)[-1].stop,), (len(task.slots),)
    tables = dict.fromkeys(("gold", "predicted", "matched"), table)
    return {**tables, "exact": slots, "slots": slots, "sentence": (), "items": ()}


def _sets(task: Task, answer: Answer) -> Array:
    columns = [[label in answer.get(slot, ()) for label in task.labels_of(slot)] for slot in task.slots]
    return np.concatenate([np.array(each, dtype=np.float64) for each in columns])


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    gold, predicted = _sets(task, example.answer), _sets(task, parsed.answer)
    exact = [bool((gold[block] == predicted[block]).all()) for block in label_blocks(task, FURTHER)]
    right = 0.0 if faulty else 1.0
    if faulty and not predicted.any():
        predicted = np.eye(1, predicted.size)[0]
    return {
        "gold": gold,
        "predicted": predicted,
        "matched": gold * predicted * right,
        "exact": np.array(exact) * right,
        "slots": [1] * len(exact),
        "sentence": all(exact) * right,
        "items": 1.0,
    }


def _nothing(counts: Counts) -> Array:
    """1 where no label was to be found and none was predicted, so that everything is right."""
    return ((counts["gold"] + counts["predicted"]).sum(-1) == 0).astype(float)


def micro_f1(task: Task, counts: Counts) -> Array:
    """Micro-F1: the harmonic mean of precision and recall of all pairs of slot and label."""
    found = (counts["gold"] + counts["predicted"]).sum(-1)
    return ratio(2 * counts["matched"].sum(-1), found, _nothing(counts) * (counts["items"] > 0))


def macro_f1(task: Task, counts: Counts) -> Array:
    """Macro-F1: the mean over slots of the mean F1 of the labels that gold or the predictions use there."""
    value, nothing = slot_mean(task, counts, FURTHER, mean_f1), _nothing(counts) * (counts["items"] > 0)
    return np.maximum(value, nothing)


def exact_match(task: Task, counts: Counts) -> Array:
    """Exact match (subset accuracy): the share of slots whose set of labels is right as a whole."""
    return ratio(counts["exact"], counts["slots"])


MULTILABEL = Kind(
    shapes=_shapes,
    by_slot=frozenset({"exact", "slots"}),
    by_label={"gold": FURTHER, "predicted": FURTHER, "matched": FURTHER},
    count=_count,
    metrics={
        "micro_f1": Metric(micro_f1),
        "macro_f1": Metric(macro_f1),
        "exact_match": Metric(exact_match),
        "sentence_accuracy": Metric(sentence_accuracy, by_slot=False),
    },
)
