"""The axes of the stage data: which samples a trial learns from; each default leaves them as they are drawn.

An entry declares an axis and names the class that carries it out, in a file of its own in `curation/`.
"""

from __future__ import annotations

from sde_ray.design.base import Axis, DataOption
from sde_ray.types import Task


def _no_facts(task: Task, rationales: bool) -> str:
    free = task.kind == "free" and len(task.slots) == 1
    return "" if free else f"{task.name} asks for no facts: memory is of questions with one free answer"


MEMORY_LEVEL = Axis(
    "memory_level",
    default="any",
    options={
        "any": DataOption("facts of any level", "any"),
        **{str(level): DataOption(f"D{level} facts", str(level)) for level in range(5)},
        "mixed": DataOption("facts of all levels", "mixed"),
        "divided": DataOption("facts level by level", "divided"),
    },
    carrier="sde_ray.curation.memory.memory_level:MemoryLevel",
    section="memory_level",
    pinned=_no_facts,
)

DATA: tuple[Axis, ...] = (MEMORY_LEVEL,)
