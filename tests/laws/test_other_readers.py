"""Formats that are a language's own: what we read without a fault, that language's reader reads alike.

YAML by PyYAML, XML by ElementTree, Python by `ast`, a tool's call by `json`: so an application may use its own.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws.test_round_trip import TASKS_TO_FUZZ, answers, nasty

from sde_ray.design.designs import make_design
from sde_ray.design.format_code import class_names
from sde_ray.design.format_xml import element_names
from sde_ray.design.render import completion_of, parse_completion
from sde_ray.types import Example, Task

Read = dict[str, list[str | float]]


def number(value: Any) -> Any:
    """A value as we read it, and as a language with numbers does, made equal."""
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


def listed(value: Any) -> list[Any]:
    return [] if value is None else [number(v) for v in (value if isinstance(value, list) else [value])]


def from_yaml(text: str, task: Task) -> Read:
    return {str(slot): listed(value) for slot, value in yaml.safe_load(text).items()}


def from_xml(text: str, task: Task) -> Read:
    names = {name: slot for slot, name in element_names(task.slots).items()}
    read: Read = {slot: [] for slot in task.slots}
    for element in ElementTree.fromstring(f"<root>{text}</root>"):
        if element.tag != "none" or "none" in names:
            value = (element.text or "").strip(" \n")
            read[names[element.tag]] += listed("" if value == '""' else value or None)
    return read


def from_code(text: str, task: Task) -> Read:
    names = {name: slot for slot, name in class_names(task.slots).items()}
    (statement,) = ast.parse(text).body
    assert isinstance(statement, ast.Assign) and isinstance(statement.value, ast.List)
    read: Read = {slot: [] for slot in task.slots}
    for call in statement.value.elts:
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        read[names[call.func.id]] += listed(ast.literal_eval(call.keywords[0].value))
    return read


def from_tool_call(text: str, task: Task) -> Read:
    call = json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
    assert call["name"] == "answer"
    return {slot: listed(value) for slot, value in call["arguments"].items()}


READERS: dict[str, Callable[[str, Task], Read]] = {
    "yaml": from_yaml, "xml": from_xml, "code": from_code, "tool_call": from_tool_call,
}  # fmt: skip
ODD = (
    *("a", "yes", "1", "-0", "1.5", "~", "a: b", "#", "- x", "2001-01-01", "0x1", "=", "IL-2", "'", "é", "😀"),
    *("<", "&", "1e3", " ", "null", "a b"),
)
odd_values = st.lists(st.sampled_from(ODD), min_size=1, max_size=3).map("".join)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_what_we_read_the_language_reads_alike(name: str, data: st.DataObject) -> None:
    task = data.draw(st.sampled_from([task for task in TASKS_TO_FUZZ if task.kind != "record"]))
    design = make_design(format=name, unmentioned=data.draw(st.sampled_from(["placeholder", "omit"])))
    answer = data.draw(answers(task))
    if task.kind != "label" and answer:
        slot = data.draw(st.sampled_from(sorted(answer)))
        answer = {**answer, slot: (data.draw(odd_values),)}
    text = completion_of(Example("x", "", answer), task, design)
    for _ in range(data.draw(st.integers(0, 2))):
        start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        text = text[:start] + data.draw(nasty | odd_values | st.just("")) + text[min(end, start + 2) :]
    parsed = parse_completion(text, task, design)
    if parsed.faults or any(not v.isprintable() for values in parsed.answer.values() for v in values):
        return  # XML has no way to write a control character
    read = READERS[name](text.strip(), task)
    absent = [[number(task.placeholder)]] if task.kind == "label" and design["unmentioned"] == "placeholder" else []
    ours = {slot: [number(value) for value in values] for slot, values in parsed.answer.items()}
    assert {slot: values for slot, values in read.items() if values and values not in absent} == ours, text
