"""The format `code`: the answer as a Python list of objects (after GoLLIE, 2310.03668, and KnowCoder, 2403.07969).

    result = [Food(sentiment="positive"), Price(sentiment="unmentioned")]
    result = [DNA(entity="IL-2 gene"), DNA(entity="kappa B site"), RNA(entity=None)]      an object a value
    result = [Food(reason="tasty soup", sentiment="positive")]                            reasoning=cot

The prompt shows the classes, one a slot, and the labels that a field may have. Numbers stand without quotes. It is read
by patterns, never evaluated.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on
from sde_ray.design.literals import NUMBER, STRING, distinct_names, is_number, read_string, write_string
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.types import Fault, Line, PromptNouns, Task

OPENING, CLOSING = "result = [", "]"
_NAME = r"[^\W\d]\w*"
_LITERAL = rf"{STRING}|{NUMBER.pattern}|None"
_FIELD = re.compile(rf"({_NAME})\s*=\s*({_LITERAL})")
_FIELD_PATTERN = rf"{_NAME}\s*=\s*(?:{_LITERAL})"
_OBJECT = re.compile(rf"\s*({_NAME})\(\s*((?:{_FIELD_PATTERN}\s*,?\s*){{0,4}})\)\s*")
_OPENING = re.compile(r"result\s*=\s*\[")

# ---- names -----------------------------------------------------------------------------------------------------------


def class_names(slots: Sequence[str]) -> dict[str, str]:
    """A class for each slot: "serving speed" is ServingSpeed; where that is no name, or another's, Slot3."""
    names = {slot: "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", slot)) for slot in slots}
    return distinct_names(names, _is_name, "Slot")


def _is_name(name: str) -> bool:
    return re.fullmatch(_NAME, name) is not None and not keyword.iskeyword(name) and name.isidentifier()


def _field_names(nouns: PromptNouns) -> tuple[str, str]:
    """The fields of a value and of a rationale."""
    value, why = (re.sub(r"\W+", "_", noun) for noun in (nouns.value, nouns.rationale))
    return (value, why) if value != why and _is_name(value) and _is_name(why) else ("value", "reason")


# ---- write -----------------------------------------------------------------------------------------------------------


def _write_entry(line: Line, form: OutputForm) -> str:
    name = class_names(form.slots).get(line.slot, line.slot)
    absent = write_string(form.placeholder) if form.kind == "label" and not form.holds_list(line.slot) else "None"
    if absent != "None" and is_number(form.placeholder, form):
        absent = form.placeholder
    values = [value if is_number(value, form) else write_string(value) for value in line.values] or [absent]
    return ", ".join(f"{name}({_fields(value, line.rationale, form)})" for value in values)


def _fields(value: str, rationale: str | None, form: OutputForm) -> str:
    value_field, why_field = _field_names(form.nouns)
    fields = [f"{value_field}={value}"]
    if form.rationale_position and rationale is not None:
        fields.insert(0 if form.rationale_position == "first" else 1, f"{why_field}={write_string(rationale)}")
    return ", ".join(fields)


# ---- read ------------------------------------------------------------------------------------------------------------


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    objects, rest = _objects(text.strip())
    lines, faults = collect(objects, lambda one: _read_object(one, form))
    unread = (Fault("syntax", f"no list of objects from here: {rest[:100]!r}"),) if rest != CLOSING else ()
    return _merge(lines, form), (*faults, *unread)


def _objects(body: str) -> tuple[list[str], str]:
    """The objects of a list, and what stands behind them: `]` at the end of one that is whole."""
    opening = _OPENING.match(body)
    if opening is None:
        return [], body or OPENING
    objects: list[str] = []
    end = opening.end()
    while found := _OBJECT.match(body, end):
        objects.append(found.group().strip())
        end = found.end()
        if body[end : end + 1] != ",":
            break
        end += 1
    return objects, body[end:].strip() or "nothing"


