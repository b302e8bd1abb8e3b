"""Scaffold of a sweep on a user's own data: a commented YAML file that is ready to run. `sde-ray init` writes it.

files on disk ─survey─▶ texts and answers ─draft─▶ task ─load─▶ items per split ─▶ sizes ─▶ YAML
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.config.sweep_yaml import Sizes, sweep_yaml
from sde_ray.data.hub import read_hub, split_names
from sde_ray.data.recognition import read_any
from sde_ray.data.records import Record
from sde_ray.data.source import NAMES, DatasetSource, find_files
from sde_ray.data.splits import ORDER, Splits
from sde_ray.data.survey import Survey, survey
from sde_ray.errors import FaultList, UserError, suggest
from sde_ray.tasks import NATIVE_FORMATS
from sde_ray.tasks.checks import check_task
from sde_ray.tasks.custom import task_from_yaml
from sde_ray.tasks.draft import TaskDraft, draft_task
from sde_ray.types import Split, Task

CHARACTERS_PER_TOKEN = {"en": 3.0, "zh": 1.0}  # low, so that a text which may be cut is told rather than not
MAX_LENGTH, OTHER_TOKENS = 1024, 200  # of a sample: the default, and about what instruction and answer need
FEW_ITEMS = 100


@dataclass(frozen=True)
class Scaffold:
    """Scaffold of a sweep: its YAML `text`, and for its author what was found and what is unsure (`doubts`).

    `counts`: items per split, empty where `faults` says why the data cannot be loaded as they are.
    """

    text: str
    survey: Survey
    draft: TaskDraft
    counts: Mapping[Split, int]
    metric: str
    doubts: tuple[str, ...]
    faults: str = ""


def scaffold(
    data: str,
    out: Path,
    name: str = "",
    hub: bool = False,
    config: str | None = None,
    text: str = "",
    slots: Sequence[str] = (),
    kind: str = "",
) -> Scaffold:
    """Scaffold of a sweep on data of the user's own.

    Args:
        data: a file, a folder with a file a split, or with `hub` the name of a data set.
        out: where the YAML will be; data paths in it start there.
        name: the task's; empty: that of the file.
        hub: whether `data` is a name on the Hugging Face hub.
        config: the data set's configuration on the hub.
        text: the column of the text; empty: guessed.
        slots: columns or slots that are answers; empty: guessed.
        kind: label, span, free or record; empty: told by the values.

    Raises UserError: when there are no such data, or neither text nor answers can be told.
    """
    place, records = _hub(data, config) if hub else _files(data, out.parent)
    surveyed = survey(data, records, text, slots, kind)
    draft = draft_task(name or plain_name(data), surveyed, kind)
    section = {**place, **surveyed.section}
    doubts, faults, metric = [*draft.doubts], "", ""
    counts: dict[Split, int] = {}
    try:
        task, splits = _load(draft, section, out.parent, doubts)
    except UserError as error:
        faults = str(error)
    else:
        metric, counts = task.objective, {split: len(splits.examples[split]) for split in ORDER}
        doubts += [*(note.rstrip(".") for note in splits.notes), *_few_items(counts)]
    if surveyed.schema is not None:
        doubts += _own_task(str(surveyed.section["format"]), place)
    doubts += _long_texts(surveyed.texts, draft.language)
    tenth = max(1, len(surveyed.texts) // 10)
    sizes = Sizes.of(counts or {"train": max(1, len(surveyed.texts) - 2 * tenth), "dev": tenth, "test": tenth})
    yaml_text = sweep_yaml(out, data, surveyed, draft, section, sizes, metric)
    return Scaffold(yaml_text, surveyed, draft, counts, metric, tuple(doubts), faults)


def plain_name(data: str) -> str:
    """A name for a task from that of its data: letters, digits, - and _."""
    path = Path(data)
    stem = path.name.split(".")[0] if path.suffix else path.name
    if stem.lower() in {word for words in NAMES.values() for word in words} | {"data", "all"}:
        stem = path.absolute().parent.name or stem  # tickets/train.jsonl
    return re.sub(r"[^\w-]+", "_", stem, flags=re.ASCII).strip("_-") or "mine"


# ---- where the data are ----------------------------------------------------------------------------------------------


def _files(data: str, base: Path) -> tuple[dict[str, Any], list[Record]]:
    """The place of files as a data section says it, and the records of the train split."""
    path = Path(data)
    if not os.path.exists(path):  # unlike the method, also for what can be no path: too long, a NUL
        near = suggest(path.name, os.listdir(path.parent) if os.path.isdir(path.parent) else [])
        hub = " For a data set of the Hugging Face hub add --hub." if re.fullmatch(r"[\w.-]+/[\w.-]+", data) else ""
        raise UserError(f'There is no file or folder "{data}".{near}{hub}')
    train = path
    if path.is_dir():
        faults = FaultList("Data")
        files = find_files(path, faults)
        if faults.faults:
            faults.add("Or give one file, from which dev and test are cut.")
        faults.raise_if_any()
        train = files["train"]
    return {"path": _relative(path, base)}, read_any(train)


def _relative(path: Path, base: Path) -> str:
    """The path from the YAML's folder; absolute where the two have little in common."""
    relative = os.path.relpath(str(path), str(base))
    return relative if not relative.startswith(os.path.join("..", "..")) else str(path.absolute())


