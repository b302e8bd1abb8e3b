"""The answers of a task in YAML: its slots, and the labels, numbers and ranges that they may have.

labels: [good, bad]                                       one list for all slots
labels: {urgency: [low, high], product: [app, router]}    each slot's own
numbers: {good: 1, bad: 0}                                by label; or by slot and label:
numbers: {urgency: {low: 0, high: 1}, not said: -1}       the placeholder has one number for all slots
multilabel: true                                          any number of labels a slot; [product]: in that one
range: [0, 100]                                           free values are numbers; {price: [0, 100]}: in that slot
fields: {head: span, tail: span}                          of records (yaml_records.py)
definitions: {food: what is eaten, good: praise}          what slots and labels mean, for the axis `definitions`
label_words: {good: great, bad: awful}                    for labels=words, by label; or by slot and label
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from sde_ray.data.schema import SENTIMENT_NUMBERS, Schema, parse_number
from sde_ray.errors import FaultList
from sde_ray.tasks.defaults import PLACEHOLDERS
from sde_ray.tasks.yaml_fields import Section, choice, hint, mapping, several_words, text, words
from sde_ray.tasks.yaml_records import KEYS, read_record_slots
from sde_ray.types import TaskKind

KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
OF_LABELS = ("labels", "multilabel", "range", "numbers")
LARGEST = 1e300  # a range of such ends is still a number
SlotLabels = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Numbers:
    """Numbers of a task's labels for `labels=number`: those that all slots share, and those of a slot."""

    shared: Mapping[str, str] = field(default_factory=dict)
    by_slot: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_schema(section: Section, language: str, faults: FaultList, base: Path | None = None) -> Schema:
    """Schema of the answers that a section describes; what is wrong goes to `faults`.

    `base`: the folder of a JSON schema's file; None: no file is read.
    """
    kind = choice(section, "kind", KINDS, faults)
    if kind == "record":
        return _of_records(section, language, base, faults)
    if foreign := [key for key in KEYS if key in section]:
        faults.add(f'{", ".join(foreign)} are for the kind "record", not for "{kind}". Delete them, or set the kind.')
    slots = _slots(section, faults)
    labels, slot_labels = _all_labels(section, slots, faults)
    if kind == "label" and not labels and not section.get("labels"):
        faults.add('the kind "label" needs labels, a list of two or more, or such a list for each slot.')
    if kind != "label" and labels:
        faults.add(f'the kind "{kind}" takes no labels. Delete them.')
    placeholder = text(section, "placeholder", PLACEHOLDERS[language][kind], faults)
    for slot, own in slot_labels or (("", labels),):
        _check_labels(slot, own, placeholder, faults)
    multilabel = _slots_or_all(section, "multilabel", slots, faults)
    if multilabel and kind != "label":
        faults.add(f'the kind "{kind}" takes no multilabel. Delete it; a slot of spans holds any number of them.')
    ranges = _ranges(section, kind, slots, faults)
    return Schema(kind, slots, labels, placeholder, slot_labels=slot_labels, multilabel=multilabel, ranges=ranges)


def _of_records(section: Section, language: str, base: Path | None, faults: FaultList) -> Schema:
    """Schema of slots that hold records."""
    if foreign := [key for key in OF_LABELS if key in section]:
        faults.add(
            f'{", ".join(foreign)}: the kind "record" takes none. Closed labels are fields: {{mood: [good, bad]}}.'
        )
    records = read_record_slots(section, base, faults)
    placeholder = text(section, "placeholder", PLACEHOLDERS[language]["record"], faults)
    return Schema("record", records.slots, (), placeholder, fields=records.fields, single=records.single)


