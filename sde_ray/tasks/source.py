"""Where a task's examples come from: bundled data, or a source of the user's.

A source is a mapping as it stands in YAML (see `data.source`), short for a path in a task's name:
    {"format": "mams", "path": "data/MAMS-ACSA"}     mams@data/MAMS-ACSA
    {"format": "jsonl", "train": "a.jsonl", "dev": "b.jsonl"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.types import Example, Split, Task

Load = Callable[[Split], list[Example]]


def no_examples(split: Split) -> list[Example]:
    """The splits of a definition without data."""
    return []


def bundled(name: str, domain: str) -> Load:
    """The splits of a set that is made by this package."""

    def load(split: Split) -> list[Example]:
        from sde_ray.data import made

        return made.load(name, domain, split)

    return load


def user_data_only(name: str, format_name: str) -> Load:
    """The splits of a task without bundled data: none, and how to name one's own."""

    def load(split: Split) -> list[Example]:
        raise UserError(
            f'The task "{name}" has no bundled data. Name yours: the task "{name}@PATH" reads a file or folder in the '
            f"{format_name} format."
        )

    return load


def with_source(task: Task, source: Mapping[str, Any], base: Path) -> Task:
    """The task on the user's data; relative paths start at `base`. `UserError` with all faults of the source."""
    from sde_ray.data import open_source, schema_of

    if source.get("format") == "asap":
        return replace(task, load=_asap(task, source, base))
    # Sibling domains are read from the same files only where these hold all aspects, as those of ASAP do.
    return replace(task, load=open_source(source, base, schema_of(task)), domains=())


def _asap(task: Task, source: Mapping[str, Any], base: Path) -> Load:
    """ASAP's reviews with the paper's aspects for its columns; an aspect that ASAP does not rate is never mentioned."""
    from sde_ray.data import open_source, schema_of
    from sde_ray.tasks.masa_zh import ASAP_COLUMNS

    slot_of = {ASAP_COLUMNS[slot]: slot for slot in task.slots if slot in ASAP_COLUMNS}
    read = open_source(source, base, replace(schema_of(task), slots=tuple(slot_of)))

    def load(split: Split) -> list[Example]:
        return [replace(e, answer={slot_of[column]: v for column, v in e.answer.items()}) for e in read(split)]

    return load
