"""Records in the instruction: their shape with nouns for values, made-up ones, and the labels that fields may have.

relation: head = words of the text, relation = label, tail = words of the text        a schematic
Choose relation from born in, works for.                                              its closed fields
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sde_ray.data.record_values import Fields, canonical, leaf_paths
from sde_ray.design.wording import wording
from sde_ray.types import Answer, RecordField, Task

NUMBERS = ("number", "integer", "boolean")


def shape_of(task: Task, slot: str, by_name: bool) -> tuple[Fields, str]:
    """The fields of a slot with nouns in place of values, and a record of them as canonical text.

    `by_name`: a value's noun is the name of its field, for a format that does not write the names.
    """
    fields = tuple(_as_text(one) for one in task.fields[slot])
    text, faults = canonical(_nouns(task, task.fields[slot], by_name), fields)
    assert text is not None, faults
    return fields, text


def number_nouns(task: Task, by_name: bool) -> tuple[str, ...]:
    """The nouns that stand for what JSON writes without quotes."""
    fields = [one for slot in task.slots for _, one in leaf_paths(task.fields[slot])]
    return tuple(dict.fromkeys(_noun(task, one, by_name) for one in fields if one.type in NUMBERS))


def made_up_record(task: Task, slot: str) -> str:
    """A made-up record of a slot: the first label of closed fields, nouns and small numbers for the others."""
    text, faults = canonical(_made_up(task, task.fields[slot]), task.fields[slot])
    assert text is not None, faults
    return text


def labels_sentence(task: Task) -> str:
    """The labels of every closed field, a sentence each; fields that several slots share are named once."""
    comma = wording(task, "label_comma")
    several = len(set(task.fields.values())) > 1
    sentences = [
        wording(task, "field_labels", name=f"{slot} {path}" if several else path, labels=comma.join(one.labels))
        for slot, path, one in _closed(task)
        if several or slot == task.slots[0]
    ]
    return wording(task, "join").join(sentences)


def _closed(task: Task) -> Iterator[tuple[str, str, RecordField]]:
    for slot in task.slots:
        for path, one in leaf_paths(task.fields[slot]):
            if one.labels:
                yield slot, path, one


def _as_text(one: RecordField) -> RecordField:
    """The field as one of any words, so that a noun may stand in it."""
    if one.type == "record":
        return replace(one, fields=tuple(map(_as_text, one.fields)))
    return replace(one, type="text", labels=())


def _noun(task: Task, one: RecordField, by_name: bool) -> str:
    return one.name if by_name else wording(task, f"field_{one.type}")


def _nouns(task: Task, fields: Fields, by_name: bool) -> dict[str, Any]:
    def noun(one: RecordField) -> Any:
        return _nouns(task, one.fields, by_name) if one.type == "record" else _noun(task, one, by_name)

    # Two values show that a field holds a list; two nested records would say the same at length.
    return {one.name: [noun(one)] * (1 if one.type == "record" else 2) if one.many else noun(one) for one in fields}


def _made_up(task: Task, fields: Fields) -> dict[str, Any]:
    def value(one: RecordField) -> Any:
        if one.type == "record":
            return _made_up(task, one.fields)
        if one.labels:
            return one.labels[0]
        return {"number": "1.5", "integer": "1", "boolean": True}.get(one.type) or wording(task, f"field_{one.type}")

    return {one.name: [value(one)] if one.many else value(one) for one in fields}


def record_stand_in(task: Task, by_name: bool) -> tuple[Task, Answer]:
    """Stand-in task whose records hold nouns, and an answer of it: two records where the only slot may have several.

    The slots are the task's own, as each has a shape of its own; nouns for two where all have the same.
    """
    slots = task.slots
    if len(slots) > 1 and len(set(task.fields.values())) == 1:
        slots = tuple(wording(task, "schematic_slot", n=str(n)) for n in (1, 2))
    shapes = {slot: shape_of(task, own, by_name) for slot, own in zip(slots, task.slots, strict=False)}
    single = tuple(slot for slot, own in zip(slots, task.slots, strict=False) if own in task.single)
    twice = slots[0] if len(slots) == 1 and not single else None
    answer = {slot: (text, text) if slot == twice else (text,) for slot, (_, text) in shapes.items()}
    stand_in = replace(task, slots=slots, fields={slot: fields for slot, (fields, _) in shapes.items()}, single=single)
    return stand_in, answer
