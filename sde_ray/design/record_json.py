"""Records in the JSON formats: as objects, or as lists of values in the order of the fields, and back.

{"name": "Ada", "age": null}    an object; null for what is absent, where the answer is complete
["Ada", null]                   its values alone; null for what is absent, always
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sde_ray.data.record_values import Fields, exact_record
from sde_ray.design.output_form import OutputForm
from sde_ray.safe_json import JsonNumber, JsonObject, write_json_exactly
from sde_ray.types import RecordField


def write_object(text: str, slot: str, form: OutputForm) -> str:
    """The JSON object of a canonical record."""
    return "{" + write_members(text, slot, form) + "}"


def write_members(text: str, slot: str, form: OutputForm) -> str:
    """The members of a canonical record's JSON object, without its braces."""
    record = _with_nulls(exact_record(text), form.fields[slot], form)
    return ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {write_json_exactly(v)}" for key, v in record.items())


def write_values(text: str, slot: str, form: OutputForm) -> str:
    """The values of a canonical record as a JSON list."""
    return write_json_exactly(_positional(exact_record(text), form.fields[slot], form))


def _with_nulls(record: Mapping[str, Any], fields: Fields, form: OutputForm) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for one in fields:
        if one.name in record:
            members[one.name] = _each(record[one.name], one, form, _with_nulls)
        elif form.complete:
            members[one.name] = None
    return members


def _positional(record: Mapping[str, Any], fields: Fields, form: OutputForm) -> list[Any]:
    return [
        _each(record[one.name], one, form, _positional) if one.name in record else None for one in fields
    ]  # fmt: skip


def _each(value: Any, one: RecordField, form: OutputForm, write_record: Any) -> Any:
    """A field's value, or each of its list, with the records in it written."""
    if one.many:
        return [_each(item, RecordField(one.name, one.type, fields=one.fields), form, write_record) for item in value]
    if one.type == "record":
        return write_record(value, one.fields, form)
    # In a schematic the nouns of numbers stand without quotes, as numbers do.
    return JsonNumber(value) if isinstance(value, str) and value in form.number_nouns else value


def read_values(items: Any, slot: str, form: OutputForm) -> str:
    """The raw record that a list of values says. Raises ValueError: when it has another length."""
    return write_json_exactly(_named(items, form.fields[slot], form.complete))


def _named(items: Any, fields: Fields, complete: bool) -> JsonObject:
    if not isinstance(items, list) or len(items) != len(fields):
        raise ValueError(f"not a list of {len(fields)} values")
    members = []
    for one, item in zip(fields, items, strict=True):
        if item is None and one.optional and not complete:
            continue
        if one.type == "record" and item is not None:
            item = _records(item, one, complete)
        members.append((one.name, item))
    return JsonObject(members)


def _records(item: Any, one: RecordField, complete: bool) -> Any:
    if not one.many:
        return _named(item, one.fields, complete)
    return [_named(inner, one.fields, complete) for inner in item] if isinstance(item, list) else item
