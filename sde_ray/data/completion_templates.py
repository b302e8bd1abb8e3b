"""Completion templates of Wikidata relations: beginnings of sentences that the object of a fact completes.

    TEMPLATES["P36"].question       "What is the capital of [X]?"                     as EntityQuestions asks
    TEMPLATES["P36"].completions    ("The capital of [X] is", ...)                    as a base model continues

`[X]` stands for the subject, and the object comes next. Memory levels are measured with these on an untuned model,
which answers no questions yet (PAPER.md 2.4). They cover the 24 relations of the second paper, twelve templates each
and in words of our own, as the published lists could not be read whole; completion_templates.jsonl holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.data.faults import PlacedFault, raise_faults
from sde_ray.data.records import read_json

SUBJECT = "[X]"
MIN_TEMPLATES = 2  # the levels of two halves of the templates are compared


@dataclass(frozen=True)
class RelationTemplates:
    """Templates of a relation: its question, which says what the subject is, and the beginnings of sentences."""

    question: str
    completions: tuple[str, ...]


def read_templates(path: Path) -> Mapping[str, RelationTemplates]:
    """Templates by relation: JSON lines.

    {"relation": "wrote", "question": "Who wrote [X]?", "completions": ["[X] was written by", "The author of [X] is"]}

    Raises UserError: with all faults of the file and their lines.
    """
    templates: dict[str, RelationTemplates] = {}
    faults: list[PlacedFault] = []
    for record in read_json(path):
        found = _faults_of(record.fields)
        if not found and record.fields["relation"] in templates:
            found = [f'the relation "{record.fields["relation"]}" has stood before']
        faults += [(record.position, fault) for fault in found]
        if not found:
            row = record.fields
            templates[row["relation"]] = RelationTemplates(row["question"], tuple(row["completions"]))
    raise_faults(str(path), faults, 'Write each line as {"relation": ..., "question": ..., "completions": [...]}.')
    return templates


def _faults_of(row: Any) -> list[str]:
    if not isinstance(row, dict):
        return ["it is no object"]
    faults = [
        f'"{key}" is {row.get(key)!r}, expected a text' + (f" with {SUBJECT} once" if key == "question" else "")
        for key in ("relation", "question")
        if not isinstance(row.get(key), str) or not row[key] or (key == "question" and row[key].count(SUBJECT) != 1)
    ]
    completions = row.get("completions")
    if not isinstance(completions, list) or len(completions) < MIN_TEMPLATES:
        return [*faults, f'"completions" is {completions!r}, expected a list of {MIN_TEMPLATES} texts or more']
    wrong = [one for one in completions if not isinstance(one, str) or one.count(SUBJECT) != 1 or one != one.strip()]
    faults += [f"the template {one!r} must hold {SUBJECT} once, with no space around it" for one in wrong]
    if len(set(map(str, completions))) < len(completions):
        faults.append('"completions" holds a template twice')
    return faults


TEMPLATES = read_templates(Path(__file__).with_suffix(".jsonl"))
"""Those of the package."""


def with_own_templates(path: Path) -> Mapping[str, RelationTemplates]:
    """Templates of one's own beside those of the package; of a relation that both have, one's own.

    Raises UserError: as `read_templates`.
    """
    return {**TEMPLATES, **read_templates(path)}
