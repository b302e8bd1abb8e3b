"""The fields of records from a JSON schema, such as pydantic's `model_json_schema()` gives.

    {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}
    -> one record a text, (RecordField("name"), RecordField("age", "integer", optional=True))
    {"type": "array", "items": {"type": "object", ...}}
    -> any number of records a text

Understood are the types object, array, string, number, integer and boolean, `properties`, `required`, `enum`, `const`,
`items`, `$ref` to the schema's own `$defs`, `allOf` with one part, and `anyOf` with null, which makes a field optional.
Words that describe a value or bound it are passed over; any other that changes what a record may be is refused, and so
is a schema that refers to itself, or to another document: nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sde_ray.data.records import read_text, short
from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.types import FieldType, RecordField

Json = Mapping[str, Any]

MAX_LEVELS, MAX_FIELDS, MAX_CHARACTERS = 8, 200, 1_000_000
UNDERSTOOD = {
    *("type", "properties", "required", "enum", "const", "items", "$ref", "$defs", "definitions", "allOf", "anyOf"),
    *("oneOf", "nullable", "additionalProperties"),
}
PASSED_OVER = {
    *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "format"),
    *("$schema", "$id", "$comment", "strict", "name", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minProperties"),
    *("maxProperties", "contentEncoding", "contentMediaType", "discriminator", "propertyOrdering"),
}
"""What says nothing of a record's shape; bounds are not checked."""
_TYPES: Mapping[str, FieldType] = {
    "string": "text",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "object": "record",
}


@dataclass(frozen=True)
class RecordSchema:
    """Fields of the records of a slot; `single`: a text has one record at most. `title`: what the schema calls it."""

    fields: tuple[RecordField, ...]
    single: bool
    title: str = ""


def read_json_schema(path: Path) -> Json:
    """The JSON schema of a file. Raises UserError: when there is none, or it is no JSON object."""
    text = read_text(path)
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{path} has {len(text):,} characters, expected a JSON schema of {MAX_CHARACTERS:,} at most.")
    try:
        schema = read_json(text)
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}. Repair the file.") from None
    if not isinstance(schema, dict):
        raise UserError(f"{path} is no JSON schema: expected an object, found {short(text.strip())}.")
    return schema


def fields_of_schema(schema: Json) -> RecordSchema:
    """The fields that a JSON schema describes.

    Raises UserError: for what is not understood, with its place in the schema and what to write instead.
    """
    reader = _SchemaReader(schema)
    root, single = reader.resolve(schema, "#"), True
    if isinstance(root.get("schema"), Mapping) and "type" not in root:  # OpenAI's response format
        return fields_of_schema(root["schema"])
    title = str(root.get("title", ""))
    if root.get("type") == "array":
        items, single = root.get("items"), False
        if not isinstance(items, Mapping):
            raise UserError(f"The JSON schema at #/items is {items!r}, expected the schema of an object.")
        root = reader.resolve(items, "#/items")
    if root.get("type") != "object":
        raise UserError(
            f'The JSON schema has the type {root.get("type")!r} at its root, expected "object" (one record a text) or '
            '"array" of objects (any number of them).'
        )
    return RecordSchema(reader.fields(root, "#" if single else "#/items", 1), single, title)


def schema_of_fields(fields: Sequence[RecordField], with_null: bool = False) -> dict[str, Any]:
    """The JSON schema of records with these fields; `fields_of_schema` is the inverse.

    `with_null`: optional fields are there and null, in place of left out.
    """
    required = [one.name for one in fields if with_null or not one.optional]
    schema = {"type": "object", "properties": {one.name: _schema_of(one, with_null) for one in fields}}
    return {**schema, **({"required": required} if required else {})}


def _schema_of(one: RecordField, with_null: bool) -> dict[str, Any]:
    plain = {name: word for word, name in _TYPES.items()} | {"label": "string", "span": "string"}
    if one.type == "record":
        schema = schema_of_fields(one.fields, with_null)
    else:
        values = [label if one.type == "label" else json.loads(label) for label in one.labels]
        schema = {"type": plain[one.type], **({"enum": values} if values else {})}
    schema = {"type": "array", "items": schema} if one.many else schema
    return {"anyOf": [schema, {"type": "null"}]} if with_null and one.optional else schema


