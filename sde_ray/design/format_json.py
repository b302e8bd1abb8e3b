"""JSON formats of an answer by rows: `json`, an object a slot, and `pairs`, a list of slot and value a row.

`pairs` is the heuristic design of Han et al. 2023 (arXiv 2305.14450) and so not swept by default. Completions are read
with `json` alone: never `eval`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on, finished_rows, rows
from sde_ray.design.output_form import OutputForm
from sde_ray.safe_json import read_json
from sde_ray.types import Line


def absent_value(slot: str, form: OutputForm) -> list[str] | str | None:
    """What an object says of an absent slot; a free value may be any string, so only `null` is none."""
    return [] if form.holds_list(slot) else {"label": form.placeholder, "free": None}[form.kind]


def _absent_item(form: OutputForm) -> str | None:
    """What a pair says of an absent slot."""
    return form.placeholder if form.kind == "label" else None


def _write_object(line: Line, form: OutputForm) -> str:
    value: object = absent_value(line.slot, form)
    if line.values:
        value = list(line.values) if form.holds_list(line.slot) else line.values[0]
    fields: list[tuple[str, object]] = [(form.nouns.slot, line.slot), (form.nouns.value, value)]
    if form.rationale_position and line.rationale is not None:
        fields.insert(1 if form.rationale_position == "first" else 2, (form.nouns.rationale, line.rationale))
    return json.dumps(dict(fields), ensure_ascii=False)


def _read_object(row: str, form: OutputForm) -> Line:
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
    return collect(rows(text), lambda row: _read_object(row, form))


def _write_pairs(line: Line, form: OutputForm) -> str:
    return "\n".join(_write_pair(line, value, form) for value in line.values or (_absent_item(form),))


def _write_pair(line: Line, value: str | None, form: OutputForm) -> str:
    items = [line.slot, value]
    if form.rationale_position and line.rationale is not None:
        items.insert(1 if form.rationale_position == "first" else 2, line.rationale)
    return json.dumps(items, ensure_ascii=False)


def _read_pair(row: str, form: OutputForm) -> Line:
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
    return _merge(pairs, form), faults


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
    return covers_and_goes_on(*_read_objects(finished_rows(text), form), slots)


def _pairs_settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    # A slot with a list takes a value from any row to come.
    return not form.many and covers_and_goes_on(*_read_pairs(finished_rows(text), form), slots)


JSON = FormatOption(
    label="JSON",
    entry=_write_object,
    separator=lambda form: "\n",
    marker=lambda form: "{}",
    read=_read_objects,
    settled=_objects_settled,
)
PAIRS = FormatOption(
    label="Pairs",
    entry=_write_pairs,
    separator=lambda form: "\n",
    marker=lambda form: "[]",
    read=_read_pairs,
    settled=_pairs_settled,
    swept=False,
)
