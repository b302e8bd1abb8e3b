"""Tasks on the user's own dataset, which a `data` section of YAML describes (see `data.source`).

{"format": "mams", "path": "data/MAMS-ACSA"}     short in a task's name: mams@data/MAMS-ACSA
{"format": "jsonl", "train": "a.jsonl", "dev": "b.jsonl"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sde_ray.data import open_dataset, schema_of
from sde_ray.tasks.bundled import Load
from sde_ray.tasks.masa_zh import ASAP_COLUMNS
from sde_ray.tasks.qa import RELATIONS
from sde_ray.tasks.table_settings import TableLoad
from sde_ray.tasks.tables import on_data
from sde_ray.types import Example, Split, Task


def with_dataset(task: Task, source: Mapping[str, Any], base: Path) -> Task:
    """Task on the user's dataset; relative paths start at `base`.

    Raises UserError: with all faults of the data section at once.
    """
    if isinstance(task.load, TableLoad):
        return on_data(task, source, base)
    if source.get("format") == "asap":
        return replace(task, load=_asap(task, source, base))
    if source.get("format") == "entityquestions" and task.name in RELATIONS:
        source = {"relations": list(RELATIONS[task.name]), **source}
        return replace(task, load=open_dataset(source, base, schema_of(task)))
    # Sibling domains are read from the same files only where these hold all aspects, as those of ASAP do.
    return replace(task, load=open_dataset(source, base, schema_of(task)), domains=())


def _asap(task: Task, source: Mapping[str, Any], base: Path) -> Load:
    """ASAP's reviews with the paper's aspects for its columns; an aspect that ASAP does not rate is never mentioned."""
    slot_of = {ASAP_COLUMNS[slot]: slot for slot in task.slots if slot in ASAP_COLUMNS}
    read = open_dataset(source, base, replace(schema_of(task), slots=tuple(slot_of)))

    def load(split: Split) -> list[Example]:
        return [replace(e, answer={slot_of[column]: v for column, v in e.answer.items()}) for e in read(split)]

    return load