class _SchemaReader:
    """Reader of one schema; counts its fields, as references may multiply them."""

    def __init__(self, root: Json) -> None:
        self.root = root
        self.count = 0

    def resolve(self, schema: Any, place: str, followed: tuple[str, ...] = ()) -> dict[str, Any]:
        """A part of the schema with its references followed, and without the wrappers that say "or null"."""
        if not isinstance(schema, Mapping):
            raise UserError(f"The JSON schema at {place} is {short(repr(schema))}, expected an object.")
        self._refuse_unknown(schema, place)
        whole = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        if "$ref" in schema:
            inner = self.resolve(*self._target(schema["$ref"], place, followed))
            whole = {**inner, **whole}
        for word in ("allOf", "anyOf", "oneOf"):
            if word in schema:
                part, optional = self._only_part(schema[word], f"{place}/{word}")
                inner = self.resolve(part, f"{place}/{word}", followed)
                whole = {**inner, **whole, **({"nullable": True} if optional else {})}
        kind = whole.get("type")
        if isinstance(kind, list):
            others = [one for one in kind if one != "null"]
            if len(others) != 1:
                raise UserError(f"The JSON schema at {place} has the types {kind}, expected one (beside null).")
            whole |= {"type": others[0], **({"nullable": True} if len(others) < len(kind) else {})}
        return self._with_type(whole)

    def _with_type(self, whole: dict[str, Any]) -> dict[str, Any]:
        if "const" in whole:
            whole = {**whole, "enum": [whole["const"]]}
        if isinstance(whole.get("enum"), list) and None in whole["enum"]:
            whole = {**whole, "enum": [one for one in whole["enum"] if one is not None], "nullable": True}
        if "type" not in whole:
            if "properties" in whole:
                whole["type"] = "object"
            elif isinstance(whole.get("enum"), list) and all(isinstance(one, str) for one in whole["enum"]):
                whole["type"] = "string"
        return whole

    def _refuse_unknown(self, schema: Json, place: str) -> None:
        for word, value in schema.items():
            if word not in UNDERSTOOD | PASSED_OVER and not str(word).startswith("x-") and word != "schema":
                raise UserError(
                    f'The JSON schema at {place} says "{word}", which is not understood and may change what a record '
                    "is. Describe the record with type, properties, required, enum and items."
                )
            if word == "additionalProperties" and not isinstance(value, bool):
                raise UserError(
                    f"The JSON schema at {place} lets fields have any name (additionalProperties). Name each field in "
                    'properties, or make it a list of records with the fields "key" and "value".'
                )

    def _target(self, reference: Any, place: str, followed: tuple[str, ...]) -> tuple[Any, str, tuple[str, ...]]:
        """What a reference leads to: its schema, its place, and the references so far."""
        steps = str(reference).split("/")
        if steps[0] != "#" or len(steps) != 3 or steps[1] not in ("$defs", "definitions"):
            raise UserError(
                f'The JSON schema at {place} refers to "{short(str(reference))}". Only "#/$defs/NAME", a part of the '
                "same document, is read; copy it into $defs."
            )
        if reference in followed:
            raise UserError(
                f'The JSON schema refers to itself at "{reference}". A record has a fixed depth; unroll it.'
            )
        definitions = self.root.get(steps[1])
        name = steps[2].replace("~1", "/").replace("~0", "~")
        if not isinstance(definitions, Mapping) or name not in definitions:
            raise UserError(f'The JSON schema at {place} refers to "{reference}", which it does not define.')
        return definitions[name], str(reference), (*followed, str(reference))

    def _only_part(self, parts: Any, place: str) -> tuple[Any, bool]:
        """The one part of a list that is not null, and whether null stands beside it."""
        parts = parts if isinstance(parts, list) else []
        others = [part for part in parts if not (isinstance(part, Mapping) and part.get("type") == "null")]
        if len(others) != 1:
            raise UserError(
                f"The JSON schema at {place} has {len(others)} kinds of value, expected one (beside null). Give each "
                "kind a field of its own that may be null."
            )
        return others[0], len(others) < len(parts)

    def fields(self, schema: Json, place: str, level: int, followed: tuple[str, ...] = ()) -> tuple[RecordField, ...]:
        """The fields of an object."""
        properties, required = schema.get("properties"), schema.get("required", [])
        if not isinstance(properties, Mapping) or not properties:
            raise UserError(f"The JSON schema at {place} is an object without properties. Name its fields.")
        if level > MAX_LEVELS:
            raise UserError(f"The JSON schema at {place} nests records more than {MAX_LEVELS} levels deep. Flatten it.")
        self.count += len(properties)
        if self.count > MAX_FIELDS:
            raise UserError(
                f"The JSON schema has more than {MAX_FIELDS} fields. Leave out those that are not asked for."
            )
        lost = [name for name in required if name not in properties] if isinstance(required, list) else []
        if lost:
            raise UserError(f'The JSON schema at {place} requires "{lost[0]}", which is none of its properties.')
        return tuple(
            self._field(str(name), inner, f"{place}/properties/{name}", name in required, level, followed)
            for name, inner in properties.items()
        )

    def _field(
        self, name: str, schema: Any, place: str, required: bool, level: int, followed: tuple[str, ...]
    ) -> RecordField:
        whole = self.resolve(schema, place)
        followed = self._followed(schema, place, followed)
        optional, many = not required or whole.get("nullable") is True, whole.get("type") == "array"
        if many:
            items = whole.get("items")
            whole = self.resolve(items, f"{place}/items")
            followed = self._followed(items, f"{place}/items", followed)
        kind = str(whole.get("type"))
        if kind not in _TYPES:
            what = "a list in a list" if kind == "array" else f"the type {kind!r}"
            raise UserError(
                f"The JSON schema at {place} has {what}, expected one of {', '.join(_TYPES)} or a list of such."
            )
        one = RecordField(name, _TYPES[kind], optional=optional, many=many)
        if kind == "object":
            return replace(one, fields=self.fields(whole, place, level + 1, followed))
        return _with_labels(one, whole.get("enum"), place)

    def _followed(self, schema: Any, place: str, followed: tuple[str, ...]) -> tuple[str, ...]:
        """The references on the way to a field: one that comes again leads round in a circle."""
        text = schema if isinstance(schema, Mapping) else {}
        parts = [text, *(part for word in ("allOf", "anyOf", "oneOf") for part in text.get(word, ()))]
        for reference in [part["$ref"] for part in parts if isinstance(part, Mapping) and "$ref" in part]:
            followed = self._target(reference, place, followed)[2]
        return followed


def _with_labels(one: RecordField, values: Any, place: str) -> RecordField:
    """The field with the values of an `enum`: of texts a closed label, of numbers these numbers alone."""
    if values is None or one.type == "boolean":
        return one
    kinds: tuple[type, ...] = (str,) if one.type == "text" else (int, float)
    if not isinstance(values, list) or not values or not all(isinstance(value, kinds) for value in values):
        raise UserError(f"The JSON schema at {place} has the enum {short(json.dumps(values))}, no list of its type.")
    labels = tuple(dict.fromkeys(map(str, values)))
    return replace(one, type="label" if one.type == "text" else one.type, labels=labels)
