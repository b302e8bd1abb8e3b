"""The format `terse`: an answer in as few tokens as can still be read back (after SLENDER, ACL 2025 industry).

Where absent slots are written, the values stand alone, in the order of the slots, and `-` is a slot without value:
    positive - - neutral                 one closed label a slot: a blank parts the values, as it costs no token
    IL-2 gene, kappa B site              lists, free values and rationales: a row a slot
    -
Where they are left out, each slot stands before its values:
    food positive price neutral
    DNA IL-2 gene, kappa B site
So they do with another order of the lines than the slots'. A rationale stands beside the value (`tasty => positive`).

A word that holds a delimiter is quoted, by the rules of JSON. Where the values stand alone and are too few or too many,
none can be told apart: the answer is empty, with a fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on, finished_rows, rows
from sde_ray.design.format_text import ARROWS, read_values, read_word
from sde_ray.design.lexer import Token, Word, first_word, is_plain, quote, quote_if_needed, tokenize
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.design.rationale_block import CUT
from sde_ray.types import Fault, Line, Task

ABSENT = "-"


def _by_place(form: OutputForm) -> bool:
    """Whether the values stand alone."""
    return form.complete and form.ordered


def _in_one_row(form: OutputForm) -> bool:
    """Whether blanks part the values, or the slots and the values in turn."""
    return form.kind == "label" and not form.many and not form.rationale_position


def _separator(form: OutputForm) -> str:
    return " " if _in_one_row(form) else "\n"


# ---- write -----------------------------------------------------------------------------------------------------------


def _write_entry(line: Line, form: OutputForm) -> str:
    answer = _write_answer(line, form)
    return answer if _by_place(form) else f"{_word(line.slot, form)} {answer}"


def _write_answer(line: Line, form: OutputForm) -> str:
    if _in_one_row(form):
        return _word(line.values[0], form) if line.values else form.placeholder
    values = [_among(value, form) for value in line.values] or [form.placeholder]
    parts = [form.marks.comma.join(values)]
    if form.rationale_position and line.rationale is not None:
        parts.insert(0 if form.rationale_position == "first" else 1, _among(line.rationale, form))
    return (ARROWS[form.rationale_position] if form.rationale_position else "").join(parts)


def _word(text: str, form: OutputForm) -> str:
    """A word that a blank ends."""
    plain = is_plain(text) and " " not in text and text not in (form.placeholder, CUT)
    return text if plain else quote(text)


def _among(text: str, form: OutputForm) -> str:
    """A word among others in a row."""
    return quote(text) if text == CUT else quote_if_needed(text, _delimiters(form), form.placeholder)


def _delimiters(form: OutputForm) -> list[str]:
    arrow = [ARROWS[form.rationale_position]] if form.rationale_position else []
    return [*([form.marks.comma] if form.many else []), *arrow, "\n"]


# ---- read ------------------------------------------------------------------------------------------------------------


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    if text.strip() == form.placeholder and not form.complete:
        return (), ()
    return _read_row_of_words(text, form) if _in_one_row(form) else _read_rows(text, form)


def _read_row_of_words(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    words = _words(text)
    if not _by_place(form):
        return collect([words[n : n + 2] for n in range(0, len(words), 2)], lambda pair: _read_pair(pair, form))
    if len(words) != len(form.slots):
        return (), (_not_aligned(len(words), text, form),)
    return collect(zip(form.slots, words, strict=True), lambda entry: _read_word(*entry, form))


def _read_rows(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    entries = rows(text)
    if not _by_place(form):
        return collect(entries, lambda row: _read_slot_and_row(row, form))
    if len(entries) != len(form.slots):
        return (), (_not_aligned(len(entries), text, form),)
    return collect(zip(form.slots, entries, strict=True), lambda entry: _read_row(*entry, form))


def _not_aligned(count: int, text: str, form: OutputForm) -> Fault:
    return Fault("syntax", f"{count} entries for {len(form.slots)} {form.nouns.slot}s: {text[:100]!r}")


def _words(text: str) -> list[Token]:
    return tokenize(text.strip(), [" "])[::2]


def _read_pair(words: Sequence[Token], form: OutputForm) -> Line:
    if len(words) != 2:
        raise ValueError(f"a {form.nouns.slot} without {form.nouns.value}")
    return _read_word(read_word(words[:1]), words[1], form)


def _read_word(slot: str, word: Token, form: OutputForm) -> Line:
    return Line(slot, () if word == Word(form.placeholder) else (read_word([word]),))


def _read_slot_and_row(row: str, form: OutputForm) -> Line:
    slot, rest = first_word(row, " ")
    return _read_row(read_word([slot]), rest, form)


def _read_row(slot: str, row: str, form: OutputForm) -> Line:
    tokens, rationale = tokenize(row, _delimiters(form)), None
    if form.rationale_position and (arrow := ARROWS[form.rationale_position]) in tokens:
        before, after = tokens[: tokens.index(arrow)], tokens[tokens.index(arrow) + 1 :]
        tokens, why = (after, before) if form.rationale_position == "first" else (before, after)
        rationale = read_word(why)
    return Line(slot, read_values(tokens, form), rationale)


def _settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    if '"' in text:  # a quote that is open may swallow what reads as entries
        return False
    done = text[: text.rfind(" ") + 1] if _in_one_row(form) else finished_rows(text)
    entries = done.strip().split(" ") if _in_one_row(form) else rows(done)
    if _by_place(form):
        return len(entries) > len(slots)
    if _in_one_row(form):
        done = " ".join(entries[: len(entries) // 2 * 2])
    return covers_and_goes_on(*_read(done, form), slots)


# ---- option ----------------------------------------------------------------------------------------------------------


def _sentence(context: InstructionContext) -> str:
    alone = _by_place(context.form) and len(context.task.slots) > 1
    return context.wording("values_alone") if alone else ""


def _applies(task: Task) -> str:
    return "" if task.kind in ("label", "span", "free") else f"the answers of {task.name} are neither labels nor words"


TERSE = FormatOption(
    label="Terse",
    entry=_write_entry,
    separator=_separator,
    marker=lambda form: form.placeholder,
    read=_read,
    settled=_settled,
    sentence=_sentence,
    absent=ABSENT,
    applies=_applies,
    swept=False,
)
