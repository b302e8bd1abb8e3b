"""The records of a task in YAML: the fields that they have, in short or by a JSON schema.

fields: {head: span, relation: [born in, works for], tail: span}      of the records of every slot; a list: its labels
fields: {person: {name: span, age: integer}, place: {name: span}}     each slot's own
fields: {title: text, authors: [{name: text}], tags: [text]}          [one type]: a list of it; {...}: a record
optional: [age, authors.name]                                         true: every field may be absent
schema: person.schema.json                                            a file, or the schema itself, or such by slot
single: true                                                          one record a text at most; [person]: in that slot

A schema with an object at its root is one record a text, one with an array of objects any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from sde_ray.data.json_schema import MAX_LEVELS, RecordSchema, fields_of_schema, read_json_schema
from sde_ray.errors import FaultList, UserError
from sde_ray.storage.uri import is_uri
from sde_ray.tasks.yaml_fields import Section, hint, several_words, words
from sde_ray.types import FieldType, RecordField

Fields = tuple[RecordField, ...]
KEYS = ("fields", "optional", "schema", "single")
TYPES: Mapping[str, FieldType] = {name: name for name in get_args(FieldType) if name not in ("label", "record")}
OTHER_TYPES: Mapping[str, str] = {
    "string": "text",
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "words": "span",
    "label": "[first label, second label]",
    "list": "[text]",
    "object": "{field: text}",
    "record": "{field: text}",
}
"""Other names of the types, and what to write instead."""
DEFAULT_SLOT = "record"


@dataclass(frozen=True)
class RecordSlots:
    """Slots of records: the fields of each, and those with one record at most."""

    slots: tuple[str, ...]
    fields: tuple[tuple[str, Fields], ...] = ()
    single: tuple[str, ...] = ()


def inline_schema(section: Section, base: Path) -> dict[str, Any]:
    """The section with JSON schemas of files written out in it, so that it can be read on any machine.

    What is no such file stays as it is: `read_record_slots` says what is wrong with it.
    """
    schema = section.get("schema")
    if isinstance(schema, Mapping):
        return {**section, "schema": {slot: _written_out(one, base) for slot, one in schema.items()}}
    return {**section, "schema": _written_out(schema, base)} if schema is not None else dict(section)


def _written_out(schema: Any, base: Path) -> Any:
    if not isinstance(schema, str) or is_uri(schema) or not (base / schema).is_file():
        return schema
    try:
        return read_json_schema(base / schema)
    except UserError:
        return schema


def read_record_slots(section: Section, base: Path | None, faults: FaultList) -> RecordSlots:
    """Slots and fields of a section of the kind "record"; what is wrong goes to `faults`.

    `base`: the folder that the paths of schemas start at; None: no file is read, as the section may be anybody's.
    """
    asked = words(section, "slots", faults)
    if ("fields" in section) == ("schema" in section):
        faults.add(
            'the kind "record" needs fields, such as {head: span, relation: [born in, works for], tail: span}, or a '
            "schema, the path of a JSON schema; one of them."
        )
        return RecordSlots(asked or (DEFAULT_SLOT,))
    by_slot = _short(section, asked, faults) if "fields" in section else _schemas(section, asked, base, faults)
    slots = asked or tuple(by_slot)
    without = [slot for slot in slots if not by_slot.get(slot) or not by_slot[slot].fields]
    if without and not faults.faults:
        faults.add(f"fields has none for {', '.join(without)}. Give each slot its own, or one mapping for all of them.")
    if "optional" in section:
        if "schema" in section:
            faults.add('a schema says by "required" which fields there must be. Delete optional.')
        by_slot = _with_optional(section["optional"], by_slot, faults)
    single = tuple(slot for slot in slots if slot in by_slot and by_slot[slot].single)
    if "single" in section:
        single = _single(section, slots, faults)
    return RecordSlots(slots, tuple((slot, by_slot[slot].fields) for slot in slots if slot in by_slot), single)


def _single(section: Section, slots: tuple[str, ...], faults: FaultList) -> tuple[str, ...]:
    value = section["single"]
    if isinstance(value, bool):
        return slots if value else ()
    names = words(section, "single", faults)
    for name in names:
        if name not in slots:
            faults.add(f'single names "{name}".{hint(name, slots)} Slots: {", ".join(slots)}; or write true for all.')
    return tuple(slot for slot in slots if slot in names)


# ---- in short --------------------------------------------------------------------------------------------------------


def _short(section: Section, asked: tuple[str, ...], faults: FaultList) -> dict[str, RecordSchema]:
    given = section["fields"]
    if not isinstance(given, Mapping) or not given:
        faults.add(f"fields is {given!r}, expected a mapping such as {{head: span, tail: span}}.")
        return {}
    own = all(isinstance(one, Mapping) for one in given.values()) and (not asked or {*map(str, given)} & {*asked})
    if own:
        for slot in given:
            if asked and str(slot) not in asked:
                faults.add(f'fields names "{slot}".{hint(str(slot), asked)} Slots: {", ".join(asked)}.')
        return {
            str(slot): RecordSchema(_fields(one, f"fields.{slot}", 1, faults), single=False)
            for slot, one in given.items()
        }
    fields = _fields(given, "fields", 1, faults)
    return dict.fromkeys(asked or (DEFAULT_SLOT,), RecordSchema(fields, single=False))


def _fields(given: Mapping[Any, Any], place: str, level: int, faults: FaultList) -> Fields:
    if level > MAX_LEVELS:
        faults.add(f"{place} nests records more than {MAX_LEVELS} levels deep. Flatten it.")
        return ()
    if not given:
        faults.add(f"{place} is empty. Name the fields of the record.")
    return tuple(_field(str(name), one, f"{place}.{name}", level, faults) for name, one in given.items())


def _field(name: str, given: Any, place: str, level: int, faults: FaultList) -> RecordField:
    if isinstance(given, Mapping):
        return RecordField(name, "record", fields=_fields(given, place, level + 1, faults))
    if isinstance(given, list | tuple):
        if len(given) == 1 and (isinstance(given[0], Mapping | list | tuple) or given[0] in TYPES):
            inner = _field(name, given[0], place, level, faults)
            if inner.many:
                faults.add(f"{place} is a list of lists. A field holds values, or one list of them.")
            return replace(inner, many=True)
        labels = several_words(given, place, faults)
        if len(labels) < 2:
            faults.add(
                f"{place} is {given!r}, expected two labels or more, or one type for a list of it: [{'|'.join(TYPES)}]."
            )
        return RecordField(name, "label", labels)
    if isinstance(given, str) and given in TYPES:
        return RecordField(name, TYPES[given])
    instead = OTHER_TYPES.get(str(given))
    advice = f" Write {instead}." if instead else hint(str(given), list(TYPES))
    faults.add(f'{place} is "{given}".{advice} Expected one of {", ".join(TYPES)}, a list of labels, or a mapping.')
    return RecordField(name)


# ---- by JSON schema --------------------------------------------------------------------------------------------------


def _schemas(section: Section, asked: tuple[str, ...], base: Path | None, faults: FaultList) -> dict[str, RecordSchema]:
    given = section["schema"]
    if not isinstance(given, Mapping | str) or not given:
        faults.add(f"schema is {given!r}, expected the path of a JSON schema, or one written out.")
        return {}
    if isinstance(given, Mapping) and _is_by_slot(given, asked):
        read = {str(slot): _schema(one, f"schema.{slot}", base, faults) for slot, one in given.items()}
        unknown = [slot for slot in read if asked and slot not in asked]
        if unknown:
            faults.add(f'schema names "{unknown[0]}".{hint(unknown[0], asked)} Slots: {", ".join(asked)}.')
        return {slot: one for slot, one in read.items() if one is not None}
    one = _schema(given, "schema", base, faults)
    return {} if one is None else dict.fromkeys(asked or (_slot_name(one),), one)


def _is_by_slot(given: Mapping[Any, Any], asked: tuple[str, ...]) -> bool:
    is_schema = isinstance(given.get("type"), str | list) or isinstance(given.get("properties"), Mapping)
    is_wrapped = isinstance(given.get("$ref"), str) or ("name" in given and "schema" in given)
    return {*map(str, given)} <= {*asked} or not (is_schema or is_wrapped)


def _schema(given: Any, place: str, base: Path | None, faults: FaultList) -> RecordSchema | None:
    try:
        if isinstance(given, str):
            if is_uri(given):
                raise UserError(f'"{given}" is an address, and schemas are not fetched. Save it beside the YAML.')
            if base is None:
                raise UserError("it is the path of a file. Write the schema itself in its place.")
            given = read_json_schema(base / given)
        if not isinstance(given, Mapping):
            raise UserError(f"it is {given!r}, expected the path of a JSON schema, or one written out.")
        return fields_of_schema(given)
    except UserError as error:
        faults.add(f"{place}: {error}")
        return None


def _slot_name(schema: RecordSchema) -> str:
    """What a slot is called where nobody says: as the schema's title; not as one of its fields."""
    name = "_".join(schema.title.lower().split())
    names = {one.name for one in schema.fields}
    return name if name and name.isprintable() and name not in names else DEFAULT_SLOT


