"""Files in the paper's own forms: read by our rules, or scored as the published scorers do.

    score_file(path, "masa_zh:d1", "lines")           our metrics (rescore.Scored)
    score_as_published(path, "masa_zh:d1", "lines")   the published scorer's numbers (Published)

    masa_zh      natural lines json ou numlabel cot rcot
    nested_ner   heuristic ew es                          GENIA
    events       heuristic ou lines numerical json        MAVEN

A file holds lines with `target` and `prediction`, as the published prediction scripts wrote them. Target and prediction
are read by the same reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sde_ray import metrics
from sde_ray.design import designs, render
from sde_ray.errors import UserError, unknown
from sde_ray.evaluation import rescore
from sde_ray.evaluation.reference_scorers import genia, masa, maven, spans
from sde_ray.evaluation.reference_scorers.outcome import Published
from sde_ray.evaluation.reference_scorers.spans import Reader
from sde_ray.tasks import get_task
from sde_ray.types import Example, Parsed, Task

__all__ = ["FAMILIES", "Family", "Published", "family_of", "read", "score_as_published", "score_file"]

Scorer = Callable[[str, Task, Sequence[tuple[str, str]]], Published]


@dataclass(frozen=True)
class Family:
    """The forms of a data set with our reader for each, and the published scorer of all of them."""

    forms: Mapping[str, Reader]
    scorer: Scorer


def _by_design(design: str, empty: bool = False) -> Reader:
    """The reader of a design that writes the published form. `empty`: an empty text says that nothing is mentioned."""
    wanted = designs.parse_design(design)

    def reader(text: str, task: Task) -> Parsed:
        return Parsed({}) if empty and not text.strip() else render.parse_completion(text, task, wanted)

    return reader


FAMILIES: Mapping[str, Family] = {
    "masa_zh": Family(
        {
            "natural": _by_design("baseline"),
            "lines": _by_design("format=lines"),
            "json": _by_design("format=json"),
            "ou": _by_design("unmentioned=omit", empty=True),
            "numlabel": _by_design("labels=number"),
            "cot": _by_design("format=json,reasoning=cot"),
            "rcot": _by_design("format=json,reasoning=rcot"),
        },
        masa.score,
    ),
    "nested_ner": Family(
        {"heuristic": spans.read_pairs, "ew": spans.read_genia_ew, "es": spans.read_genia_es}, genia.score
    ),
    "events": Family(
        {
            "heuristic": spans.read_pairs,
            "ou": spans.read_maven_ou,
            "lines": spans.read_maven_lines,
            "numerical": spans.read_maven_numerical,
            "json": spans.read_maven_json,
        },
        maven.score,
    ),
}
"""By the name of the task, without its domain."""


def family_of(task: Task, form: str) -> Family:
    """The family of a task that has the form; `UserError` with the forms there are."""
    name = task.name.partition("@")[0].partition(":")[0]
    if name not in FAMILIES or task.name.startswith("events:phee"):
        raise UserError(
            f"The paper has no forms for the task {task.name}. Published forms there are for {', '.join(FAMILIES)}; "
            "score other files with --design."
        )
    if form not in FAMILIES[name].forms:
        raise UserError(unknown(f"published form of {name}", form, FAMILIES[name].forms))
    return FAMILIES[name]


def read(text: str, task: Task, form: str) -> Parsed:
    """What a completion in a published form says, by our rules: total, names whole, every slip a fault."""
    return family_of(task, form).forms[form](text, task)


def score_file(path: Path, task_name: str, form: str) -> rescore.Scored:
    """Our metrics of a file in a published form."""
    task = get_task(task_name)
    reader = family_of(task, form).forms[form]
    examples, parsed, bad = [], [], []
    for number, line in rescore.read_lines(path):
        gold = reader(line["target"], task)
        if gold.faults:
            bad.append(number)
        examples.append(Example(str(number), "", gold.answer))
        parsed.append(reader(line["prediction"], task))
    scores = metrics.score(task, examples, parsed)
    return rescore.Scored(scores, metrics.fault_counts(parsed), len(examples), tuple(bad))


def score_as_published(path: Path, task_name: str, form: str) -> Published:
    """The published scorer's numbers of the same file."""
    task = get_task(task_name)
    lines = [(line["target"], line["prediction"]) for _, line in rescore.read_lines(path)]
    return family_of(task, form).scorer(form, task, lines)
