"""Tasks of records in YAML: fields in short, by JSON schema, and what is wrong with either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sde_ray.config.load import load_config
from sde_ray.errors import UserError
from sde_ray.tasks import fingerprint, get_task
from sde_ray.tasks.checks import check_task
from sde_ray.tasks.custom import task_from_yaml
from sde_ray.tasks.trial_task import trial_task
from sde_ray.types import RecordField, Task

SCHEMA = {
    "title": "Order",
    "type": "object",
    "properties": {"item": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["item"],
}
ORDER = (RecordField("item"), RecordField("count", "integer", optional=True))


def task(base: Path = Path(), **section: Any) -> Task:
    section = {"name": "mine", "kind": "record", **section}
    return check_task(task_from_yaml(section, base, with_data="data" in section))


def test_fields_in_short() -> None:
    made = task(
        slots=["book"],
        fields={
            "title": "text",
            "mood": ["good", "bad"],
            "tags": ["span"],
            "by": [{"name": "text", "born": "integer"}],
        },
        optional=["tags", "by.born"],
    )
    assert made.fields["book"] == (
        RecordField("title"),
        RecordField("mood", "label", ("good", "bad")),
        RecordField("tags", "span", optional=True, many=True),
        RecordField(
            "by", "record", many=True, fields=(RecordField("name"), RecordField("born", "integer", optional=True))
        ),
    )
    assert (made.objective, made.nouns.value, made.single, made.placeholder) == ("record_f1", "record", (), "none")


def test_each_slot_has_its_own_fields_or_all_share_one_mapping() -> None:
    own = task(fields={"person": {"name": "span"}, "place": {"name": "span", "size": "number"}}, optional=True)
    assert own.slots == ("person", "place") and own.fields["place"][1] == RecordField("size", "number", optional=True)
    shared = task(slots=["a", "b"], fields={"name": "span"}, single=["b"])
    assert shared.fields["a"] == shared.fields["b"] and shared.single == ("b",)


def test_a_schema_names_the_slot_and_says_that_there_is_one_record() -> None:
    made = task(schema=SCHEMA)
    assert (made.slots, made.single, made.fields["order"]) == (("order",), ("order",), ORDER)
    many = task(schema={"type": "array", "items": SCHEMA}, slots=["sale"])
    assert (many.slots, many.single) == (("sale",), ())
    by_slot = task(schema={"sale": {"type": "array", "items": SCHEMA}, "return": SCHEMA})
    assert (by_slot.slots, by_slot.single) == (("sale", "return"), ("return",))


def test_a_schema_of_a_file_travels_in_the_trial(tmp_path: Path) -> None:
    (tmp_path / "order.schema.json").write_text(json.dumps(SCHEMA))
    rows = [{"text": f"{n} lamps please", "answer": {"item": "lamp", "count": n}} for n in range(30)]
    (tmp_path / "orders.jsonl").write_text("\n".join(map(json.dumps, rows)))
    section = {"name": "orders", "kind": "record", "schema": "order.schema.json", "data": {"path": "orders.jsonl"}}
    (tmp_path / "sweep.yaml").write_text(json.dumps({"name": "x", "task": section, "model": "tiny"}))
    config = load_config(tmp_path / "sweep.yaml")
    (tmp_path / "order.schema.json").unlink()
    definition = config.task[0]
    assert isinstance(definition, dict) and definition["schema"] == SCHEMA
    made = trial_task("orders", definition)
    assert made.load("train")[0].answer["order"][0].startswith('{"item": "lamp", "count": ')
    (tmp_path / "task.yaml").write_text(json.dumps({**section, "schema": SCHEMA}))
    assert fingerprint(get_task(str(tmp_path / "task.yaml"))) == fingerprint(made)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, 'the kind "record" needs fields'),
        ({"fields": {"a": "span"}, "schema": SCHEMA}, "one of them"),
        ({"fields": {"a": "string"}}, 'fields.a is "string". Write text.'),
        ({"fields": {"a": "sapn"}}, 'fields.a is "sapn". Did you mean "span"?'),
        ({"fields": {"a": ["one"]}}, "expected two labels or more, or one type for a list"),
        ({"fields": {"a": [["span"]]}}, "is a list of lists"),
        ({"fields": {"a": {}}}, "fields.a is empty"),
        ({"slots": ["a", "b"], "fields": {"a": {"x": "span"}, "c": {"x": "span"}}}, 'fields names "c".'),
        ({"fields": {"a": "span"}, "optional": ["b"]}, 'optional names "b".'),
        ({"fields": {"a": "span"}, "single": ["b"]}, 'single names "b".'),
        ({"fields": {"a": "span"}, "labels": ["x", "y"]}, 'labels: the kind "record" takes none'),
        ({"fields": {"a.b": "span", "a": {"b": "span"}}}, '"a.b" may be two of them'),
        ({"schema": "order.json"}, "it is the path of a file. Write the schema itself"),
        ({"schema": {"type": "string"}}, "schema: The JSON schema has the type 'string' at its root"),
        ({"kind": "span", "slots": ["a"], "fields": {"a": "span"}}, 'fields are for the kind "record"'),
    ],
)
def test_what_is_wrong_is_said(section: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        task(**section)
    assert message in str(error.value)


def test_a_schema_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "answer": {}}\n')
    with pytest.raises(UserError, match=r"There is no file .*order\.json"):
        task(tmp_path, schema="order.json", data={"path": "a.jsonl"})
