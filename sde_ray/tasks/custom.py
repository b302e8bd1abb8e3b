"""A task of the user's own, defined in YAML alone.

    name: reviews
    kind: label                          # one label a slot; span: strings of the text a slot; free: one value a slot
    slots: [food, service, price]
    labels: [positive, neutral, negative]
    placeholder: unmentioned             # the word for a slot that the text does not mention
    instruction: "Read the {text} {where} and rate these {slot}s: {slots}. Ratings: {labels}."
    data: {format: jsonl, train: train.jsonl, dev: dev.jsonl, test: test.jsonl}

Further keys: language (en, zh), numbers (by label, for `labels=number`), nouns (text, slot, value, rationale),
wordings (words of the prompt: design/wording.py), metrics, objective, domains (other tasks, out-of-domain for this
one), span_match (within, near), rationale ({template: "the {slot} is called {value}"}, for examples without reasons).
Without an instruction there are three of the package's own (`defaults.py`). Labels called positive, neutral and
negative get the paper's numbers, and with them its weighted kappa. All faults are shown together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from sde_ray.data.schema import SENTIMENT_NUMBERS, Schema
from sde_ray.data.source import DatasetSource, open_dataset
from sde_ray.design.wording import WORDINGS
from sde_ray.errors import FaultList, UserError
from sde_ray.metrics import check_metric, is_sentiment
from sde_ray.plugins import code_of, trust
from sde_ray.safe_yaml import read_yaml
from sde_ray.tasks.bundled import Load, no_examples
from sde_ray.tasks.defaults import INSTRUCTIONS, METRICS, NOUNS, PLACEHOLDERS
from sde_ray.tasks.rationales.template import WithRationales, check_template
from sde_ray.tasks.yaml_fields import Section, check_keys, choice, hint, mapping, text, words
from sde_ray.types import PromptNouns, Task

REQUIRED = ("name", "kind", "slots", "data")
KEYS = (
    *("name", "kind", "language", "slots", "labels", "numbers", "placeholder", "nouns", "instruction", "wordings"),
    *("data", "metrics", "objective", "domains", "span_match", "rationale"),
)
FIELDS = ("where", "text", "slots", "labels", "count", "schematic", "slot", "value", "rationale")
"""Fields of an instruction, in braces; other braces stay as they are."""

KINDS: tuple[Literal["label", "span", "free"], ...] = ("label", "span", "free")
LANGUAGES: tuple[Literal["en", "zh"], ...] = ("en", "zh")
SPAN_MATCHES: tuple[Literal["within", "near"], ...] = ("within", "near")


def task_from_yaml(section: Mapping[str, Any], base: Path, with_data: bool = True) -> Task:
    """Task that a YAML mapping describes; paths are relative to `base`.

    `with_data=False`: the section has no data, as the task is there to answer texts; its splits are empty.

    Raises UserError: with all faults of the section at once.
    """
    if not isinstance(section, Mapping):
        raise UserError(f"A task in YAML is a mapping with the keys {', '.join(REQUIRED)}; found {section!r}.")
    faults = FaultList(f"Task {section.get('name', 'without a name')}")
    check_keys(section, KEYS, REQUIRED if with_data else REQUIRED[:-1], faults)
    schema = _schema(section, faults)
    language, kind = choice(section, "language", LANGUAGES, faults), schema.kind
    source = _source(section, base, schema, faults)
    task = Task(
        name=text(section, "name", "", faults),
        kind=kind,
        language=language,
        slots=schema.slots,
        nouns=PromptNouns(
            **asdict(NOUNS[language][kind]) | mapping(section, "nouns", tuple(asdict(PromptNouns())), faults)
        ),
        instructions=_instructions(section, INSTRUCTIONS[language][kind], faults),
        metrics=words(section, "metrics", faults),
        objective=text(section, "objective", "", faults),
        load=_with_rationales(section, source, language, faults) or no_examples,
        labels=schema.labels or None,
        numbers=_numbers(section, schema, faults),
        placeholder=schema.placeholder,
        domains=words(section, "domains", faults),
        wordings=mapping(section, "wordings", (*WORDINGS[language], "form_omit"), faults),
        span_match=choice(section, "span_match", SPAN_MATCHES, faults),
    )
    task = _with_metrics(task, faults)
    faults.raise_if_any()
    return task


def load_task(path: Path) -> Task:
    """Task of a YAML file of the user's own; its data paths are relative to the file's folder."""
    section = read_yaml(path)
    trust(*code_in(section))
    return task_from_yaml(section, path.parent)


def code_in(section: Section) -> list[str]:
    """The modules that a task's section names: those of its metrics."""
    metrics = section.get("metrics", [])
    names = [*(metrics if isinstance(metrics, list | tuple) else [metrics]), section.get("objective")]
    return [module for name in names if isinstance(name, str) for module in code_of(name)]


def _schema(section: Section, faults: FaultList) -> Schema:
    kind = choice(section, "kind", KINDS, faults)
    labels = words(section, "labels", faults)
    if kind == "label" and not labels:
        faults.add('the kind "label" needs labels, a list of one or more.')
    if kind != "label" and labels:
        faults.add(f'the kind "{kind}" takes no labels. Delete them.')
    language = choice(section, "language", LANGUAGES, FaultList(""))  # its fault is reported by the caller
    placeholder = text(section, "placeholder", PLACEHOLDERS[language][kind], faults)
    if placeholder in labels:
        faults.add(f'"{placeholder}" is a label and the word for absent slots. Set placeholder to another word.')
    return Schema(kind, words(section, "slots", faults), labels, placeholder)


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


def _numbers(section: Section, schema: Schema, faults: FaultList) -> dict[str, str]:
    """Numbers of the section, or the paper's for sentiment labels; empty: the labels' indices."""
    if "numbers" not in section:
        plain = {label: SENTIMENT_NUMBERS.get(label.casefold(), "") for label in schema.labels}
        return {**plain, schema.placeholder: "-2"} if sorted(plain.values()) == ["-1", "0", "1"] else {}
    numbers = mapping(section, "numbers", (*schema.labels, schema.placeholder), faults)
    missing = [label for label in schema.labels if label not in numbers]
    if missing and schema.labels:
        faults.add(f"numbers lacks {', '.join(missing)}. Give every label a number, or none.")
    if len(set(numbers.values())) < len(numbers):
        faults.add(f"numbers gives one number to several labels: {numbers}. Use each once.")
    return numbers


def _instructions(section: Section, default: tuple[str, ...], faults: FaultList) -> tuple[str, ...]:
    wordings = words(section, "instruction", faults) or default
    if len(wordings) > 3:
        faults.add(f"instruction has {len(wordings)} wordings, expected three at most.")
    for field in dict.fromkeys(re.findall(r"\{(\w+)\}", " ".join(wordings))):
        if field not in FIELDS and hint(field, FIELDS):
            faults.add(f'instruction: unknown place "{{{field}}}".{hint(field, FIELDS)} Known: {", ".join(FIELDS)}.')
    return wordings


def _with_metrics(task: Task, faults: FaultList) -> Task:
    """Task with metrics and objective, the defaults of its kind where it names none; the objective is a metric."""
    default_metrics = METRICS["sentiment" if is_sentiment(task) else task.kind]
    task = replace(task, metrics=task.metrics or default_metrics)
    objective = task.objective or task.metrics[0]
    task = replace(task, objective=objective, metrics=tuple(dict.fromkeys((*task.metrics, objective))))
    for name in task.metrics:
        try:
            check_metric(task, name)
        except UserError as error:
            faults.add(str(error))
    return task
