"""Safe JSON: reads what others have written (a model, a server, an editor, a dead process); hashes JSON values.

read_json('{"a": [1]}')     -> {"a": [1]}
read_json("[" * 10**6)      ValueError, like everything that is no JSON, or none that can be used and stored again
content_hash({"a": [1]})    -> "2147dbdb56c4868b": the same for equal values in any process, on any day
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 100  # levels of lists and mappings; more would end in a RecursionError wherever the value is used
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str | bytes) -> Any:
    """Parse JSON; ValueError for anything that is none, however deep, long or undecodable.

    Half a surrogate pair is refused, too: it is legal JSON, but no tokenizer and no file could take it.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    return _parse(text)


class JsonNumber(str):
    """A number as JSON spells it: `1.50` stays `1.50`."""


class JsonObject(tuple[tuple[str, Any], ...]):
    """The members of a JSON object in their order; a key that stands twice is there twice."""


def read_json_exactly(text: str) -> Any:
    """Parse JSON without losing anything of it: the order, keys that stand twice, how numbers are spelt.

    Objects are `JsonObject`, numbers `JsonNumber`. Raises ValueError as `read_json`.
    """
    return _parse(
        text, object_pairs_hook=JsonObject, parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=_refuse
    )


def read_json_object(text: str) -> JsonObject:
    """Parse one JSON object, exactly. Raises ValueError as `read_json`, and for what is no object."""
    value = read_json_exactly(text)
    if not isinstance(value, JsonObject):
        raise ValueError("not a JSON object")
    return value


def write_json_exactly(value: Any) -> str:
    """JSON text of what `read_json_exactly` gives, and of plain JSON values; no deeper than `MAX_DEPTH`."""
    if isinstance(value, JsonNumber):
        return str(value)
    if isinstance(value, JsonObject | dict):
        pairs = value.items() if isinstance(value, dict) else value
        return "{" + ", ".join(f"{_quoted(key)}: {write_json_exactly(inner)}" for key, inner in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(write_json_exactly, value)) + "]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _parse(text: str, **hooks: Any) -> Any:
    try:
        value = json.loads(text, **hooks)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if _HALF.search(text) or not _is_text(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"half a surrogate pair, {error.object[error.start]!r}") from None
    return value


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _depth(value: Any) -> int:
    """Nesting depth of lists and mappings, the pairs of a `JsonObject` included; computed without recursion."""
    depth, level = 0, [value]
    while level:
        level = [
            inner
            for one in level
            if isinstance(one, list | dict | tuple)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        depth += 1
    return depth


def content_hash(value: Any) -> str:
    """sha256 of plain JSON values, 16 hex digits; the order of a mapping's keys does not matter."""
    return stream_hash([json.dumps(value, sort_keys=True, ensure_ascii=False)])


def stream_hash(parts: Iterable[str | bytes]) -> str:
    """sha256 of texts (as UTF-8) and bytes one after another, 16 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
    return digest.hexdigest()[:16]
