"""Data format: how its files become records, and its records examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sde_ray.data.faults import PlacedFault, raise_faults
from sde_ray.data.hub import TABLES, read_table
from sde_ray.data.records import BadRecord, Record
from sde_ray.data.schema import Schema
from sde_ray.errors import UserError, suggest
from sde_ray.types import Example, TaskKind


@dataclass(frozen=True)
class Format:
    """Data format: `read` gives the records of a file, `convert` the examples of a record (none, one or several).

    `translate`: what makes a plain record (id, text, answer) of one in another tool's form; None leaves a record out.
    `schema`: what the published set holds; None where the task's own is used; `further_kinds`: of tasks that it is read
    for besides that schema's. `options` are the names that `translate`,
    or else `convert`, takes besides record and schema. `overlap`: what happens to texts in two splits; published sets
    hold some.
    """

    read: Callable[[Path], list[Record]]
    convert: Callable[..., Iterable[Example]]
    schema: Schema | None = None
    options: tuple[str, ...] = ()
    overlap: Literal["error", "drop"] = "drop"
    translate: Callable[..., Mapping[str, Any] | None] | None = None
    further_kinds: tuple[TaskKind, ...] = ()

    def __call__(self, path: str | Path, schema: Schema | None = None, **options: Any) -> list[Example]:
        """Examples of a file.

        Raises UserError: with all faults of the file, the place of each, and the remedy.
        """
        path = Path(path)
        return self.examples(str(path), self.records(path), schema, **options)

    def records(self, path: Path) -> list[Record]:
        """Records of a file: of a table, or as the format reads it."""
        return read_table(path) if path.suffix.lower() in TABLES else self.read(path)

    def examples(self, title: str, records: Sequence[Record], schema: Schema | None, **options: Any) -> list[Example]:
        """Examples of records; `title` names their source in messages."""
        chosen = schema or self.schema
        if chosen is None:
            raise UserError(f"{title}: this format needs a task's slots. Define the task that the answers belong to.")
        for name in options:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise UserError(f'{title}: unknown option "{name}".{suggest(name, self.options)} Known: {known}.')
        examples, faults = _convert(records, partial(self._of_record, schema=chosen, options=options))
        raise_faults(title, faults, "Repair these records, or the task's slots and labels.")
        if not examples:
            raise UserError(f"{title} holds no example for the slots {', '.join(chosen.slots)}. Expected one or more.")
        return examples

    def _of_record(self, record: Record, schema: Schema, options: Mapping[str, Any]) -> Iterable[Example]:
        if self.translate is None:
            return self.convert(record, schema, **options)
        fields = self.translate(record.fields, schema, **options)
        return () if fields is None else self.convert(replace(record, fields=fields), schema)


def _convert(
    records: Sequence[Record], convert: Callable[[Record], Iterable[Example]]
) -> tuple[list[Example], list[PlacedFault]]:
    """All examples and all faults; an id may stand once."""
    examples: list[Example] = []
    faults: list[PlacedFault] = []
    positions: dict[str, str] = {}
    for record in records:
        try:
            converted = list(convert(record))
        except BadRecord as error:
            faults += [(record.position, fault) for fault in error.faults]
            continue
        for example in converted:
            if not example.text.strip():
                faults.append((record.position, "the text is empty"))
            if example.id in positions:
                fault = f'the id "{example.id}" is also that of {positions[example.id]}'
                faults.append((record.position, fault))
            positions.setdefault(example.id, record.position)
        examples += converted
    return examples, faults
