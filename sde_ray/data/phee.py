"""PHEE: pharmacovigilance events, in JSON lines; read as event detection (type and trigger).

    {"id", "context", "annotations": [{"events": [
        {"event_type": "Adverse_event", "Trigger": {"text": [["induced"]], "start": [[162]]}, "Treatment": ...}]}]}

A trigger is a list of mentions, each a list of fragments. The fragments of a discontinuous mention are joined by one
space; the string may then not stand in the text, which is the published annotation. Offsets give the order only, as
some are wrong. Two events of one type that share a trigger (they differ in arguments) are one trigger.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, field, numbers, read_json, strings
from sde_ray.data.schema import Schema, check_slots
from sde_ray.errors import suggest
from sde_ray.types import Example

SLOTS = ("Adverse_event", "Potential_therapeutic_event")


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
    triggers = sorted({trigger for event in events for trigger in _triggers(event)})
    by_slot = {slot: tuple(string for _, kind, string in triggers if kind == slot) for slot in schema.slots}
    answer = {slot: strings for slot, strings in by_slot.items() if strings}
    yield Example(str(field(record.fields, "id", (str, int))), field(record.fields, "context", str), answer)


PHEE = Format(read_json, _convert, Schema("span", SLOTS))


def load_phee(path: str | Path, schema: Schema | None = None) -> list[Example]:
    """The sentences of a PHEE file."""
    return PHEE(path, schema)
