"""Records in the text formats: each field that holds no record under its path, and back.

    {"name": "Ada", "address": {"city": "Rome"}, "tags": ["a", "b"], "works": [{"title": "Notes"}]}
    <->  ("name", ("Ada",)), ("address.city", ("Rome",)), ("tags", ("a", "b")), ("works.1.title", ("Notes",))

A path without a value says that nothing is there: an optional field that is absent, an empty list or an empty record.
What is read back is raw JSON, in which a path that stands twice is a key that stands twice; whether it is a record of
the task, `check_records` tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sde_ray.data.record_values import Fields
from sde_ray.safe_json import JsonObject
from sde_ray.types import RecordField

PathValues = tuple[str, tuple[str, ...]]
Node = list[tuple[str, Any]]
_NUMBER = re.compile(r"[1-9]\d{0,3}", re.ASCII)


def write_paths(record: Mapping[str, Any], fields: Fields, complete: bool, before: str = "") -> Iterator[PathValues]:
    """Paths and values of a record; absent optional fields too where the answer is `complete`."""
    for one in fields:
        path, value = f"{before}{one.name}", record.get(one.name)
        if value is None and not complete:
            continue
        if value in (None, [], {}):
            yield path, ()
        elif one.type != "record":
            yield path, tuple(map(_written, value if one.many else [value]))
        elif one.many:
            for number, item in enumerate(value, start=1):
                yield from write_paths(item, one.fields, complete, f"{path}.{number}.")
        else:
            yield from write_paths(value, one.fields, complete, f"{path}.")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_paths(pairs: Sequence[PathValues], fields: Fields) -> JsonObject:
    """The raw record that paths and values say. Raises ValueError: when it has no form that a record could have."""
    root: Node = []
    for path, values in pairs:
        steps = _locate(path, fields)
        if steps is None:
            root.append((path, list(values)))
            continue
        node = root
        for one, number in steps[:-1]:
            node = _inner(node, one, number)
        node.append((steps[-1][0].name, _raw(steps[-1][0], values, path)))
    return _closed(root)


def _locate(path: str, fields: Fields) -> list[tuple[RecordField, int]] | None:
    """The fields on the way of a path, each with its number in a list of records, else 0; None for an unknown one."""
    for one in fields:
        if path == one.name:
            return [(one, 0)]
        if one.type != "record" or not path.startswith(f"{one.name}."):
            continue
        number, rest = 0, path[len(one.name) + 1 :]
        if one.many:
            head, _, rest = rest.partition(".")
            if not _NUMBER.fullmatch(head):
                continue
            number = int(head)
        inner = _locate(rest, one.fields)
        if inner is not None:
            return [(one, number), *inner]
    return None


def _inner(node: Node, one: RecordField, number: int) -> Node:
    """The nested record that a path leads into, made where it is new."""
    holder = next((value for key, value in node if key == one.name and isinstance(value, _Nested)), None)
    if holder is None:
        holder = _Nested()
        node.append((one.name, holder))
    return holder.records.setdefault(number, [])


class _Nested:
    """Records below a field while they are read: by their number in its list, or the one record as number 0."""

    def __init__(self) -> None:
        self.records: dict[int, Node] = {}

    def closed(self) -> Any:
        if 0 in self.records:
            return _closed(self.records[0])
        if sorted(self.records) != list(range(1, len(self.records) + 1)):
            raise ValueError("the numbers of a list have gaps")
        return [_closed(self.records[number]) for number in sorted(self.records)]


def _closed(node: Node) -> JsonObject:
    return JsonObject((key, value.closed() if isinstance(value, _Nested) else value) for key, value in node)


def _raw(one: RecordField, values: tuple[str, ...], path: str) -> Any:
    """A field's values as raw JSON; nothing is null, or the empty list or record of a field that must be there."""
    if not values:
        return None if one.optional else [] if one.many else JsonObject() if one.type == "record" else None
    if one.many:
        return list(values)
    if len(values) > 1:
        raise ValueError(f"more than one value of {path}")
    return values[0]


def shared_paths(fields: Fields) -> list[str]:
    """Paths that do not lead back to the field they are of, as names hold dots: a text format could not tell them."""
    return sorted(path for path, trail in _trails(fields, "", ()) if _names(_locate(path, fields)) != trail)


def _names(steps: list[tuple[RecordField, int]] | None) -> tuple[str, ...]:
    return tuple(one.name for one, _ in steps or ())


def _trails(fields: Fields, before: str, trail: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for one in fields:
        path = f"{before}{one.name}"
        yield path, (*trail, one.name)
        yield from _trails(one.fields, f"{path}.1." if one.many else f"{path}.", (*trail, one.name))
