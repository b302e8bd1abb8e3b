"""Table tasks: entity matching, imputation, error detection, schema matching (LLMs as Data Preprocessors, 2308.16361).

    matching      A: [name: "mill"]  B: [name: "the mill"]      do both describe the same thing?      yes, no
    schema        A: [column: "dob"]  B: [column: "birth"]      do both columns mean the same?        yes, no
    errors        [city: "Tarsn"]  Cell: [city: "Tarsn"]        is this cell wrong?                   yes, no
    imputation    [name: "mill"]  Missing: city                 what is the missing value?            any words

Bundled rows are made by this package; the user's own are named as for any task (`matching@data/Beer`). With `batch`
several instances stand in one prompt below their numbers, and are answered by number; a batch of 1 is the plain task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from sde_ray.data import Schema
from sde_ray.data.batches import numbers
from sde_ray.errors import FaultList, UserError
from sde_ray.tasks.bundled import no_examples
from sde_ray.tasks.table_settings import KEYS, Family, TableLoad, TableSettings, read_settings, settings_in_name
from sde_ray.tasks.yaml_fields import check_keys, choice, text
from sde_ray.types import PromptNouns, Task

LABELS = ("yes", "no")


@dataclass(frozen=True)
class _Question:
    """What a family asks: the slot of its answer, the nouns of one text and of several, and the question itself."""

    slot: str
    one: str
    several: str
    asked: str
    title: str
    labels: tuple[str, ...] | None = LABELS


QUESTIONS: Mapping[Family, _Question] = {
    "matching": _Question(
        "match", "pair of records", "pairs of records",
        "do the records A and B describe the same thing?", "entity matching",
    ),
    "imputation": _Question(
        "value", "record", "records", "what is the value that is missing?", "imputation of missing values", None
    ),
    "errors": _Question("error", "record", "records", "is the value of the named cell wrong?", "error detection"),
    "schema": _Question(
        "match", "pair of columns", "pairs of columns",
        "do the columns A and B mean the same?", "schema matching",
    ),
}  # fmt: skip


def table_task(family: Family, settings: TableSettings | None = None, name: str = "") -> Task:
    """A table task on its bundled rows; `name` where it is not the family's own."""
    settings, question = settings or TableSettings(), QUESTIONS[family]
    is_batch = settings.batch > 1
    absent = "not asked" if is_batch else "unclear" if question.labels else "unknown"
    choose = " Choose from {labels}." if question.labels else ""
    return Task(
        name=name or family,
        kind="label" if question.labels else "free",
        language="en",
        slots=numbers(settings.batch) if is_batch else (question.slot,),
        nouns=PromptNouns(
            text=question.several if is_batch else question.one,
            slot="number" if is_batch else "question",
            value="answer",
            rationale="reason",
        ),
        instructions=(
            f"Read the {{text}} {{where}}: {question.asked} Give the {{value}} of each {{slot}}: {{slots}}.{choose}",
            f"You are a database engineer. Of the {{text}} {{where}}, {question.asked} Answer {{slots}}.{choose}",
            f"This is {question.title}; the {{text}} {'are' if is_batch else 'is'} {{where}}. The question is: "
            f"{question.asked} The {{slot}}s are {{slots}}.{choose}",
        ),
        metrics=("f1", "precision", "recall", "accuracy") if question.labels else ("accuracy", "exact_match"),
        objective="f1" if question.labels else "accuracy",
        load=TableLoad(family, question.slot, settings),
        labels=question.labels,
        numbers={"yes": "1", "no": "0", absent: "-1"} if question.labels else {},
        placeholder=absent,
        wordings={"schematic_slot": "{n}"} if is_batch else {},
        positive="yes" if question.labels else "",
        answered=True,
        numbered=is_batch,
    )


def schema_of_instance(family: Family) -> Schema:
    """Schema of the answer to one instance."""
    task = table_task(family)
    return Schema(task.kind, task.slots, task.labels or (), task.placeholder)


TASKS = tuple(table_task(family) for family in QUESTIONS)


def named_table_task(name: str) -> Task:
    """Table task whose name has settings, `matching:batch=4`. Raises UserError: with all faults of them at once."""
    family, _, given = name.partition(":")
    faults = FaultList(f'Task "{name}"')
    settings = read_settings(family, settings_in_name(given, faults), faults)
    faults.raise_if_any()
    return table_task(cast(Family, family), settings, name)


def table_task_from_yaml(section: Mapping[str, Any], base: Path, with_data: bool = True) -> Task:
    """Table task of a YAML section with the key `table`; its data are the bundled ones unless it has `data`.

    Raises UserError: with all faults of the section at once.
    """
    faults = FaultList(f"Task {section.get('name', 'without a name')}")
    check_keys(section, ("name", "table", "data", *KEYS), ("name",), faults)
    family = choice({"table": section["table"]}, "table", tuple(QUESTIONS), faults)
    settings = read_settings(family, {key: section[key] for key in KEYS if key in section}, faults)
    name, data = text(section, "name", "", faults), section.get("data")
    if data is not None and not isinstance(data, Mapping):
        faults.add(f"data is {data!r}, expected a mapping such as {{path: data/books}}.")
    faults.raise_if_any()
    task = table_task(family, settings, name)
    if not with_data:
        return replace(task, load=no_examples)
    return task if data is None else on_data(task, data, base)


def on_data(task: Task, section: Mapping[str, Any], base: Path) -> Task:
    """A table task on the user's own data. Raises UserError: with all faults of the data section at once."""
    if not isinstance(task.load, TableLoad):
        raise UserError(f"{task.name} is no table task.")
    return replace(task, load=task.load.on(section, base, schema_of_instance(task.load.family)))
