"""EntityQuestions: closed-book questions from Wikidata triples, a JSON list a relation (P17.train.json, ...).

    {"question": "Which country is Darreh Sib located in?", "answers": ["Iran"]}

The text is the question alone. The first answer is the gold value, the others are aliases, with a small table of
synonyms (PAPER.md 2.4). A folder is read whole; `relations` chooses some: `LOCATION` are the ten that the second paper
trains on, `OTHER` its out-of-domain relations (2.3).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, field, read_folder, read_json
from sde_ray.data.schema import Schema
from sde_ray.errors import UserError
from sde_ray.types import Example

SLOTS = ("answer",)
LOCATION = ("P17", "P19", "P20", "P36", "P69", "P131", "P159", "P276", "P495", "P740")
OTHER = tuple("P26 P40 P50 P106 P112 P127 P136 P170 P175 P176 P264 P407 P413 P800".split())

SYNONYMS = (
    ("United States of America", "United States", "USA", "US", "America"),
    ("United Kingdom", "UK", "Great Britain"),
    ("People's Republic of China", "China", "PRC"),
    ("New York City", "New York", "NYC"),
    ("Soviet Union", "USSR"),
    ("Los Angeles", "LA"),
)


def _convert(record: Record, schema: Schema, relations: Collection[str] = ()) -> Iterator[Example]:
    relation = record.file.split(".")[0]
    if relations and relation not in relations:
        return
    answers = field(record.fields, "answers", list)
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise BadRecord(f'"answers" is {answers}, expected one string or more')
    slot, synonyms = schema.slots[0], {name for one in answers for row in SYNONYMS if one in row for name in row}
    aliases = tuple(dict.fromkeys([*answers[1:], *sorted(synonyms - set(answers))]))
    name = record.name
    by_slot = {slot: aliases} if aliases else {}
    yield Example(name, field(record.fields, "question", str), {slot: (answers[0],)}, aliases=by_slot)


def read_templates(path: str | Path) -> Mapping[str, str]:
    """The question of every relation, `[X]` for the subject (relation_query_templates.json)."""
    text = Path(path).read_text("utf-8")
    return dict(re.findall(r'"(\w+)":\s*"([^"]*)"', text))


def subject(question: str, template: str) -> str:
    """The subject of a question: what stands for `[X]` in its relation's template."""
    before, _, after = template.partition("[X]")
    if not (question.startswith(before) and question.endswith(after) and len(question) > len(before) + len(after)):
        raise UserError(f'"{question}" is no question of the form "{template}". Give the template of its relation.')
    return question[len(before) : len(question) - len(after)]


ENTITYQUESTIONS = Format(
    lambda path: read_folder(path, read_json, "*.json"), _convert, Schema("free", SLOTS), options=("relations",)
)


def load_entityquestions(
    path: str | Path, schema: Schema | None = None, relations: Collection[str] = ()
) -> list[Example]:
    """The questions of a file, or of a folder with a file a relation."""
    return ENTITYQUESTIONS(path, schema, relations=relations)
