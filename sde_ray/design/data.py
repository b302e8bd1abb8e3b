"""The axes of the stage data: which samples a trial learns from; each default leaves them as they are drawn.

    filter: [off, 1, 0.6, 0.3]     drawn from all train examples, from what the rules leave of all, of the best 60%, 30%
    balance: [drawn, equal]        as they come, or each label equally often
    mix: [0, 0.25, 0.5]            a share of the samples is of another task
    train_size: [60, 240, all]     so many samples, each set a part of the larger ones

An entry declares an axis and names the class that carries it out, in a file of its own in `curation/`. Methods run in
the order of the table: what is drawn after the filter is drawn from what it kept.
"""

from __future__ import annotations

import math

from sde_ray.design.base import Axis, DataOption, Numbers
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
FILTER = Axis(
    "filter",
    default="off",
    options={"off": DataOption("unfiltered")},
    numbers=Numbers(lambda share: f"best {share:.0%}", low=0, high=1, above=True),
    carrier="sde_ray.curation.filter:Filter",
    section="filter",
)


def _no_classes(task: Task, rationales: bool) -> str:
    single = task.kind == "label" and len(task.slots) == 1 and not task.multilabel
    return "" if single else f"{task.name} has not one label an example: only such can be balanced"


BALANCE = Axis(
    "balance",
    default="drawn",
    options={"drawn": DataOption("labels as drawn"), "equal": DataOption("labels balanced")},
    carrier="sde_ray.curation.balance:Balance",
    pinned=_no_classes,
)
MIX = Axis(
    "mix",
    default="0",
    options={"0": DataOption("unmixed", 0.0)},
    numbers=Numbers(lambda share: f"{share:.0%} mixed in", low=0, high=1),
    carrier="sde_ray.curation.mix:Mix",
    section="mix",
    reads=lambda settings: (settings.task,) if settings.task else (),
)

AUGMENT = Axis(
    "augment",
    default="none",
    options={
        "none": DataOption("as drawn"),
        "llm2llm": DataOption("LLM2LLM", "llm2llm"),
        "self_guide": DataOption("SELF-GUIDE", "self_guide"),
    },
    carrier="sde_ray.curation.augment.method:Augment",
    section="augment",
)

TRAIN_SIZE = Axis(
    "train_size",
    default="configured",
    options={
        "configured": DataOption("train_sizes as configured"),
        "all": DataOption("all train examples", math.inf),  # the plan puts the task's number in its place
    },
    numbers=Numbers(lambda size: f"{size:g} samples", low=1, high=10**9, whole=True),
    setting="train_size",
    resource=True,
)

DATA: tuple[Axis, ...] = (FILTER, MEMORY_LEVEL, BALANCE, AUGMENT, MIX, TRAIN_SIZE)
