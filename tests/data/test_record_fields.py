"""Canonical records, fields of JSON schemas and of data, and the shapes in which data hold records."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from sde_ray.data.answer_records import read_records, records_by_slot
from sde_ray.data.json_schema import fields_of_schema, schema_of_fields
from sde_ray.data.record_inference import infer_fields, optional_paths, short_form
from sde_ray.data.record_values import canonical, canonical_text, number_text, plain_answer
from sde_ray.data.schema import Schema, schema_of
from sde_ray.errors import UserError
from sde_ray.testing.tasks import PERSON, RELATIONS
from sde_ray.types import RecordField

PERSON_FIELDS, RELATION_FIELDS = PERSON.fields["person"], RELATIONS.fields["relation"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, "4"), ("4.50", "4.5"), ("+7", "7"), (".5", "0.5"), ("-0", "0"), ("1e2", "100"), ("9" * 30, "9" * 30),
        (1e300, "1e+300"), ("1e400", None), ("nan", None), (True, None), ("12 km", None), ("9" * 99, None),
    ],
)  # fmt: skip
def test_a_number_has_one_spelling(value: Any, text: str | None) -> None:
    assert number_text(value) == text
    assert text is None or number_text(text) == text


def test_equal_records_are_equal_texts() -> None:
    first, _ = canonical(
        {"tags": [], "name": "Ada", "home": {"zip": None}, "height": "1.50", "works": []}, PERSON_FIELDS
    )
    again, _ = canonical_text('{"height": 1.5, "alive": null, "name": "Ada", "tags": []}', PERSON_FIELDS)
    assert first == again == '{"name": "Ada", "height": 1.5, "tags": []}'
    assert plain_answer({"person": (first,)}, ("person",)) == {"person": {"name": "Ada", "height": 1.5, "tags": []}}


@pytest.mark.parametrize(
    ("text", "complete", "kept", "kinds"),
    [
        ('{"head": "a", "relation": "null", "tail": "b", "year": null}', True, True, []),
        ('{"head": "a", "relation": "null", "tail": "b"}', False, True, []),
        ('{"head": "a", "relation": "null", "tail": "b"}', True, True, ["missing_field"]),
        ('{"head": "a", "relation": "null", "tail": "b", "year": null}', False, True, ["unexpected_placeholder"]),
        ('{"head": "a", "relation": "null", "tail": "b", "yaer": 3}', False, True, ["unknown_field"]),
        ('{"head": "a", "relation": "null"}', False, False, ["missing_field"]),
        ('{"head": null, "relation": "null", "tail": "b"}', False, False, ["missing_field"]),
        ('{"head": "a", "relation": "nul", "tail": "b"}', False, False, ["bad_value"]),
        ('{"head": 1, "relation": "null", "tail": "b"}', False, False, ["bad_value"]),
        ('{"head": "a", "head": "c", "relation": "null", "tail": "b"}', False, False, ["repeated_field"]),
        ('{"head": "a", "relation": "null", "tail": ["b"]}', False, False, ["bad_value"]),
        ('{"head": "a", "relation": "null", "tail": "b", "year": 1.5}', False, False, ["bad_value"]),
        ('["a"]', False, False, ["bad_value"]),
        ('{"head"', False, False, ["syntax"]),
        ("[" * 100_000, False, False, ["syntax"]),
    ],
)
def test_a_record_is_valid_as_a_whole_or_left_out(text: str, complete: bool, kept: bool, kinds: list[str]) -> None:
    read, faults = canonical_text(text, RELATION_FIELDS, complete)
    assert [fault.kind for fault in faults] == kinds
    assert (read is not None) == kept
    assert not kept or read == '{"head": "a", "relation": "null", "tail": "b"}'


# ---- JSON schema -----------------------------------------------------------------------------------------------------


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Address(BaseModel):
    city: str
    zip: str | None = None


class Person(BaseModel):
    """A person."""

    name: str = Field(description="as in the text", min_length=1)
    age: int | None
    mood: Mood = Mood.GOOD
    homes: list[Address] = []
    work: Address | None = None
    scores: list[float]


def test_a_nested_model_of_pydantic() -> None:
    schema = fields_of_schema(Person.model_json_schema())
    address = (RecordField("city"), RecordField("zip", optional=True))
    assert (schema.single, schema.title) == (True, "Person")
    assert schema.fields == (
        RecordField("name"),
        RecordField("age", "integer", optional=True),
        RecordField("mood", "label", ("good", "bad"), optional=True),
        RecordField("homes", "record", optional=True, many=True, fields=address),
        RecordField("work", "record", optional=True, fields=address),
        RecordField("scores", "number", many=True),
    )


def test_an_array_of_objects_and_a_response_format() -> None:
    item = {"type": "object", "properties": {"n": {"enum": [1, 2], "type": "integer"}}, "required": ["n"]}
    assert fields_of_schema({"type": "array", "items": item}).single is False
    wrapped = fields_of_schema({"name": "answer", "strict": True, "schema": item})
    assert wrapped.single and wrapped.fields == (RecordField("n", "integer", ("1", "2")),)


@pytest.mark.parametrize("with_null", [True, False])
def test_the_schema_of_fields_is_read_back(with_null: bool) -> None:
    spans = {"label": "label", "span": "text"}
    fields = tuple(replace(one, type=spans.get(one.type, one.type)) for one in (*PERSON_FIELDS, *RELATION_FIELDS))
    assert fields_of_schema(schema_of_fields(fields, with_null)).fields == fields


def of(properties: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string"}, "has the type 'string' at its root"),
        (of({}), "an object without properties"),
        (of({"a": {"type": "string"}}, required=["b"]), 'requires "b", which is none of its properties'),
        (of({"a": {"type": "string", "not": {}}}), '#/properties/a says "not", which is not understood'),
        (of({"a": of({}, additionalProperties={"type": "string"})}), "lets fields have any name"),
        (of({"a": {"$ref": "https://example.org/x.json"}}), 'Only "#/$defs/NAME"'),
        (of({"a": {"$ref": "#/$defs/B"}}), "which it does not define"),
        (of({"a": {"$ref": "#/$defs/Node"}}, **{"$defs": {"Node": NODE}}), "refers to itself"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "refers to itself"),
        (of({"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}), "has 2 kinds of value"),
        (of({"a": {"type": "array", "items": {"type": "array"}}}), "has a list in a list"),
        (of({"a": {"type": "string", "enum": [1, "b"]}}), "no list of its type"),
        (of({str(n): {"type": "string"} for n in range(201)}), "more than 200 fields"),
        (of({"a": 7}), "is 7, expected an object"),
    ],
)
def test_what_is_not_understood_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match="JSON schema") as error:
        fields_of_schema(schema)
    assert message in str(error.value)


def test_a_deep_schema_is_refused() -> None:
    schema = of({"a": {"type": "string"}})
    for _ in range(8):
        schema = of({"a": schema})
    with pytest.raises(UserError, match="more than 8 levels deep"):
        fields_of_schema(schema)


# ---- data ------------------------------------------------------------------------------------------------------------

TRIPLE = {"head": "Curie", "relation": "born in", "tail": "Warsaw"}
CANONICAL = json.dumps(TRIPLE)
EVENTS = Schema(
    "record",
    ("Attack", "Motion"),
    fields=(
        ("Attack", (RecordField("trigger", "span"), RecordField("place", "span", optional=True, many=True))),
        ("Motion", (RecordField("trigger", "span"), RecordField("to", "span", optional=True))),
    ),
)
ATTACK = {"Attack": ('{"trigger": "raided", "place": ["the harbour"]}',)}


@pytest.mark.parametrize(
    ("answer", "schema", "read"),
    [
        ({"relation": [TRIPLE]}, schema_of(RELATIONS), {"relation": (CANONICAL,)}),
        ([TRIPLE, TRIPLE], schema_of(RELATIONS), {"relation": (CANONICAL, CANONICAL)}),
        (TRIPLE, schema_of(RELATIONS), {"relation": (CANONICAL,)}),
        ({"relations": [TRIPLE]}, schema_of(RELATIONS), {"relation": (CANONICAL,)}),
        (f"```json\n{json.dumps([TRIPLE])}\n```", schema_of(RELATIONS), {"relation": (CANONICAL,)}),
        ({"relation": [json.dumps(TRIPLE)]}, schema_of(RELATIONS), {"relation": (CANONICAL,)}),
        ([["Curie", "born in", "Warsaw", None]], schema_of(RELATIONS), {"relation": (CANONICAL,)}),
        ({"relation": []}, schema_of(RELATIONS), {"relation": ()}),
        ([], schema_of(RELATIONS), {"relation": ()}),
        ("none", schema_of(RELATIONS), {"relation": ()}),
        ({"name": "Ada", "tags": "a"}, schema_of(PERSON), {"person": ('{"name": "Ada", "tags": ["a"]}',)}),
        ({"person": {"tags": []}}, schema_of(PERSON), {"person": ('{"tags": []}',)}),
        ([{"type": "Attack", "trigger": "raided", "arguments": {"place": ["the harbour"]}}], EVENTS, ATTACK),
        ([{"event_type": "Attack", "trigger": {"text": "raided", "start": 4},
           "arguments": [{"role": "place", "text": "the harbour"}]}], EVENTS, ATTACK),
        ({}, EVENTS, {}),
    ],
)  # fmt: skip
def test_shapes_of_records(answer: Any, schema: Schema, read: dict[str, tuple[str, ...]]) -> None:
    faults: list[str] = []
    by_slot = records_by_slot(answer, schema)
    assert {slot: read_records(slot, value, schema, faults) for slot, value in by_slot.items()} == read
    assert not faults


def test_faults_of_records_say_what_is_wrong() -> None:
    faults: list[str] = []
    wrong = {"head": "a", "realtion": "born in", "tail": "b"}
    assert read_records("relation", [wrong], schema_of(RELATIONS), faults) == ()
    assert read_records("person", [{"tags": []}, {"tags": ["a"]}], schema_of(PERSON), faults) != ()
    assert faults == [
        'a record of "relation": unknown field "realtion" Did you mean "relation"?',
        'a record of "relation": missing field "relation"',
        '"person" has 2 records, expected one. Leave "single" out where a text may have several',
    ]


def test_fields_are_inferred() -> None:
    texts = [f"Ada {n} of Rome likes {n}." for n in range(12)]
    rows = [
        {
            "name": f"Ada {n}",
            "age": n,
            "mood": ["good", "bad"][n % 2],
            "home": {"city": "Rome", "zip": f"Z{n}" if n else None},
            "tags": [f"tag {n}-{k}" for k in range(n % 3)],
            "works": [{"title": f"Work {n}", "price": n / 2}],
        }
        for n in range(12)
    ]
    fields = infer_fields(rows, texts)
    assert short_form(fields) == {
        "name": "span",
        "age": "integer",
        "mood": ["bad", "good"],
        "home": {"city": "text", "zip": "text"},
        "tags": ["text"],
        "works": [{"title": "text", "price": "number"}],
    }
    assert optional_paths(fields) == ["home.zip", "tags"]
    assert all(canonical(row, fields)[1] == () for row in rows)
    with pytest.raises(UserError, match='"a.b" is an object here and a plain value there'):
        infer_fields([{"a": {"b": 1}}, {"a": {"b": {"c": 1}}}], texts[:2])


# ---- anything --------------------------------------------------------------------------------------------------------

words = st.sampled_from(
    ["type", "object", "array", "properties", "items", "required", "enum", "anyOf", "$ref", "#/$defs/A", "$defs", "A",
     "null", "string", "head", "relation", "tail", "year", "arguments", "role", "text", "span", "const", "schema", ""]
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | words | st.text(max_size=4)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)
fuzz = settings(max_examples=300, deadline=None, derandomize=True)


@fuzz
@given(anything)
def test_any_schema_gives_fields_or_one_message(schema: Any) -> None:
    for value in (
        schema,
        {"type": "object", "properties": {"a": schema}},
        {"$defs": {"A": schema}, "$ref": "#/$defs/A"},
    ):
        try:
            fields = fields_of_schema(value) if isinstance(value, dict) else None
        except UserError:
            continue
        assert fields is None or fields.fields


@fuzz
@given(anything)
def test_any_answer_gives_canonical_records_or_faults(answer: Any) -> None:
    for task in (RELATIONS, PERSON):
        faults: list[str] = []
        by_slot = records_by_slot(answer, schema_of(task))
        for slot in task.slots if isinstance(by_slot, dict) else ():
            for text in read_records(slot, by_slot.get(slot), schema_of(task), faults):
                assert canonical_text(text, task.fields[slot]) == (text, ())


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(UserError, match='The field "size.x" holds inf, which is no number that JSON has'):
        infer_fields([{"size": {"x": 1.5}}, {"size": {"x": float("inf")}}], ["a", "b"])


@fuzz
@given(st.lists(st.dictionaries(words, anything, max_size=4), max_size=4))
def test_inferred_fields_take_the_records_that_they_come_from(rows: list[dict[str, Any]]) -> None:
    try:
        fields = infer_fields(rows, ["x"] * len(rows))
    except UserError:
        return
    schema = Schema("record", ("slot",), fields=(("slot", fields),))
    faults: list[str] = []
    read_records("slot", rows, schema, faults)
    assert not [fault for fault in faults if "bad value" in fault and "no object" not in fault], faults
