"""Settings of the table tasks, in a task's name or in a section of YAML, and the examples that they make.

matching:batch=4,serialization=sentences,attributes=title+year@data/books
{name: books, table: matching, batch: 4, attributes: [title, year], data: {path: data/books}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sde_ray.data import synthetic
from sde_ray.data.batches import batched
from sde_ray.data.records import BadRecord
from sde_ray.data.schema import Schema
from sde_ray.data.source import DatasetSource, open_dataset
from sde_ray.data.splits import ORDER, separate
from sde_ray.data.table_text import SERIALIZATIONS, RecordStyle, write_item
from sde_ray.errors import FaultList, UserError, suggest
from sde_ray.types import Example, Split

Family = Literal["matching", "imputation", "errors", "schema"]
KEYS = ("serialization", "attributes", "batch", "target")
LARGEST_BATCH = 100
FORMATS: Mapping[str, str] = {"matching": "magellan", "schema": "magellan", "errors": "cells", "imputation": "rows"}
"""What the user's own data of a table task are read as."""


@dataclass(frozen=True)
class TableSettings:
    """Settings of a table task: how records are written, the instances in one prompt, the column to be filled in."""

    style: RecordStyle = field(default_factory=RecordStyle)
    batch: int = 1
    target: str = ""


def read_settings(family: str, given: Mapping[str, Any], faults: FaultList) -> TableSettings:
    """Settings from those that are given; what is wrong goes to `faults`."""
    known = [key for key in KEYS if key != "target" or family == "imputation"]
    for key in given:
        if key not in known:
            faults.add(f'unknown setting "{key}".{suggest(key, known)} Known: {", ".join(known)}.')
    serialization = given.get("serialization", SERIALIZATIONS[0])
    if serialization not in SERIALIZATIONS:
        faults.add(f"serialization is {serialization!r}, expected {' or '.join(SERIALIZATIONS)}.")
    attributes = given.get("attributes", ())
    attributes = [attributes] if isinstance(attributes, str) else attributes
    if not isinstance(attributes, list | tuple) or not all(isinstance(one, str) and one.strip() for one in attributes):
        faults.add(f"attributes is {attributes!r}, expected a list such as [title, year].")
        attributes = ()
    batch = _whole(given.get("batch", 1))
    if not 1 <= batch <= LARGEST_BATCH:
        faults.add(f"batch is {given['batch']!r}, expected the instances in one prompt, from 1 to {LARGEST_BATCH}.")
    target = given.get("target", "")
    if not isinstance(target, str):
        faults.add(f"target is {target!r}, expected the name of a column.")
    return TableSettings(RecordStyle(serialization, tuple(dict.fromkeys(attributes))), batch, str(target))


def _whole(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def settings_in_name(text: str, faults: FaultList) -> dict[str, Any]:
    """Settings of a task's name as they are given: `batch=4,attributes=title+year`."""
    given: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key in given:
            faults.add(
                f'"{part}" {"stands twice" if key in given else "is no setting"}. Expected KEY=VALUE, each once.'
            )
        given[key] = value.split("+") if key == "attributes" else value
    return given


@dataclass(frozen=True)
class TableLoad:
    """Examples of a table task, in batches: of the bundled rows, or of the user's own (`source`)."""

    family: Family
    slot: str
    settings: TableSettings
    source: DatasetSource | None = None

    def __call__(self, split: Split) -> list[Example]:
        """Examples of a split, in a fixed order. Raises UserError: where there are too few for one batch."""
        singles = self.source(split) if self.source else _bundled(self.family, self.slot, self.settings)[split]
        batch, title = self.settings.batch, self.source.title if self.source else f"the bundled table of {self.family}"
        if len(singles) < batch:
            raise UserError(
                f"batch is {batch}, but the {split} split of {title} has {len(singles)} instances, not enough for one "
                f"prompt. Set batch to {len(singles)} at most, or add data."
            )
        return batched(singles, batch)

    def on(self, section: Mapping[str, Any], base: Path, schema: Schema) -> TableLoad:
        """The same on the user's data. Raises UserError: with all faults of the data section at once."""
        style = self.settings.style
        asked: dict[str, Any] = {"serialization": style.serialization, "attributes": list(style.attributes)}
        if self.family == "imputation":
            asked["target"] = self.settings.target
        clash = [key for key in asked if key in section]
        if clash:
            raise UserError(f"data: {clash[0]} is a setting of the task, not of its data. Set it there.")
        source = open_dataset({"format": FORMATS[self.family], **section, **asked}, base, schema)
        return replace(self, source=source)


@lru_cache(maxsize=16)
def _bundled(family: Family, slot: str, settings: TableSettings) -> Mapping[Split, Sequence[Example]]:
    """Bundled rows as examples; with few attributes texts may be alike, and then stay in the later split only."""
    if settings.target not in ("", synthetic.tables.TARGET):
        raise UserError(
            f'The bundled table of {family} lacks its column "{synthetic.tables.TARGET}", not "{settings.target}". '
            f"Leave target out, or name your own data: {family}:target={settings.target}@PATH."
        )
    try:
        by_split = {
            split: [write_item(item, slot, settings.style) for item in synthetic.table_items(family)[split]]
            for split in ORDER
        }
    except BadRecord as error:
        raise UserError(f"The bundled table of {family}: {error}.") from None
    return separate(by_split, "drop", f"the bundled table of {family}").examples
