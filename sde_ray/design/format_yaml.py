"""The format `yaml`: the answer as a mapping in block style, as PyYAML's `safe_load` would read it.

    food: positive              DNA:                     food:                   reasoning=cot
    price: unmentioned          - IL-2 gene                reason: tasty soup
    stars: 4                    - kappa B site             sentiment: positive
                                RNA: []

A value is plain where YAML could take it for nothing but a string, else in double quotes; labels and free values that
are numbers stand bare. Absent slots say the placeholder (labels), `[]` (lists) or `null` (free values); an empty answer
is `{}`. The reader takes this part of YAML alone (with single quotes), and nothing that YAML would read otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on, finished_rows
from sde_ray.design.format_json import absent_value
from sde_ray.design.literals import NUMBER, STRING, is_number, read_string, write_string
from sde_ray.design.output_form import OutputForm
from sde_ray.types import Line, Task

WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
"""What YAML 1.1 reads as no string, in any case."""

_DOUBLE = re.compile(STRING)
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_LIST_ITEM = re.compile(r"(?: {2})?-(?: +(.*))?")
Rows = list[str]

# ---- write -----------------------------------------------------------------------------------------------------------


def _write_entry(line: Line, form: OutputForm) -> str:
    if not form.rationale_position or line.rationale is None:
        return _write_member(line.slot, line, form)
    value = _write_member(form.nouns.value, Line(line.slot, line.values), form)
    why = f"{_scalar(form.nouns.rationale)}: {_scalar(line.rationale)}"
    fields = [why, value] if form.rationale_position == "first" else [value, why]
    return f"{_scalar(line.slot)}:\n" + "\n".join(f"  {row}" for field in fields for row in field.split("\n"))


def _write_member(key: str, line: Line, form: OutputForm) -> str:
    if form.holds_list(line.slot) and line.values:
        return "\n".join([f"{_scalar(key)}:", *(f"- {_value(value, form)}" for value in line.values)])
    if line.values:
        return f"{_scalar(key)}: {_value(line.values[0], form)}"
    absent = absent_value(line.slot, form)
    word = _value(absent, form) if isinstance(absent, str) else "null" if absent is None else "[]"
    return f"{_scalar(key)}: {word}"


def _value(value: str, form: OutputForm) -> str:
    return value if is_number(value, form) else _scalar(value)


def _scalar(text: str) -> str:
    return text if _is_plain(text) else write_string(text)


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text without quotes as this string: a letter first, and no mark of a key or a comment."""
    marks = ": " in text or " #" in text or text.endswith(":")
    return (
        text[:1].isalpha() and text.isprintable() and text == text.strip() and not marks and text.lower() not in WORDS
    )


# ---- read ------------------------------------------------------------------------------------------------------------


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    if text.strip() == "{}":
        return (), ()
    return collect(_members(text), lambda member: _read_entry(member.split("\n"), form))


def _members(text: str) -> list[str]:
    """The members of the mapping: a row that begins neither with a blank nor with a dash, and those below it."""
    members: list[Rows] = []
    for row in (row.rstrip(" ") for row in text.strip().split("\n")):
        if not row:
            continue
        below = row.startswith((" ", "- ")) or row == "-"
        if below and members:
            members[-1].append(row)
        else:
            members.append([row])
    return ["\n".join(member) for member in members]


def _read_entry(member: Rows, form: OutputForm) -> Line:
    slot, rest = _key(member[0])
    below = member[1:]
    if rest or not below or not form.rationale_position or below[0].lstrip(" ").startswith("- "):
        return Line(slot, _read_values(slot, rest, below, form))
    fields = [(_key(row), rows) for row, rows in _fields(below)]
    names, nouns = [key for (key, _), _ in fields], form.nouns
    if len(set(names)) < len(names) or not {nouns.value} <= set(names) <= {nouns.value, nouns.rationale}:
        raise ValueError(f"not a mapping with the keys {nouns.rationale}, {nouns.value}")
    values: tuple[str, ...] = ()
    rationale = None
    for (key, value), rows in fields:
        if key == nouns.value:
            values = _read_values(slot, value, rows, form)
        elif rows or not value:
            raise ValueError(f"{nouns.rationale} is no text")
        else:
            rationale = _read_text(value)
    return Line(slot, values, rationale)


def _fields(below: Rows) -> list[tuple[str, Rows]]:
    """The members of a mapping that is indented by two blanks, each with the list below it."""
    fields: list[tuple[str, Rows]] = []
    for row in below:
        inner = row.removeprefix("  ")
        if inner == row or (inner.startswith(" ") and not fields):
            raise ValueError("not indented by two blanks")
        if inner.startswith((" ", "- ")) and fields:
            fields[-1][1].append(inner)
        else:
            fields.append((inner, []))
    return fields


def _key(row: str) -> tuple[str, str]:
    """The key of a row, and what stands behind its colon."""
    quoted = _DOUBLE.match(row) or _SINGLE.match(row)
    end = quoted.end() if quoted else min(n for n in (row.find(": "), len(row) - 1) if n >= 0)
    if row[end : end + 1] != ":" or row[end + 1 : end + 2] not in ("", " "):
        raise ValueError("no key before a colon")
    return _read_text(row[:end]), row[end + 1 :].strip(" ")


def _read_values(slot: str, rest: str, below: Rows, form: OutputForm) -> tuple[str, ...]:
    if form.holds_list(slot):
        items = [_LIST_ITEM.fullmatch(row) for row in below]
        if rest == "[]" and not below:
            return ()
        if rest or not below or not all(items) or len({len(row) - len(row.lstrip()) for row in below}) > 1:
            raise ValueError("no list of items behind dashes")
        return tuple(_read_value(item.group(1) or "", form) for item in items if item)
    absent = absent_value(slot, form)
    if below:
        raise ValueError("rows below a single value")
    if rest == "null" and absent is None:
        return ()
    value = _read_value(rest, form)
    return () if value == absent else (value,)


def _read_value(text: str, form: OutputForm) -> str:
    return text if form.kind != "span" and NUMBER.fullmatch(text) else _read_text(text)


def _read_text(text: str) -> str:
    """A scalar that is a string. Raises ValueError for any other."""
    if _DOUBLE.fullmatch(text):
        return read_string(text)
    if (single := _SINGLE.fullmatch(text)) and single.group(1).isprintable():
        return single.group(1).replace("''", "'")
    if not _is_plain(text):
        raise ValueError("neither a plain string nor a quoted one")
    return text


def _settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    """All members but the last are whole, once another has begun."""
    done = _members(finished_rows(text))[:-1]
    return covers_and_goes_on(*_read("\n".join(done), form), slots) if done else False


def _applies(task: Task) -> str:
    return "" if task.kind in ("label", "span", "free") else f"the answers of {task.name} are neither labels nor words"


YAML = FormatOption(
    label="YAML",
    entry=_write_entry,
    separator=lambda form: "\n",
    marker=lambda form: "{}",
    read=_read,
    has_numbers=True,
    settled=_settled,
    applies=_applies,
    swept=False,
)
