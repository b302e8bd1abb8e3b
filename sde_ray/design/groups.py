"""Groups of slots: with `slots_per_sample` an example is several samples, each of which asks about some of the slots.

    slots_per_sample=2     food, drinks | price           so many slots a sample, in the order of the task

What is kept as an example's completion are those of its groups, joined by a separator that no completion can hold; so
whatever reads completions (scores, retries, paired comparisons, scoring again) reads them together. Expect better
recall, at several times the prompts (UniversalNER, arXiv 2308.03279: one query a type beats one for all; IEPile,
2402.14710: groups of 4 to 6 with negatives). `negatives` is the share of the groups without an answer that a trial
learns from: with few slots a sample most are such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sde_ray.design.base import AnswerOption, Axis, Numbers
from sde_ray.types import Design, Task

SEPARATOR = "\n\x1a\n"
_MARK = "\x1a"  # the control character that stands for what cannot be shown
MAX_KEPT = 64

_groups: dict[tuple[int, int], tuple[Task, tuple[Task, ...]]] = {}


def _pinned(task: Task, rationales: bool) -> str:
    if task.numbered:
        return f"the {task.nouns.slot}s of {task.name} are the numbers of a batch"
    return "" if len(task.slots) > 1 else f"{task.name} has one {task.nouns.slot}"


SLOTS_PER_SAMPLE = Axis(
    "slots_per_sample",
    default="all",
    options={"all": AnswerOption("All-slots"), "1": AnswerOption("One-slot")},
    pinned=_pinned,
    numbers=Numbers(
        lambda count: f"{count:g}-slots",
        low=1,
        high=10_000,
        whole=True,
        named={1.0: "1"},
        option=lambda count: AnswerOption(f"{count:g}-slots"),
    ),
    optional=True,
)
NEGATIVES = Axis(
    "negatives",
    default="1",
    options={"1": AnswerOption("All-negatives")},
    pinned=_pinned,
    numbers=Numbers(
        lambda share: f"{share:.0%} negatives",
        low=0,
        high=1,
        named={1.0: "1"},
        option=lambda share: AnswerOption(f"{share:.0%} negatives"),
    ),
    optional=True,
)
OF_ASKING = (SLOTS_PER_SAMPLE.name, NEGATIVES.name, "demonstrations")
"""The axes on what a sample asks, and what stands before it: `asking.py` carries them out."""


def groups_of(task: Task, design: Design) -> tuple[Task, ...]:
    """The task by groups of its slots; the task itself where a sample asks about all of them."""
    option = dict(design.options).get(SLOTS_PER_SAMPLE.name, SLOTS_PER_SAMPLE.default)
    if option == SLOTS_PER_SAMPLE.default or int(option) >= len(task.slots):
        return (task,)
    key = (id(task), int(option))
    if key not in _groups or _groups[key][0] is not task:
        if len(_groups) >= MAX_KEPT:
            _groups.pop(next(iter(_groups)), None)  # the oldest
        starts = range(0, len(task.slots), int(option))
        # The same objects each time, as an instruction is rendered once for a task.
        _groups[key] = task, tuple(_only(task, task.slots[start : start + int(option)]) for start in starts)
    return _groups[key][1]


def whole(design: Design) -> Design:
    """The design of one group's samples: it asks about all slots of that group, and is written by itself."""
    if not any(axis in OF_ASKING for axis, _ in design.options):
        return design
    return Design(tuple((axis, option) for axis, option in design.options if axis not in OF_ASKING))


def join_completions(completions: Sequence[str]) -> str:
    """The completions of all groups as one; of one group it is that itself."""
    if len(completions) == 1:
        return completions[0]
    return SEPARATOR.join(text.replace(_MARK, "\ufffd") for text in completions)


def split_completions(text: str) -> list[str]:
    """The inverse of `join_completions`."""
    return [part.strip("\n") for part in text.split(_MARK)]


def _only(task: Task, slots: tuple[str, ...]) -> Task:
    """The task asked about these slots alone."""
    labels = {slot: task.slot_labels[slot] for slot in slots if slot in task.slot_labels}
    united = tuple(dict.fromkeys(label for slot in slots for label in task.labels_of(slot)))
    unasked = {*task.slots, *(task.labels or ())} - {*slots, *united}
    return replace(
        task,
        slots=slots,
        labels=united if task.labels else task.labels,
        slot_labels=labels,
        slot_numbers={slot: numbers for slot, numbers in task.slot_numbers.items() if slot in slots},
        multilabel=tuple(slot for slot in task.multilabel if slot in slots),
        ranges={slot: limits for slot, limits in task.ranges.items() if slot in slots},
        fields={slot: fields for slot, fields in task.fields.items() if slot in slots},
        single=tuple(slot for slot in task.single if slot in slots),
        definitions={name: text for name, text in task.definitions.items() if name not in unasked},
    )