def read_numbers(section: Section, schema: Schema, faults: FaultList) -> Numbers:
    """Numbers of the section, or the paper's for sentiment labels; empty: the labels' places in their list."""
    if "numbers" not in section:
        plain = {label: SENTIMENT_NUMBERS.get(label.casefold(), "") for label in schema.labels}
        is_sentiment = sorted(plain.values()) == ["-1", "0", "1"] and not schema.slot_labels and not schema.multilabel
        return Numbers({**plain, schema.placeholder: "-2"} if is_sentiment else {})
    by_label, by_slot = section["numbers"], _mappings(section["numbers"])
    if by_slot:
        by_label = {key: value for key, value in by_label.items() if key not in by_slot}
    for slot in by_slot:
        if str(slot) not in schema.slots:
            faults.add(f'numbers names "{slot}".{hint(str(slot), schema.slots)} Slots: {", ".join(schema.slots)}.')
    numbers = Numbers(
        mapping({"numbers": by_label}, "numbers", (*schema.labels, schema.placeholder), faults),
        {
            str(slot): mapping({f"numbers.{slot}": own}, f"numbers.{slot}", schema.labels_of(str(slot)), faults)
            for slot, own in by_slot.items()
            if str(slot) in schema.slots
        },
    )
    _check_numbers(numbers, schema, faults)
    return numbers


def read_definitions(section: Section, schema: Schema, faults: FaultList) -> dict[str, str]:
    """Meanings of slots and labels."""
    return mapping(section, "definitions", (*schema.slots, *schema.labels, schema.placeholder), faults)


def read_label_words(section: Section, schema: Schema, faults: FaultList) -> dict[str, dict[str, str]]:
    """Words for labels, by slot; those of all slots under ""."""
    given = section.get("label_words", {})
    if schema.kind != "label" and given:
        faults.add(f'label_words is for the kind "label", not for "{schema.kind}". Delete it.')
        return {}
    by_slot = _mappings(given)
    shared = {key: value for key, value in given.items() if key not in by_slot} if by_slot else given
    for slot in by_slot:
        if str(slot) not in schema.slots:
            faults.add(f'label_words names "{slot}".{hint(str(slot), schema.slots)} Slots: {", ".join(schema.slots)}.')
    words = {"": mapping({"label_words": shared}, "label_words", (*schema.labels, schema.placeholder), faults)} | {
        str(slot): mapping({f"label_words.{slot}": own}, f"label_words.{slot}", schema.labels_of(str(slot)), faults)
        for slot, own in by_slot.items()
        if str(slot) in schema.slots
    }
    return {slot: own for slot, own in words.items() if own}


def _mappings(given: Any) -> dict[Any, Section]:
    """What is given slot by slot, of a mapping that may have both."""
    items = given.items() if isinstance(given, Mapping) else ()
    return {key: value for key, value in items if isinstance(value, Mapping)}


def _check_numbers(numbers: Numbers, schema: Schema, faults: FaultList) -> None:
    """Every label of a list has a number, or none; each number stands once in it."""
    for slot in schema.slots if schema.slot_labels else ("",):
        labels = schema.labels_of(slot)
        own = {label: n for label, n in numbers.shared.items() if label in (*labels, schema.placeholder)}
        own |= numbers.by_slot.get(slot, {})
        missing = [label for label in labels if label not in own]
        where = f"numbers of {slot}" if slot else "numbers"
        if missing and (len(missing) < len(labels) or not slot):
            faults.add(f"{where} lacks {', '.join(missing)}. Give every label a number, or none.")
        if len(set(own.values())) < len(own):
            faults.add(f"{where} gives one number to several labels: {own}. Use each once.")


def _slots(section: Section, faults: FaultList) -> tuple[str, ...]:
    """The slots; where each slot has its own labels, these may name them."""
    labels = section.get("labels")
    if not section.get("slots") and isinstance(labels, Mapping):
        return several_words(list(labels), "labels", faults)
    return words(section, "slots", faults)