# ---- optional fields -------------------------------------------------------------------------------------------------


def _with_optional(given: Any, by_slot: Mapping[str, RecordSchema], faults: FaultList) -> dict[str, RecordSchema]:
    if isinstance(given, bool):
        paths: Sequence[str] = [path for one in by_slot.values() for path in _paths(one.fields)] if given else []
    else:
        paths = several_words(given, "optional", faults)
    listed = [path for one in by_slot.values() for path in _paths(one.fields)]
    for path in paths:
        if path not in listed:
            faults.add(f'optional names "{path}".{hint(path, listed)} Fields: {", ".join(dict.fromkeys(listed))}.')
    return {slot: replace(one, fields=_optional(one.fields, paths, "")) for slot, one in by_slot.items()}


def _paths(fields: Fields, before: str = "") -> list[str]:
    """Paths of all fields, those of records included."""
    return [
        path
        for one in fields
        for path in (f"{before}{one.name}", *_paths(one.fields, f"{before}{one.name}."))
    ]  # fmt: skip


def _optional(fields: Fields, paths: Sequence[str], before: str) -> Fields:
    return tuple(
        replace(
            one,
            optional=f"{before}{one.name}" in paths,
            fields=_optional(one.fields, paths, f"{before}{one.name}."),
        )
        for one in fields
    )
