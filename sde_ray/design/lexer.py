"""Atoms, the words of the sentence-like formats: bare where nothing is ambiguous, else quoted by JSON string rules.

With the delimiters `: ` and `, ` and the placeholder `none`:
    IL-2 gene           ->  IL-2 gene
    alpha, beta chain   ->  "alpha, beta chain"       holds a delimiter
    none                ->  "none"                    reads like the placeholder
    5'-flank (1,25)     ->  5'-flank (1,25)           a comma without blank is no delimiter

`tokenize` cuts a text into atoms and delimiters. It knows a quoted atom from a bare one, so that `"none"` is a span and
`none` the placeholder, and it never fails: broken quotes come back as a bare atom that `is_plain` refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sde_ray.safe_json import read_json

__all__ = ["Token", "Word", "is_plain", "quote_if_needed", "read_json", "tokenize"]


@dataclass(frozen=True)
class Word:
    """A word of the answer, unquoted; `quoted` tells how it was written."""

    text: str
    quoted: bool = False


Token = Word | str


def quote_if_needed(text: str, delimiters: Sequence[str], placeholder: str, stop: str = "") -> str:
    """`text` as it stands where `tokenize` reads it back so, else quoted."""
    # Blanks on both sides stand for the neighbours: "a:" becomes ambiguous only before a blank.
    ambiguous = any(delimiter in f" {text} " for delimiter in delimiters) or (stop != "" and text.endswith(stop))
    if text != placeholder and is_plain(text) and not ambiguous:
        return text
    return json.dumps(text, ensure_ascii=False)


def is_plain(text: str) -> bool:
    """True for what may stand bare, delimiters aside: printable, no outer blanks, not opening with a quote."""
    return text.isprintable() and text == text.strip() and text != "" and not text.startswith('"')


def tokenize(text: str, delimiters: Sequence[str]) -> list[Token]:
    """Atoms and delimiters in turn; begins and ends with an atom (perhaps an empty one)."""
    pattern = re.compile("|".join(re.escape(d) for d in sorted(delimiters, key=len, reverse=True)))
    tokens: list[Token] = []
    start = 0
    while True:
        atom, end = _atom_at(text, start, pattern)
        tokens.append(atom)
        delimiter = pattern.match(text, end)
        if delimiter is None:
            return tokens
        tokens.append(delimiter.group())
        start = delimiter.end()


def _atom_at(text: str, start: int, pattern: re.Pattern[str]) -> tuple[Word, int]:
    if text.startswith('"', start):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except ValueError:
            value, end = "", 0
        complete = end == len(text) or (end > 0 and pattern.match(text, end) is not None)
        if complete and not _has_surrogate(value):
            return Word(value, quoted=True), end
    found = pattern.search(text, start)
    end = found.start() if found else len(text)
    return Word(text[start:end].strip()), end


def _has_surrogate(text: str) -> bool:
    # "\ud800" is legal JSON, but no text: it could not be stored as UTF-8.
    return any("\ud800" <= character <= "\udfff" for character in text)
