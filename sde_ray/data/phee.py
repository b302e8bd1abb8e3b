"""PHEE: pharmacovigilance events, in JSON lines; read as event detection (type and trigger), or as whole events.

    {"id", "context", "annotations": [{"events": [
        {"event_type": "Adverse_event", "Trigger": {"text": [["induced"]], "start": [[162]]}, "Treatment": ...}]}]}

A trigger is a list of mentions, each a list of fragments. The fragments of a discontinuous mention are joined by one
space; the string may then not stand in the text, which is the published annotation. Offsets give the order only, as
some are wrong. Two events of one type that share a trigger (they differ in arguments) are one trigger.

Of a task of records an event is a record of its type, with any of the fields `ROLES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.record_values import canonical
from sde_ray.data.records import BadRecord, Record, field, numbers, read_json, strings
from sde_ray.data.schema import Schema, check_slots
from sde_ray.errors import suggest
from sde_ray.types import Example

SLOTS = ("Adverse_event", "Potential_therapeutic_event")


ROLES: Mapping[str, tuple[str, ...]] = {
    "trigger": ("Trigger",),
    "subject": ("Subject",),
    "treatment": ("Treatment",),
    "effect": ("Effect",),
    **{role.casefold(): ("Subject", role) for role in ("Age", "Gender", "Population", "Race")},
    **{role.casefold(): ("Treatment", role) for role in ("Drug", "Dosage", "Route", "Duration", "Freq")},
}
"""Fields of an event's record, and where PHEE has them."""


def _triggers(event: Any) -> list[tuple[int, str, str]]:
    """Start, event type and string of every mention of an event's trigger."""
    kind, trigger = field(event, "event_type", str), field(event, "Trigger", dict)
    if kind not in SLOTS:
        raise BadRecord(f'unknown event_type "{kind}".{suggest(kind, SLOTS)}')
    texts, starts = field(trigger, "text", list), field(trigger, "start", list)
    if len(texts) != len(starts):
        raise BadRecord(f'the trigger of "{kind}" has {len(texts)} texts and {len(starts)} starts')
    return [
        (min(numbers(at, "start")), kind, " ".join(strings({"text": fragments}, "text")))
        for fragments, at in zip(texts, starts, strict=True)
    ]


def _convert(record: Record, schema: Schema) -> Iterator[Example]:
    check_slots(schema, SLOTS, "PHEE")
    events = [
        event for annotation in field(record.fields, "annotations", list) for event in field(annotation, "events", list)
    ]
    if schema.kind == "record":
        yield _with_arguments(record, schema, events)
        return
    triggers = sorted({trigger for event in events for trigger in _triggers(event)})
    by_slot = {slot: tuple(string for _, kind, string in triggers if kind == slot) for slot in schema.slots}
    answer = {slot: strings for slot, strings in by_slot.items() if strings}
    yield Example(str(field(record.fields, "id", (str, int))), field(record.fields, "context", str), answer)


def _with_arguments(record: Record, schema: Schema, events: list[Any]) -> Example:
    """The events of a sentence as records, in the order of their triggers."""
    answer: dict[str, list[str]] = {slot: [] for slot in schema.slots}
    placed = sorted((start, n, kind) for n, event in enumerate(events) for start, kind, _ in _triggers(event)[:1])
    for _, number, kind in placed:
        fields = dict(schema.fields).get(kind, ())
        values = {one.name: _mentions(events[number], one.name) for one in fields}
        plain = {one.name: values[one.name] if one.many else next(iter(values[one.name]), None) for one in fields}
        text, faults = canonical(plain, fields)
        if text is None:
            raise BadRecord(*(f"{kind}: {fault.kind} {fault.detail}" for fault in faults))
        answer.setdefault(kind, []).append(text)
    by_slot = {slot: tuple(answer[slot]) for slot in schema.slots if answer[slot]}
    return Example(str(field(record.fields, "id", (str, int))), field(record.fields, "context", str), by_slot)


def _mentions(event: Any, role: str) -> list[str]:
    """The mentions of an argument, each with its fragments joined; none where the event does not tell it."""
    if role not in ROLES:
        raise BadRecord(f'PHEE has no field "{role}".{suggest(role, ROLES)} It has: {", ".join(ROLES)}')
    for key in ROLES[role]:
        event = event.get(key) if isinstance(event, dict) else None
    if not isinstance(event, dict):
        return []
    return [" ".join(strings({"text": fragments}, "text")) for fragments in field(event, "text", list)]


PHEE = Format(read_json, _convert, Schema("span", SLOTS), further_kinds=("record",))


def load_phee(path: str | Path, schema: Schema | None = None) -> list[Example]:
    """The sentences of a PHEE file."""
    return PHEE(path, schema)
