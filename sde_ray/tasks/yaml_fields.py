"""Typed fields of a YAML mapping; what is wrong goes to a fault list, and reading continues.

YAML 1.1 turns the bare words yes, no, on and off into booleans and null into nothing: labels like these are refused
with the advice to quote them, as `True` would never match the word in the data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sde_ray.errors import FaultList, suggest

Section = Mapping[str, Any]
Name = TypeVar("Name", bound=str)
RENAMED: Mapping[str, str] = {
    "absent": "placeholder",
    "soft": "span_match",
    "why": "rationale",
    "why_first": "rationale_first",
    "why_last": "rationale_last",
}
"""Other names of a task's keys and words, and what they are called here."""


def hint(name: str, names: Sequence[str]) -> str:
    """Suggestion: what to write instead of an unknown name; an empty string where nothing is near."""
    instead = RENAMED.get(name)
    return f' Use "{instead}" instead.' if instead in names else suggest(name, names)


def check_keys(section: Section, keys: Sequence[str], required: Sequence[str], faults: FaultList) -> None:
    """Validate keys: unknown ones, with what to write instead, and missing ones are faults."""
    for key in section:
        if key not in keys:
            faults.add(f'unknown key "{key}".{hint(str(key), keys)} Known: {", ".join(keys)}.')
    for key in required:
        if section.get(key) in (None, "", [], {}):
            faults.add(f'the key "{key}" is missing.')


def choice(section: Section, key: str, names: Sequence[Name], faults: FaultList) -> Name:
    """Choice: one of `names`; the first where the key is missing."""
    value = section.get(key, names[0])
    for name in names:
        if value == name:
            return name
    faults.add(f'{key} is "{value}".{suggest(value, names)} Expected one of {", ".join(names)}.')
    return names[0]


def word(value: Any, what: str, faults: FaultList) -> str:
    """Word: a string, or a number written out."""
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(value)
    faults.add(f"{what}: {value!r} is no text. Put it in quotes (YAML reads a bare yes, no, on, off and null itself).")
    return str(value)


def text(section: Section, key: str, default: str, faults: FaultList) -> str:
    """Text under `key`, or the default."""
    return word(section[key], key, faults) if key in section else default


def words(section: Section, key: str, faults: FaultList) -> tuple[str, ...]:
    """List of different strings; a single one may stand alone."""
    return several_words(section.get(key, []), key, faults)


def several_words(value: Any, key: str, faults: FaultList) -> tuple[str, ...]:
    """List of different strings, or a single one; `key` names the place."""
    items = value if isinstance(value, list | tuple) else [value]
    texts = tuple(word(item, key, faults) for item in items)
    for twice in sorted(item for item, times in Counter(texts).items() if times > 1):
        faults.add(f'{key}: "{twice}" stands twice. Name it once.')
    return tuple(dict.fromkeys(texts))


def mapping(section: Section, key: str, names: Sequence[str], faults: FaultList) -> dict[str, str]:
    """Mapping from some of `names` to strings."""
    value = section.get(key, {})
    if not isinstance(value, Mapping):
        faults.add(f"{key} is {value!r}, expected a mapping.")
        return {}
    for name in value:
        if str(name) not in names:
            faults.add(f'{key} names "{name}".{hint(str(name), names)} Known: {", ".join(names)}.')
    return {str(name): word(item, f"{key}.{name}", faults) for name, item in value.items() if str(name) in names}
