"""Notes on a task's instruction: slots and labels that the prompt does not name.

A wording of one's own may leave them out on purpose, as a tuned model learns them from its samples; more often it was
forgotten. So it is told, before anything is trained, and nothing is refused.
"""

from __future__ import annotations

from sde_ray.design.designs import NAMED
from sde_ray.design.render import render_instruction
from sde_ray.types import Task

SHOWN = 6


def wording_notes(task: Task, instruction_variant: int = 0) -> list[str]:
    """What the instruction of the baseline design does not name: one sentence with the remedy, or nothing."""
    asked = render_instruction(task, NAMED["baseline"], instruction_variant, "above")
    slots = [slot for slot in task.slots if slot not in asked] if len(task.slots) > 1 else []
    labels = [label for label in task.labels or () if label not in asked]
    lost = [(slots, "slots", "{slots}"), (labels, "labels", "{labels}")]
    named = [f"the {what} {_listed(words)}" for words, what, _ in lost if words]
    if not named:
        return []
    fields = " and ".join(field for words, _, field in lost if words)
    return [
        f'The instruction of "{task.name}" does not name {" and ".join(named)}. Write {fields} where they should '
        "stand, or leave it so: the model then knows them from its samples alone."
    ]


def _listed(words: list[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
