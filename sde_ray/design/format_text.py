"""Text formats of an answer, `natural` and `lines`: write lines as sentences, and parse them.

    entry   slot: value                  or   slot: value, value
            slot: rationale => value     or   slot: value <= rationale

            slot: field = value, field = value, value, record.field = value            a record
Slots, values and rationales are words of the lexer: bare, or quoted where they hold a delimiter of their format. Every
record has an entry of its own, the first one with the rationale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sde_ray.data.record_values import exact_record
from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on, finished_rows, rows
from sde_ray.design.grammar import FILLED, STRING, AskedSlot, Entry, bare_word, choice, literal, sequence
from sde_ray.design.lexer import Token, Word, is_plain, quote_if_needed, tokenize
from sde_ray.design.output_form import OutputForm
from sde_ray.design.record_lines import grows, merge_records
from sde_ray.design.record_paths import PathValues, read_paths, write_paths
from sde_ray.safe_json import write_json_exactly
from sde_ray.types import Line

ARROWS = {"first": " => ", "last": " <= "}
EQUALS = " = "


def _natural_separator(form: OutputForm) -> str:
    # A comma already parts the values of a list.
    return form.marks.semicolon if form.many else form.marks.comma


def _delimiters(form: OutputForm, separator: str) -> list[str]:
    within = [form.marks.comma] if form.many else []
    arrow = [ARROWS[form.rationale_position]] if form.rationale_position else []
    equals = [EQUALS] if form.kind == "record" else []
    return [form.marks.colon, separator, *within, *arrow, *equals]


def _write_entry(line: Line, form: OutputForm, separator: str, stop: str) -> str:
    delimiters = _delimiters(form, separator)

    def word(text: str) -> str:
        return quote_if_needed(text, delimiters, form.placeholder, stop)

    if form.kind == "record":
        bodies = [_write_record(text, line.slot, form, word) for text in line.values] or [form.placeholder]
    else:
        bodies = [form.marks.comma.join(map(word, line.values)) if line.values else form.placeholder]
    entries = []
    for number, body in enumerate(bodies):
        parts = [body]
        if form.rationale_position and line.rationale is not None and number == 0:
            parts.insert(0 if form.rationale_position == "first" else 1, word(line.rationale))
        arrow = ARROWS[form.rationale_position] if form.rationale_position else ""
        entries.append(word(line.slot) + form.marks.colon + arrow.join(parts))
    return separator.join(entries)


def _write_record(text: str, slot: str, form: OutputForm, word: Callable[[str], str]) -> str:
    """A canonical record as `field = value` parts."""
    parts = [
        word(path) + EQUALS + (form.marks.comma.join(map(word, values)) or form.placeholder)
        for path, values in write_paths(exact_record(text), form.fields[slot], form.complete)
    ]
    return form.marks.comma.join(parts)


def _read_entry(tokens: Sequence[Token], form: OutputForm) -> Line:
    """The line that an entry's tokens write; `ValueError` says what is wrong with them."""
    if len(tokens) < 3 or tokens[1] != form.marks.colon:
        raise ValueError(f"no {form.marks.colon!r} after the {form.nouns.slot}")
    rest, rationale = list(tokens[2:]), None
    arrow = ARROWS[form.rationale_position] if form.rationale_position else None
    if arrow in rest:
        before, after = rest[: rest.index(arrow)], rest[rest.index(arrow) + 1 :]
        rest, rationale_tokens = (after, before) if form.rationale_position == "first" else (before, after)
        rationale = read_word(rationale_tokens)
    slot = read_word(tokens[:1])
    values = _read_record(rest, slot, form) if form.kind == "record" else read_values(rest, form)
    return Line(slot, values, rationale)


def _read_record(tokens: Sequence[Token], slot: str, form: OutputForm) -> tuple[str, ...]:
    """The raw record that the tokens of an entry write, or none."""
    if list(tokens) == [Word(form.placeholder)]:
        return ()
    pairs: list[PathValues] = []
    path, values = "", list[Token]()
    for place in range(0, len(tokens), 2):
        mark = tokens[place + 1] if place + 1 < len(tokens) else form.marks.comma
        if mark == EQUALS and (place == 0 or tokens[place - 1] == form.marks.comma):
            if values or path:
                pairs.append((path, _field_values(values, form)))
            path, values = read_word(tokens[place : place + 1]), []
            if not path:
                raise ValueError("a field without a name")
        elif mark != form.marks.comma or not path:
            raise ValueError(f"no {EQUALS!r} between a field and its value")
        else:
            values.append(tokens[place])
    pairs.append((path, _field_values(values, form)))
    return (write_json_exactly(read_paths(pairs, form.fields.get(slot, ()))),)


