"""Reference scorers: files in the paper's own forms, read by our rules or scored as the published scorers do.

    score_published_form(path, "masa_zh:d1", "lines")   our metrics (rescore.FileScores)
    score_as_published(path, "masa_zh:d1", "lines")     the published scorer's numbers (PublishedScores)

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
from sde_ray.evaluation.reference_scorers.outcome import PublishedScores
from sde_ray.evaluation.reference_scorers.spans import FormReader
from sde_ray.tasks import get_task
from sde_ray.types import Example, Parsed, Task

Scorer = Callable[[str, Task, Sequence[tuple[str, str]]], PublishedScores]


@dataclass(frozen=True)
class PublishedForms:
    """The published forms of a data set with our reader for each, and the published scorer of all of them."""

    forms: Mapping[str, FormReader]
    scorer: Scorer


def _by_design(design: str, empty: bool = False) -> FormReader:
    """The reader of a design that writes the published form. `empty`: an empty text says that nothing is mentioned."""
    parsed_design = designs.parse_design(design)

    def reader(text: str, task: Task) -> Parsed:
        return Parsed({}) if empty and not text.strip() else render.parse_completion(text, task, parsed_design)

    return reader


PUBLISHED_FORMS: Mapping[str, PublishedForms] = {
    "masa_zh": PublishedForms(
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
    "nested_ner": PublishedForms(
        {"heuristic": spans.read_pairs, "ew": spans.read_genia_ew, "es": spans.read_genia_es}, genia.score
    ),
    "events": PublishedForms(
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


def forms_of(task: Task, form: str) -> PublishedForms:
    """The forms of a task's data set. Raises UserError, with the forms there are, for any other task or form."""
    name = task.name.partition("@")[0].partition(":")[0]
    if name not in PUBLISHED_FORMS or task.name.startswith("events:phee"):
        raise UserError(
            f"The paper has no forms for the task {task.name}. Published forms there are for "
            f"{', '.join(PUBLISHED_FORMS)}; score other files with --design."
        )
    if form not in PUBLISHED_FORMS[name].forms:
        raise UserError(unknown(f"published form of {name}", form, PUBLISHED_FORMS[name].forms))
    return PUBLISHED_FORMS[name]


def read_published_form(text: str, task: Task, form: str) -> Parsed:
    """What a completion in a published form says, by our rules: total, names whole, every slip a fault."""
    return forms_of(task, form).forms[form](text, task)


def score_published_form(path: Path, task_name: str, form: str) -> rescore.FileScores:
    """Our metrics of a file in a published form. Raises UserError for a file, task or form that is none."""
    task = get_task(task_name)
    reader = forms_of(task, form).forms[form]
    examples, parsed, bad_targets = [], [], []
    for number, line in rescore.read_lines(path):
        gold = reader(line["target"], task)
        if gold.faults:
            bad_targets.append(number)
        examples.append(Example(str(number), "", gold.answer))
        parsed.append(reader(line["prediction"], task))
    scores = metrics.score(task, examples, parsed)
    return rescore.FileScores(scores, metrics.fault_counts(parsed), len(examples), tuple(bad_targets))


def score_as_published(path: Path, task_name: str, form: str) -> PublishedScores:
    """The published scorer's numbers of the same file. Raises UserError as `score_published_form`."""
    task = get_task(task_name)
    lines = [(line["target"], line["prediction"]) for _, line in rescore.read_lines(path)]
    return forms_of(task, form).scorer(form, task, lines)
