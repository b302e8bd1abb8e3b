"""Gold answers that stand as text in a chat's last message or a completion: JSON, `slot: value` lines, or a bare label.

    '{"product": "app", "urgency": "high"}'      -> {"product": "app", "urgency": "high"}
    'product: app\\nurgency: high'                -> {"product": "app", "urgency": "high"}
    '[{"type": "DNA", "text": "IL-2 gene"}]'     -> {"DNA": ["IL-2 gene"]}
    'spam'                                       -> "spam", the answer of a task with one slot

This reads what people have written for other tools, before anything is known of designs; `design/` reads completions.
JSON may stand in a Markdown fence; what a reasoning model thinks aloud (<think>...</think>) is the rationale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sde_ray.safe_json import read_json

SLOT_KEYS = ("slot", "aspect", "field", "category", "entity_type", "event_type", "type", "tag", "label")
VALUE_KEYS = ("value", "text", "span", "entity", "mention", "trigger", "word", "name", "sentiment", "polarity", "label")
"""What lists of objects call a slot and its value; the first name that an object has."""

_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.S)
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.S)
_LINE = re.compile(r"[-*•]?\s*([^:：]{1,80}?)\s*[:：]\s*(.*)")


def read_answer(text: str, slots: Sequence[str] = ()) -> Any:
    """The answer that a text gives: values by slot, or the value alone.

    Args:
        text: what the assistant or the completion says.
        slots: the task's, where they are known: a line then counts as `slot: value` if one of them begins it.

    Returns:
        A mapping by slot, a list, or a string where no slot is named. Values are as they stand: the caller checks them.
    """
    text = _unfenced(text)
    if text[:1] in ("{", "["):
        try:
            return _by_slot(read_json(text))
        except ValueError:
            pass  # it may still be `slot: value` lines, or a bare value that begins with a bracket
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = [_pair(line, slots) for line in lines]
    if pairs and all(pair is not None for pair in pairs) and _are_slots(pairs, slots):
        return _gathered([pair for pair in pairs if pair is not None])
    return text


def _unfenced(text: str) -> str:
    fenced = _FENCE.fullmatch(text.strip())
    return (fenced[1] if fenced else text).strip()


def fenced_json(text: str) -> Any:
    """The object or list that a text holds as JSON, perhaps in a Markdown fence; None where it holds none."""
    text = _unfenced(text)
    try:
        return read_json(text) if text[:1] in ("{", "[") else None
    except ValueError:
        return None


def split_thought(text: str) -> tuple[str, str]:
    """A reasoning model's message as its answer and its thought, which is empty where there is none."""
    thought = _THOUGHT.match(text)
    return (text[thought.end() :], thought[1].strip()) if thought else (text, "")


def _by_slot(value: Any) -> Any:
    """A list of objects such as {"type": "DNA", "text": "IL-2"} as values by slot; anything else as it is."""
    if isinstance(value, dict) and len(value) == 1:  # {"entities": [...]}
        (inner,) = value.values()
        if isinstance(inner, list) and inner and all(isinstance(one, dict) for one in inner):
            return _by_slot(inner)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        if any(_is_nested(inner) for one in value for inner in one.values()):
            return value  # records, which have more to say than a slot and a value
        pairs = [(_first(one, SLOT_KEYS), one) for one in value]
        if all(slot is not None and _first(one, VALUE_KEYS, slot) is not None for slot, one in pairs):
            return _gathered([(str(one[slot]), one[_first(one, VALUE_KEYS, slot)]) for slot, one in pairs])
    return value


def _is_nested(value: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict) for one in several)


def _first(fields: dict[str, Any], names: Sequence[str], other_than: str | None = None) -> str | None:
    return next((name for name in names if name in fields and name != other_than), None)


def _pair(line: str, slots: Sequence[str]) -> tuple[str, Any] | None:
    """Slot and value of a line; a slot of the task may hold a colon itself."""
    bare = line.lstrip("-*• ")
    for slot in sorted(slots, key=len, reverse=True):
        rest = bare[len(slot) :].lstrip()
        if bare.casefold().startswith(slot.casefold()) and rest[:1] in (":", "："):
            return slot, _value(rest[1:].strip())
    match = _LINE.fullmatch(line)
    return (match[1], _value(match[2].strip())) if match else None


def _are_slots(pairs: Sequence[tuple[str, Any] | None], slots: Sequence[str]) -> bool:
    """Whether lines with colons name slots: one of the task's at least; where these are unknown, two lines or more,
    or one whose first part is a word, as a sentence with a colon is no answer by slot."""
    names = [pair[0] for pair in pairs if pair is not None]
    if slots:
        return any(name in slots for name in names)
    return all(len(name.split()) <= 4 for name in names)


def _value(text: str) -> Any:
    """A value: a JSON list or a quoted string as such, anything else as it stands."""
    if text[:1] in ("[", '"'):
        try:
            return read_json(text)
        except ValueError:
            pass
    return text


def _gathered(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Values by slot; those of a slot that stands twice in one list."""
    by_slot: dict[str, Any] = {}
    for slot, value in pairs:
        if slot in by_slot:
            before = by_slot[slot] if isinstance(by_slot[slot], list) else [by_slot[slot]]
            by_slot[slot] = [*before, *(value if isinstance(value, list) else [value])]
        else:
            by_slot[slot] = value
    return by_slot
