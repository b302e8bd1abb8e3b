"""Tasks by name: the package's own, the user's by import path, and a YAML file's.

    masa:d1                       a task of the table; a bare `masa` is its first domain
    mams@data/MAMS-ACSA           a task of the table on the user's data, in the task's native format
    nested_ner@jsonl:data/mine    the same in another format
    matching:batch=4@data/Beer    a table task with settings
    my_pkg.my_task:TASK           a `Task` object of the user's
    tasks/reviews.yaml            a task defined in YAML alone; also s3://bucket/reviews.yaml

A name says all that a worker on another machine needs to build the task again. What it imports or reads is followed
only where the user has named it (`plugins.trust`): `get_task` takes the user's word, `resolve_task` that of data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sde_ray.data.recognition import AUTO
from sde_ray.design.wording import is_function
from sde_ray.errors import UserError, suggest, unknown
from sde_ray.plugins import code_of, is_path, load_object, trust, untrusted
from sde_ray.safe_json import stream_hash
from sde_ray.storage.remote import fetch_file
from sde_ray.storage.uri import is_uri
from sde_ray.tasks import events, mams, masa, masa_zh, nested_ner, qa, relations, tables
from sde_ray.tasks.bundled import no_examples
from sde_ray.tasks.checks import check_task
from sde_ray.tasks.table_settings import FORMATS as TABLE_FORMATS
from sde_ray.tasks.with_data import with_dataset
from sde_ray.types import Split, Task

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        *(*masa.TASKS, *masa_zh.TASKS, mams.TASK, nested_ner.TASK, *events.TASKS, *qa.TASKS),
        *tables.TASKS,
        *relations.TASKS,
    )
}

NATIVE_FORMATS: Mapping[str, str] = {
    "masa_zh:d1": "asap",
    "masa_zh:d2": "asap",
    "masa_zh:all": "asap",
    "mams": "mams",
    "nested_ner": "genia",
    "events": "maven",
    "events:phee": "phee",
    "events:phee_arguments": "phee",
    "qa": "entityquestions",
    "qa:location": "entityquestions",
    "qa:other": "entityquestions",
    **TABLE_FORMATS,
}
"""What `task@path` is read as; of all other tasks the file's own format is recognised."""

OPTIONAL = (
    *("slot_labels", "slot_numbers", "multilabel", "ranges", "positive", "answered", "numbered", "definitions"),
    *("fields", "single", "label_words"),
)
"""Fields of a task that are empty for most tasks."""

YAML = (".yaml", ".yml")
_FAMILIES = {name.partition(":")[0]: name for name in reversed(list(TASKS))}  # each with its first domain


def get_task(name: str, source: Mapping[str, Any] | None = None, base: Path = Path()) -> Task:
    """Task by name, checked. The name is the user's own: the code, the file or the address that it names is trusted.

    Args:
        name: a row of `TASKS`, an import path "my_pkg.my_task:TASK" or a YAML file; with "@path" or "@format:path",
            on data of the user's own.
        source: the data section, {format, path} or {format, train, dev, test}.
        base: the folder that paths of `source` start at.

    Raises UserError: when there is no such task, with the nearest name, or its definition or data section has faults.
    """
    trust(*references(name))
    return resolve_task(name, source, base)


def references(name: str) -> list[str]:
    """What a task's name makes a process import or read: a module, a YAML file, the place of its data, or nothing."""
    short_name, _, location = _split(name)
    if short_name.endswith(YAML):
        return [short_name]
    code = [] if short_name.partition(":")[0] in _FAMILIES else code_of(short_name)
    return [*code, location] if location else code


def resolve_task(name: str, source: Mapping[str, Any] | None = None, base: Path = Path()) -> Task:
    """Task by a name that anybody may have written; as `get_task`, but nothing is followed that is not trusted.

    Raises UserError: as `get_task`, and where the name leads to what the user has not named.
    """
    for reference in untrusted(references(name)):
        raise UserError(
            f'The task "{name}" leads to "{reference}", and results lead to no code and no data that you have not '
            "named yourself. If it is yours, give the sweep's own YAML file in place of its folder"
            + (f", or add --trust-code {reference}." if code_of(name) else ".")
        )
    short_name, at, location = _split(name)
    task = _find_task(short_name)
    if at:
        source = {**_source(location), **(source or {})}
    if source is not None:
        native = NATIVE_FORMATS.get(task.name) or NATIVE_FORMATS.get(task.name.partition(":")[0], AUTO)
        task = with_dataset(task, {"format": native, **source}, base)
    if at:
        task = replace(
            task, name=f"{task.name}@{location}", domains=tuple(f"{other}@{location}" for other in task.domains)
        )
    return check_task(task)


def _split(name: str) -> tuple[str, str, str]:
    """A task's name without the place of its data, the @ where there is one, and that place."""
    return (name, "", "") if is_uri(name) else name.partition("@")


def _source(location: str) -> Mapping[str, str]:
    """Data section from what follows the @ in a task's name: `path`, or `format:path`."""
    from sde_ray.data import FORMATS

    format_name, colon, path = location.partition(":")
    return {"format": format_name, "path": path} if colon and format_name in FORMATS else {"path": location}


def _find_task(name: str) -> Task:
    if name.endswith(YAML):
        from sde_ray.tasks.custom import load_task

        return _trusting(load_task(fetch_file(name)))
    family, _, domain = name.partition(":")
    if is_path(name) and family not in _FAMILIES:
        try:
            return _trusting(load_object(name, Task, "a task"))
        except UserError as error:
            # "mazza:d1" looks like an import path, too.
            raise UserError(f"{error}{suggest(name, TASKS)}") from error
    if not domain and family in _FAMILIES:
        return TASKS[_FAMILIES[family]]
    if domain and family in tables.QUESTIONS:
        return tables.named_table_task(name)
    if name not in TASKS:
        raise UserError(f'{unknown("task", name, TASKS)} One of your own: "my_pkg.my_task:TASK" or a YAML file.')
    return TASKS[name]


def _trusting(task: Task) -> Task:
    """A task of the user's own, what its definition names trusted with it: metrics, wordings and sibling tasks."""
    wordings = [wording for wording in task.instructions if is_function(wording)]
    trust(*(module for name in (*task.metrics, *wordings) for module in code_of(name)))
    trust(*(reference for name in task.domains for reference in references(name)))
    return task


def fingerprint(task: Task, splits: Sequence[Split] = ("train", "dev")) -> str:
    """Content hash of a task: sha256 of its definition and the examples of these splits; 16 hex digits.

    Test splits are left out unless asked for: a sweep does not read them (law 7).
    """
    from sde_ray import data

    definition = {key: value for key, value in asdict(replace(task, load=no_examples)).items() if key != "load"}
    # A trial's key is made of this: what a task does not use is left out, so that a new field renames no trial.
    definition = {key: value for key, value in definition.items() if value or key not in OPTIONAL}
    bundled_task = TASKS.get(task.name.partition("@")[0])
    for name in ("definitions", "label_words"):  # of a bundled task they came after its recorded results
        if bundled_task and getattr(task, name) == getattr(bundled_task, name):
            definition.pop(name, None)
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False)
    return stream_hash([text, *(data.fingerprint(task.load(split)) for split in splits)])
