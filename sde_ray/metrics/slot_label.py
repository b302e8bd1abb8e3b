"""Classification metrics of closed labels, one a slot, where every slot has labels of its own.

    urgency: low, high        product: app, router, high

A label of one slot never meets one of another, whatever the words. The classes of a slot are its own labels and "not
mentioned"; the counts of one item, with C classes of all slots in turn and S slots:

    gold, predicted [C]         the margins of each slot's confusion matrix, slot by slot
    matched [C]                 their diagonals
    quadratic [S]               cells times quadratic weights, summed, where a slot's labels are numbers
    sentence, items []          1 where every slot is right; 1

Averages over slots. `accuracy` and `kappa` are micro: every answer counts the same, and chance agreement is that within
each slot, so a slot's own prior earns nothing. `macro_kappa` and `macro_f1` are macro: the mean of the slots' values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sde_ray.data.schema import are_numbers
from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, label_blocks, ratio
from sde_ray.metrics.label import (
    accuracy,
    chance_corrected,
    is_ordinal,
    label_classes,
    quadratic_weights,
    sentence_accuracy,
)
from sde_ray.types import Answer, Example, Parsed, Task

FURTHER = 1  # "not mentioned" is a class of every slot


def _shapes(task: Task) -> Shapes:
    table = (label_blocks(task, FURTHER)[-1].stop,)
    quadratic = {"quadratic": (len(task.slots),)} if _any_ordinal(task) else {}
    return {"gold": table, "predicted": table, "matched": table, **quadratic, "sentence": (), "items": ()}


def _any_ordinal(task: Task) -> bool:
    return any(are_numbers(task.labels_of(slot)) for slot in task.slots)


def _one_hot(task: Task, answer: Answer) -> Array:
    """One column for each class of each slot, [C]: 1 for each slot's class."""
    blocks, columns = label_blocks(task, FURTHER), np.zeros(_shapes(task)["gold"])
    for block, place in zip(blocks, label_classes(task, answer), strict=True):
        columns[block.start + place] = 1.0
    return columns


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    gold, predicted = _one_hot(task, example.answer), _one_hot(task, parsed.answer)
    right = 0.0 if faulty else 1.0
    counts = {
        "gold": gold,
        "predicted": predicted * right,
        "matched": gold * predicted * right,
        "sentence": float(np.array_equal(gold, predicted)) * right,
        "items": 1.0,
    }
    if _any_ordinal(task):
        classes = zip(label_classes(task, example.answer), label_classes(task, parsed.answer), strict=True)
        counts["quadratic"] = right * np.array(
            [weights[pair] for weights, pair in zip(_quadratic(task), classes, strict=True)]
        )
    return counts


def _quadratic(task: Task) -> list[Array]:
    return [quadratic_weights(task.labels_of(slot)) for slot in task.slots]


def _chance_corrected(task: Task, agreed: Array, counts: Counts, weights: Sequence[Array]) -> Array:
    """Chance-corrected agreement, where chance is the mean of the slots' own chance agreements."""
    size, by_chance = counts["gold"].sum(-1), np.zeros(counts["gold"].shape[:-1])
    for block, weight in zip(label_blocks(task, FURTHER), weights, strict=True):
        gold, predicted = counts["gold"][..., block], counts["predicted"][..., block]
        by_chance = by_chance + ratio(np.einsum("...i,ij,...j->...", gold, weight, predicted), gold.sum(-1))
    return chance_corrected(ratio(agreed, size), ratio(by_chance, size))


def kappa(task: Task, counts: Counts) -> Array:
    """Cohen's kappa, pooled over slots and items, with each slot's own chance agreement."""
    plain = [np.eye(len(task.labels_of(slot)) + FURTHER) for slot in task.slots]
    return _chance_corrected(task, counts["matched"].sum(-1), counts, plain)


def quadratic_weighted_kappa(task: Task, counts: Counts) -> Array:
    """Cohen's kappa with quadratic weights on labels that are numbers, with each slot's own chance agreement."""
    return _chance_corrected(task, counts["quadratic"], counts, _quadratic(task))


def slot_mean(task: Task, counts: Counts, further: int, measure: Callable[[Counts], Array]) -> Array:
    """Mean over the slots that have items of `measure`, which gets the columns of one slot."""
    values, used = [], []
    for block in label_blocks(task, further):
        part = {name: counts[name][..., block] for name in ("gold", "predicted", "matched")}
        values.append(measure(part))
        used.append((part["gold"] + part["predicted"]).sum(-1) > 0)
    return ratio(np.where(used, values, 0.0).sum(axis=0), np.sum(used, axis=0))


def macro_kappa(task: Task, counts: Counts) -> Array:
    """Mean of the slots' kappas; a slot where chance alone agrees fully has 1 if all agrees, else 0."""
    return slot_mean(task, counts, FURTHER, _kappa_of_slot)


def _kappa_of_slot(part: Counts) -> Array:
    size, by_chance = part["gold"].sum(-1), (part["gold"] * part["predicted"]).sum(-1)
    return chance_corrected(ratio(part["matched"].sum(-1), size), ratio(by_chance, size**2))


def mean_f1(part: Counts) -> Array:
    """Mean F1 of the classes that gold or the predictions use."""
    used = part["gold"] + part["predicted"]
    return ratio(ratio(2 * part["matched"], used).sum(-1), (used > 0).sum(-1))


def macro_f1(task: Task, counts: Counts) -> Array:
    """Macro-F1: the mean over slots of the mean F1 of the classes that are used there, "not mentioned" included."""
    return slot_mean(task, counts, FURTHER, mean_f1)


SLOT_LABEL = Kind(
    shapes=_shapes,
    by_slot=frozenset({"quadratic"}),
    by_label={"gold": FURTHER, "predicted": FURTHER, "matched": FURTHER},
    count=_count,
    metrics={
        "kappa": Metric(kappa, bounds=(-1.0, 1.0)),
        "quadratic_weighted_kappa": Metric(quadratic_weighted_kappa, bounds=(-1.0, 1.0), applies=is_ordinal),
        "macro_kappa": Metric(macro_kappa, bounds=(-1.0, 1.0), by_slot=False),
        "accuracy": Metric(accuracy),
        "sentence_accuracy": Metric(sentence_accuracy, by_slot=False),
        "macro_f1": Metric(macro_f1),
    },
)
