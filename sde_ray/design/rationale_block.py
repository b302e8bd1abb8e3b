"""Rationales in a block of their own, a row a slot, before the whole answer (`think`) or behind it (`rcot_cut`).

    <think>                             food: positive
    food: the soup was tasty            ===
    </think>                            food: the soup was tasty

    food: positive

The block behind the answer begins with the line `===`, the first one of a completion. Decoding ends there, and what is
read of a completion that went on is the same.
"""

from __future__ import annotations

from sde_ray.design.base import Faults, Lines, collect, rows
from sde_ray.design.format_text import read_word
from sde_ray.design.lexer import quote_if_needed, tokenize
from sde_ray.design.output_form import OutputForm
from sde_ray.types import Fault, Line

OPENING, CLOSING = "<think>", "</think>"
CUT = "==="
"""The line that no answer has: a format that could write it quotes or escapes it."""
STOP = f"\n{CUT}\n"


def with_block(answer: str, lines: Lines, form: OutputForm) -> str:
    """A completion of an answer and its lines' rationales; the answer alone where they stand beside the values."""
    if form.rationale_block is None:
        return answer
    why = write_rationales(lines, form)
    if form.rationale_block == "first":
        return "\n".join([OPENING, *([why] if why else []), CLOSING, "", answer])
    return f"{answer}{STOP}{why}" if why else answer


def split_block(completion: str, form: OutputForm) -> tuple[str, dict[str, str] | None, Faults]:
    """The answer of a completion, the rationales by slot, and what is wrong with them.

    None for the rationales: they are not asked for, or their block is missing.
    """
    if form.rationale_block == "last":
        return f"\n{completion}\n".partition(STOP)[0].strip(), None, ()
    rows_of_text = completion.strip().split("\n")
    if form.rationale_block is None or rows_of_text[0].strip() != OPENING:
        missing = (Fault("missing_rationale", f"no {OPENING}"),) if form.rationale_block else ()
        return completion, None, missing
    end = next((n for n, row in enumerate(rows_of_text) if row.strip() == CLOSING), None)
    why, faults = read_rationales("\n".join(rows_of_text[1:end]), form)
    if end is None:
        return "", why, (*faults, Fault("syntax", f"{OPENING} is never closed"))
    return "\n".join(rows_of_text[end + 1 :]).strip(), why, faults


def answer_so_far(text: str, form: OutputForm) -> str | None:
    """The answer in an unfinished completion; None where it has not begun."""
    if form.rationale_block == "last":
        before, newline, row = text.rpartition("\n")
        return before + newline if newline and CUT.startswith(row) else text  # it may become the mark
    if form.rationale_block is None:
        return text
    begun = text.lstrip()
    if not OPENING.startswith(begun[: len(OPENING)]):
        return text
    _, closing, answer = begun.partition(f"\n{CLOSING}\n")
    return answer if closing else None


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
