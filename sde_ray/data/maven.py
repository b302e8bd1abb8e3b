"""MAVEN: event detection in Wikipedia articles; the paper keeps ten of its types. Two forms are read.

    native     {"id", "content": [{"sentence", "tokens"}], "events": [{"type", "mention": [{"trigger_word", "sent_id",
               "offset": [start, end]}]}], "negative_triggers"}: a document a line, an example a sentence
    sentences  [{"id", "tokens": [...], "events": [{"text": "raid", "start": 13, "end": 14, "event_type": "Attack"}]}]

Types outside the schema are left out, and then so are sentences without an event, unless `keep_empty`: the published
demo has 147 events in 100 sentences (PAPER.md 1.11), which no sample of all sentences has. MAVEN's test file has no
gold events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, field, numbers, read_json, strings
from sde_ray.data.schema import Schema
from sde_ray.types import Answer, Example

SLOTS = (
    "Catastrophe",
    "Attack",
    "Hostile_encounter",
    "Causation",
    "Process_start",
    "Competition",
    "Motion",
    "Social_event",
    "Killing",
    "Conquering",
)

Trigger = tuple[int, str, str]
"""Position, event type, string."""


def _convert(record: Record, schema: Schema, keep_empty: bool = False) -> Iterator[Example]:
    if isinstance(record.fields, dict) and "content" in record.fields:
        examples = _sentences(record.fields, schema)
    else:
        examples = iter([_sentence(record.fields, schema)])
    return (example for example in examples if keep_empty or example.answer)


def _sentence(fields: Any, schema: Schema) -> Example:
    triggers = [
        (field(event, "start", int), field(event, "event_type", str), field(event, "text", str))
        for event in field(fields, "events", list)
    ]
    text = " ".join(strings(fields, "tokens"))
    return Example(str(field(fields, "id", (str, int))), text, _answer(triggers, schema))


def _sentences(fields: Any, schema: Schema) -> Iterator[Example]:
    if "events" not in fields:
        raise BadRecord("there are no gold events (MAVEN's test file has none); give the train or valid file")
    content = field(fields, "content", list)
    triggers: dict[int, list[Trigger]] = defaultdict(list)
    for event in field(fields, "events", list):
        for mention in field(event, "mention", list):
            at, offset = field(mention, "sent_id", int), numbers(field(mention, "offset", list), "offset")
            if not 0 <= at < len(content):
                raise BadRecord(f"a mention has sent_id {at}; there are {len(content)} sentences")
            triggers[at].append((offset[0], field(event, "type", str), field(mention, "trigger_word", str)))
    for number, sentence in enumerate(content):
        name = f"{field(fields, 'id', (str, int))}:{number}"
        yield Example(name, field(sentence, "sentence", str), _answer(triggers[number], schema))


def _answer(triggers: Iterable[Trigger], schema: Schema) -> Answer:
    ordered = sorted(set(triggers))
    by_slot = {slot: tuple(string for _, kind, string in ordered if kind == slot) for slot in schema.slots}
    return {slot: strings for slot, strings in by_slot.items() if strings}


MAVEN = Format(read_json, _convert, Schema("span", SLOTS), options=("keep_empty",))


def load_maven(path: str | Path, schema: Schema | None = None, keep_empty: bool = False) -> list[Example]:
    """The sentences of a MAVEN file that have an event of the schema; with `keep_empty` all of them."""
    return MAVEN(path, schema, keep_empty=keep_empty)
