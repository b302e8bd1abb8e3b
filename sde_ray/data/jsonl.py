"""JSONL and tables of the user's own: JSON lines (or a list), CSV, TSV, parquet, hub rows.

    {"id": "7", "text": "good soup", "answer": {"food": "positive"}, "rationale": {"food": "good soup"}}
    {"id": "8", "text": "IL-2 binds", "answer": {"protein": ["IL-2"], "DNA": []}}
    id,text,food,service          a flat row: a slot is a column, an empty cell means "not mentioned"
    9,good soup,positive,

The answer may also be a text that holds it as JSON or `slot: value` lines. An absent slot, null, an empty list and the
task's placeholder all say "not mentioned". A label slot has one label, or several where the task says so
(answer_values.py); of several free values the first is the answer and the others are aliases; records are objects
(answer_records.py). `columns` renames: {"text": "sentence"}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sde_ray.data.answer_records import read_records, records_by_slot
from sde_ray.data.answer_text import read_answer
from sde_ray.data.answer_values import plain_values, read_values
from sde_ray.data.csv_file import read_csv
from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, read_json, short
from sde_ray.data.schema import Schema
from sde_ray.errors import suggest
from sde_ray.types import Example

KEYS = ("id", "text", "answer", "rationale", "aliases")


def convert(record: Record, schema: Schema, columns: Mapping[str, str] | None = None) -> Iterator[Example]:
    """The example of a plain record; raises `BadRecord` with all its faults."""
    fields = _named(record, schema, columns or {})
    faults: list[str] = []
    text = fields.get("text")
    if not isinstance(text, str):
        faults.append(
            '"text" is no string'
            if "text" in fields
            else f'the key "text" is missing{_near("text", fields) or _other_keys(fields)}'
        )
    answers = _mapping(fields, "answer", schema, faults)
    read = read_records if schema.kind == "record" else read_values
    values = {slot: read(slot, value, schema, faults) for slot, value in answers.items()}
    present = {slot: several for slot, several in values.items() if several}
    aliases = {slot: plain_values(slot, value, faults) for slot, value in _optional(fields, "aliases", schema, faults)}
    reasons = _optional(fields, "rationale", schema, faults)
    rationales = {slot: plain_values(slot, value, faults) for slot, value in reasons}
    if faults:
        raise BadRecord(*faults)
    if schema.kind == "free":
        aliases = {slot: (*several[1:], *aliases.get(slot, ())) for slot, several in present.items()}
        present = {slot: several[:1] for slot, several in present.items()}
    name = str(fields["id"]) if fields.get("id") not in (None, "") else record.name
    answer = {slot: present[slot] for slot in schema.slots if slot in present}
    rationale = {slot: " ".join(lines) for slot, lines in rationales.items() if lines}
    yield Example(name, str(text), answer, rationale, {slot: more for slot, more in aliases.items() if more})


def empty_slots(record: Record, schema: Schema, columns: Mapping[str, str] | None = None) -> list[str]:
    """Slots whose value is the empty text in an answer that names its slots; a table's empty cells are no such."""
    answer = record.fields.get((columns or {}).get("answer", "answer")) if isinstance(record.fields, Mapping) else None
    if isinstance(answer, str) and len(schema.slots) > 1:
        answer = read_answer(answer, schema.slots)
    if not isinstance(answer, Mapping):
        return [schema.slots[0]] if answer == "" else []
    return [slot for slot in schema.slots if answer.get(slot) == ""]


def _named(record: Record, schema: Schema, columns: Mapping[str, str]) -> dict[str, Any]:
    """The record under our keys; a flat row's slots are gathered under "answer"."""
    if not isinstance(record.fields, dict):
        raise BadRecord("expected an object with the keys id, text and answer")
    lost = [column for column in columns.values() if column not in record.fields]
    if lost:
        raise BadRecord(f'there is no column "{lost[0]}".{suggest(lost[0], record.fields)}')
    fields = {key: value for key, value in record.fields.items() if key not in columns.values()}
    fields |= {key: record.fields[column] for key, column in columns.items()}
    flat = {slot: fields[slot] for slot in schema.slots if slot in fields and slot not in KEYS}
    if "answer" not in fields and flat:
        fields["answer"] = flat
    if "answer" not in fields:
        raise BadRecord(f'the key "answer" is missing{_near("answer", fields) or _other_keys(fields, schema)}')
    missing = [key for key in KEYS if key not in fields and key != "id"]
    for key in fields:  # a misspelt "rationale" must not be lost in silence; other keys are the user's business
        if key not in KEYS and key not in schema.slots and suggest(key, missing):
            raise BadRecord(f'unknown key "{key}".{suggest(key, missing)}')
    by_slot = [key for key in ("answer", "rationale", "aliases") if fields.get(key) not in (None, "")]
    return {**fields, **{key: _by_slot(fields[key], schema, key) for key in ("answer", *by_slot)}}


def _by_slot(answer: Any, schema: Schema, key: str) -> Any:
    """Values by slot. Of a task with one slot the value may stand alone, {"answer": "Iran"}; others have it as text."""
    if key == "answer" and schema.kind == "record":
        return records_by_slot(answer, schema)
    if isinstance(answer, str) and len(schema.slots) > 1:
        return read_answer(answer, schema.slots)
    return answer if isinstance(answer, dict) or len(schema.slots) > 1 else {schema.slots[0]: answer}


def _near(key: str, fields: Mapping[str, Any]) -> str:
    found = [name for name in fields if suggest(name, [key])]
    return f' (there is "{found[0]}")' if found else ""


def _other_keys(fields: Mapping[str, Any], schema: Schema | None = None) -> str:
    """What a record has in place of what is missing, for someone who must name it in `columns`."""
    slots = f", and so is a column for each slot ({', '.join(schema.slots)})" if schema else ""
    listed = ", ".join(str(name)[:40] for name in [*fields][:20]) or "no keys"
    return f"{slots}; there are: {listed}. Say which it is: columns: {{{'answer' if schema else 'text'}: NAME}}"


def _mapping(fields: Mapping[str, Any], key: str, schema: Schema, faults: list[str]) -> dict[str, Any]:
    """The mapping by slot under `key`, without slots that the task does not have."""
    mapping = fields[key]
    if not isinstance(mapping, dict):
        faults.append(f'"{key}" is {short(repr(mapping))}, expected a mapping by slot, or `slot: value` lines')
        return {}
    faults += [
        f'{key} names the unknown slot "{slot}".{suggest(slot, schema.slots)} Known: {", ".join(schema.slots)}'
        for slot in mapping
        if slot not in schema.slots
    ]
    return {slot: value for slot, value in mapping.items() if slot in schema.slots}


def _optional(fields: Mapping[str, Any], key: str, schema: Schema, faults: list[str]) -> list[tuple[str, Any]]:
    return list(_mapping(fields, key, schema, faults).items()) if fields.get(key) else []


def read_rows(path: Path) -> list[Record]:
    """The records of a file of JSON lines, of one JSON list, or of CSV, told by its name."""
    return read_csv(path) if path.suffix.lower() in (".csv", ".tsv") else read_json(path)


JSONL = Format(read_rows, convert, options=("columns",), overlap="error")
CSV = Format(read_csv, convert, options=("columns",), overlap="error")


def load_jsonl(path: str | Path, schema: Schema, columns: Mapping[str, str] | None = None) -> list[Example]:
    """The examples of a file of plain records; the task's `schema` says which slots and labels there may be."""
    return JSONL(path, schema, columns=columns or {})
