"""GENIA: nested named entities in abstracts, in JSON lines of two forms.

    train  {"text", "sent_id", "tokens", "entity_mentions": [{"entity_type", "surface", "char_start", "char_end", ...}]}
    dev    {"tokens", "sent_id", "entity_mentions": [{"start", "end", "entity_type", "text"}]}; text = tokens and spaces

The train form's tokens are cut at gold spans, so they would give the answer away: its own text is read. All mentions
are kept, nested and repeated ones too, in the order of the text, the longer first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, field, read_json, strings
from sde_ray.data.schema import Schema, check_slots
from sde_ray.errors import suggest
from sde_ray.types import Example

SLOTS = ("DNA", "RNA", "protein", "cell_type", "cell_line")


def _span(mention: Any, of_text: bool) -> tuple[int, int, str, str]:
    """Where a mention starts and, negated, ends; its type; its string."""
    kind = field(mention, "entity_type", str)
    if kind not in SLOTS:
        raise BadRecord(f'unknown entity_type "{kind}".{suggest(kind, SLOTS)}')
    start, end = ("char_start", "char_end") if of_text else ("start", "end")
    string = field(mention, "surface" if of_text else "text", str)
    return field(mention, start, int), -field(mention, end, int), kind, string


def _convert(record: Record, schema: Schema) -> Iterator[Example]:
    check_slots(schema, SLOTS, "GENIA")
    fields = record.fields
    of_text = isinstance(fields, dict) and "text" in fields
    text = field(fields, "text", str) if of_text else " ".join(strings(fields, "tokens"))
    spans = sorted(_span(mention, of_text) for mention in field(fields, "entity_mentions", list))
    strange = [string for *_, string in spans if string not in text]
    if strange:
        raise BadRecord(f'the mention "{strange[0]}" is not in the text')
    by_slot = {slot: tuple(string for *_, kind, string in spans if kind == slot) for slot in schema.slots}
    name = str(fields.get("sent_id") or record.name)
    yield Example(name, text, {slot: values for slot, values in by_slot.items() if values})


GENIA = Format(read_json, _convert, Schema("span", SLOTS))


def load_genia(path: str | Path, schema: Schema | None = None) -> list[Example]:
    """The sentences of a GENIA file, entity-free ones included."""
    return GENIA(path, schema)
