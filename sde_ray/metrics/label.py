"""Classification metrics of closed labels, one a slot, of one list: weighted kappa, kappa, accuracy, macro-F1.

The classes of a slot are the task's labels and "not mentioned". Counts of one item, with S slots and A classes:

    gold, predicted [S, A]      the margins of the confusion matrix
    matched [S, A]              its diagonal
    agreement [S]               its cells times the agreement weights, summed
    quadratic [S]               the same with quadratic weights, where labels are numbers
    sentence, items []          1 where every slot is right; 1

That is all that kappa needs: chance agreement depends on the margins only. A strict count puts a faulty completion into
a column of its own that agrees with nothing; the published scorer gave it credit for every slot that gold leaves
unmentioned (PAPER.md 1.13, 3), and took "not positive" for positive (1.13, 4): here a label is matched whole.

Slots with labels of their own: slot_label.py; several labels a slot: multilabel.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sde_ray.data.schema import are_numbers
from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, ratio
from sde_ray.types import Answer, Example, Parsed, Task

SENTIMENT = ("1", "0", "-1")
"""The numbers of positive, neutral and negative; a task with these three labels has the paper's agreement weights."""

AGREEMENT = np.array(
    [
        [1.00, 0.50, 0.00, 0.50],
        [0.67, 1.00, 0.67, 0.67],
        [0.00, 0.50, 1.00, 0.50],
        [0.50, 0.67, 0.50, 1.00],
    ]
)
"""Rows gold, columns predicted; positive, neutral, negative, unmentioned. Asymmetric as published (PAPER.md 1.10)."""


def is_sentiment(task: Task) -> bool:
    """Whether the task's labels are numbered 1, 0 and -1, so that the paper's agreement weights apply."""
    if task.slot_labels or task.multilabel:
        return False
    numbers = [task.numbers.get(label) for label in task.labels or ()]
    return len(numbers) == len(SENTIMENT) and set(numbers) == set(SENTIMENT)


def agreement(task: Task) -> Array:
    """Agreement weights [A, A] in the order of the task's labels, then unmentioned; identity for other labels."""
    labels = task.labels or ()
    if not is_sentiment(task):
        return np.eye(len(labels) + 1)
    order = [SENTIMENT.index(task.numbers[label]) for label in labels] + [len(SENTIMENT)]
    return AGREEMENT[np.ix_(order, order)]


def is_ordinal(task: Task, slot: str = "") -> bool:
    """Whether the labels of a slot are numbers, so that they have distances; of every slot where none is named."""
    return all(are_numbers(task.labels_of(name)) for name in ([slot] if slot else task.slots))


def quadratic_weights(labels: Sequence[str]) -> Array:
    """Quadratic agreement weights [A, A] of labels that are numbers, then unmentioned; identity for other labels.

    1 - (difference / largest difference)^2 (Cohen 1968); "not mentioned" agrees with itself only.
    """
    weights = np.eye(len(labels) + 1)
    if are_numbers(labels) and len(labels) > 1:
        values = np.array([float(label) for label in labels])
        weights[:-1, :-1] = 1 - ((values[:, None] - values[None, :]) / (values.max() - values.min())) ** 2
    return weights


def confusion(task: Task, examples: list[Example], parsed: list[Parsed]) -> Array:
    """Confusion matrices [S, A, A], rows gold, columns predicted; for reports.

    A slot's own labels come first, in their order, "not mentioned" is the last class; a slot with fewer labels than
    another has zeros between. Of several labels in a slot the first counts.
    """
    longest = max(len(task.labels_of(slot)) for slot in task.slots)
    cells = np.zeros((len(task.slots), longest + 1, longest + 1))
    for example, one in zip(examples, parsed, strict=True):
        pairs = zip(label_classes(task, example.answer), label_classes(task, one.answer), strict=True)
        for slot, (gold, predicted) in enumerate(pairs):
            unmentioned = len(task.labels_of(task.slots[slot]))
            cells[
                slot, longest if gold == unmentioned else gold, longest if predicted == unmentioned else predicted
            ] += 1
    return cells


