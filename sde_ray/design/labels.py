"""The axis `labels`: closed labels as they are, as numbers, as letters, or as words that the task names for them.

    labels: [positive, negative]            food: positive      food: 0       the label's place in the list, from 0
    labels: {urgency: [low, high],          urgency: high       urgency: 1    the place in the slot's own list
             product: [app, router]}        product: app        product: 0
    labels: [1, 2, 3]                       stars: 3            the axis is pinned: these are numbers already
    label_words: {positive: great}          food: great         a verbaliser, with labels=words
    letter                                  food: A             neutral letters in the order of the labels

A label of another slot is an unknown label. Of a slot with several labels each may stand once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from sde_ray.data.schema import are_numbers
from sde_ray.design.base import AnswerOption, Axis, Faults, Lines, any_task
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.design.wording import wording
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


def letters_of(task: Task, slot: str = "") -> Mapping[str, str]:
    """Letters of a slot's labels, A, B, C, ...; the placeholder has the one after the last of the longest list."""
    labels = task.labels_of(slot)
    if len(task.labels or ()) == 1 and len(labels) == 1:  # of a schematic: the noun stands for any
        return {labels[0]: wording(task, "schematic_letter"), task.placeholder: _letter(1)}
    most = max(len(task.labels_of(each)) for each in task.slots)
    return {label: _letter(place) for place, label in enumerate(labels)} | {task.placeholder: _letter(most)}


def _letter(place: int) -> str:
    """A to Z, then AA, AB, ..."""
    before = _letter(place // 26 - 1) if place >= 26 else ""
    return before + chr(ord("A") + place % 26)


def label_words_of(task: Task, slot: str = "") -> Mapping[str, str]:
    """The words that the task names for a slot's labels and for the placeholder; a label without one stands for itself.

    Of a slot's own words those of the slot count, else those of all slots.
    """
    labels = (*task.labels_of(slot), task.placeholder)
    words = {**task.label_words.get("", {}), **(task.label_words.get(slot, {}) if slot else {})}
    return {label: words.get(label, label) for label in labels}


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


WordsOf = Callable[[Task, str], Mapping[str, str]]


def _mapped(
    label: str, words_of: WordsOf, sentence: str, applies: Callable[[Task], str] = any_task, swept: bool = True
) -> AnswerOption:
    """An option that writes other words for labels; `sentence`: the wording that tells them."""
    return AnswerOption(
        label,
        write=partial(_write_words, words_of=words_of),
        read=partial(_read_words, words_of=words_of),
        shape=partial(_words_form, words_of=words_of),
        sentence=partial(_words_sentence, words_of=words_of, key=sentence),
        about_form=False,
        applies=applies,
        swept=swept,
    )


def _write_words(lines: Lines, task: Task, example: Example, words_of: WordsOf) -> Lines:
    if task.labels is None:
        return lines
    return tuple(
        replace(line, values=tuple(words_of(task, line.slot)[value] for value in line.values)) for line in lines
    )


def _read_words(lines: Lines, task: Task, words_of: WordsOf) -> tuple[Lines, Faults]:
    if task.labels is None:
        return lines, ()
    return _read_labels(lines, lambda slot: {words_of(task, slot)[label]: label for label in task.labels_of(slot)})


def _words_form(form: OutputForm, task: Task, words_of: WordsOf) -> OutputForm:
    return form if task.labels is None else replace(form, placeholder=words_of(task, "")[task.placeholder])


def _words_sentence(context: InstructionContext, words_of: WordsOf, key: str) -> str:
    """The words of the labels: of one list for all slots, or slot by slot with the placeholder at the end."""
    task, absent = context.task, (context.task.placeholder,)

    def pairs(labels: tuple[str, ...], words: Mapping[str, str]) -> str:
        told = [label for label in labels if key != "label_words" or words[label] != label]
        return context.form.marks.comma.join(
            context.wording("number_pair", label=label, number=words[label]) for label in told
        )

    if not task.slot_labels:
        parts = [pairs(context.labels, words_of(task, ""))]
    else:
        by_slot = [(slot, pairs(task.labels_of(slot), words_of(task, slot))) for slot in task.slots]
        parts = [context.wording("numbers_slot", name=slot, pairs=of_slot) for slot, of_slot in by_slot if of_slot]
        parts += [pairs(absent, words_of(task, ""))] if context.form.complete else []
    parts = [part for part in parts if part]
    return context.wording(key, pairs=context.form.marks.semicolon.join(parts)) if parts else ""


def _has_label_words(task: Task) -> str:
    return "" if task.label_words else f"{task.name} names no label words (label_words)"


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
        "number": _mapped("NumLabel", numbers_of, "numbers"),
        "letter": _mapped("Letter", letters_of, "letters", swept=False),
        "words": _mapped("Label-words", label_words_of, "label_words", applies=_has_label_words, swept=False),
    },
    pinned=_pinned,
)
