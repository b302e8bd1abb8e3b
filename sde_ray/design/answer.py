"""The axes on lines: `unmentioned`, `labels` and `reasoning`.

The lines of {"food": ("positive",)} on their way through placeholder, number and cot, and back:
    (food, positive)
    (food, positive)        (price, )                     unmentioned=placeholder: every slot of the task
    (food, 1)               (price, )                     labels=number; the placeholder becomes "-2"
    (food, 1, tasty soup)   (price, , not mentioned)      reasoning=cot
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from sde_ray.design.base import AnswerOption, Axis, Faults, InstructionContext, Lines, OutputForm
from sde_ray.design.wording import wording
from sde_ray.types import Example, Fault, Line, Task


def check_slots(lines: Lines, task: Task, form: OutputForm) -> tuple[Lines, Faults]:
    """Validate the slots: the first line of every slot of the task, and the faults of the others."""
    first_lines: dict[str, Line] = {}
    faults: list[Fault] = []
    for line in lines:
        if line.slot not in task.slots:
            faults.append(Fault("unknown_slot", line.slot))
        elif line.slot in first_lines:
            faults.append(Fault("repeated_slot", line.slot))
        else:
            first_lines[line.slot] = line
            if not line.values and not form.complete:
                faults.append(Fault("unexpected_placeholder", line.slot))
    missing = [slot for slot in task.slots if form.complete and slot not in first_lines]
    return tuple(first_lines.values()), (*faults, *(Fault("missing_slot", slot) for slot in missing))


def _add_absent(lines: Lines, task: Task, example: Example) -> Lines:
    stated = {line.slot: line for line in lines}
    return tuple(stated.get(slot, Line(slot, ())) for slot in task.slots)


def _drop_absent(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    return tuple(line for line in lines if line.values), ()


def _placeholder_sentence(context: InstructionContext) -> str:
    # The list of labels already shows the placeholder of a label task.
    return "" if context.task.kind == "label" else context.wording("placeholder", entry=context.placeholder_entry)


UNMENTIONED = Axis(
    "unmentioned",
    default="placeholder",
    options={
        "placeholder": AnswerOption("PU", write=_add_absent, read=_drop_absent, sentence=_placeholder_sentence),
        "omit": AnswerOption(
            "OU",
            read=_drop_absent,
            shape=lambda form, task: replace(form, complete=False),
            sentence=lambda context: context.wording("omit", marker=context.marker),
        ),
    },
)


def numbers_of(task: Task) -> Mapping[str, str]:
    """Numbers of the labels and of the placeholder: the task's, else the label's index and -1."""
    indices = {label: str(index) for index, label in enumerate(task.labels or ())}
    return {**indices, task.placeholder: "-1", **task.numbers}


def _read_labels(lines: Lines, label_of: Mapping[str, str]) -> tuple[Lines, Faults]:
    """Map words to labels. A word must match whole: "not positive" is no label."""
    valid = [line for line in lines if all(value in label_of for value in line.values)]
    faults = [Fault("unknown_label", f"{line.slot}: {line.values[0]}") for line in lines if line not in valid]
    return tuple(replace(line, values=tuple(label_of[value] for value in line.values)) for line in valid), tuple(faults)


def _read_text(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    return (lines, ()) if task.labels is None else _read_labels(lines, {label: label for label in task.labels})


def _write_number(lines: Lines, task: Task, example: Example) -> Lines:
    if task.labels is None:
        return lines
    numbers = numbers_of(task)
    return tuple(replace(line, values=tuple(numbers[value] for value in line.values)) for line in lines)


def _read_number(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    if task.labels is None:
        return lines, ()
    numbers = numbers_of(task)
    return _read_labels(lines, {numbers[label]: label for label in task.labels})


def _number_form(form: OutputForm, task: Task) -> OutputForm:
    return form if task.labels is None else replace(form, placeholder=numbers_of(task)[task.placeholder])


def _number_sentence(context: InstructionContext) -> str:
    numbers = numbers_of(context.task)
    pairs = [context.wording("number_pair", label=label, number=numbers[label]) for label in context.labels]
    return context.wording("numbers", pairs=context.form.marks.comma.join(pairs)) if pairs else ""


LABELS = Axis(
    "labels",
    default="text",
    options={
        "text": AnswerOption("TxtLabel", read=_read_text),
        "number": AnswerOption(
            "NumLabel", write=_write_number, read=_read_number, shape=_number_form, sentence=_number_sentence
        ),
    },
    pinned=lambda task, rationales: "" if task.kind == "label" else f"the answers of {task.name} are not labels",
)


def _add_why(lines: Lines, task: Task, example: Example) -> Lines:
    return tuple(replace(line, rationale=_rationale(line, task, example)) for line in lines)


def _rationale(line: Line, task: Task, example: Example) -> str:
    fallback = "no_rationale" if not line.values else "plain_rationale"
    return example.rationale.get(line.slot, "").strip() or wording(task, fallback)


def _drop_why(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    faults = tuple(Fault("missing_rationale", line.slot) for line in lines if not (line.rationale or "").strip())
    return tuple(replace(line, rationale=None) for line in lines), faults


def _reasoned(label: str, position: Literal["first", "last"]) -> AnswerOption:
    return AnswerOption(
        label,
        write=_add_why,
        read=_drop_why,
        shape=lambda form, task: replace(form, rationale_position=position),
        sentence=lambda context: context.wording(f"rationale_{position}"),
    )


REASONING = Axis(
    "reasoning",
    default="none",
    options={"none": AnswerOption("No-CoT"), "cot": _reasoned("CoT", "first"), "rcot": _reasoned("R-CoT", "last")},
    pinned=lambda task, rationales: "" if rationales else f"the examples of {task.name} have no rationales",
)
