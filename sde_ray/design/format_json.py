"""JSON formats of an answer by rows: `json`, an object a slot, and `pairs`, a list of slot and value a row.

A record has a row of its own: `json` writes it as an object, `pairs` as its values in the order of the fields. The
first row of a slot has the rationale.

`pairs` is the heuristic design of Han et al. 2023 (arXiv 2305.14450) and so not swept by default. Completions are read
with `json` alone: never `eval`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on, finished_rows, rows
from sde_ray.design.grammar import FILLED, STRING, AskedSlot, Entry, literal, sequence
from sde_ray.design.output_form import OutputForm
from sde_ray.design.record_json import read_values, write_object, write_values
from sde_ray.design.record_lines import grows, merge_records
from sde_ray.safe_json import JsonObject, read_json, read_json_exactly, write_json_exactly
from sde_ray.types import Line


def absent_value(slot: str, form: OutputForm) -> list[str] | str | None:
    """What an object says of an absent slot; a free value may be any string, so only `null` is none."""
    return [] if form.holds_list(slot) else form.placeholder if form.kind == "label" else None


def _absent_item(form: OutputForm) -> str | None:
    """What a pair says of an absent slot."""
    return form.placeholder if form.kind == "label" else None


def _write_object(line: Line, form: OutputForm) -> str:
    if form.kind == "record":
        return _write_record_rows(line, form)
    value: object = absent_value(line.slot, form)
    if line.values:
        value = list(line.values) if form.holds_list(line.slot) else line.values[0]
    fields: list[tuple[str, object]] = [(form.nouns.slot, line.slot), (form.nouns.value, value)]
    if form.rationale_position and line.rationale is not None:
        fields.insert(1 if form.rationale_position == "first" else 2, (form.nouns.rationale, line.rationale))
    return json.dumps(dict(fields), ensure_ascii=False)


def _write_record_rows(line: Line, form: OutputForm) -> str:
    """A row a record: `{"type": "relation", "record": {...}}`."""
    rows_of_slot = []
    for number, value in enumerate(line.values or (None,)):
        members = [
            f"{_quote(form.nouns.slot)}: {_quote(line.slot)}",
            f"{_quote(form.nouns.value)}: {'null' if value is None else write_object(value, line.slot, form)}",
        ]
        if form.rationale_position and line.rationale is not None and number == 0:
            place = 1 if form.rationale_position == "first" else 2
            members.insert(place, f"{_quote(form.nouns.rationale)}: {_quote(line.rationale)}")
        rows_of_slot.append("{" + ", ".join(members) + "}")
    return "\n".join(rows_of_slot)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _read_record_row(row: str, form: OutputForm) -> Line:
    members = read_json_exactly(row)
    fields = dict(members) if isinstance(members, JsonObject) else {}
    needed = {form.nouns.slot, form.nouns.value}
    allowed = needed | ({form.nouns.rationale} if form.rationale_position else set())
    if not needed <= set(fields) <= allowed or len(fields) < len(members):
        raise ValueError(f"not an object with the keys {', '.join(sorted(needed))}")
    value, rationale = fields[form.nouns.value], fields.get(form.nouns.rationale)
    values = () if value is None else (write_json_exactly(value),)
    return Line(_string(fields[form.nouns.slot]), values, None if rationale is None else _string(rationale))


def _read_object(row: str, form: OutputForm) -> Line:
    if form.kind == "record":
        return _read_record_row(row, form)
    fields = read_json(row)
    needed = {form.nouns.slot, form.nouns.value}
    allowed = needed | ({form.nouns.rationale} if form.rationale_position else set())
    if not isinstance(fields, dict) or not needed <= set(fields) <= allowed:
        raise ValueError(f"not an object with the keys {', '.join(sorted(needed))}")
    slot, values = _string(fields[form.nouns.slot]), fields[form.nouns.value]
    if values == absent_value(slot, form):
        values = []
    elif not form.holds_list(slot):
        values = [values]
    if not isinstance(values, list):
        raise ValueError(f"{form.nouns.value!r} is not a list")
    rationale = fields.get(form.nouns.rationale)
    return Line(slot, tuple(map(_string, values)), None if rationale is None else _string(rationale))


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


def _read_objects(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    if text.strip() == "{}":
        return (), ()
    return merge_records(*collect(rows(text), lambda row: _read_object(row, form)), form)


def _write_pairs(line: Line, form: OutputForm) -> str:
    if form.kind == "record":
        return "\n".join(_write_record_pair(line, n, form) for n in range(max(1, len(line.values))))
    return "\n".join(_write_pair(line, value, form) for value in line.values or (_absent_item(form),))


def _write_pair(line: Line, value: str | None, form: OutputForm) -> str:
    items = [line.slot, value]
    if form.rationale_position and line.rationale is not None:
        items.insert(1 if form.rationale_position == "first" else 2, line.rationale)
    return json.dumps(items, ensure_ascii=False)


def _write_record_pair(line: Line, number: int, form: OutputForm) -> str:
    """A record as a list of its slot and the list of its values; of an absent slot null stands for these."""
    items = [_quote(line.slot), write_values(line.values[number], line.slot, form) if line.values else "null"]
    if form.rationale_position and line.rationale is not None and number == 0:
        items.insert(1 if form.rationale_position == "first" else 2, _quote(line.rationale))
    return f"[{', '.join(items)}]"


def _read_record_pair(row: str, form: OutputForm) -> Line:
    items = read_json_exactly(row)
    if not isinstance(items, list) or len(items) not in ((2, 3) if form.rationale_position else (2,)):
        raise ValueError(f"not a list of {form.nouns.slot} and the values of its {form.nouns.value}")
    rationale = _string(items.pop(1 if form.rationale_position == "first" else 2)) if len(items) == 3 else None
    slot, values = _string(items[0]), items[1]
    if values is None or slot not in form.fields:  # the latter is a fault of its own
        return Line(slot, () if values is None else (write_json_exactly(values),), rationale)
    return Line(slot, (read_values(values, slot, form),), rationale)


def _read_pair(row: str, form: OutputForm) -> Line:
    if form.kind == "record":
        return _read_record_pair(row, form)
    items = read_json(row)
    if not isinstance(items, list) or len(items) not in ((2, 3) if form.rationale_position else (2,)):
        raise ValueError(f"not a list of {form.nouns.slot} and {form.nouns.value}")
    rationale = _string(items.pop(1 if form.rationale_position == "first" else 2)) if len(items) == 3 else None
    slot, value = items
    return Line(_string(slot), () if value == _absent_item(form) else (_string(value),), rationale)


def _read_pairs(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    if text.strip() == "[]":
        return (), ()
    pairs, faults = collect(rows(text), lambda row: _read_pair(row, form))
    return merge_records(pairs, faults, form) if form.kind == "record" else (_merge(pairs, form), faults)


def _merge(pairs: Lines, form: OutputForm) -> Lines:
    """One line for each slot that holds a list, with the values of all its pairs and the first rationale."""
    values: dict[tuple[str, int], list[str]] = {}
    rationales: dict[tuple[str, int], str | None] = {}
    for number, pair in enumerate(pairs):
        key = pair.slot, 0 if form.holds_list(pair.slot) else number
        values.setdefault(key, []).extend(pair.values)
        rationales.setdefault(key, pair.rationale)
    return tuple(Line(key[0], tuple(several), rationales[key]) for key, several in values.items())


def _objects_settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    return not grows(form) and covers_and_goes_on(*_read_objects(finished_rows(text), form), slots)


def _pairs_settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    # A slot with a list takes a value from any row to come.
    return not any(form.holds_list(slot) for slot in slots) and covers_and_goes_on(
        *_read_pairs(finished_rows(text), form), slots
    )


def _object_grammar(slots: Sequence[AskedSlot], form: OutputForm) -> tuple[str, list[Entry]]:
    """See `grammar.Entry`; an entry is an object as `_write_object` writes it."""
    nouns, position = form.nouns, form.rationale_position
    why = sequence(literal(f"{_quote(nouns.rationale)}: "), FILLED)

    def entry(slot: AskedSlot) -> Entry:
        several = form.holds_list(slot.slot)
        value = literal(f"{_quote(nouns.value)}: ")
        head = literal(f"{{{_quote(nouns.slot)}: {_quote(slot.slot)}, ")
        return Entry(
            head=sequence(head, why, literal(", "), value) if position == "first" else sequence(head, value),
            values=tuple(literal(_quote(label)) for label in slot.labels) or (STRING,),
            absent=literal(json.dumps(absent_value(slot.slot, form), ensure_ascii=False)),
            tail=sequence(literal(", "), why, literal("}")) if position == "last" else literal("}"),
            opening=literal("[") if several else "",
            comma=literal(", "),
            closing=literal("]") if several else "",
        )

    return "", [entry(slot) for slot in slots]


def _pair_grammar(slots: Sequence[AskedSlot], form: OutputForm) -> tuple[str, list[Entry]]:
    """See `grammar.Entry`; a value is a row, so that an entry of a list has as many as values."""
    position = form.rationale_position

    def row(slot: str, value: str) -> str:
        parts = [literal(f"[{_quote(slot)}, "), value, literal("]")]
        if position:
            parts[1:2] = [FILLED, literal(", "), value] if position == "first" else [value, literal(", "), FILLED]
        return sequence(*parts)

    def entry(slot: AskedSlot) -> Entry:
        values = tuple(literal(_quote(label)) for label in slot.labels) or (STRING,)
        return Entry(
            head="",
            values=tuple(row(slot.slot, value) for value in values),
            absent=row(slot.slot, literal(json.dumps(_absent_item(form), ensure_ascii=False))),
            comma=literal("\n"),
        )

    return "", [entry(slot) for slot in slots]


JSON = FormatOption(
    label="JSON",
    entry=_write_object,
    separator=lambda form: "\n",
    marker=lambda form: "{}",
    read=_read_objects,
    settled=_objects_settled,
    absent_field=lambda form: "null",
    grammar=_object_grammar,
)
PAIRS = FormatOption(
    label="Pairs",
    entry=_write_pairs,
    separator=lambda form: "\n",
    marker=lambda form: "[]",
    read=_read_pairs,
    settled=_pairs_settled,
    absent_field=lambda form: "null",
    positional=True,
    grammar=_pair_grammar,
    swept=False,
)
