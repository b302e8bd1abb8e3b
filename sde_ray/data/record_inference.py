"""Inference of the fields of records from a user's data: their names, types and labels, and which may be absent.

infer_fields([{"name": "Ada", "age": 36}, {"name": "Bob"}], texts)
-> (RecordField("name", "span"), RecordField("age", "integer", optional=True))
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sde_ray.data.columns import Values, infer_kind, ordered
from sde_ray.errors import UserError
from sde_ray.types import FieldType, RecordField

Rows = Sequence[tuple[Any, str]]
"""Values with the text that each belongs to."""


def infer_fields(records: Sequence[Any], texts: Sequence[str], path: str = "") -> tuple[RecordField, ...]:
    """Fields of records, in the order of their first appearance.

    Raises UserError: for a field that is a record here and a value there, a list of lists, or a number without end.
    """
    rows = list(zip(records, texts, strict=True))
    names = dict.fromkeys(str(name) for record, _ in rows for name in record)
    return tuple(_field(name, rows, f"{path}{name}") for name in names)


def _field(name: str, records: Rows, path: str) -> RecordField:
    values = [(record.get(name), text) for record, text in records]
    present = [(value, text) for value, text in values if value not in (None, [], {})]
    many = any(isinstance(value, list) for value, _ in values)
    items = [(item, text) for value, text in present for item in _listed(value) if item not in (None, {})]
    optional = len(present) < len(values)
    if any(isinstance(item, list) for item, _ in items):
        raise UserError(
            f'The field "{path}" holds lists in lists. A field holds values, records, or one list of such; give the '
            "inner list's parts names of their own."
        )
    nested = [isinstance(item, Mapping) for item, _ in items]
    if any(nested):
        if not all(nested):
            raise UserError(f'The field "{path}" is an object here and a plain value there. Write it in one way.')
        inner = infer_fields([item for item, _ in items], [text for _, text in items], f"{path}.")
        return RecordField(name, "record", optional=optional, many=many, fields=inner)
    endless = next((item for item, _ in items if isinstance(item, float) and not math.isfinite(item)), None)
    if endless is not None:
        raise UserError(f'The field "{path}" holds {endless}, which is no number that JSON has. Leave it out there.')
    kind, labels = _scalar(items)
    return RecordField(name, kind, labels, optional, many)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _scalar(items: Rows) -> tuple[FieldType, tuple[str, ...]]:
    """Type and labels of a field's values."""
    values = [value for value, _ in items]
    if values and all(isinstance(value, bool) for value in values):
        return "boolean", ()
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer", ()
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number", ()
    column: list[Values] = [(value,) if isinstance(value, str) and value else () for value in values]
    kind = infer_kind(column, [text for _, text in items])
    labels = ordered(Counter(value for row in column for value in row))
    if kind == "label" and len(labels) > 1 and all(isinstance(value, str) and value for value in values):
        return "label", labels
    return ("span" if kind == "span" else "text"), ()


def short_form(fields: Sequence[RecordField]) -> dict[str, Any]:
    """Fields as a task's YAML writes them in short; `optional_paths` has the rest."""
    return {one.name: [_short(one)] if one.many else _short(one) for one in fields}


def _short(one: RecordField) -> Any:
    if one.type == "record":
        return short_form(one.fields)
    return list(one.labels) if one.type == "label" else one.type


def optional_paths(fields: Sequence[RecordField], before: str = "") -> list[str]:
    """Paths of the fields that a record may lack, "address.city", those of nested records too."""
    paths: list[str] = []
    for one in fields:
        path = f"{before}{one.name}"
        paths += [path] if one.optional else []
        paths += optional_paths(one.fields, f"{path}.")
    return paths