def _hub(name: str, config: str | None) -> tuple[dict[str, Any], list[Record]]:
    """The hub's name as a data section says it, and the records of its train split."""
    names = split_names(name, config)
    train = next((split for split in NAMES["train"] if split in names), None)
    if train is None:
        raise UserError(f'The data set "{name}" has no train split. It has: {", ".join(names)}.')
    place = {"hub": name, **({"config": config} if config else {})}
    return place, read_hub(name, train, config)


# ---- what loading says -----------------------------------------------------------------------------------------------


def _load(draft: TaskDraft, section: dict[str, Any], base: Path, doubts: list[str]) -> tuple[Task, Splits]:
    """The drafted task and its splits. Texts that stand in two splits set `overlap: drop` in the section."""
    try:
        return _open(draft, section, base)
    except UserError as error:
        if "overlap: drop" not in str(error):
            raise
        section["overlap"] = "drop"
        task, splits = _open(draft, section, base)
        doubts.append(f"texts stand in several splits, so `overlap: drop` is set: {'; '.join(splits.dropped)}")
        return task, splits


def _open(draft: TaskDraft, section: Mapping[str, Any], base: Path) -> tuple[Task, Splits]:
    task = check_task(task_from_yaml({**draft.section(), "data": section}, base))
    source = task.load
    assert isinstance(source, DatasetSource)
    return task, source.splits()


def _own_task(data_format: str, place: Mapping[str, Any]) -> list[str]:
    """The package's own task for a published set, which has better wordings than a drafted one."""
    names = [name for name, native in NATIVE_FORMATS.items() if native == data_format]
    if not names or "path" not in place:
        return []
    return [f'the package has tasks for these data, with wordings of their own: task: "{names[0]}@{place["path"]}"']


def _few_items(counts: Mapping[Split, int]) -> list[str]:
    few = [f"{counts[split]} {split} items" for split in ("dev", "test") if counts[split] < FEW_ITEMS]
    return [f"{' and '.join(few)} are few: differences between designs will hardly be clear"] if few else []


def _long_texts(texts: Sequence[str], language: str) -> list[str]:
    room = (MAX_LENGTH - OTHER_TOKENS) * CHARACTERS_PER_TOKEN[language]
    long = [len(text) for text in texts if len(text) > room]
    if not long:
        return []
    return [
        f"{len(long)} texts have more than {room:,.0f} characters, the longest {max(long):,}: a sample of more than "
        f"{MAX_LENGTH} tokens is cut (train.max_length; the text only, and counted)"
    ]
