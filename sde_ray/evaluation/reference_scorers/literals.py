"""Literals as the published files hold them, read without `eval`: whatever a model has written is only ever data.

    python_literal('{"方面": "食品评价", "情感": "正面"}')    -> {...}         any Python literal; else ValueError
    quoted_groups("'DNA': 'a', \"5'-flank\"; 'RNA': 'b'")    -> [("DNA", ("a", "5'-flank")), ("RNA", ("b",))]

The published scorer called `eval` on completions (PAPER.md 1.13, 5), which runs what it reads.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any

from sde_ray.types import Fault

MAX_CHARS = 20_000  # characters of one literal; a longer one is a model that does not stop

# A string as Python's repr writes it, on one row. The bounds keep a hostile text from costing a square of its length.
_STRING = r"'(?:[^'\\\n]|\\.){0,500}'" + r'|"(?:[^"\\\n]|\\.){0,500}"'
_TOKEN = re.compile(rf"(?P<string>{_STRING})|(?P<mark>[:,;\n])|[^\S\n]+|(?P<other>.)", re.DOTALL)
Group = tuple[str, tuple[str, ...]]


def python_literal(text: str) -> Any:
    """The value of a Python literal. ValueError for anything else, however it fails."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"a literal of {len(text)} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a completion is no news for who runs a sweep
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no literal: {type(error).__name__}") from None


def quoted_groups(text: str) -> tuple[list[Group], tuple[Fault, ...]]:
    """Groups `'name': 'value', 'value'`, separated by ";" or line ends; what is no such group is a fault."""
    if len(text) > MAX_CHARS:
        return [], (Fault("syntax", f"{len(text)} characters: {text[:60]!r}"),)
    groups, faults = [], []
    for tokens in _chunks(text):
        try:
            groups.append(_group(tokens))
        except ValueError:
            faults.append(Fault("syntax", "".join(word for _, word in tokens)[:100]))
    return groups, tuple(faults)


def _chunks(text: str) -> Iterator[list[tuple[str, str]]]:
    """The tokens (kind, text) of each part between separators; empty parts are left out."""
    part: list[tuple[str, str]] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "mark" and match.group() in ";\n":
            if part:
                yield part
            part = []
        elif kind is not None:
            part.append((kind, match.group()))
    if part:
        yield part


def _group(tokens: list[tuple[str, str]]) -> Group:
    kinds = [word if kind == "mark" else kind for kind, word in tokens]
    values = len(kinds) // 2
    if kinds != ["string", ":", *["string", ","] * values][: 2 * values + 1] or values < 1:
        raise ValueError("not a name and its values")
    name, *rest = (_unquoted(word) for kind, word in tokens if kind == "string")
    return name, tuple(value for value in rest if value.strip())


def _unquoted(word: str) -> str:
    try:
        return str(python_literal(word))
    except ValueError:  # an escape that Python does not know, such as "\x4"
        return word[1:-1]
