"""Question-answering metrics of free answers, one value a slot: exact match, accuracy, substring.

Compared are words: no case, punctuation or English article. Any gold value or alias is accepted. A slot that gold
leaves out is right when the answer leaves it out too; where every question has an answer (`Task.answered`) it was not
asked, and does not count. Counts of one item with S slots: `slots`, `exact`, `within`, `raw` (S,).

Accuracy is containment of an accepted answer as whole words ("Iran" is not in "Iranian"); `substring` is the raw rule
of the published work, for comparison (PAPER.md 2.5, 2.7). Both let a long answer pass, so read exact match beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, ratio
from sde_ray.metrics.span_matching import contains, normalize, words
from sde_ray.types import Example, Parsed, Task


def accepted(example: Example, slot: str) -> tuple[str, ...]:
    """Accepted answers of a slot: its gold values, all of them in one string, and the aliases."""
    values = example.answer.get(slot, ())
    return tuple(dict.fromkeys((*values, ", ".join(values), *example.aliases.get(slot, ())))) if values else ()


def _judge(accepted_answers: tuple[str, ...], answer: str | None) -> tuple[bool, bool, bool]:
    """Whether an answer (or None) equals an accepted one, contains one as words, contains one as raw string."""
    if answer is None or not accepted_answers:
        return (answer is None and not accepted_answers,) * 3
    answer_words = words(answer)
    exact = any(words(one) == answer_words for one in accepted_answers)
    within = any(contains(answer_words, words(one)) for one in accepted_answers)
    return exact, within, any(normalize(one) in normalize(answer) for one in accepted_answers)


def _shapes(task: Task) -> Shapes:
    table = (len(task.slots),)
    return {"slots": table, "exact": table, "within": table, "raw": table}


def _count(task: Task, example: Example, parsed: Parsed, faulty: bool) -> Mapping[str, Any]:
    predicted = [", ".join(values) if (values := parsed.answer.get(slot, ())) else None for slot in task.slots]
    judged = [_judge(accepted(example, slot), one) for slot, one in zip(task.slots, predicted, strict=True)]
    asked = [not task.answered or bool(example.answer.get(slot)) for slot in task.slots]
    judged = [one if is_asked and not faulty else (False,) * 3 for one, is_asked in zip(judged, asked, strict=True)]
    exact, within, raw = zip(*judged, strict=True)
    return {"slots": asked, "exact": exact, "within": within, "raw": raw}


def exact_match(task: Task, counts: Counts) -> Array:
    """Exact match: the share of slots answered with exactly an accepted answer."""
    return ratio(counts["exact"], counts["slots"])


def accuracy(task: Task, counts: Counts) -> Array:
    """Accuracy: the share of slots whose answer holds an accepted answer as whole words."""
    return ratio(counts["within"], counts["slots"])


def substring(task: Task, counts: Counts) -> Array:
    """Substring match: the share of slots whose answer holds the letters of an accepted answer anywhere."""
    return ratio(counts["raw"], counts["slots"])


FREE = Kind(
    shapes=_shapes,
    by_slot=frozenset({"slots", "exact", "within", "raw"}),
    count=_count,
    metrics={"exact_match": Metric(exact_match), "accuracy": Metric(accuracy), "substring": Metric(substring)},
)
