"""Metrics as a user would add them, from outside the package; right ones and wrong ones."""

from __future__ import annotations

from sde_ray.metrics import bounded
from sde_ray.types import Example, Parsed, Task

NOT_A_METRIC = 3


@bounded(0.0, 1.0)
def same_slots(task: Task, example: Example, parsed: Parsed) -> float:
    """Whether the answer names the slots that gold has."""
    return float(set(parsed.answer) == set(example.answer))


def brevity(task: Task, example: Example, parsed: Parsed) -> int:
    """Slots too many or too few, with a minus sign; without bounds."""
    return -abs(len(parsed.answer) - len(example.answer))


def two_arguments(example: Example, parsed: Parsed) -> float:
    return 1.0


def failing(task: Task, example: Example, parsed: Parsed) -> float:
    return float(len(parsed.answer[task.slots[0]]))


@bounded(0.0, 1.0)
def beyond(task: Task, example: Example, parsed: Parsed) -> float:
    return 1.5


def text(task: Task, example: Example, parsed: Parsed) -> float:
    return "good"  # type: ignore[return-value]


def worst_for_gold(task: Task, example: Example, parsed: Parsed) -> float:
    return float(parsed.answer != example.answer)


def ask(where: str, slots: str, labels: str, **fields: str) -> str:
    """A wording of one's own."""
    return f"Look {where} and sort it. {labels}."


def ask_with_form(where: str, schematic: str, **fields: str) -> str:
    return f"Write it as {schematic}, as the {fields['text']} {where} says."


def ask_nothing(**fields: str) -> str:
    return " "


def ask_wrongly(where: str) -> str:
    return where
