"""MAMS-ACSA: restaurant sentences with two or more aspect categories of different polarity each, in XML.

<sentence><text>...</text><aspectCategories><aspectCategory category="food" polarity="positive"/>...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, read_xml
from sde_ray.data.schema import Schema, check_slots
from sde_ray.errors import suggest
from sde_ray.types import Example

SLOTS = ("food", "service", "staff", "price", "ambience", "menu", "place", "miscellaneous")
LABELS = ("positive", "neutral", "negative")


def _convert(record: Record, schema: Schema) -> Iterator[Example]:
    check_slots(schema, SLOTS, "MAMS")
    sentence = record.fields
    answer: dict[str, tuple[str, ...]] = {}
    if sentence.find("aspectTerms") is not None:
        raise BadRecord("this is MAMS-ATSA (aspect terms); give the file of MAMS-ACSA (aspect categories)")
    for element in sentence.iter("aspectCategory"):
        slot, label = element.get("category", ""), element.get("polarity", "")
        if slot not in SLOTS:
            raise BadRecord(f'unknown category "{slot}".{suggest(slot, SLOTS)}')
        if label not in LABELS:
            raise BadRecord(f'unknown polarity "{label}".{suggest(label, LABELS)}')
        if answer.get(slot, (label,)) != (label,):
            raise BadRecord(f'the category "{slot}" has two polarities')
        answer[slot] = (label,)
    kept = {slot: answer[slot] for slot in schema.slots if slot in answer}
    yield Example(record.name, (sentence.findtext("text") or "").strip(), kept)


MAMS = Format(lambda path: read_xml(path, "sentence"), _convert, Schema("label", SLOTS, LABELS, "unmentioned"))


def load_mams(path: str | Path, schema: Schema | None = None) -> list[Example]:
    """The sentences of a MAMS-ACSA file; with fewer slots in `schema`, the others are left out."""
    return MAMS(path, schema)