def label_classes(task: Task, answer: Answer) -> list[int]:
    """Class of every slot, [S]. A slot without a label of its own is unmentioned, the last class."""
    classes = []
    for slot in task.slots:
        labels, value = task.labels_of(slot), next(iter(answer.get(slot, ())), None)
        classes.append(labels.index(value) if value in labels else len(labels))
    return classes


def _shapes(task: Task) -> Shapes:
    table = (len(task.slots), len(task.labels or ()) + 1)
    counts = {"gold": table, "predicted": table, "matched": table, "agreement": table[:1], "sentence": (), "items": ()}
    return counts | ({"quadratic": table[:1]} if is_ordinal(task) else {})


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    one_hot = np.eye(len(task.labels or ()) + 1)
    gold, predicted = label_classes(task, example.answer), label_classes(task, parsed.answer)
    right = 0.0 if faulty else 1.0
    quadratic = quadratic_weights(task.labels or ())[gold, predicted] * right
    return {
        **({"quadratic": quadratic} if is_ordinal(task) else {}),
        "gold": one_hot[gold],
        "predicted": one_hot[predicted] * right,
        "matched": one_hot[gold] * one_hot[predicted] * right,
        "agreement": agreement(task)[gold, predicted] * right,
        "sentence": float(gold == predicted) * right,
        "items": 1.0,
    }


def _chance_corrected(weights: Array, agreed: Array, counts: Counts) -> Array:
    """Chance-corrected agreement with the margins of all slots together."""
    size = counts["gold"].sum(-1)
    observed = ratio(agreed, size)
    expected = ratio(np.einsum("...i,ij,...j->...", counts["gold"], weights, counts["predicted"]), size**2)
    return chance_corrected(observed, expected)


def chance_corrected(observed: Array, expected: Array) -> Array:
    """Chance-corrected agreement, (po - pe) / (1 - pe) (Cohen 1960).

    Where chance alone agrees fully (one class only): 1 if all agrees, else 0.
    """
    room = 1.0 - expected
    certain = room < 1e-12
    value = (observed - expected) / np.where(certain, 1.0, room)
    return np.where(certain, (observed > 1.0 - 1e-12).astype(float), value)


def weighted_kappa(task: Task, counts: Counts) -> Array:
    """Weighted kappa with the task's agreement weights, pooled over slots and items (PAPER.md 1.10)."""
    return _chance_corrected(agreement(task), counts["agreement"], counts)


def kappa(task: Task, counts: Counts) -> Array:
    """Cohen's kappa, pooled over slots and items."""
    return _chance_corrected(np.eye(counts["gold"].shape[-1]), counts["matched"].sum(-1), counts)


def quadratic_weighted_kappa(task: Task, counts: Counts) -> Array:
    """Cohen's kappa with quadratic weights on labels that are numbers, pooled over slots and items (Cohen 1968)."""
    return _chance_corrected(quadratic_weights(task.labels or ()), counts["quadratic"], counts)


def accuracy(task: Task, counts: Counts) -> Array:
    """Accuracy: the share of slots with the right label, "not mentioned" included."""
    return ratio(counts["matched"].sum(-1), counts["gold"].sum(-1))


def sentence_accuracy(task: Task, counts: Counts) -> Array:
    """Exact-match accuracy of items: the share with every slot right."""
    return ratio(counts["sentence"], counts["items"])


def macro_f1(task: Task, counts: Counts) -> Array:
    """Macro-F1: the mean F1 of the classes that gold or the predictions use, "not mentioned" included."""
    used = counts["gold"] + counts["predicted"]
    return ratio(ratio(2 * counts["matched"], used).sum(-1), (used > 0).sum(-1))


LABEL = Kind(
    shapes=_shapes,
    by_slot=frozenset({"gold", "predicted", "matched", "agreement", "quadratic"}),
    count=_count,
    metrics={
        "weighted_kappa": Metric(weighted_kappa, bounds=(-1.0, 1.0)),
        "kappa": Metric(kappa, bounds=(-1.0, 1.0)),
        "quadratic_weighted_kappa": Metric(quadratic_weighted_kappa, bounds=(-1.0, 1.0), applies=is_ordinal),
        "accuracy": Metric(accuracy),
        "sentence_accuracy": Metric(sentence_accuracy, by_slot=False),
        "macro_f1": Metric(macro_f1),
    },
)
