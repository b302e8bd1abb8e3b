"""Spans as character offsets: the forms of spaCy, Doccano, Prodigy and plain dictionaries.

    {"text": "IL-2 binds", "entities": [[0, 4, "protein"]]}                                  spaCy; Doccano: "label"
    {"text": "IL-2 binds", "entities": [{"start_offset": 0, "end_offset": 4, "label": "protein"}]}    or start, end
    ["IL-2 binds", {"entities": [[0, 4, "protein"]]}]                                        spaCy's training pairs

A slot is a span's label, its value the text between the offsets: the end is exclusive. Spans stand in the order of the
text, the longer first; a label that is no slot of the task is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.jsonl import convert, read_rows
from sde_ray.data.records import BadRecord
from sde_ray.data.schema import Schema

KEYS = ("entities", "spans", "label", "labels", "ents", "annotations")
TEXTS = ("text", "data", "sentence", "content")
STARTS, ENDS = ("start", "start_offset", "begin", "start_char"), ("end", "end_offset", "stop", "end_char")
LABELS = ("label", "type", "entity", "entity_type", "tag", "entity_group")

Offsets = tuple[int, int, str]
"""Start, end (exclusive) and label."""


def find_spans(fields: Any) -> tuple[str, list[Any]] | None:
    """The text and its list of spans; None where a record has none. An empty list counts under an entity key only."""
    if isinstance(fields, list) and len(fields) == 2 and isinstance(fields[1], Mapping):
        fields = {"text": fields[0], **fields[1]}
    if not isinstance(fields, Mapping):
        return None
    text = next((fields[key] for key in TEXTS if isinstance(fields.get(key), str)), None)
    for key in KEYS:
        spans = fields.get(key)
        if text is not None and isinstance(spans, list) and (_offsets(spans[0]) if spans else key == "entities"):
            return text, spans
    return None


def _offsets(span: Any) -> Offsets | None:
    """Start, end and label of a span in whatever form; None for what is none."""
    if isinstance(span, list | tuple) and len(span) == 3:
        start, end, label = span
    elif isinstance(span, Mapping):
        start, end, label = (next((span[n] for n in names if n in span), None) for names in (STARTS, ENDS, LABELS))
    else:
        return None
    whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
    return (start, end, label) if whole and isinstance(label, str) else None


def translate(fields: Any, schema: Schema | None) -> dict[str, Any]:
    """A text with offsets as a plain record: id, text, answer."""
    located = find_spans(fields)
    if located is None:
        raise BadRecord('expected "text" and "entities", a list of [start, end, label]')
    text, spans = located
    read = [_offsets(span) for span in spans]
    if None in read:
        wrong = spans[read.index(None)]
        raise BadRecord(f"the span {str(wrong)[:60]} is not [start, end, label]")
    name = {"id": fields["id"]} if isinstance(fields, Mapping) and fields.get("id") not in (None, "") else {}
    return {**name, "text": text, "answer": strings_by_label(text, [span for span in read if span is not None])}


def strings_by_label(text: str, spans: list[Offsets]) -> dict[str, list[str]]:
    """The strings between offsets, by label, in the order of the text."""
    by_label: dict[str, list[str]] = {}
    for start, end, label in sorted(set(spans), key=lambda span: (span[0], -span[1], span[2])):
        if not 0 <= start < end <= len(text):
            raise BadRecord(f"the span [{start}, {end}] does not lie in the text of {len(text)} characters")
        string = text[start:end]
        if not string.strip():
            raise BadRecord(f"the span [{start}, {end}] is blank")
        by_label.setdefault(label, []).append(string.strip())
    return by_label


OFFSETS = Format(read_rows, convert, translate=translate, overlap="error")
