"""Format of a table: what the formats of the table tasks share; each gives the items of a record and nothing else.

    CELLS = table_format(read_rows, cells, YES_NO)      cells(record) -> TableItem, ...

The one slot of the task is the answer's, and the records are written as the task's settings say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record
from sde_ray.data.schema import Schema
from sde_ray.data.table_text import RecordStyle, Serialization, TableItem, write_item
from sde_ray.types import Example

LABELS = ("yes", "no")
OPTIONS = ("serialization", "attributes")
Items = Callable[..., Iterable[TableItem]]


def table_format(
    read: Callable[[Path], list[Record]], items: Items, schema: Schema, options: Sequence[str] = ()
) -> Format:
    """Format of a table; `items(record, **options)` gives what is asked of a record, `options` are its own."""
    return Format(read, partial(_examples, items=items, like=schema), schema, (*OPTIONS, *options))


def _examples(
    record: Record,
    schema: Schema,
    serialization: Serialization = "pairs",
    attributes: Sequence[str] = (),
    *,
    items: Items,
    like: Schema,
    **options: str,
) -> Iterator[Example]:
    slot, style = _slot(schema, like), RecordStyle(serialization, tuple(attributes))
    for item in items(record, **options):
        yield write_item(item, slot, style)


def _slot(schema: Schema, like: Schema) -> str:
    """The one slot of a task that is answered as the format's own. Raises BadRecord for any other task."""
    alike = schema.kind == like.kind and len(schema.slots) == 1
    if not alike or (like.labels and not {*like.labels} <= {*schema.labels_of(schema.slots[0])}):
        answers = f"the labels {' and '.join(like.labels)}" if like.labels else "free values"
        raise BadRecord(f"this format is for tasks with one slot of {answers}")
    return schema.slots[0]
