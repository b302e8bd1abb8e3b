"""Words with a tag each (BIO, BIOES, BILOU, IO): JSON with tokens and tags, as named entities have on the hub; CoNLL.

    {"tokens": ["IL-2", "gene", "binds"], "ner_tags": ["B-DNA", "I-DNA", "O"]}
    EU B-ORG                                                            CoNLL: a word a line, the tag last,
    rejects O                                                           an empty line between sentences

A slot is a tag without its prefix, its value the words of a span with blanks between them, as in the text (none in
Chinese). Tags that are numbers are named by `tag_names: [O, B-PER, I-PER, ...]`; sets of the hub name them themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.jsonl import convert, read_rows
from sde_ray.data.records import BadRecord, Record, read_text
from sde_ray.data.schema import Schema

TOKENS, TAGS = ("tokens", "words"), ("ner_tags", "tags", "labels", "ner", "bio")
OUTSIDE = "O"
CONLL = (".conll", ".bio", ".iob", ".iob2")
_PREFIXES, _OPENING = (*"BIESLUMW",), (*"BSUW",)  # of BIO, BIOES, BILOU and BMEWO; the latter always open a span
_CHINESE = re.compile(r"[\u4e00-\u9fff，。、；：？！]")


def find_tags(fields: Any) -> tuple[list[Any], list[Any]] | None:
    """The words and tags of a record; None where it has none."""
    if not isinstance(fields, Mapping):
        return None
    words = next((fields[name] for name in TOKENS if isinstance(fields.get(name), list)), None)
    tags = next((fields[name] for name in TAGS if isinstance(fields.get(name), list)), None)
    return (words, tags) if words is not None and tags is not None and "answer" not in fields else None


def translate(fields: Any, schema: Schema | None, tag_names: Sequence[str] = ()) -> dict[str, Any]:
    """A tagged sentence as a plain record: id, text, answer."""
    tagged = find_tags(fields)
    if tagged is None:
        raise BadRecord('expected "tokens" and "ner_tags", a tag for each word')
    words, tags = tagged
    if len(words) != len(tags) or not all(isinstance(word, str) for word in words):
        raise BadRecord(f"{len(words)} words and {len(tags)} tags, expected a text and a tag for each word")
    blank = "" if sum(bool(_CHINESE.fullmatch(word)) for word in words) > len(words) / 2 else " "
    answer: dict[str, list[str]] = {}
    for start, end, slot in _spans([_name(tag, tag_names) for tag in tags]):
        answer.setdefault(slot, []).append(blank.join(words[start:end]))
    name = {"id": fields["id"]} if fields.get("id") not in (None, "") else {}
    return {**name, "text": blank.join(words), "answer": answer}


def _name(tag: Any, names: Sequence[str]) -> str:
    if isinstance(tag, str):
        return tag
    if isinstance(tag, int) and not isinstance(tag, bool) and 0 <= tag < len(names):
        return names[tag]
    raise BadRecord(
        f"the tag {str(tag)[:40]} is a number without a name. Set tag_names: [O, B-..., ...] in the data, in order"
        if isinstance(tag, int) and not names
        else f"the tag {str(tag)[:40]} is none of tag_names"
    )


def _spans(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Start, end (exclusive) and type of each span. A tag that continues nothing of its type opens a span."""
    start, current = 0, ""
    for at, tag in enumerate([*tags, OUTSIDE]):
        prefix, dash, kind = tag.partition("-")
        slot = kind if dash and prefix in _PREFIXES else "" if tag == OUTSIDE else tag
        goes_on = slot and slot == current and prefix not in _OPENING
        if goes_on:
            continue
        if current:
            yield start, at, current
        start, current = at, slot


def read_tagged(path: Path) -> list[Record]:
    """The sentences of a CoNLL file, or the records of one of JSON or CSV."""
    if path.suffix.lower() in CONLL or (path.suffix.lower() == ".txt" and is_conll(read_text(path))):
        return list(_sentences(path))
    return read_rows(path)


def is_conll(text: str) -> bool:
    """Whether a text is a word a line, with its tag as the last of two columns or more."""
    lines = [line.split() for line in text.splitlines()[:200] if line.strip() and not line.startswith("-DOCSTART-")]
    tagged = [row for row in lines if len(row) > 1 and (row[-1] == OUTSIDE or row[-1][:2] in ("B-", "I-", "S-", "E-"))]
    return len(lines) > 1 and len(tagged) == len(lines)


def _sentences(path: Path) -> Iterator[Record]:
    words: list[str] = []
    tags: list[str] = []
    start = 1
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        row = line.split()
        if row and not line.startswith(("-DOCSTART-", "# ")):
            start = start if words else number
            words.append(row[0])
            tags.append(row[-1] if len(row) > 1 else OUTSIDE)
        elif words:
            yield Record(f"line {start}", {"tokens": words, "ner_tags": tags}, path.stem)
            words, tags = [], []


BIO = Format(read_tagged, convert, translate=translate, options=("tag_names",), overlap="error")
