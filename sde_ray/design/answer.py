"""The axes on lines: `unmentioned`, `reasoning` and `order`; `labels` is in labels.py.

The lines of {"food": ("positive",)} on their way through placeholder, number and cot, and back:
    (food, positive)
    (food, positive)        (price, )                     unmentioned=placeholder: every slot of the task
    (food, 1)               (price, )                     labels=number; the placeholder becomes "-2"
    (food, 1, tasty soup)   (price, , not mentioned)      reasoning=cot
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sde_ray.design.base import AnswerOption, Axis, Faults, Lines, keep_read
from sde_ray.design.keywords import keywords
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.design.wording import wording
from sde_ray.types import Example, Fault, Line, RecordField, Task

SCHEMATIC = "schematic"
"""The id of the made-up example that the instruction shows."""


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
            if len(line.values) > 1 and not form.holds_list(line.slot):
                faults.append(Fault("syntax", f"more than one {form.nouns.value}: {line.slot}"))
                first_lines[line.slot] = replace(line, values=())
    missing = [slot for slot in task.slots if form.complete and slot not in first_lines]
    return tuple(first_lines.values()), (*faults, *(Fault("missing_slot", slot) for slot in missing))


def _add_absent(lines: Lines, task: Task, example: Example) -> Lines:
    stated = {line.slot: line for line in lines}
    return tuple(stated.get(slot, Line(slot, ())) for slot in task.slots)


def _drop_absent(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    return tuple(line for line in lines if line.values), ()


def _has_optional(fields: Sequence[RecordField]) -> bool:
    return any(one.optional or _has_optional(one.fields) for one in fields)


def _with_field_sentence(sentence: str, context: InstructionContext) -> str:
    """The sentence on absent slots, and one on the fields that a record may lack."""
    if not any(_has_optional(fields) for fields in context.task.fields.values()):
        return sentence
    entry = context.absent_field
    of_fields = context.wording("field_placeholder", entry=entry) if entry else context.wording("field_omit")
    return context.wording("join").join(filter(None, [sentence, of_fields]))


def _placeholder_sentence(context: InstructionContext) -> str:
    if not context.task.has_absent_slots:
        return ""
    # The list of labels already shows the placeholder of a label task, where an absent slot is written so.
    listed = context.task.kind == "label" and context.lists_absent
    if listed and context.form.placeholder in context.placeholder_entry:
        return ""
    mixed = 0 < len(context.task.multilabel) < len(context.task.slots)
    sentence = context.wording("placeholder_list" if mixed else "placeholder", entry=context.placeholder_entry)
    return _with_field_sentence(sentence, context)


def _omit_sentence(context: InstructionContext) -> str:
    return _with_field_sentence(context.wording("omit", marker=context.marker), context)


UNMENTIONED = Axis(
    "unmentioned",
    default="placeholder",
    options={
        "placeholder": AnswerOption("PU", write=_add_absent, read=_drop_absent, sentence=_placeholder_sentence),
        "omit": AnswerOption(
            "OU",
            read=_drop_absent,
            shape=lambda form, task: replace(form, complete=False),
            sentence=_omit_sentence,
        ),
    },
    pinned=lambda task, rationales: f"every {task.nouns.slot} of {task.name} has an answer" if task.answered else "",
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


def _in_block(label: str, position: Literal["first", "last"], sentence: str) -> AnswerOption:
    """Rationales by themselves; those behind the answer are not read."""
    return AnswerOption(
        label,
        write=_add_why,
        read=_drop_why if position == "first" else keep_read,
        shape=lambda form, task: replace(form, rationale_block=position),
        sentence=lambda context: context.wording(sentence),
        swept=False,
    )


def _add_keywords(lines: Lines, task: Task, example: Example) -> Lines:
    if example.id == SCHEMATIC:
        return _add_why(lines, task, example)
    words = {slot: keywords(why, example.text, task.language) for slot, why in example.rationale.items()}
    return _add_why(lines, task, replace(example, rationale=words))


REASONING = Axis(
    "reasoning",
    default="none",
    options={
        "none": AnswerOption("No-CoT"),
        "cot": _reasoned("CoT", "first"),
        "rcot": _reasoned("R-CoT", "last"),
        "rcot_cut": _in_block("R-CoT-cut", "last", "rationale_cut"),
        "think": _in_block("Think", "first", "think"),
        "keywords": replace(
            _reasoned("Keywords", "first"),
            write=_add_keywords,
            sentence=lambda context: context.wording("keywords"),
            swept=False,
        ),
    },
    pinned=lambda task, rationales: "" if rationales else f"the examples of {task.name} have no rationales",
)


def _shuffle(lines: Lines, task: Task, example: Example) -> Lines:
    shuffled = list(lines)
    if example.id != SCHEMATIC:
        random.Random(example.id).shuffle(shuffled)
    return tuple(shuffled)


def _by_place(lines: Lines, task: Task, example: Example) -> Lines:
    """Values and lines by where they stand in the text; those that do not stand there keep their order at the end."""

    def place(value: str) -> tuple[bool, int]:
        start = example.text.find(value)
        return start < 0, start

    ordered = [replace(line, values=tuple(sorted(line.values, key=place))) for line in lines]
    return tuple(sorted(ordered, key=lambda line: place(line.values[0]) if line.values else (True, len(example.text))))


def _unordered(form: OutputForm, task: Task) -> OutputForm:
    return replace(form, ordered=False)


ORDER = Axis(
    "order",
    default="fixed",
    options={
        "fixed": AnswerOption("Fixed-order"),
        "shuffled": AnswerOption(
            "Shuffled", write=_shuffle, shape=_unordered, sentence=lambda context: context.wording("any_order")
        ),
        "text": AnswerOption(
            "Text-order",
            write=_by_place,
            shape=_unordered,
            sentence=lambda context: context.wording("text_order"),
            applies=lambda task: "" if task.kind == "span" else f"the answers of {task.name} are no words of the text",
        ),
    },
    pinned=lambda task, rationales: "" if len(task.slots) > 1 else f"{task.name} has one {task.nouns.slot}",
    optional=True,
)
"""The order of an answer's lines (element order: Hu et al. 2022, 2210.10291; MvP, 2305.12627). Read in any order."""
