"""Canonical records: the one JSON text that a record has, in answers, files and completions alike.

    fields = (RecordField("name", "span"), RecordField("age", "integer", optional=True))
    canonical({"age": 36.0, "name": "Ada"}, fields)     -> ('{"name": "Ada", "age": 36}', ())
    canonical({"name": "Ada", "age": "old"}, fields)    -> (None, (Fault("bad_value", "age: ..."),))
    plain_record('{"name": "Ada", "age": 36}')          -> {"name": "Ada", "age": 36}

Keys stand in the order of the fields, numbers in their shortest spelling, and what is absent is left out: an optional
field that is null, an empty list or an empty record. So equal records are equal texts. A record is valid as a whole or
not at all: one with a wrong value, without a field that it needs, or with a field twice has no canonical text, as
nothing of it may be guessed. A field that the record does not have is a fault, and the rest stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sde_ray.data.schema import parse_number
from sde_ray.safe_json import JsonNumber, JsonObject, read_json_exactly, write_json_exactly
from sde_ray.types import Answer, Fault, FaultKind, RecordField

Fields = tuple[RecordField, ...]

_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_LONGEST_NUMBER, _SHOWN = 60, 60
_MISSING = object()
_WANTED: Mapping[str, str] = {
    "label": "one of its labels",
    "span": "a text",
    "text": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}


def canonical(value: Any, fields: Fields, complete: bool | None = None) -> tuple[str | None, tuple[Fault, ...]]:
    """Canonical text of a record, and its faults; None where the record as a whole cannot be used.

    Args:
        value: plain JSON values, or those of `read_json_exactly`.
        fields: those that the record has.
        complete: whether absent optional fields must be there as null, or must not; None: as you like.
    """
    reader = _Reader(complete)
    record = reader.record(value, fields, "")
    return (None if reader.broken else write_json_exactly(record)), tuple(reader.faults)


def canonical_text(text: str, fields: Fields, complete: bool | None = None) -> tuple[str | None, tuple[Fault, ...]]:
    """As `canonical`, of a record's JSON text; total."""
    try:
        value = read_json_exactly(text)
    except ValueError as error:
        return None, (Fault("syntax", f"{str(error)[:_SHOWN]}: {text[:_SHOWN]!r}"),)
    return canonical(value, fields, complete)


def plain_record(text: str) -> dict[str, Any]:
    """The record that a canonical text says, as plain JSON values."""
    record = json.loads(text)
    assert isinstance(record, dict), text
    return record


@lru_cache(maxsize=65_536)  # gold records are written in many designs, by every seed
def exact_record(text: str) -> Mapping[str, Any]:
    """The record that a canonical text says, its numbers as they are spelt; not to be changed."""
    return _as_mapping(read_json_exactly(text))


def _as_mapping(value: Any) -> Any:
    if isinstance(value, JsonObject):
        return {key: _as_mapping(inner) for key, inner in value}
    return [_as_mapping(inner) for inner in value] if isinstance(value, list) else value


def plain_answer(answer: Answer, single: Sequence[str] = ()) -> dict[str, Any]:
    """An answer of records as plain JSON values: by slot a list of records, or the one record of a `single` slot."""
    records = {slot: [plain_record(text) for text in texts] for slot, texts in answer.items()}
    return {slot: several[0] if slot in single else several for slot, several in records.items()}


def leaf_paths(fields: Fields, before: str = "") -> Iterator[tuple[str, RecordField]]:
    """Paths of all fields that hold no record, "address.city", each with its field; lists add nothing to a path."""
    for one in fields:
        if one.type == "record":
            yield from leaf_paths(one.fields, f"{before}{one.name}.")
        else:
            yield f"{before}{one.name}", one


def number_text(value: Any) -> str | None:
    """The one spelling of a finite number, or of a text that spells one: 4 for 4.0, 0.5 for .5; None for others."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, int):
        value = str(value) if abs(value) < 10**_LONGEST_NUMBER else ""
    text = value.strip() if isinstance(value, str) else repr(value)
    if _WHOLE.fullmatch(text):
        return str(int(text))
    number = parse_number(text) if len(text) <= _LONGEST_NUMBER else None
    if number is None:
        return None
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


class _Reader:
    """Reader of one record: gathers its faults, and whether one of them spoils the whole."""

    def __init__(self, complete: bool | None) -> None:
        self.complete = complete
        self.faults: list[Fault] = []
        self.broken = False

    def record(self, value: Any, fields: Fields, path: str) -> dict[str, Any]:
        """A record's members in the order of the fields."""
        if not isinstance(value, JsonObject | Mapping):
            self._spoil("bad_value", f"{path or 'record'}: {_show(value)} is no object")
            return {}
        members: dict[str, Any] = {}
        for key, inner in value.items() if isinstance(value, Mapping) else value:
            if key in members:
                self._spoil("repeated_field", f"{path}{key}")
            members[key] = inner
        names = [one.name for one in fields]
        self.faults += [Fault("unknown_field", f"{path}{key}"[:_SHOWN]) for key in members if key not in names]
        read = {one.name: self._member(one, members.get(one.name, _MISSING), f"{path}{one.name}") for one in fields}
        return {name: inner for name, inner in read.items() if inner is not None}

    def _member(self, one: RecordField, value: Any, path: str) -> Any:
        """The value of a field; None where it is absent."""
        if value is _MISSING or value is None:
            if not one.optional:
                self._spoil("missing_field", path)
            elif self.complete is not None and self.complete != (value is None):
                self.faults.append(Fault("missing_field" if self.complete else "unexpected_placeholder", path))
            return None
        read = self._list(one, value, path) if one.many else self._one(one, value, path)
        if read in ([], {}) and one.optional:
            if self.complete is False:
                self.faults.append(Fault("unexpected_placeholder", path))
            return None
        return read

    def _list(self, one: RecordField, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):  # not a tuple: such is a JsonObject
            self._spoil("bad_value", f"{path}: {_show(value)} is no list")
            return []
        items = [self._one(one, item, path) for item in value]
        return [item for item in items if item != {}]  # an empty record in a list says nothing

    def _one(self, one: RecordField, value: Any, path: str) -> Any:
        if one.type == "record":
            return self.record(value, one.fields, f"{path}.")
        read = _scalar(one, value)
        if read is None:
            self._spoil("bad_value", f"{path}: {_show(value)} is not {_WANTED[one.type]}")
        return read

    def _spoil(self, kind: FaultKind, detail: str) -> None:
        self.broken = True
        self.faults.append(Fault(kind, detail))


def _scalar(one: RecordField, value: Any) -> Any:
    """The canonical value of a field; None where it is none of the field's type."""
    if one.type == "boolean":
        return {"true": True, "false": False}.get(value) if isinstance(value, str) else _bool(value)
    if one.type in ("number", "integer"):
        number = number_text(value)
        if number is None or (one.type == "integer" and not float(number).is_integer()):
            return None
        return JsonNumber(number) if not one.labels or number in map(number_text, one.labels) else None
    if not isinstance(value, str) or isinstance(value, JsonNumber):
        return None
    return value if one.type != "label" or value in one.labels else None


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _show(value: Any) -> str:
    return (write_json_exactly(value) if not isinstance(value, float) else repr(value))[:_SHOWN]
