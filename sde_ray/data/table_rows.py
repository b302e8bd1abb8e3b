"""Rows of a table: cells that are right or wrong (error detection), and rows that lack one value (imputation).

    {"record": {"name": "mill", "city": "Tarsn"}, "attribute": "city", "label": 1}     `cells`: 1 = wrong
    name,city,attribute,label                                                          the same, flat
    name,city,phone                                                                    `rows`: any table

Of `rows` the column `target` is the answer, and no part of the text; rows without a value there are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sde_ray.data.jsonl import read_rows
from sde_ray.data.records import BadRecord, Record
from sde_ray.data.schema import Schema
from sde_ray.data.table_format import LABELS, table_format
from sde_ray.data.table_text import TableItem, plain_fields, plain_value, yes_or_no
from sde_ray.errors import suggest

NO_ATTRIBUTES = ("id", "attribute", "label", "rationale")
"""Columns of a flat row that are no part of its record."""


def _fields(record: Record) -> Mapping[str, object]:
    if not isinstance(record.fields, Mapping):
        raise BadRecord("expected an object, or a row of a table")
    return record.fields


def cells(record: Record) -> Iterator[TableItem]:
    """The cell that a record asks about."""
    fields = _fields(record)
    missing = [key for key in ("attribute", "label") if key not in fields]
    if missing:
        raise BadRecord(f'the key "{missing[0]}" is missing. Expected record, attribute and label (1 = wrong)')
    flat = {name: value for name, value in fields.items() if name not in NO_ATTRIBUTES}
    row = plain_fields(fields.get("record", flat), "the record")
    asked = plain_value(fields["attribute"])
    if asked not in row:
        raise BadRecord(f'there is no attribute "{asked}".{suggest(asked, row)} There are: {", ".join(row)}')
    why = plain_value(fields.get("rationale"))
    yield TableItem(record.name, (("", row),), yes_or_no(fields["label"]), cell={asked: row[asked]}, rationale=why)


def rows(record: Record, target: str = "") -> Iterator[TableItem]:
    """The row without its column `target`; none where that has no value."""
    row = plain_fields(_fields(record), "the row")
    if target not in row:
        near = f'there is no column "{target}".{suggest(target, row)}' if target else "it is not said which is missing"
        raise BadRecord(f"{near} Name the column that is filled in: target. There are: {', '.join(row)}")
    rest = {name: value for name, value in row.items() if name not in (target, "id")}
    if row[target]:
        yield TableItem(record.name, (("", rest),), row[target], missing=target)


CELLS = table_format(read_rows, cells, Schema("label", ("error",), LABELS, "unclear"))
ROWS = table_format(read_rows, rows, Schema("free", ("value",), placeholder="unknown"), ("target",))
