"""Lines of records: those of one slot become one, and what they hold becomes canonical records or faults.

    (relation, {"head": "Curie", "age": null})  ─merge─▶  (relation, [...])  ─check─▶  canonical texts, faults by field
    (relation, {"head": "Ada", "age": "old"})

A format reads raw JSON; here it is told whether it is a record of the task. One with a fault in a field that it has is
left out as a whole: nothing of it is guessed. A field that the task does not know is left out, and the rest stands.
"""

from __future__ import annotations

from dataclasses import replace

from sde_ray.data.record_values import canonical_text
from sde_ray.design.base import Faults, Lines
from sde_ray.design.output_form import OutputForm
from sde_ray.types import Fault, Line

EMPTY = "{}"


def grows(form: OutputForm) -> bool:
    """Whether a slot takes further records from entries to come, so that no answer is settled before its end."""
    return form.kind == "record" and len(form.single) < len(form.fields)


def merge_records(lines: Lines, faults: Faults, form: OutputForm) -> tuple[Lines, Faults]:
    """One line for each slot that holds a list of records, with those of all its entries and the first rationale.

    An entry that says "none" beside one that has a record is a fault. Lines of other kinds stay as they are.
    """
    if form.kind != "record":
        return lines, faults
    merged: dict[tuple[str, int], list[Line]] = {}
    for number, line in enumerate(lines):
        is_list = line.slot in form.fields and form.holds_list(line.slot)
        merged.setdefault((line.slot, -1 if is_list else number), []).append(line)
    one_each: list[Line] = []
    more: list[Fault] = []
    for (slot, _), several in merged.items():
        values = tuple(value for line in several for value in line.values)
        reasons = [line.rationale for line in several if line.rationale is not None]
        one_each.append(Line(slot, values, reasons[0] if reasons else None))
        if len(several) > 1 and any(not line.values for line in several):
            more.append(Fault("unexpected_placeholder" if values else "repeated_slot", slot))
    return tuple(one_each), (*faults, *more)


def check_records(lines: Lines, form: OutputForm, by_field: bool) -> tuple[Lines, Faults]:
    """The lines with canonical records alone, and the faults of the others. Lines of other kinds stay as they are.

    `by_field`: the format writes each field, so that it says which are absent where the answer is complete.
    """
    if form.kind != "record":
        return lines, ()
    checked: list[Line] = []
    faults: list[Fault] = []
    for line in lines:
        texts = []
        for raw in line.values:
            text, wrong = canonical_text(raw, form.fields[line.slot], form.complete if by_field else None)
            faults += wrong
            texts += [text] if text is not None and text != EMPTY else []
        checked.append(replace(line, values=tuple(texts)))
    return tuple(checked), tuple(faults)
