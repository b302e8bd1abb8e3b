"""Schema of a dataset's answers: kind, slots, labels and placeholder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sde_ray.errors import UserError, suggest
from sde_ray.types import Task

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
    """Schema of a dataset's answers. `labels` is empty for spans and free values; `numbers` are by label."""

    kind: Literal["label", "span", "free"]
    slots: tuple[str, ...]
    labels: tuple[str, ...] = ()
    placeholder: str = "none"
    numbers: tuple[tuple[str, str], ...] = ()


def schema_of(task: Task) -> Schema:
    """Schema of a task's answers."""
    return Schema(task.kind, task.slots, task.labels or (), task.placeholder, tuple(task.numbers.items()))


def check_slots(schema: Schema, available: Iterable[str], what: str) -> None:
    """Raise `UserError` for slots that a published format does not have. A subset is fine: the others are left out."""
    names = list(available)
    wrong = [f'"{slot}".{suggest(slot, names)}' for slot in schema.slots if slot not in names]
    if wrong:
        raise UserError(f"{what} has no slot {' No slot '.join(wrong)} It has: {', '.join(names)}.")
