"""Values of one slot in the user's data: what is written there as the strings of an answer, and what is wrong with it.

"positive"  4  4.0                  a label; a number is the label that has this value, however it is spelt
["app", "web"]  "app; web"          several labels, in the order of the task, where the slot holds several
"12.50"  12.5                       a free value; a number within the range where the task declares one
null  ""  []  the placeholder       not mentioned
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_ray.data.schema import Schema, parse_number
from sde_ray.errors import suggest
from sde_ray.safe_json import read_json

SEPARATORS = (";", "|", ",", "；", "，", "、")
"""What may part several labels in one cell; the first that gives known labels only."""
NOTHING = ("nan", "null", "none", "n/a", "na", "-", "<na>")
"""What other tools write where there is no value."""


def read_values(slot: str, value: Any, schema: Schema, faults: list[str]) -> tuple[str, ...]:
    """Values of a slot as strings; empty where it is not mentioned. What is wrong goes to `faults`."""
    values = plain_values(slot, value, faults)
    if schema.kind == "span" and value and isinstance(value, str):
        values = listed(value)
    if schema.kind == "label":
        labels = schema.labels_of(slot)
        if slot in schema.multilabel and len(values) == 1:
            values = _split(values[0], (*labels, schema.placeholder))
        values = tuple(_spelling(value, labels) for value in values)
    if not values or values == (schema.placeholder,):
        return ()
    wrong = _wrong(slot, values, schema)
    faults += wrong
    if slot in schema.multilabel and not wrong:  # one target for one set, whatever order the data have
        return tuple(label for label in schema.labels_of(slot) if label in values)
    return values


def plain_values(slot: str, value: Any, faults: list[str]) -> tuple[str, ...]:
    """The value or values as strings; numbers and JSON's true and false are written out, anything else is a fault."""
    several = value if isinstance(value, list | tuple) else [] if value is None or value == "" else [value]
    several = [str(one).lower() if isinstance(one, bool) else one for one in several]
    wrong = [one for one in several if not isinstance(one, str | int | float)]
    faults += [f'the value of "{slot}" is {one!r}, expected a string or a list of strings' for one in wrong]
    return () if wrong else tuple(str(one) for one in several)


def _split(cell: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels in one cell: a JSON list, or labels with a separator between them; else the cell as one label."""
    if cell in labels:
        return (cell,)
    if (items := listed(cell)) != (cell,):
        return items
    for separator in SEPARATORS:
        parts = tuple(part.strip() for part in cell.split(separator) if part.strip())
        if parts and all(_spelling(part, labels) in labels for part in parts):
            return parts
    return (cell,)


def listed(cell: str) -> tuple[str, ...]:
    """The strings of a cell that holds a JSON list of some, as a table must; else the cell itself."""
    try:
        items = read_json(cell) if cell.startswith("[") else None
    except ValueError:
        items = None
    return tuple(items) if isinstance(items, list) and all(isinstance(item, str) for item in items) else (cell,)


def _spelling(value: str, labels: Sequence[str]) -> str:
    """The label that is this value; numbers are compared as such, since a table may have made 4 into 4.0."""
    number = None if value in labels else parse_number(value)
    same = [label for label in labels if number is not None and parse_number(label) == number]
    return same[0] if same else value


def _wrong(slot: str, values: tuple[str, ...], schema: Schema) -> list[str]:
    if schema.kind == "label":
        return _wrong_labels(slot, values, schema)
    blank = [f'a value of "{slot}" is blank' for value in values if not value.strip()]
    limits = dict(schema.ranges).get(slot)
    return blank if blank or limits is None else _wrong_numbers(slot, values, *limits)


def _wrong_numbers(slot: str, values: tuple[str, ...], low: float, high: float) -> list[str]:
    """Values that are no number, or none that the task's range allows."""
    numbers = {value: parse_number(value) for value in values}
    return [
        f'"{slot}" is "{value}", expected a plain number such as 12.5'
        if number is None
        else f'"{slot}" is {value}, outside its range of {low:g} to {high:g}'
        for value, number in numbers.items()
        if number is None or not low <= number <= high
    ]


def _wrong_labels(slot: str, values: tuple[str, ...], schema: Schema) -> list[str]:
    labels = schema.labels_of(slot)
    if len(values) > 1 and slot not in schema.multilabel:
        return [f'"{slot}" has {len(values)} labels, expected one. A slot with several needs "multilabel: [{slot}]"']
    if len(set(values)) < len(values):
        return [f'"{slot}" has a label twice: {", ".join(values)}']
    return [
        f'"{slot}" has the unknown label "{value}".{_advice(slot, value, schema)} Known: {", ".join(labels)}'
        for value in values
        if value not in labels
    ]


def _advice(slot: str, value: str, schema: Schema) -> str:
    if value.strip().casefold() in NOTHING:
        return " Leave it empty where nothing is said (an empty cell, null)."
    if value == schema.placeholder:
        return f' "{value}" stands alone.'
    near = suggest(value, schema.labels_of(slot))
    others = [other for other in schema.slots if value in schema.labels_of(other)]
    return near or (f' It is a label of "{others[0]}".' if others else "")
