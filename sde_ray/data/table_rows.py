"""Rows of a table: cells that are right or wrong (error detection), and rows that lack one value (imputation).

    {"record": {"name": "mill", "city": "Tarsn"}, "attribute": "city", "label": 1}     `cells`: 1 = wrong
    name,city,attribute,label                                                          the same, flat
    name,city,phone                                                                    `rows`: any table

Of `rows` the column `target` is the answer, and no part of the text; rows without a value there are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sde_ray.data.format import Format
from sde_ray.data.jsonl import read_rows
from sde_ray.data.magellan import LABELS, yes_no_slot
from sde_ray.data.records import BadRecord, Record
from sde_ray.data.schema import Schema
from sde_ray.data.table_text import (
    RecordStyle,
    Serialization,
    TableItem,
    plain_fields,
    plain_value,
    write_item,
    yes_or_no,
)
from sde_ray.errors import suggest
from sde_ray.types import Example

NO_ATTRIBUTES = ("id", "attribute", "label", "rationale")
"""Columns of a flat row that are no part of its record."""


def _fields(record: Record) -> Mapping[str, object]:
    if not isinstance(record.fields, Mapping):
        raise BadRecord("expected an object, or a row of a table")
    return record.fields


def _convert_cell(
    record: Record, schema: Schema, serialization: Serialization = "pairs", attributes: Sequence[str] = ()
) -> Iterator[Example]:
    fields, slot = _fields(record), yes_no_slot(schema)
    missing = [key for key in ("attribute", "label") if key not in fields]
    if missing:
        raise BadRecord(f'the key "{missing[0]}" is missing. Expected record, attribute and label (1 = wrong)')
    flat = {name: value for name, value in fields.items() if name not in NO_ATTRIBUTES}
    row = plain_fields(fields.get("record", flat), "the record")
    asked = plain_value(fields["attribute"])
    if asked not in row:
        raise BadRecord(f'there is no attribute "{asked}".{suggest(asked, row)} There are: {", ".join(row)}')
    name, why = f"{record.file}:{record.position.split()[-1]}", plain_value(fields.get("rationale"))
    item = TableItem(name, (("", row),), yes_or_no(fields["label"]), cell={asked: row[asked]}, rationale=why)
    yield write_item(item, slot, RecordStyle(serialization, tuple(attributes)))


def _convert_row(
    record: Record,
    schema: Schema,
    serialization: Serialization = "pairs",
    attributes: Sequence[str] = (),
    target: str = "",
) -> Iterator[Example]:
    row = plain_fields(_fields(record), "the row")
    if schema.kind != "free" or len(schema.slots) != 1:
        raise BadRecord("this format is for tasks with one slot of free values")
    if target not in row:
        near = f'there is no column "{target}".{suggest(target, row)}' if target else "it is not said which is missing"
        raise BadRecord(f"{near} Name the column that is filled in: target. There are: {', '.join(row)}")
    rest = {name: value for name, value in row.items() if name not in (target, "id")}
    if row[target]:
        name = f"{record.file}:{record.position.split()[-1]}"
        item = TableItem(name, (("", rest),), row[target], missing=target)
        yield write_item(item, schema.slots[0], RecordStyle(serialization, tuple(attributes)))


OPTIONS = ("serialization", "attributes")
CELLS = Format(read_rows, _convert_cell, Schema("label", ("error",), LABELS, "unclear"), OPTIONS)
ROWS = Format(read_rows, _convert_row, Schema("free", ("value",), placeholder="unknown"), (*OPTIONS, "target"))
