"""A task of the user's own, defined in YAML alone.

    name: reviews
    kind: label                          # one label a slot; span: strings of the text; free: one value; record: records
    slots: [food, service, price]
    labels: [positive, neutral, negative]   # or each slot's own: {urgency: [low, high], product: [app, router]}
    placeholder: unmentioned             # the word for a slot that the text does not mention
    instruction: "Read the {text} {where} and rate these {slot}s: {slots}. Ratings: {labels}."
    data: {format: jsonl, train: train.jsonl, dev: dev.jsonl, test: test.jsonl}

Further keys: language (en, zh), multilabel, numbers, range, definitions and label_words (yaml_schema.py), fields,
optional, schema and single of records (yaml_records.py), nouns (text, slot, value, rationale), wordings (words of the
prompt: design/wording.py), metrics, objective, domains (other tasks, out-of-domain for this one), span_match (within,
near), rationale ({template: "the {slot} is called {value}"}, for examples without reasons).
With `table` it is a task of tables.py, with other keys.
An instruction, a metric and the objective may be functions of your own, "my_pkg.my_module:name". Without an
instruction there are three of the package's own (`defaults.py`). Labels called positive, neutral and negative get the
paper's numbers, and with them its weighted kappa. All faults are shown together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from sde_ray.data.schema import Schema
from sde_ray.data.source import DatasetSource, open_dataset
from sde_ray.design.wording import WORDINGS, is_function
from sde_ray.errors import FaultList, UserError
from sde_ray.metrics import check_metric, is_sentiment
from sde_ray.metrics.label import is_ordinal
from sde_ray.metrics.number import has_one_range
from sde_ray.plugins import code_of, trust
from sde_ray.safe_yaml import read_yaml
from sde_ray.tasks.bundled import Load, no_examples
from sde_ray.tasks.defaults import METRICS, ONE_SLOT_WORDINGS, default_instructions, default_nouns
from sde_ray.tasks.rationales.template import WithRationales, check_template
from sde_ray.tasks.tables import table_task_from_yaml
from sde_ray.tasks.yaml_fields import Section, check_keys, choice, hint, mapping, text, words
from sde_ray.tasks.yaml_records import KEYS as RECORD_KEYS
from sde_ray.tasks.yaml_records import inline_schema
from sde_ray.tasks.yaml_schema import read_definitions, read_label_words, read_numbers, read_schema
from sde_ray.types import PromptNouns, Task

REQUIRED = ("name", "kind", "slots", "data")
KEYS = (
    *("name", "kind", "language", "slots", "labels", "multilabel", "numbers", "range", "placeholder", "nouns"),
    *("instruction", "wordings", "data", "metrics", "objective", "domains", "span_match", "rationale"),
    *("definitions", "label_words", *RECORD_KEYS),
)
FIELDS = ("where", "text", "slots", "labels", "count", "schematic", "slot", "value", "rationale")
"""Fields of an instruction, in braces; other braces stay as they are."""

LANGUAGES: tuple[Literal["en", "zh"], ...] = ("en", "zh")
SPAN_MATCHES: tuple[Literal["within", "near"], ...] = ("within", "near")


def task_from_yaml(section: Mapping[str, Any], base: Path, with_data: bool = True) -> Task:
    """Task that a YAML mapping describes; paths are relative to `base`.

    `with_data=False`: the section has no data, as the task is there to answer texts; its splits are empty.

    Raises UserError: with all faults of the section at once.
    """
    if not isinstance(section, Mapping):
        raise UserError(f"A task in YAML is a mapping with the keys {', '.join(REQUIRED)}; found {section!r}.")
    if "table" in section:
        return table_task_from_yaml(section, base, with_data)
    faults = FaultList(f"Task {section.get('name', 'without a name')}")
    # The labels may name the slots, and so may the fields and the schema of records.
    named = (isinstance(section.get("labels"), Mapping) or section.get("kind") == "record") and not section.get("slots")
    check_keys(section, KEYS, [key for key in REQUIRED if _is_needed(key, named, with_data)], faults)
    language = choice(section, "language", LANGUAGES, faults)
    schema = read_schema(section, language, faults, base if with_data else None)
    kind, numbers = schema.kind, read_numbers(section, schema, faults)
    source = _source(section, base, schema, faults)
    task = Task(
        name=text(section, "name", "", faults),
        kind=kind,
        language=language,
        slots=schema.slots,
        nouns=PromptNouns(
            **asdict(default_nouns(language, kind, schema.slots))
            | mapping(section, "nouns", tuple(asdict(PromptNouns())), faults)
        ),
        instructions=_instructions(
            section,
            default_instructions(language, _form_of(schema), schema.slots),
            faults,
        ),
        metrics=words(section, "metrics", faults),
        objective=text(section, "objective", "", faults),
        load=_with_rationales(section, source, language, faults) or no_examples,
        labels=schema.labels or None,
        numbers=numbers.shared,
        placeholder=schema.placeholder,
        domains=words(section, "domains", faults),
        wordings={
            **(ONE_SLOT_WORDINGS[language] if len(schema.slots) == 1 else {}),
            **mapping(section, "wordings", (*WORDINGS[language], "form_omit"), faults),
        },
        span_match=choice(section, "span_match", SPAN_MATCHES, faults),
        slot_labels=dict(schema.slot_labels),
        slot_numbers=numbers.by_slot,
        multilabel=schema.multilabel,
        ranges=dict(schema.ranges),
        fields=dict(schema.fields),
        single=schema.single,
        definitions=read_definitions(section, schema, faults),
        label_words=read_label_words(section, schema, faults),
    )
    task = _with_metrics(task, faults)
    faults.raise_if_any()
    return task


def load_task(path: Path) -> Task:
    """Task of a YAML file of the user's own; its paths are relative to the file's folder."""
    section = read_section(path)
    trust(*code_in(section))
    return task_from_yaml(section, path.parent)


def read_section(path: Path) -> dict[str, Any]:
    """The section of a task's own YAML file, with the JSON schemas that it names written out."""
    return inline_schema(read_yaml(path), path.parent)


