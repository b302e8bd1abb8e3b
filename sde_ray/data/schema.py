"""Schema of a dataset's answers: kind, slots, labels and placeholder."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from sde_ray.errors import UserError, suggest
from sde_ray.types import RecordField, Task, TaskKind

SENTIMENT_NUMBERS: Mapping[str, str] = {
    "positive": "1",
    "neutral": "0",
    "negative": "-1",
    "正面": "1",
    "中性": "0",
    "负面": "-1",
}
"""The paper's numbers by label; that of the placeholder is -2 (PAPER.md 1.5)."""


@dataclass(frozen=True)
class Schema:
    """Schema of a dataset's answers. `labels` is empty for spans and free values; `numbers` are by label.

    `slot_labels` are those of each slot, where slots have their own; `multilabel` the slots that hold several labels;
    `ranges` the lowest and the highest value of each slot that holds a number; `fields` those of a slot's records;
    `single` the slots with one record at most.
    """

    kind: TaskKind
    slots: tuple[str, ...]
    labels: tuple[str, ...] = ()
    placeholder: str = "none"
    numbers: tuple[tuple[str, str], ...] = ()
    slot_labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    multilabel: tuple[str, ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    fields: tuple[tuple[str, tuple[RecordField, ...]], ...] = ()
    single: tuple[str, ...] = ()

    def labels_of(self, slot: str) -> tuple[str, ...]:
        """Labels that a slot may have: its own, else those that all slots share."""
        return dict(self.slot_labels).get(slot, self.labels)


def schema_of(task: Task) -> Schema:
    """Schema of a task's answers."""
    return Schema(
        task.kind,
        task.slots,
        task.labels or (),
        task.placeholder,
        tuple(task.numbers.items()),
        tuple(task.slot_labels.items()),
        task.multilabel,
        tuple(task.ranges.items()),
        tuple(task.fields.items()),
        task.single,
    )


_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def parse_number(text: str) -> float | None:
    """Parse a finite decimal number, blanks around it aside; None for anything else ("12 km", "1,5", "nan")."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def are_numbers(labels: Iterable[str]) -> bool:
    """Whether all labels are numbers, so that they have an order and distances; False where there are none."""
    return _are_numbers(tuple(labels))


@lru_cache(maxsize=1024)  # asked of every line that is written and read
def _are_numbers(labels: tuple[str, ...]) -> bool:
    return bool(labels) and all(parse_number(label) is not None for label in labels)


def check_slots(schema: Schema, available: Iterable[str], what: str) -> None:
    """Raise `UserError` for slots that a published format does not have. A subset is fine: the others are left out."""
    names = list(available)
    wrong = [f'"{slot}".{suggest(slot, names)}' for slot in schema.slots if slot not in names]
    if wrong:
        raise UserError(f"{what} has no slot {' No slot '.join(wrong)} It has: {', '.join(names)}.")
