"""Records of a table as text: the two serialisations of the published work, and what is asked of a record.

    pairs       [name: "the old mill", city: "Tarsin", phone: nan]       "LLMs as Data Preprocessors", arXiv 2308.16361
    sentences   name: the old mill. city: Tarsin. phone: nan             its ancestor, HazyResearch/fm_data_tasks

A value that is missing is `nan` in both. In `pairs` a value is a JSON string, so any text comes back as it was and
stays on one line; `sentences` writes it bare, with its white space as single blanks. `attributes` chooses the columns
that are shown, in the order of the record.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sde_ray.data.records import BadRecord, short
from sde_ray.errors import suggest
from sde_ray.types import Example

Fields = Mapping[str, str]
Serialization = Literal["pairs", "sentences"]
SERIALIZATIONS: tuple[Serialization, ...] = get_args(Serialization)
MISSING = "nan"
_PLAIN_NAME = re.compile(r"\w(?:[\w ./()%&#-]*[\w./()%&#-])?")


@dataclass(frozen=True)
class RecordStyle:
    """How records are written: the serialisation, and the attributes that take part (empty: all)."""

    serialization: Serialization = "pairs"
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableItem:
    """Instance of a table task: its records, each with a title ("A", "B", or none), and the answer to the question.

    `cell`: the attribute and value that is asked about, shown whatever `attributes` says; `missing`: the attribute that
    is to be filled in.
    """

    id: str
    records: tuple[tuple[str, Fields], ...]
    answer: str
    cell: Fields | None = None
    missing: str = ""
    rationale: str = ""


def write_record(fields: Fields, style: RecordStyle) -> str:
    """Serialised record; an attribute that it does not have is left out."""
    shown = {name: value for name, value in fields.items() if not style.attributes or name in style.attributes}
    if style.serialization == "sentences":
        return ". ".join(f"{_one_line(name)}: {_one_line(value) or MISSING}" for name, value in shown.items())
    return "[" + ", ".join(f"{_name(name)}: {_quoted(value)}" for name, value in shown.items()) + "]"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else _quoted(name)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if value else MISSING


def write_item(item: TableItem, slot: str, style: RecordStyle) -> Example:
    """Example of an instance: a line for each record, and one for what is asked about.

    Raises BadRecord: when `style` names an attribute that none of the records has.
    """
    _check_attributes(item, style)
    lines = [f"{title}: {written}" if title else written for title, written in _written(item, style)]
    rationale = {slot: item.rationale} if item.rationale else {}
    return Example(item.id, "\n".join(lines), {slot: (item.answer,)}, rationale)


def _written(item: TableItem, style: RecordStyle) -> list[tuple[str, str]]:
    lines = [(title, write_record(fields, style)) for title, fields in item.records]
    if item.cell is not None:
        lines.append(("Cell", write_record(item.cell, RecordStyle(style.serialization))))
    return [*lines, ("Missing", _one_line(item.missing))] if item.missing else lines


def _check_attributes(item: TableItem, style: RecordStyle) -> None:
    names = list(dict.fromkeys(name for _, fields in item.records for name in fields))
    unknown = [name for name in style.attributes if name not in names]
    if unknown:
        raise BadRecord(
            *(
                f'there is no attribute "{name}".{suggest(name, names)} There are: {", ".join(names)}'
                for name in unknown
            )
        )


def plain_fields(fields: Any, what: str) -> dict[str, str]:
    """A record's values as texts; empty for null and nan. Raises BadRecord for what is no mapping of plain values."""
    if not isinstance(fields, Mapping):
        raise BadRecord(f"{what} is {short(repr(fields))}, expected an object with a value for each attribute")
    wrong = [str(name) for name, value in fields.items() if isinstance(value, Mapping | list | tuple | bytes)]
    if wrong:
        raise BadRecord(f"{what}: {', '.join(wrong)} holds no plain value")
    return {str(name): plain_value(value) for name, value in fields.items()}


def plain_value(value: Any) -> str:
    """One value as text; empty for null, nan and blanks."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


YES_NO: Mapping[str, str] = {"1": "yes", "1.0": "yes", "true": "yes", "yes": "yes", "match": "yes"} | {
    "0": "no", "0.0": "no", "false": "no", "no": "no", "no match": "no",
}  # fmt: skip


def yes_or_no(value: Any) -> str:
    """Label of a record: 1 or 0, true or false, yes or no. Raises BadRecord for anything else."""
    word = plain_value(value).casefold()
    if word not in YES_NO:
        raise BadRecord(f"the label is {short(repr(value))}, expected 1 or 0 (yes or no)")
    return YES_NO[word]