def _read_object(text: str, form: OutputForm) -> Line:
    name, inside = text[:-1].split("(", 1)
    fields = _FIELD.findall(inside)
    value_field, why_field = _field_names(form.nouns)
    values = dict(fields)
    allowed = {value_field, why_field} if form.rationale_position else {value_field}
    if len(values) < len(fields) or not {value_field} <= set(values) <= allowed:
        raise ValueError(f"not the fields {', '.join(sorted(allowed))}")
    slots = {one: slot for slot, one in class_names(form.slots).items()}
    slot = slots.get(name, name if name not in form.slots else f"{name}()")
    value = _literal(values[value_field], form)
    why = values.get(why_field)
    if why is not None and not why.startswith('"'):
        raise ValueError(f"{why_field} is no string")
    absent = form.placeholder if form.kind == "label" and not form.holds_list(slot) else None
    return Line(slot, () if value == absent else (_text(value),), None if why is None else read_string(why))


def _literal(literal: str, form: OutputForm) -> str | None:
    if literal == "None":
        return None
    if literal.startswith('"'):
        return read_string(literal)
    if form.kind == "span":
        raise ValueError("a number is no piece of a text")
    return literal


def _text(value: str | None) -> str:
    if value is None:
        raise ValueError("None is no label")
    return value


def _merge(objects: Lines, form: OutputForm) -> Lines:
    """One line for each slot that holds a list, with the values of all its objects and the first rationale."""
    merged: dict[tuple[str, int], Line] = {}
    for number, line in enumerate(objects):
        key = line.slot, 0 if form.holds_list(line.slot) else number
        before = merged.get(key, line)
        values = before.values + line.values if key in merged else line.values
        merged[key] = Line(line.slot, values, before.rationale)
    return tuple(merged.values())


def _settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    """Whether it is no list, something follows its end, or all slots are answered and it goes on."""
    body = text.strip().rstrip("\ufffd")
    start = OPENING.replace(" ", "")
    begun = re.sub(r"\s", "", body[: len(OPENING) + 20])[: len(start)]
    if begun != start[: len(begun)]:
        return True
    objects, rest = _objects(body)
    if rest.startswith(CLOSING) and len(rest) > 1:
        return True
    lines, faults = collect(objects, lambda one: _read_object(one, form))
    # A slot with a list takes a value from any object to come.
    return not form.many and covers_and_goes_on(lines, faults, slots)


# ---- the classes, as the prompt shows them ---------------------------------------------------------------------------


def _sentence(context: InstructionContext) -> str:
    slots, form = context.task.slots, context.form
    names, types = class_names(slots), {slot: _type(slot, context) for slot in slots}
    value, why = _field_names(form.nouns)
    why_first, why_last = (f"{why}: str; " if form.rationale_position == "first" else "",
                           f"; {why}: str" if form.rationale_position == "last" else "")  # fmt: skip
    fields = {slot: f"{why_first}{value}: {types[slot]}{why_last}" for slot in slots}
    if len(set(fields.values())) == 1 and len(slots) > 1:
        base = class_names([*slots, form.nouns.slot])[form.nouns.slot]
        rows = [f"class {base}: {fields[slots[0]]}", *(f"class {names[slot]}({base}): ..." for slot in slots)]
    else:
        rows = [f"class {names[slot]}: {fields[slot]}" for slot in slots]
    return context.wording("classes", classes="\n".join(rows))


def _type(slot: str, context: InstructionContext) -> str:
    form, words = context.form, context.written(slot)
    if words:
        kind = f"Literal[{', '.join(word if is_number(word, form) else write_string(word) for word in words)}]"
    else:
        kind = "float" if slot in context.task.ranges else "str"
    absent = form.complete and context.task.has_absent_slots and (not words or form.holds_list(slot))
    return f"{kind} | None" if absent else kind


def _applies(task: Task) -> str:
    return "" if task.kind in ("label", "span", "free") else f"the answers of {task.name} are neither labels nor words"


CODE = FormatOption(
    label="Code",
    entry=_write_entry,
    separator=lambda form: ", ",
    opening=OPENING,
    closing=CLOSING,
    marker=lambda form: OPENING + CLOSING,
    read=_read,
    has_numbers=True,
    settled=_settled,
    sentence=_sentence,
    applies=_applies,
    swept=False,
)