def code_in(section: Section) -> list[str]:
    """The modules that a task's section names: those of its metrics and of its instructions."""
    metrics = section.get("metrics", [])
    names = [*(metrics if isinstance(metrics, list | tuple) else [metrics]), section.get("objective")]
    names += wordings_in(section)
    return [module for name in names if isinstance(name, str) for module in code_of(name)]


def wordings_in(section: Section) -> list[str]:
    """The instructions of a task's section that are import paths of functions, and no texts."""
    asked = section.get("instruction", [])
    several = asked if isinstance(asked, list | tuple) else [asked]
    return [wording for wording in several if isinstance(wording, str) and is_function(wording)]


def _form_of(schema: Schema) -> str:
    """Which instructions a task gets that names none."""
    if schema.kind == "record" and schema.single == schema.slots:
        return "single_record"
    return "slot_label" if schema.slot_labels else schema.kind


def _is_needed(key: str, slots_are_named: bool, with_data: bool) -> bool:
    return not (key == "slots" and slots_are_named) and (key != "data" or with_data)


def _source(section: Section, base: Path, schema: Schema, faults: FaultList) -> DatasetSource | None:
    data = section.get("data")
    if not data:
        return None
    if not isinstance(data, Mapping):
        faults.add(f"data is {data!r}, expected a mapping such as {{format: jsonl, train: train.jsonl}}.")
        return None
    try:
        return open_dataset(data, base, schema)
    except UserError as error:
        faults.add(str(error).replace("\n", "\n  "))
        return None


def _with_rationales(section: Section, source: DatasetSource | None, language: str, faults: FaultList) -> Load | None:
    """Source with rationales from the section's template where its examples have none."""
    template = mapping(section, "rationale", ("template",), faults).get("template")
    if section.get("rationale") == {}:
        faults.add('rationale is empty. Give it a template: {template: "the {slot} is called {value}"}.')
    if template is None:
        return source
    try:
        check_template(template)
    except UserError as error:
        faults.add(f"rationale: {error}")
    return source and WithRationales(source, language, template)


def _instructions(section: Section, default: tuple[str, ...], faults: FaultList) -> tuple[str, ...]:
    wordings = words(section, "instruction", faults) or default
    if len(wordings) > 3:
        faults.add(f"instruction has {len(wordings)} wordings, expected three at most.")
    for field in dict.fromkeys(re.findall(r"\{(\w+)\}", " ".join(wordings))):
        if field not in FIELDS and hint(field, FIELDS):
            faults.add(f'instruction: unknown place "{{{field}}}".{hint(field, FIELDS)} Known: {", ".join(FIELDS)}.')
    return wordings


def _default_metrics(task: Task) -> str:
    if task.kind == "label" and task.multilabel:
        return "multilabel"
    if task.kind == "label" and task.slot_labels:
        return "slot_ordinal" if is_ordinal(task) else "slot_label"
    if task.kind == "label" and task.labels and is_ordinal(task):
        return "ordinal"
    return "sentiment" if is_sentiment(task) else "number" if task.ranges else task.kind


def _with_metrics(task: Task, faults: FaultList) -> Task:
    """Task with metrics and objective, the defaults of its kind where it names none; the objective is a metric."""
    default_metrics = METRICS[_default_metrics(task)]
    if not has_one_range(task, ""):
        default_metrics = tuple(name for name in default_metrics if name != "neg_mae")
    task = replace(task, metrics=task.metrics or default_metrics)
    objective = task.objective or task.metrics[0]
    task = replace(task, objective=objective, metrics=tuple(dict.fromkeys((*task.metrics, objective))))
    for name in task.metrics:
        try:
            check_metric(task, name)
        except UserError as error:
            faults.add(str(error))
    return task
