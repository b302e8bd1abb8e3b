"""Recognition of formats: which one a file has, told by its first records; `format: auto`, the default.

    recognise(read_any(Path("tickets.jsonl")))     -> Shape("messages", "OpenAI messages", ...)

Records with our own keys, and tables with a column a slot, are `jsonl`. A file of another form than the YAML says is
told so, and so is one in a form that is known and not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.data import alpaca, bio, label_studio, magellan, messages, offsets
from sde_ray.data.csv_file import read_csv
from sde_ray.data.formats import FORMATS
from sde_ray.data.records import Record, read_text
from sde_ray.data.schema import Schema
from sde_ray.errors import UserError
from sde_ray.types import Example

AUTO = "auto"
LOOKED_AT, MAJORITY = 20, 0.8


@dataclass(frozen=True)
class Shape:
    """Form of records: the format that reads it ("" where none does), what it is called, and how it is told.

    `remedy`: what to do about a form that is not read.
    """

    format: str
    title: str
    fits: Callable[[Any], bool]
    remedy: str = ""


def _keys(*names: str) -> Callable[[Any], bool]:
    return lambda fields: isinstance(fields, Mapping) and {*names} <= {*fields}


def _turns(*names: str) -> Callable[[Any], bool]:
    return lambda fields: bool((turns := messages.find_turns(fields)) and {*names} <= {*turns[0]})


def _is(test: Callable[[Mapping[str, Any]], bool]) -> Callable[[Any], bool]:
    return lambda fields: isinstance(fields, Mapping) and test(fields)


def _is_trl(fields: Mapping[str, Any]) -> bool:
    return alpaca.is_prompt(fields) and "answer" not in fields


def _is_entityquestions(fields: Mapping[str, Any]) -> bool:
    return {*fields} == {"question", "answers"} and isinstance(fields["answers"], list)


def _is_xml(fields: Any) -> bool:
    return getattr(fields, "tag", "") == "sentence"


SHAPES = (
    Shape("label_studio", "a Label Studio export", lambda f: label_studio.is_export(f) or label_studio.is_minimal(f)),
    Shape("messages", "OpenAI messages", _turns("role", "content")),
    Shape("sharegpt", "ShareGPT conversations", _turns("from", "value")),
    Shape("genia", "GENIA", _keys("entity_mentions")),
    Shape("phee", "PHEE", _keys("context", "annotations")),
    Shape("maven", "MAVEN", lambda f: _keys("content", "events")(f) or _keys("tokens", "events")(f)),
    Shape("offsets", "spans as character offsets", lambda f: offsets.find_spans(f) is not None),
    Shape("bio", "words with a tag each (BIO)", lambda f: bio.find_tags(f) is not None),
    Shape("alpaca", "Alpaca instructions", _is(alpaca.is_alpaca)),
    Shape("prompt_completion", "prompts with completions", _is(_is_trl)),
    Shape("entityquestions", "EntityQuestions", _is(_is_entityquestions)),
    Shape("asap", "ASAP", _keys("reviewbody", "star", "dish_taste")),
    Shape("mams", "MAMS", _is_xml),
    Shape("magellan", "pairs of records (entity matching)", magellan.is_pair),
    Shape("cells", "cells of a table", _keys("record", "attribute", "label")),
    Shape("", "preference pairs (chosen, rejected)", _keys("chosen", "rejected"),
          'They have no gold answer. Write one JSON object a line, {"text": ..., "answer": ...}.'),
    Shape("", "SQuAD", _keys("context", "question", "answers"),
          'Write one JSON object a line, {"text": "CONTEXT QUESTION", "answer": "..."}.'),
    Shape("", "an audio or image set", lambda f: (_keys("audio")(f) or _keys("image")(f)) and not _keys("text")(f),
          "Samples are written from texts."),
)  # fmt: skip


def recognise(records: Sequence[Record]) -> Shape | None:
    """The form that most of the first records have; None for plain ones, and where there are none."""
    first = [record.fields for record in records[:LOOKED_AT]]
    for shape in SHAPES:
        if first and sum(map(shape.fits, first)) >= MAJORITY * len(first):
            return shape
    return None


def read_any(path: Path) -> list[Record]:
    """The records of a file of unknown format: a table, XML, CSV or JSON; or of a folder of JSON files."""
    if path.is_dir():
        return FORMATS["entityquestions"].records(path)
    if path.suffix.lower() == ".xml":
        return FORMATS["mams"].records(path)
    if path.suffix.lower() in bio.CONLL:
        return bio.read_tagged(path)
    if path.suffix.lower() in (".txt", ".tsv") and magellan.is_ditto(read_text(path)):
        return FORMATS["magellan"].records(path)
    if path.suffix.lower() == ".txt" and (text := read_text(path)).lstrip()[:1] not in ("{", "["):
        return bio.read_tagged(path) if bio.is_conll(text) else read_csv(path)
    return FORMATS["jsonl"].records(path)


def read_records(name: str, path: Path) -> list[Record]:
    """The records of a file in the format of this name."""
    return read_any(path) if name == AUTO else FORMATS[name].records(path)


def examples(
    name: str, title: str, records: Sequence[Record], schema: Schema, options: Mapping[str, Any]
) -> tuple[list[Example], str]:
    """Examples of records in the format of this name, or in the one recognised; and the name of that format.

    Raises UserError: with all faults; of records in another known form, which it is and what to set.
    """
    shape = recognise(records)
    chosen = (shape.format if shape else "jsonl") if name == AUTO else name
    if not chosen:
        raise UserError(_advice(title, shape, name))
    taken = {key: value for key, value in options.items() if key in FORMATS[chosen].options}
    if left := [key for key in options if key not in taken]:
        raise UserError(f"{title} was read as {chosen}, which has no option {', '.join(left)}. Leave it out.")
    try:
        return FORMATS[chosen].examples(title, records, schema, **taken), chosen
    except UserError as error:
        if shape is None or (shape.format and FORMATS[shape.format] is FORMATS[chosen]):
            raise
        raise UserError(f"{_advice(title, shape, name)}\n{error}") from None


def _advice(title: str, shape: Shape | None, name: str) -> str:
    """What a file looks like, and what to do."""
    assert shape is not None
    if not shape.format:
        return f"{title} looks like {shape.title}, which is not read. {shape.remedy}"
    return f"{title} looks like {shape.title}. Set format: {shape.format} (now: {name})."
