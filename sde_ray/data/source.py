"""Dataset source of a task, which is also the task's `load`: called with a split, it gives its examples.

    data: {format: genia, path: data/genia}                           a folder with train.*, dev.* (val, valid), test.*
    data: {format: jsonl, train: a.jsonl, dev: b.jsonl}               files; the missing test split is cut from train
    data: {path: all.csv}                                             one file, dev and test are cut from it
    data: {hub: owner/name, splits: {dev: validation}, columns: {text: sentence}}

Without a format it is recognised. Relative paths start at the YAML's folder. `overlap: drop | error` says what happens
to texts that stand in two splits.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sde_ray.data.bio import CONLL
from sde_ray.data.formats import FORMATS, OTHER_NAMES
from sde_ray.data.hub import read_hub, split_names
from sde_ray.data.jsonl import empty_slots
from sde_ray.data.messages import instruction_of
from sde_ray.data.recognition import AUTO, examples, read_records
from sde_ray.data.records import Record
from sde_ray.data.schema import Schema
from sde_ray.data.splits import ORDER, Splits, separate
from sde_ray.data.table_text import SERIALIZATIONS
from sde_ray.errors import FaultList, UserError, suggest, unknown
from sde_ray.types import Example, Split

NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validation"),
    "test": ("test", "testing"),
}
SUFFIXES = (".json", ".jsonl", ".xml", ".csv", ".tsv", ".parquet", ".arrow", ".txt", *CONLL)
OPTIONS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "columns": (
        "a mapping such as {text: sentence}",
        lambda value: isinstance(value, Mapping) and all(isinstance(one, str) for one in (*value, *value.values())),
    ),
    "relations": (
        "a list such as [P17, P19]",
        lambda value: isinstance(value, list | tuple) and all(isinstance(one, str) for one in value),
    ),
    "keep_empty": ("true or false", lambda value: isinstance(value, bool)),
    "keep_instruction": ("true or false", lambda value: isinstance(value, bool)),
    "prompt_template": (
        'a text with {text} in it, such as "Sort this ticket: {text}"',
        lambda value: isinstance(value, str) and value.count("{text}") == 1,
    ),
    "tag_names": (
        "a list such as [O, B-PER, I-PER]",
        lambda value: isinstance(value, list | tuple) and all(isinstance(one, str) for one in value),
    ),
    "disagreement": ("first or skip", lambda value: value in ("first", "skip")),
    "serialization": (" or ".join(SERIALIZATIONS), lambda value: value in SERIALIZATIONS),
    "attributes": (
        "a list such as [title, year]",
        lambda value: isinstance(value, list | tuple) and all(isinstance(one, str) for one in value),
    ),
    "target": ("the name of a column", lambda value: isinstance(value, str)),
}
"""What the options of the formats must be."""
TABLES: Mapping[str, str] = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".arrow": "parquet"}
"""What plain records are called by the ending of their file."""
KEYS = ("format", "path", *ORDER, "hub", "config", "revision", "splits", "overlap")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetSource:
    """Dataset source: files by split, or a hub name; calling it with a split gives its examples, in a fixed order.

    `paths`: path (or the hub's split name) by our split; a single file under "train" is cut. `options` go to the
    format's converter.
    """

    format: str
    schema: Schema
    paths: tuple[tuple[Split, str], ...] = ()
    hub: str = ""
    config: str | None = None
    revision: str | None = None
    overlap: Literal["error", "drop"] | None = None
    options: tuple[tuple[str, Any], ...] = field(default=(), hash=False)

    def __call__(self, split: Split) -> list[Example]:
        """Examples of a split; read once, and anew when a file has changed."""
        return list(self.splits().examples[split])

    def splits(self) -> Splits:
        """All splits, with what was dropped or cut to make them disjoint."""
        paths = () if self.hub else self.paths
        return _load(self, repr(self.options), tuple(stamp for _, path in paths for stamp in _stamps(path)))

    def summary(self) -> str:
        """Items per split, where those came from that have no file, and the format they were read in."""
        splits = self.splits()
        items = ", ".join(f"{len(splits.examples[split])} {split}" for split in ORDER)
        cut = [split for split in ORDER if split not in splits.formats]
        parts = [items, *([f"{' and '.join(cut)} cut from train"] if cut else [])]
        return "; ".join([*parts, f"read as {', '.join(dict.fromkeys(splits.formats.values()))}", *splits.dropped])

    def notes(self) -> tuple[str, ...]:
        """What the author of the data may not expect, a sentence each."""
        return self.splits().notes

    @property
    def title(self) -> str:
        """Name of the source in messages."""
        return self.hub or ", ".join(dict.fromkeys(path for _, path in self.paths))


@lru_cache(maxsize=16)
def _load(source: DatasetSource, options: str, stamps: tuple[tuple[str, int, int], ...]) -> Splits:
    """`options` and `stamps` are here for the cache: what does not hash, and files that change."""
    by_split, formats, instructions, empty = {}, {}, set[str](), Counter[str]()
    for split, path in source.paths:
        if source.hub:
            title, records = f"{source.hub}:{path}", read_hub(source.hub, path, source.config, source.revision)
        else:
            title, records = path, read_records(source.format, Path(path))
        by_split[split], formats[split] = examples(source.format, title, records, source.schema, dict(source.options))
        if formats[split] == "jsonl" and not source.hub:
            formats[split] = TABLES.get(Path(path).suffix.lower(), "jsonl")
        instructions |= _left_out(formats[split], records, source)
        empty.update(_empty_values(formats[split], records, source))
    splits = separate(by_split, _overlap(source, formats), source.title)
    splits = replace(splits, formats=formats, notes=tuple(_notes(instructions, empty)))
    for note in splits.dropped:
        log.warning("%s: %s", source.title, note)
    for note in splits.cut:
        log.info("%s: %s", source.title, note)
    return splits


def _notes(instructions: set[str], empty: Mapping[str, int]) -> Iterator[str]:
    if len(instructions) > 1:
        yield f"{len(instructions)} different instructions are left out of the text (keep_instruction: true)."
    if empty:
        listed = ", ".join(f"{slot} {times} times" if times > 1 else f"{slot} once" for slot, times in empty.items())
        yield (
            f'An answer has the empty text "" for {listed}: it is read as "not mentioned". If one is missing there, '
            "repair the data; null, or leaving the slot out, says the same without this note."
        )


def _empty_values(name: str, records: Sequence[Record], source: DatasetSource) -> Iterator[str]:
    """The slots with the empty text as their value, once for each record; in a table that is an empty cell."""
    if name in TABLES.values():
        return
    translate, options = FORMATS[name].translate, dict(source.options)
    if FORMATS[name].schema is not None:
        return
    for record in records:
        if translate is None:
            yield from empty_slots(record, source.schema, options.get("columns"))
        elif (fields := translate(record.fields, source.schema, **options)) is not None:
            yield from empty_slots(replace(record, fields=fields), source.schema)


def _left_out(name: str, records: Sequence[Record], source: DatasetSource) -> set[str]:
    """The instructions of chat records that are no part of the text."""
    if "keep_instruction" not in FORMATS[name].options or dict(source.options).get("keep_instruction"):
        return set()
    told = (instruction_of(record.fields) for record in records if isinstance(record.fields, Mapping))
    return {instruction for instruction in told if instruction}


def _overlap(source: DatasetSource, formats: Mapping[Split, str]) -> Literal["error", "drop"]:
    """What the user says of texts in two splits, else what the format of the train split says."""
    return source.overlap or FORMATS[formats["train"]].overlap


def _stamps(location: str) -> list[tuple[str, int, int]]:
    """Path, time and size of the files at a location, so that a changed file is read anew."""
    path = Path(location)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]


def open_dataset(section: Mapping[str, Any], base: Path, schema: Schema | None = None) -> DatasetSource:
    """Dataset source that a `data` section of YAML describes.

    Args:
        section: {format, path}, {format, train, dev, test} or {hub}, with the format's options.
        base: the folder that relative paths start at.
        schema: slots and labels of the task; None: those of the published format.

    Raises UserError: with all faults of the section at once.
    """
    faults = FaultList("data")
    name = section.get("format", AUTO)
    if name != AUTO and (not isinstance(name, str) or name not in FORMATS):
        instead = OTHER_NAMES.get(str(name).casefold())
        use = f'Unknown format "{name}". Use "{instead}" instead.'
        faults.add(use if instead else unknown("format", name, (AUTO, *FORMATS)))
        name = AUTO
    options = _options(name)
    keys = (*KEYS, *options)
    for key in section:
        if key not in keys:
            faults.add(f'unknown key "{key}".{suggest(key, keys)} Known: {", ".join(keys)}.')
    overlap = section.get("overlap")
    if overlap not in ("error", "drop", None):
        faults.add(f'overlap is "{overlap}", expected "error" or "drop".')
    for key in options:
        expected, fits = OPTIONS[key]
        if key in section and not fits(section[key]):
            faults.add(f"{key} is {section[key]!r}, expected {expected}.")
    for key in ("config", "revision"):
        if not isinstance(section.get(key, ""), str):
            faults.add(f"{key} is {section[key]!r}, expected a text. Put it in quotes.")
    paths = _paths(section, base, faults)
    published = FORMATS[name].schema if name != AUTO else None
    chosen = schema or published
    if chosen is None:
        faults.add(f'the format "{name}" needs the slots of a task.')
    elif published and chosen.kind not in (published.kind, *FORMATS[name].further_kinds):
        faults.add(
            f'the format "{name}" holds answers of the kind {published.kind}, the task is of the kind {chosen.kind}.'
        )
    faults.raise_if_any()
    assert chosen is not None
    return DatasetSource(
        format=name,
        schema=chosen,
        paths=tuple(paths.items()),
        hub=_hub_name(section["hub"], base) if "hub" in section else "",
        config=section.get("config"),
        revision=section.get("revision"),
        overlap=overlap,
        options=tuple((key, section[key]) for key in options if key in section),
    )


def _options(name: str) -> tuple[str, ...]:
    """The options of a format; of an unknown one those of all, as far as the file turns out to take them."""
    return FORMATS[name].options if name != AUTO else tuple(OPTIONS)


def _paths(section: Mapping[str, Any], base: Path, faults: FaultList) -> dict[Split, str]:
    """Path or hub split by our split."""
    files = {split: base / str(section[split]) for split in ORDER if split in section}
    ways = [bool(files), "path" in section, "hub" in section]
    if sum(ways) != 1:
        faults.add("give one of: path (a file or folder), hub, or train (with dev and test where there are).")
        return {}
    if "hub" in section:
        return _hub_places(section, base, faults)
    if "path" in section:
        path = base / str(section["path"])
        files = find_files(path, faults) if os.path.isdir(path) else {"train": path}
    elif "train" not in files:
        faults.add("train is missing. Give it; dev and test can be cut from it.")
    for path in files.values():
        if not os.path.exists(path):  # unlike the method, also for what can be no path: too long, a NUL
            near = suggest(path.name, os.listdir(path.parent) if os.path.isdir(path.parent) else [])
            faults.add(f"there is no file {path}.{near}")
    return {split: str(path) for split, path in files.items()}


def find_files(folder: Path, faults: FaultList) -> dict[Split, Path]:
    """File (or folder of files) of each split in a folder, recognised by a word of its name: train_sample.csv, dev/."""
    files: dict[Split, Path] = {}
    entries = sorted(path for path in folder.iterdir() if path.is_dir() or path.suffix in SUFFIXES)
    for split, names in NAMES.items():
        hits = [path for path in entries if {*re.split(r"[^a-z]+", path.stem.lower())} & {*names}]
        if len(hits) > 1:
            faults.add(f"{folder} has several {split} files: {', '.join(path.name for path in hits)}. Name one.")
        if hits:
            files[split] = hits[0]
    if "train" not in files:
        listed = ", ".join(path.name for path in entries[:10]) or "nothing that is data"
        faults.add(f"{folder} has no train file. Expected train.*, dev.* or valid.*, test.*; it has {listed}.")
    return files


def _hub_name(name: Any, base: Path) -> str:
    return str(base / str(name)) if os.path.isdir(base / str(name)) else str(name)


def _hub_places(section: Mapping[str, Any], base: Path, faults: FaultList) -> dict[Split, str]:
    """Hub split by our split: as in `splits`, else recognised by name."""
    chosen = section.get("splits", {})
    if not isinstance(chosen, Mapping):
        faults.add(f"splits is {chosen!r}, expected a mapping such as {{train: train, dev: validation}}.")
        return {}
    for split in chosen:
        if split not in ORDER:
            faults.add(unknown("split", split, ORDER))
    if chosen:
        return {split: str(chosen[split]) for split in ORDER if split in chosen}
    try:
        names_of_hub = split_names(_hub_name(section["hub"], base), section.get("config"), section.get("revision"))
    except UserError as error:
        faults.add(str(error))
        return {}
    return {split: name for split, names in NAMES.items() for name in names if name in names_of_hub}
