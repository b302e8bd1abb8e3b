"""Pairs of records with 1 or 0, for entity matching and schema matching, in the forms that are in use.

    COL title VAL the old mill COL year VAL 1998 <TAB> COL title VAL old mill <TAB> 1       Ditto's text (Magellan sets)
    id,label,left_title,left_year,right_title,right_year                                    DeepMatcher's joined CSV
    ltable_id,rtable_id,label    with tableA.csv and tableB.csv beside the file             DeepMatcher's three tables
    {"left": {"title": ...}, "right": {"title": ...}, "label": 1}                           JSON lines

`ltable_` and `rtable_` may stand for `left_` and `right_`. Columns `id` are no attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sde_ray.data.csv_file import read_csv
from sde_ray.data.faults import PlacedFault, raise_faults
from sde_ray.data.records import BadRecord, Record, read_json, read_text
from sde_ray.data.schema import Schema
from sde_ray.data.table_format import LABELS, table_format
from sde_ray.data.table_text import Fields, TableItem, plain_fields, plain_value, yes_or_no
from sde_ray.errors import UserError

SIDES = (("left_", "right_"), ("ltable_", "rtable_"))
_COLUMN = re.compile(r"(?:^|\s)COL\s")
_VALUE = re.compile(r"\sVAL(?:\s|$)")


def read_pairs(path: Path) -> list[Record]:
    """Records of a file in any of the forms; JSON is told by its ending, Ditto's text by its first line."""
    if path.suffix.lower() in (".json", ".jsonl"):
        return read_json(path)
    if is_ditto(text := read_text(path)):
        return _read_ditto(path, text)
    return _with_tables(path, read_csv(path))


def is_ditto(text: str) -> bool:
    """Whether a file's text is of Ditto's form: its first line is two serialised records and a label."""
    parts = text.lstrip().partition("\n")[0].split("\t")
    return len(parts) == 3 and all(part.lstrip().startswith("COL ") for part in parts[:2])


def is_pair(fields: Any) -> bool:
    """Whether a record is a pair in one of the forms."""
    if not isinstance(fields, Mapping) or "label" not in fields:
        return False
    names = [str(name) for name in fields]
    flat = any(all(any(name.startswith(side) for name in names) for side in sides) for sides in SIDES)
    return flat or all(isinstance(fields.get(side), Mapping) for side in ("left", "right"))


def _read_ditto(path: Path, text: str) -> list[Record]:
    records: list[Record] = []
    faults: list[PlacedFault] = []
    for number, line in enumerate(text.split("\n"), start=1):
        parts = line.rstrip("\r").split("\t")
        if not line.strip():
            continue
        if len(parts) != 3:
            faults.append((f"line {number}", f"{len(parts)} parts between tabs, expected 3: two records and a label"))
            continue
        try:
            left, right = _read_columns(parts[0]), _read_columns(parts[1])
        except ValueError as error:
            faults.append((f"line {number}", str(error)))
            continue
        records.append(Record(f"line {number}", {"left": left, "right": right, "label": parts[2].strip()}, path.stem))
    raise_faults(str(path), faults, "Expected COL name VAL value ... <TAB> COL name VAL value ... <TAB> 0 or 1.")
    return records


def _read_columns(text: str) -> dict[str, str]:
    """Attributes of a record in Ditto's form. A COL without a VAL after it is part of the value before."""
    fields: dict[str, str] = {}
    name = ""
    for piece in _COLUMN.split(text.strip())[1:]:
        parts = _VALUE.split(piece, maxsplit=1)
        if len(parts) == 2:
            name = parts[0].strip()
            if name in fields:
                raise ValueError(f'the attribute "{name}" stands twice in a record')
            fields[name] = parts[1].strip()
        elif name:
            fields[name] = f"{fields[name]} COL {piece.strip()}".strip()
    if not fields:
        raise ValueError("a record has no COL name VAL value")
    return fields


def _with_tables(path: Path, records: list[Record]) -> list[Record]:
    """Rows that only name their two records by id, with those from `tableA.csv` and `tableB.csv` beside the file."""
    ids = ("ltable_id", "rtable_id")
    if not records or not {*ids} <= {*records[0].fields} or any(_sides(record.fields) for record in records[:1]):
        return records
    names = ("tableA.csv", "tableB.csv")
    tables = [_table(path.parent / name) for name in names]
    joined: list[Record] = []
    faults: list[PlacedFault] = []
    for record in records:
        found = [table.get(plain_value(record.fields[key])) for table, key in zip(tables, ids, strict=True)]
        if None in found:
            at = found.index(None)
            unknown = plain_value(record.fields[ids[at]])
            faults.append((record.position, f'{names[at]} has no record with the {ids[at]} "{unknown}"'))
        else:
            fields = {"left": found[0], "right": found[1], "label": record.fields.get("label")}
            joined.append(Record(record.position, fields, record.file))
    raise_faults(str(path), faults, "Give the tables that these ids belong to.")
    return joined


def _table(path: Path) -> dict[str, Fields]:
    if not path.is_file():
        raise UserError(
            f"The pairs name their records by id, and there is no {path}. Put the two tables beside the file."
        )
    rows = read_csv(path)
    if rows and "id" not in rows[0].fields:
        raise UserError(
            f'{path} has no column "id", which the pairs name its records by. It has: {", ".join(rows[0].fields)}. '
            "Name the column of its keys id."
        )
    table: dict[str, Fields] = {}
    faults: list[PlacedFault] = []
    for row in rows:
        key = plain_value(row.fields["id"])
        if key in table or not key:
            faults.append((row.position, f'the id "{key}" stands twice' if key else "there is no id"))
        table[key] = {name: value for name, value in row.fields.items() if name != "id"}
    raise_faults(str(path), faults, "Give each record an id of its own.")
    return table


def _sides(fields: Mapping[str, Any]) -> tuple[Fields, Fields] | None:
    """The attributes of both records of a flat row, without ids; None where there are none."""
    for sides in SIDES:
        left, right = (
            {name.removeprefix(side): fields[name] for name in fields if name.startswith(side) and name != f"{side}id"}
            for side in sides
        )
        if left and right:
            return left, right
    return None


def pairs(record: Record) -> Iterator[TableItem]:
    """The pair of a record."""
    fields = record.fields
    if not isinstance(fields, Mapping) or "label" not in fields:
        raise BadRecord('there is no "label": 1 for a match, 0 for none')
    sides = (fields["left"], fields["right"]) if {"left", "right"} <= {*fields} else _sides(fields)
    if sides is None:
        raise BadRecord('there are no two records: "left" and "right", or columns left_NAME and right_NAME')
    pair = tuple((title, plain_fields(side, f"record {title}")) for title, side in zip("AB", sides, strict=True))
    yield TableItem(record.name, pair, yes_or_no(fields["label"]), rationale=plain_value(fields.get("rationale")))


MAGELLAN = table_format(read_pairs, pairs, Schema("label", ("match",), LABELS, "unclear"))
