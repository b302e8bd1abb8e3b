"""Records in the user's data: what is written there as the canonical records of an answer, and what is wrong with it.

{"relation": [{"head": "Curie", "relation": "born in", "tail": "Warsaw"}]}      by slot
[{"head": "Curie", ...}]    {"relations": [{"head": "Curie", ...}]}              of a task with one slot, alone
[["Curie", "born in", "Warsaw"]]                                                values in the order of the fields
[{"type": "Attack", "trigger": "raided", "arguments": {"place": ["the harbour"]}}]
[{"event_type": "Attack", "trigger": {"text": "raided"}, "arguments": [{"role": "place", "text": "the harbour"}]}]

In the last two the slot is the type, if it is one of the task's, and arguments are fields. Any of these may be a text
that holds it as JSON. A value alone is a list of one where the field holds a list, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sde_ray.data.answer_text import fenced_json, split_thought
from sde_ray.data.record_values import Fields, canonical
from sde_ray.data.schema import Schema
from sde_ray.errors import suggest
from sde_ray.types import RecordField

SLOT_KEYS = ("slot", "type", "event_type", "entity_type", "relation_type", "category", "kind")
ARGUMENTS = ("arguments", "args", "roles", "participants")
ROLES = ("role", "role_type", "type", "name", "argument_type")
MENTIONS = ("text", "mention", "value", "word", "span", "name", "trigger_word", "content")
"""What published sets call the parts of an event; the first name that an object has."""
EMPTY = "{}"


def records_by_slot(answer: Any, schema: Schema) -> Any:
    """The records of an answer by slot, not yet checked; what is no such answer comes back as it is."""
    value = _parsed(answer)
    if isinstance(value, dict) and _names_slots(value, schema):
        return value
    value = _unwrapped(value, schema)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        keys = [_key(one, SLOT_KEYS) for one in value]
        if all(key is not None and one[key] in schema.slots for key, one in zip(keys, value, strict=True)):
            return _by_type(value, [key for key in keys if key is not None], schema)
    return {schema.slots[0]: value} if len(schema.slots) == 1 else value


def read_records(slot: str, value: Any, schema: Schema, faults: list[str]) -> tuple[str, ...]:
    """Canonical records of a slot; empty where it is not mentioned. What is wrong goes to `faults`."""
    fields = dict(schema.fields)[slot]
    value = _parsed(value)
    if value is None or value == "" or value == schema.placeholder:
        return ()
    texts = []
    for one in _listed(value, fields):
        text, wrong = canonical(_as_record(_parsed(one), fields), fields)
        names = [field.name for field in fields]
        faults += [
            f'a record of "{slot}": {fault.kind.replace("_", " ")} "{fault.detail}"'
            + (suggest(fault.detail, names) if fault.kind == "unknown_field" else "")
            for fault in wrong
        ]
        texts += [text] if text is not None and text != EMPTY else []
    if slot in schema.single and len(texts) > 1:
        faults.append(
            f'"{slot}" has {len(texts)} records, expected one. Leave "single" out where a text may have several'
        )
    return tuple(texts)


def _parsed(value: Any) -> Any:
    """The JSON that a text holds, in a fence and after a thought, too; any other value as it is."""
    if not isinstance(value, str):
        return value
    parsed = fenced_json(split_thought(value)[0])
    return value if parsed is None else parsed


def _names_slots(value: Mapping[str, Any], schema: Schema) -> bool:
    """Whether the keys of an object are slots, and not the fields of the only slot's record."""
    if not value:  # nothing is mentioned; of a single record it is one without fields
        return len(schema.slots) > 1 or not schema.single
    if not {*value} <= {*schema.slots}:
        return False
    fields = {one.name for slot, own in schema.fields for one in own if slot in value}
    return not {*value} <= fields or all(isinstance(one, list | dict) or one is None for one in value.values())


def _unwrapped(value: Any, schema: Schema) -> Any:
    """The list of an object that holds nothing else, {"relations": [...]}."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        names = {one.name for _, own in schema.fields for one in own}
        if isinstance(inner, list) and key not in names and all(isinstance(one, dict | list) for one in inner):
            return inner
    return value


def _by_type(records: Sequence[dict[str, Any]], keys: Sequence[str], schema: Schema) -> dict[str, list[Any]]:
    by_slot: dict[str, list[Any]] = {}
    for record, key in zip(records, keys, strict=True):
        slot = record[key]
        is_field = any(one.name == key for one in dict(schema.fields).get(slot, ()))
        by_slot.setdefault(slot, []).append({k: v for k, v in record.items() if is_field or k != key})
    return by_slot


def _listed(value: Any, fields: Fields) -> list[Any]:
    """The records of a slot: several in a list, or one alone."""
    if not isinstance(value, list):
        return [value]
    is_one = len(value) == len(fields) and bool(value) and not any(isinstance(one, list | dict) for one in value)
    return [value] if is_one and not any(isinstance(_parsed(one), dict) for one in value) else value


def _as_record(value: Any, fields: Fields) -> Any:
    """A record as an object of its fields' names, in the forms that its values should have."""
    if isinstance(value, list) and len(value) == len(fields):
        value = {field.name: item for field, item in zip(fields, value, strict=True)}
    if not isinstance(value, dict):
        return value
    value = with_arguments(value, [field.name for field in fields])
    by_name = {field.name: field for field in fields}
    return {key: _fitted(inner, by_name[key]) if key in by_name else inner for key, inner in value.items()}


def with_arguments(record: Mapping[str, Any], names: Sequence[str] = ()) -> dict[str, Any]:
    """A record with the arguments of an event as fields of its own; `names` are its fields, where they are known."""
    found = next((key for key in ARGUMENTS if key in record and key not in names), None)
    roles = _roles(record[found]) if found is not None else {}
    rest = {key: inner for key, inner in record.items() if key != found}
    return {**rest, **{role: inner for role, inner in roles.items() if role not in rest}}


def mention_text(value: Any) -> Any:
    """The words of a mention, {"text": "raided", "start": 12}; any other value as it is."""
    key = _key(value, MENTIONS) if isinstance(value, dict) else None
    return value if key is None else value[key]


def _roles(arguments: Any) -> dict[str, list[Any]]:
    """Arguments of an event by role: from a mapping, or from a list of objects that name their role."""
    if isinstance(arguments, Mapping):
        return {str(role): inner if isinstance(inner, list) else [inner] for role, inner in arguments.items()}
    by_role: dict[str, list[Any]] = {}
    for one in arguments if isinstance(arguments, list) else []:
        role = _key(one, ROLES) if isinstance(one, dict) else None
        if role is not None:
            by_role.setdefault(str(one[role]), []).append({key: v for key, v in one.items() if key != role})
    return by_role


def _fitted(value: Any, field: RecordField) -> Any:
    """A value in the form that its field has: a list or not, the words of a mention, numbers written out in a text."""
    nothing: tuple[Any, ...] = (None,) if field.type == "record" else (None, {})
    if value in nothing:
        return None
    if field.many:
        items = value if isinstance(value, list) else [value]
        return [_one(item, field) for item in items if item not in nothing]
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    return _one(value, field)


def _one(value: Any, field: RecordField) -> Any:
    if field.type == "record":
        return _as_record(value, field.fields)
    value = mention_text(value)
    if field.type in ("text", "span", "label") and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _key(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if isinstance(fields.get(name), str)), None)
