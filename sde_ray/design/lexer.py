"""Lexer of the text formats `natural` and `lines`: words are bare where nothing is ambiguous, else JSON-quoted.

With the delimiters `: ` and `, ` and the placeholder `none`:
    IL-2 gene           ->  IL-2 gene
    alpha, beta chain   ->  "alpha, beta chain"       holds a delimiter
    none                ->  "none"                    reads like the placeholder
    5'-flank (1,25)     ->  5'-flank (1,25)           a comma without blank is no delimiter

`tokenize` cuts a text into words and delimiters. It tells a quoted word from a bare one, so that `"none"` is a span and
`none` the placeholder, and it never fails: broken quotes come back as a bare word that `is_plain` refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A token that is a word of the answer, without its quotes; `quoted` says whether it had some."""

    text: str
    quoted: bool = False


Token = Word | str


def quote_if_needed(text: str, delimiters: Sequence[str], placeholder: str, stop: str = "") -> str:
    """Escape a word: `text` unchanged where `tokenize` would read it back so, else as a JSON string.

    Args:
        text: a slot, a value or a rationale.
        delimiters: the strings that part words in this format, blanks included.
        placeholder: the word for an absent slot, which must not be mistaken for a value.
        stop: the end of the completion, if the format has one.
    """
    # Blanks on both sides stand for the neighbours: "a:" becomes ambiguous only before a blank.
    ambiguous = any(delimiter in f" {text} " for delimiter in delimiters) or (stop != "" and text.endswith(stop))
    if text != placeholder and is_plain(text) and not ambiguous:
        return text
    return quote(text)


def quote(text: str) -> str:
    """A word as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def is_plain(text: str) -> bool:
    """Whether a word needs no quotes, delimiters aside: printable, no outer blanks, no quote at its start."""
    return text.isprintable() and text == text.strip() and text != "" and not text.startswith('"')


def tokenize(text: str, delimiters: Sequence[str]) -> list[Token]:
    """Tokens of a text: words and delimiters in turn; the first and the last are words, perhaps empty ones."""
    pattern = re.compile("|".join(re.escape(d) for d in sorted(delimiters, key=len, reverse=True)))
    tokens: list[Token] = []
    start = 0
    while True:
        word, end = _word_at(text, start, pattern)
        tokens.append(word)
        delimiter = pattern.match(text, end)
        if delimiter is None:
            return tokens
        tokens.append(delimiter.group())
        start = delimiter.end()


def first_word(text: str, delimiter: str) -> tuple[Word, str]:
    """The first word of a text, and what follows its delimiter; empty where there is none."""
    word, end = _word_at(text, 0, re.compile(re.escape(delimiter)))
    return word, text[end + len(delimiter) :]


def _word_at(text: str, start: int, pattern: re.Pattern[str]) -> tuple[Word, int]:
    if text.startswith('"', start):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except ValueError:
            value, end = "", 0
        complete = end == len(text) or (end > 0 and pattern.match(text, end) is not None)
        if complete and not _has_surrogate(value):
            return Word(value, quoted=True), end
    delimiter = pattern.search(text, start)
    end = delimiter.start() if delimiter else len(text)
    return Word(text[start:end].strip()), end


def _has_surrogate(text: str) -> bool:
    # "\ud800" is legal JSON, but no text: it could not be stored as UTF-8.
    return any("\ud800" <= character <= "\udfff" for character in text)
