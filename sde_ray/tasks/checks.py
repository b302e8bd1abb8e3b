"""Validation of a task's definition: what every design needs to write and parse it (the laws' assumptions).

The one check for every task, of the package, of a YAML section, or imported: all its faults in one `UserError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sde_ray.design.labels import label_words_of, numbers_of
from sde_ray.design.lexer import quote_if_needed
from sde_ray.design.output_form import MARKS
from sde_ray.design.record_paths import shared_paths
from sde_ray.errors import FaultList, suggest
from sde_ray.types import RecordField, Task


def check_task(task: Task) -> Task:
    """Validate a task: slots, labels, numbers and nouns are distinct, the placeholder cannot be misread; returns it.

    Raises UserError: with all faults at once.
    """
    faults = FaultList(f"Task {task.name}")
    if not task.slots or not task.instructions:
        faults.add("has no slot or no instruction. Give at least one of each.")
    for what, words in (("slots", task.slots), ("labels", task.labels or ()), ("nouns", _keys(task))):
        _check_distinct(what, words, faults)
    if (task.kind != "label" and (task.slot_labels or task.multilabel)) or (task.kind != "free" and task.ranges):
        faults.add("labels by slot and multilabel are for labels, ranges for free values. Leave them out.")
    if (task.kind == "label") != bool(task.labels):
        faults.add(f'kind "{task.kind}" {"needs labels" if task.kind == "label" else "takes no labels"}.')
    if task.labels:
        _check_labels(task, faults)
    if (task.kind == "record") != bool(task.fields):
        faults.add(f'kind "{task.kind}" {"needs fields" if task.kind == "record" else "takes no fields"}.')
    if task.fields:
        _check_fields(task, faults)
    _check_meanings(task, faults)
    if task.positive and (task.positive not in (task.labels or ()) or task.slot_labels or task.multilabel):
        faults.add(f'positive is "{task.positive}", expected a label of one list for all slots.')
    marks = MARKS[task.language]
    delimiters = [marks.colon, marks.comma, marks.semicolon, "\n", " => ", " <= "]
    if quote_if_needed(task.placeholder, delimiters, placeholder="", stop=marks.stop) != task.placeholder:
        faults.add(f'the placeholder "{task.placeholder}" holds a delimiter. Choose a plain word.')
    faults.raise_if_any()
    return task


def _keys(task: Task) -> tuple[str, ...]:
    return task.nouns.slot, task.nouns.value, task.nouns.rationale


def _check_distinct(what: str, words: Sequence[str], faults: FaultList) -> None:
    doubled = sorted(word for word, times in Counter(words).items() if times > 1)
    if doubled:
        faults.add(f"{what} {', '.join(doubled)} stand twice. Name each once.")
    if any(not word.strip() for word in words):
        faults.add(f"one of the {what} is empty. Give it a name.")


def _check_labels(task: Task, faults: FaultList) -> None:
    """Labels of each list: the placeholder is none of them, their numbers are distinct, every slot has its own."""
    if task.slot_numbers and not task.slot_labels:
        faults.add("slot_numbers needs slot_labels. Give each slot its labels too, or one numbering for all.")
    foreign = sorted(set(task.numbers) - {*(task.labels or ()), task.placeholder})
    if foreign:
        faults.add(f"numbers name {', '.join(foreign)}, which is no label. Labels: {', '.join(task.labels or ())}.")
    if task.slot_labels:
        _check_slots(task, faults)
    for slot in task.slots if task.slot_labels else ("",):
        labels, of_slot = task.labels_of(slot), f" of {slot}" if slot else ""
        if task.placeholder in labels:
            faults.add(f'the placeholder "{task.placeholder}" is also a label{of_slot}. Rename one of them.')
        if slot:
            _check_distinct(f"labels{of_slot}", labels, faults)
        _check_numbers(of_slot, numbers_of(task, slot), faults)


def _check_numbers(of_slot: str, numbers: Mapping[str, str], faults: FaultList) -> None:
    words: dict[str, list[str]] = {}
    for word, number in numbers.items():
        words.setdefault(number, []).append(word)
    for number, same in words.items():
        if len(same) > 1 or not number.strip():
            faults.add(f'numbers{of_slot}: "{number}" stands for {" and ".join(same)}. Give each a number of its own.')


def _check_fields(task: Task, faults: FaultList) -> None:
    """Fields of records: every slot has some, their names are distinct, and so are their paths."""
    if {*task.fields} != {*task.slots} or not {*task.single} <= {*task.slots}:
        faults.add(f"fields or single name other slots than {', '.join(task.slots)}. Give every slot its fields.")
    for slot, fields in task.fields.items():
        _check_record(f"fields of {slot}", fields, faults)
        if shared := shared_paths(fields):
            faults.add(f'fields of {slot}: "{shared[0]}" may be two of them, as a name holds a dot. Rename one.')


def _check_record(what: str, fields: Sequence[RecordField], faults: FaultList) -> None:
    if not fields:
        faults.add(f"{what}: a record without fields. Name one or more.")
    _check_distinct(what, [one.name for one in fields], faults)
    for one in fields:
        if (one.type == "record") != bool(one.fields) or (one.type == "label" and not one.labels):
            faults.add(
                f"{what}: {one.name} is a {one.type}. A label needs labels, a record fields, no other has fields."
            )
        if one.type == "record":
            _check_record(f"{what}.{one.name}", one.fields, faults)


def _check_meanings(task: Task, faults: FaultList) -> None:
    """Definitions are of slots and labels; a label word stands for one label, and is no other label."""
    known = (*task.slots, *(task.labels or ()), task.placeholder)
    for name in task.definitions:
        if name not in known:
            faults.add(f'definitions name "{name}", which is no slot and no label.{suggest(name, known)}')
    for slot, words in task.label_words.items():
        foreign = sorted(set(words) - {*task.labels_of(slot), task.placeholder})
        if foreign or (slot and slot not in task.slots):
            of_slot = f" of {slot}" if slot else ""
            faults.add(f"label_words name {', '.join(foreign) or slot}, which is no label{of_slot}.")
    by_slot = task.slot_labels or set(task.label_words) - {""}
    for slot in task.slots if by_slot else ("",) if task.label_words else ():
        _check_label_words((*task.labels_of(slot), task.placeholder), label_words_of(task, slot), faults)


def _check_label_words(labels: Sequence[str], words: Mapping[str, str], faults: FaultList) -> None:
    for label, word in words.items():
        same = [other for other in labels if other != label and word in (other, words[other])]
        if same:
            faults.add(f'label_words: "{word}" stands for {label}, and {same[0]} is it, too. Choose another word.')
        if not word.strip():
            faults.add(f"label_words: the word for {label} is empty. Give it one.")


def _check_slots(task: Task, faults: FaultList) -> None:
    without = [slot for slot in task.slots if not task.slot_labels.get(slot)]
    if without:
        faults.add(f"slot_labels has none for {', '.join(without)}. Give every slot its own labels.")
    union = {label for labels in task.slot_labels.values() for label in labels}
    if union != set(task.labels or ()):
        faults.add(f"labels is not the union of the slots' own. Set it to {', '.join(sorted(union))}.")
    unknown = sorted({*task.slot_labels, *task.slot_numbers, *task.multilabel} - {*task.slots})
    if unknown:
        faults.add(f"labels, numbers or multilabel name {', '.join(unknown)}, which is no slot.")
    for slot, numbers in task.slot_numbers.items():
        foreign = sorted(set(numbers) - set(task.labels_of(slot)))
        if foreign:
            faults.add(f"numbers of {slot} name {', '.join(foreign)}, which is no label of it.")