def _field_values(tokens: Sequence[Token], form: OutputForm) -> tuple[str, ...]:
    """The values of a field; none where the placeholder stands for them."""
    if list(tokens) == [Word(form.placeholder)]:
        return ()
    if not tokens:
        raise ValueError("a field without a value")
    if Word(form.placeholder) in tokens:
        raise ValueError(f"{form.placeholder!r} beside other values")
    return tuple(read_word([token]) for token in tokens)


def read_values(tokens: Sequence[Token], form: OutputForm) -> tuple[str, ...]:
    """The values that tokens list. Raises ValueError where they are none."""
    if list(tokens) == [Word(form.placeholder)]:
        return ()
    if any(token != form.marks.comma for token in tokens[1::2]):
        raise ValueError("more than one value, or a delimiter too many")
    if Word(form.placeholder) in tokens:
        raise ValueError(f"{form.placeholder!r} beside other values")
    return tuple(read_word([token]) for token in tokens[::2])


def read_word(tokens: Sequence[Token]) -> str:
    """The word that tokens are. Raises ValueError where they are more, or none."""
    if len(tokens) != 1 or not isinstance(tokens[0], Word):
        raise ValueError("a delimiter too many")
    word = tokens[0]
    if not word.quoted and not is_plain(word.text):
        raise ValueError("nothing between delimiters, a line break in a word, or broken quotes")
    return word.text


def _read_natural(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    body = text.strip().removesuffix(form.marks.stop)
    if body == form.placeholder:
        return (), ()
    separator = _natural_separator(form)
    entries = _split(tokenize(body, _delimiters(form, separator)), separator)
    return merge_records(*collect(entries, lambda entry: _read_entry(entry, form)), form)


def _split(tokens: Sequence[Token], separator: str) -> list[list[Token]]:
    entries: list[list[Token]] = [[]]
    for token in tokens:
        if token == separator:
            entries.append([])
        else:
            entries[-1].append(token)
    return entries


def write_line_entry(line: Line, form: OutputForm) -> str:
    """An entry of the format `lines`."""
    return _write_entry(line, form, "\n", stop="")


def read_lines(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    """The lines that a text in the format `lines` has."""
    if text.strip() == form.placeholder:
        return (), ()
    delimiters = _delimiters(form, "\n")
    entries = [tokenize(row, delimiters) for row in rows(text)]
    return merge_records(*collect(entries, lambda entry: _read_entry(entry, form)), form)


def _natural_settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    separator = _natural_separator(form)
    if (
        grows(form) or '"' in text or text.count(separator) <= len(slots)
    ):  # a quote that is open may swallow what reads as entries
        return False
    entries = _split(tokenize(text.strip(), _delimiters(form, separator)), separator)[:-1]
    return covers_and_goes_on(*collect(entries, lambda entry: _read_entry(entry, form)), slots)


def _lines_settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    return not grows(form) and covers_and_goes_on(*read_lines(finished_rows(text), form), slots)


def _grammar(
    slots: Sequence[AskedSlot], form: OutputForm, separator: str, stop: str = ""
) -> tuple[str, tuple[Entry, ...]]:
    """See `grammar.Entry`; an entry is as `_write_entry` writes it."""
    delimiters = _delimiters(form, separator)
    # Of the last word a stop is not read, so that "none." is the placeholder, too, and "." is nothing.
    bare = bare_word(delimiters, [form.placeholder, form.placeholder + stop, *filter(None, [stop])])
    arrow = literal(ARROWS[form.rationale_position]) if form.rationale_position else ""

    def word(text: str) -> str:
        return literal(quote_if_needed(text, delimiters, form.placeholder, stop))

    def entry(slot: AskedSlot) -> Entry:
        head = sequence(word(slot.slot), literal(form.marks.colon))
        return Entry(
            head=sequence(head, "WHY", arrow) if form.rationale_position == "first" else head,
            values=tuple(map(word, slot.labels)) or ("WORD",),
            absent=literal(form.placeholder),
            tail=sequence(arrow, "WHY") if form.rationale_position == "last" else "",
            comma=literal(form.marks.comma),
        )

    definitions = f"BARE: {bare}\nWORD: {choice('BARE', STRING)}\nWHY: {choice('BARE', FILLED)}"
    return definitions, tuple(map(entry, slots))


NATURAL = FormatOption(
    label="Natural",
    entry=lambda line, form: _write_entry(line, form, _natural_separator(form), form.marks.stop),
    separator=_natural_separator,
    terminator=lambda form: form.marks.stop,
    marker=lambda form: form.placeholder,
    read=_read_natural,
    settled=_natural_settled,
    absent_field=lambda form: form.placeholder,
    grammar=lambda slots, form: _grammar(slots, form, _natural_separator(form), form.marks.stop),
)
LINES = FormatOption(
    label="Lines",
    entry=write_line_entry,
    separator=lambda form: "\n",
    marker=lambda form: form.placeholder,
    read=read_lines,
    settled=_lines_settled,
    absent_field=lambda form: form.placeholder,
    grammar=lambda slots, form: _grammar(slots, form, "\n"),
)
