"""The format `json_object`: the whole answer as one JSON object, as an application would read it.

    {"product": "app", "urgency": "high", "price": 12.5}
    {"DNA": ["IL-2 gene", "kappa B site"], "RNA": []}                              lists where a slot holds several
    {"product": {"reason": "it crashes", "label": "app"}, "urgency": "unmentioned"}      reasoning=cot
    {"relation": [{"head": "Curie", "relation": "born in", "tail": "Warsaw"}]}           records
    {"name": "Ada", "address": {"city": "Rome"}}                                         the one record of the one slot

A label or free value that is a number is written as one, and keeps its spelling (`4.0` stays `4.0`); a reader takes
`"4.0"` as well. Absent slots say the placeholder (labels), `[]` (lists) or `null` (free values). A key that stands
twice is a repeated slot. Completions are read with `json` alone: never `eval`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from sde_ray.design.base import Faults, FormatOption, Lines, collect
from sde_ray.design.format_json import absent_value
from sde_ray.design.grammar import FILLED, STRING, AskedSlot, Entry, choice, literal, sequence
from sde_ray.design.literals import NUMBER, is_number
from sde_ray.design.output_form import OutputForm
from sde_ray.design.record_json import write_members, write_object
from sde_ray.safe_json import MAX_DEPTH, JsonNumber, JsonObject, read_json_object, write_json_exactly
from sde_ray.types import Fault, Line

_HALF = "\ufffd"  # what a tokenizer makes of a character's first bytes: it may yet become a blank


def _write_member(line: Line, form: OutputForm) -> str:
    if line.slot == form.bare_slot:
        return write_members(line.values[0], line.slot, form) if line.values else ""
    text = _write_values(line, form)
    if form.rationale_position and line.rationale is not None:
        value, rationale = f"{_quote(form.nouns.value)}: {text}", _member(form.nouns.rationale, line.rationale)
        parts = [rationale, value] if form.rationale_position == "first" else [value, rationale]
        text = "{" + ", ".join(parts) + "}"
    return f"{_quote(line.slot)}: {text}"


def _write_values(line: Line, form: OutputForm) -> str:
    if not line.values:
        absent = absent_value(line.slot, form)
        return _scalar(absent, form) if isinstance(absent, str) else json.dumps(absent)
    if form.kind == "record":
        records = [write_object(value, line.slot, form) for value in line.values]
        return f"[{', '.join(records)}]" if form.holds_list(line.slot) else records[0]
    if form.holds_list(line.slot):
        return "[" + ", ".join(_scalar(value, form) for value in line.values) + "]"
    return _scalar(line.values[0], form)


def _scalar(value: str, form: OutputForm) -> str:
    return value if is_number(value, form) else _quote(value)


def _member(key: str, value: str) -> str:
    return f"{_quote(key)}: {_quote(value)}"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    try:
        members = read_json_object(text.strip())
    except ValueError as error:
        return (), (Fault("syntax", f"{str(error)[:100]}: {text[:100]!r}"),)
    if form.bare_slot is not None:
        if members:
            return (Line(form.bare_slot, (write_json_exactly(members),)),), ()
        return ((Line(form.bare_slot, ()),) if form.complete else ()), ()
    return collect(members, partial(_read_member, form=form))


def _read_member(member: tuple[str, object], form: OutputForm) -> Line:
    slot, value = member
    if not form.rationale_position or not isinstance(value, JsonObject):
        return Line(slot, _read_values(slot, value, form))
    fields, names = dict(value), form.nouns
    if len(fields) < len(value) or not {names.value} <= set(fields) <= {names.value, names.rationale}:
        raise ValueError(f"not an object with the keys {names.rationale}, {names.value}")
    rationale = _string(fields[names.rationale], form) if names.rationale in fields else None
    return Line(slot, _read_values(slot, fields[names.value], form), rationale)


def _read_values(slot: str, value: object, form: OutputForm) -> tuple[str, ...]:
    if form.holds_list(slot):
        if not isinstance(value, list):
            raise ValueError("not a list")
        if form.kind == "record":
            return tuple(map(write_json_exactly, value))
        return tuple(_string(each, form) for each in value)
    absent = absent_value(slot, form)
    if value is None and absent is None:
        return ()
    if form.kind == "record":
        return (write_json_exactly(value),)
    text = _string(value, form)
    return () if text == absent else (text,)


def _string(value: object, form: OutputForm) -> str:
    if not isinstance(value, str) or (isinstance(value, JsonNumber) and form.kind == "span"):
        raise ValueError(f"{value!r} is neither a string nor a number")
    return str(value)


def _settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    """Whether it is no object, or something follows its end: either way nothing of it will be read."""
    body = text.strip()
    if not body.startswith("{"):
        return body.strip(_HALF) != ""
    if body.count("{") > MAX_DEPTH:  # deep texts are costly to look at again and again
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError):  # not finished, or never to be
        return False
    return body[end:].strip().strip(_HALF) != ""


def _grammar(slots: Sequence[AskedSlot], form: OutputForm) -> tuple[str, list[Entry]]:
    """See `grammar.Entry`; an entry is a member as `_write_member` writes it."""
    nouns, position = form.nouns, form.rationale_position
    why = sequence(literal(f"{_quote(nouns.rationale)}: "), FILLED)
    value = literal(f"{_quote(nouns.value)}: ")
    before = {"first": sequence(literal("{"), why, literal(", "), value), "last": sequence(literal("{"), value)}
    after = {"first": literal("}"), "last": sequence(literal(", "), why, literal("}"))}
    any_value = STRING if form.kind == "span" else choice(STRING, "NUMBER")

    def entry(slot: AskedSlot) -> Entry:
        several = form.holds_list(slot.slot)
        absent = absent_value(slot.slot, form)
        return Entry(
            head=sequence(literal(f"{_quote(slot.slot)}: "), before.get(position or "", "")),
            values=tuple(literal(_scalar(label, form)) for label in slot.labels) or (any_value,),
            absent=literal(_scalar(absent, form) if isinstance(absent, str) else json.dumps(absent)),
            tail=after.get(position or "", ""),
            opening=literal("[") if several else "",
            comma=literal(", "),
            closing=literal("]") if several else "",
        )

    number = NUMBER.pattern.replace("(?:", "(").replace(r"\d", "[0-9]")
    return f"NUMBER: /{number}/", [entry(slot) for slot in slots]


JSON_OBJECT = FormatOption(
    label="JSON-object",
    entry=_write_member,
    separator=lambda form: ", ",
    opening="{",
    closing="}",
    has_numbers=True,
    marker=lambda form: "{}",
    read=_read,
    settled=_settled,
    absent_field=lambda form: "null",
    grammar=_grammar,
    swept=False,
)
