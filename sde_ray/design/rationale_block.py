"""Rationales in a block of their own, a row a slot, before the whole answer (`think`) or behind it (`rcot_cut`).

    <think>                             food: positive
    food: the soup was tasty            ===
    </think>                            food: the soup was tasty
    food: positive

The block behind the answer begins with the line `===`, the first one of a completion. Decoding may end there: what is
read of the rest is nothing.
"""

from __future__ import annotations

from sde_ray.design.base import Faults, Lines, collect, rows
from sde_ray.design.format_text import read_word
from sde_ray.design.lexer import quote_if_needed, tokenize
from sde_ray.design.output_form import OutputForm
from sde_ray.types import Line

OPENING, CLOSING = "<think>", "</think>"
CUT = "==="
"""The line that no answer has: a format that could write it quotes or escapes it."""


def write_rationales(lines: Lines, form: OutputForm) -> str:
    """A row for each line that has a rationale: its slot, and why."""
    return "\n".join(_row(line, form) for line in lines if line.rationale is not None)


def _row(line: Line, form: OutputForm) -> str:
    words = [quote_if_needed(word, [form.marks.colon, "\n"], "", "") for word in (line.slot, line.rationale or "")]
    return form.marks.colon.join(words)


def read_rationales(text: str, form: OutputForm) -> tuple[dict[str, str], Faults]:
    """The rationale of each slot, the first where there are several, and what is none."""

    def read_row(row: str) -> Line:
        tokens = tokenize(row, [form.marks.colon, "\n"])
        if len(tokens) != 3 or tokens[1] != form.marks.colon:
            raise ValueError(f"no {form.marks.colon!r} after the {form.nouns.slot}")
        return Line(read_word(tokens[:1]), (), read_word(tokens[2:]))

    lines, faults = collect(rows(text), read_row)
    return {line.slot: line.rationale or "" for line in reversed(lines)}, faults
