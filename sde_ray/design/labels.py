"""The axis `labels`: closed labels as words or as numbers.

    labels: [positive, negative]            food: positive      food: 0       the label's place in the list, from 0
    labels: {urgency: [low, high],          urgency: high       urgency: 1    the place in the slot's own list
             product: [app, router]}        product: app        product: 0
    labels: [1, 2, 3]                       stars: 3            the axis is pinned: these are numbers already

A label of another slot is an unknown label. Of a slot with several labels each may stand once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sde_ray.data.schema import are_numbers
from sde_ray.design.base import AnswerOption, Axis, Faults, Lines
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.types import Example, Fault, Task


def numbers_of(task: Task, slot: str = "") -> Mapping[str, str]:
    """Numbers of a slot's labels and of the placeholder: the task's, else each label's place in the list and -1.

    Labels that are numbers stand for themselves. Without a slot: of the labels that all slots share.
    """
    labels = task.labels_of(slot)
    default = {label: label if are_numbers(labels) else str(place) for place, label in enumerate(labels)}
    shared = {label: number for label, number in task.numbers.items() if label in labels}
    return {**default, task.placeholder: _placeholder_number(task), **shared, **task.slot_numbers.get(slot, {})}


def _placeholder_number(task: Task) -> str:
    """Number of the placeholder, the same for all slots; where every label is a number the word itself is plain."""
    numeric = not task.numbers and not task.slot_numbers and all(are_numbers(task.labels_of(s)) for s in task.slots)
    return task.numbers.get(task.placeholder, task.placeholder if numeric else "-1")


def _read_labels(lines: Lines, labels_by_word: Callable[[str], Mapping[str, str]]) -> tuple[Lines, Faults]:
    """Map words to labels, slot by slot. A word must match whole: "not positive" is no label."""
    known, faults = [], []
    for line in lines:
        label_of = labels_by_word(line.slot)
        unknown = [value for value in line.values if value not in label_of]
        if unknown:
            faults.append(Fault("unknown_label", f"{line.slot}: {unknown[0]}"))
            continue
        labels = tuple(dict.fromkeys(label_of[value] for value in line.values))
        if len(labels) < len(line.values):
            faults.append(Fault("repeated_label", line.slot))
        known.append(replace(line, values=labels))
    return tuple(known), tuple(faults)


def _read_text(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    if task.labels is None:
        return lines, ()
    return _read_labels(lines, lambda slot: {label: label for label in task.labels_of(slot)})


def _write_number(lines: Lines, task: Task, example: Example) -> Lines:
    if task.labels is None:
        return lines
    return tuple(
        replace(line, values=tuple(numbers_of(task, line.slot)[value] for value in line.values)) for line in lines
    )


def _read_number(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    if task.labels is None:
        return lines, ()
    return _read_labels(lines, lambda slot: {numbers_of(task, slot)[label]: label for label in task.labels_of(slot)})


def _number_form(form: OutputForm, task: Task) -> OutputForm:
    return form if task.labels is None else replace(form, placeholder=_placeholder_number(task))


def _number_sentence(context: InstructionContext) -> str:
    """The numbers of the labels: of one list for all slots, or slot by slot with the placeholder at the end."""
    task, marks = context.task, context.form.marks
    if not task.slot_labels:
        pairs = _pairs(context, context.labels, numbers_of(task))
        return context.wording("numbers", pairs=pairs) if pairs else ""
    parts = [
        context.wording("numbers_slot", name=slot, pairs=_pairs(context, task.labels_of(slot), numbers_of(task, slot)))
        for slot in task.slots
    ]
    absent = [_pairs(context, (task.placeholder,), numbers_of(task))] if context.form.complete else []
    return context.wording("numbers", pairs=marks.semicolon.join([*parts, *absent]))


def _pairs(context: InstructionContext, labels: tuple[str, ...], numbers: Mapping[str, str]) -> str:
    pairs = [context.wording("number_pair", label=label, number=numbers[label]) for label in labels]
    return context.form.marks.comma.join(pairs)


def _pinned(task: Task, rationales: bool) -> str:
    if task.kind != "label":
        return f"the answers of {task.name} are not labels"
    words = {slot: (*task.labels_of(slot), task.placeholder) for slot in task.slots}
    changed = any(numbers_of(task, slot)[word] != word for slot in task.slots for word in words[slot])
    return "" if changed else f"the labels of {task.name} are numbers already"


LABELS = Axis(
    "labels",
    default="text",
    options={
        "text": AnswerOption("TxtLabel", read=_read_text),
        "number": AnswerOption(
            "NumLabel",
            write=_write_number,
            read=_read_number,
            shape=_number_form,
            sentence=_number_sentence,
            about_form=False,
        ),
    },
    pinned=_pinned,
)