def _all_labels(section: Section, slots: Sequence[str], faults: FaultList) -> tuple[tuple[str, ...], SlotLabels]:
    """The labels of all slots together, and those of each slot; the latter empty where one list is for all."""
    given = section.get("labels")
    if isinstance(given, Mapping):
        slot_labels = _slot_labels(given, slots, faults)
    elif isinstance(given, list) and any(isinstance(one, list | Mapping) for one in given):
        faults.add("labels is a list of lists. Name the slot of each: {urgency: [low, high], product: [app, router]}.")
        return (), ()
    else:
        one_list = words(section, "labels", faults)
        if not _mappings(section.get("numbers")):
            return one_list, ()
        slot_labels = tuple((slot, one_list) for slot in slots)
    labels = tuple(dict.fromkeys(label for _, own in slot_labels for label in own))
    lists = [own for _, own in slot_labels]
    is_one_list = lists == [labels] * len(slots) and not _mappings(section.get("numbers"))
    return labels, () if is_one_list else slot_labels


def _slot_labels(given: Mapping[Any, Any], slots: Sequence[str], faults: FaultList) -> SlotLabels:
    """Labels by slot, in the order of the slots."""
    by_slot = {str(slot): several_words(value or [], f"labels.{slot}", faults) for slot, value in given.items()}
    for slot in by_slot:
        if slot not in slots:
            faults.add(f'labels names "{slot}".{hint(slot, slots)} Slots: {", ".join(slots)}.')
    without = [slot for slot in slots if not by_slot.get(slot)]
    if without:
        faults.add(f"labels has none for {', '.join(without)}. Give each slot its own, or one list for all of them.")
    return tuple((slot, by_slot[slot]) for slot in slots if by_slot.get(slot))


def _check_labels(slot: str, labels: tuple[str, ...], placeholder: str, faults: FaultList) -> None:
    """Degenerate lists: a single label, the placeholder among the labels, two spellings of one number."""
    where = f' of "{slot}"' if slot else ""
    if placeholder in labels:
        faults.add(
            f'"{placeholder}" is a label{where} and the word for absent slots. Set placeholder to another word, or '
            "take it out of the labels where it means that nothing is said."
        )
    if len(labels) == 1:
        faults.add(
            f'"{labels[0]}" is the only label{where}, so there is nothing to choose. Add the others; for what is there '
            'or not, name both, such as ["yes", "no"].'
        )
    values = [parse_number(label) for label in labels]
    if None not in values and len(set(values)) < len(values):
        faults.add(f"labels{where} name one number twice: {', '.join(labels)}. Write it in one way.")


def _slots_or_all(section: Section, key: str, slots: tuple[str, ...], faults: FaultList) -> tuple[str, ...]:
    """Slots under `key`, all of them for `true`; in the order of the task."""
    value = section.get(key, False)
    if isinstance(value, bool):
        return slots if value else ()
    names = words(section, key, faults)
    for name in names:
        if name not in slots:
            faults.add(f'{key} names "{name}".{hint(name, slots)} Slots: {", ".join(slots)}; or write true for all.')
    return tuple(slot for slot in slots if slot in names)


def _ranges(
    section: Section, kind: str, slots: tuple[str, ...], faults: FaultList
) -> tuple[tuple[str, tuple[float, float]], ...]:
    """Lowest and highest value by slot."""
    given = section.get("range")
    if given is None:
        return ()
    if kind != "free":
        faults.add(f'range is for the kind "free", not for "{kind}". Delete it; labels may be numbers without it.')
        return ()
    by_slot = given if isinstance(given, Mapping) else dict.fromkeys(slots, given)
    ranges: dict[str, tuple[float, float]] = {}
    for slot, value in by_slot.items():
        limits = _limits(value)
        if slot not in slots:
            faults.add(f'range names "{slot}".{hint(str(slot), slots)} Slots: {", ".join(slots)}.')
        elif limits is None:
            faults.add(f"range of {slot} is {value!r}, expected two numbers, the lower first, such as [0, 100].")
        else:
            ranges[slot] = limits
    return tuple((slot, ranges[slot]) for slot in slots if slot in ranges)


def _limits(value: Any) -> tuple[float, float] | None:
    """Two finite numbers, the lower first."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < LARGEST for n in value):
        return None
    low, high = map(float, value)
    return (low, high) if low < high else None
