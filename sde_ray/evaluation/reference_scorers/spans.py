"""The published forms of GENIA and MAVEN, read by our rules: whole names, no text altered, every slip a fault.

    read_genia_es("'DNA': 'IL-2 gene'\\n'RNA': ''...", task)   -> Parsed({"DNA": ("IL-2 gene",)})
    read_maven_lines("Motion: flew, came\\nAttack: NONE", task) -> Parsed({"Motion": ("flew", "came")})

All readers are total. The forms are those of PAPER.md 1.6; what the published parsers made of them is in `genia.py` and
`maven.py`. Whether the published MAVEN forms always named all ten types is not known, so there no type is missed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sde_ray.design.base import rows
from sde_ray.evaluation.reference_scorers.literals import quoted_groups
from sde_ray.safe_json import read_json
from sde_ray.types import Fault, Parsed, Task

FormReader = Callable[[str, Task], Parsed]
Entry = tuple[str, tuple[str, ...]]
NONE = "NONE"
EMPTY = Parsed({}, (Fault("empty"),))
# The published targets were not escaped: a name may hold a bare quote, so the row's own frame decides.
_PAIR = re.compile(r'\[\s*"([^"]*)"\s*,\s*"(.*)"\s*\]')


def _parsed(
    task: Task, entries: Iterable[Entry], faults: Iterable[Fault], complete: bool = False, once: bool = True
) -> Parsed:
    """The answer that the entries state. `complete`: every slot must have one; `once`: no slot may have two."""
    values_by_slot: dict[str, list[str]] = {}
    all_faults = list(faults)
    for slot, values in entries:
        if slot not in task.slots:
            all_faults.append(Fault("unknown_slot", slot))
        elif slot in values_by_slot and once:
            all_faults.append(Fault("repeated_slot", slot))
        else:
            values_by_slot.setdefault(slot, []).extend(values)
    all_faults += [Fault("missing_slot", slot) for slot in task.slots if complete and slot not in values_by_slot]
    return Parsed({slot: tuple(values) for slot, values in values_by_slot.items() if values}, tuple(all_faults))


def _collected(pieces: Iterable[str], read_piece: Callable[[str], Entry]) -> tuple[list[Entry], list[Fault]]:
    entries, faults = [], []
    for piece in pieces:
        try:
            entries.append(read_piece(piece))
        except ValueError as error:
            faults.append(Fault("syntax", f"{str(error)[:100]}: {piece[:100]!r}"))
    return entries, faults


# ---- rows of ["type", "name"], of both data sets -----------------------------------------------------------------


def _pair(row: str) -> Entry:
    try:
        value: Any = read_json(row)
    except ValueError:
        framed = _PAIR.fullmatch(row)
        value = list(framed.groups()) if framed else None
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise ValueError("not a list of type and name")
    if not value[1].strip():
        raise ValueError("an empty name")
    return value[0], (value[1],)


def read_pairs(text: str, task: Task) -> Parsed:
    """`["protein", "IL-2"]` a row. No row at all says "none", as the published targets do, and so does `[]`."""
    if text.strip() == "[]":
        return Parsed({})
    return _parsed(task, *_collected(rows(text), _pair), once=False)


# ---- GENIA ---------------------------------------------------------------------------------------------------------


def read_genia_ew(text: str, task: Task) -> Parsed:
    """`'DNA': 'a', 'b'; 'protein': 'c'`. An empty text says that there is no entity."""
    groups, faults = quoted_groups(text)
    hollow = [Fault("unexpected_placeholder", slot) for slot, values in groups if not values]
    return _parsed(task, groups, [*faults, *hollow])


def read_genia_es(text: str, task: Task) -> Parsed:
    """Five rows, `'RNA': ''` where there is none."""
    if not text.strip():
        return EMPTY
    groups, faults = quoted_groups(text)
    return _parsed(task, groups, faults, complete=True)


# ---- MAVEN ---------------------------------------------------------------------------------------------------------


def _named(piece: str, name: Callable[[str], str], placeholder: bool) -> Entry:
    """`Motion: flew, came`, and `Motion: NONE` where the form has a placeholder."""
    slot, colon, triggers = (part.strip() for part in piece.partition(":"))
    values = tuple(value.strip() for value in triggers.split(","))
    if not colon or not all(values):
        raise ValueError("not a type and its triggers")
    if placeholder and values == (NONE,):
        values = ()
    return name(slot), values


def _plain_name(slot: str) -> str:
    return slot


def _named_pieces(
    pieces: Iterable[str], task: Task, name: Callable[[str], str] = _plain_name, placeholder: bool = True
) -> Parsed:
    entries, faults = _collected(pieces, lambda piece: _named(piece, name, placeholder))
    return _parsed(task, entries, faults)


def _between(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(";") if piece.strip()]


def read_maven_ou(text: str, task: Task) -> Parsed:
    """`Motion: flew, came; Attack: raided`. An empty text says that there is no event."""
    return _named_pieces(_between(text), task, placeholder=False)


def read_maven_lines(text: str, task: Task) -> Parsed:
    """`Motion: flew, came` a row."""
    return _named_pieces(rows(text), task) if text.strip() else EMPTY


def read_maven_numerical(text: str, task: Task) -> Parsed:
    """`6: flew, came; 1: NONE`, a type by its place in the published list."""
    names: Mapping[str, str] = {str(index): slot for index, slot in enumerate(task.slots)}
    return _named_pieces(_between(text), task, lambda slot: names.get(slot, slot)) if text.strip() else EMPTY


def read_maven_json(text: str, task: Task) -> Parsed:
    """`{"event_type": "Motion", "trigger word": ["flew", "came"]}` a row."""
    return _parsed(task, *_collected(rows(text), _object)) if text.strip() else EMPTY


def _object(row: str) -> Entry:
    fields = read_json(row)
    if not isinstance(fields, dict) or set(fields) != {"event_type", "trigger word"}:
        raise ValueError("not an object with event_type and trigger word")
    slot, triggers = fields["event_type"], fields["trigger word"]
    values = [triggers] if isinstance(triggers, str) else triggers
    if not isinstance(slot, str) or not isinstance(values, list):
        raise ValueError("not a type and its triggers")
    if not all(isinstance(value, str) and value.strip() for value in values):
        raise ValueError(f"triggers {json.dumps(values)[:60]}")
    return slot, tuple(value.strip() for value in values)
