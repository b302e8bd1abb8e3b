"""Literals that YAML and Python spell alike: strings in double quotes, and numbers; names made of slots.

write_string('say "hi"\\n')  ->  "say \\"hi\\"\\n"          read_string is its inverse
is_number("4.0", form)      ->  True: written without quotes, and read with the same spelling
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from sde_ray.design.output_form import OutputForm

NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,20})(?:\.\d{1,20})?", re.ASCII)
"""What is written as a number; others that JSON knows (1e400) are kept as strings."""

STRING = r'"(?:[^"\\\n]|\\[^\n])*"'
"""Pattern of a string in double quotes, on one line."""

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LONG = {escape[1]: character for character, escape in _SHORT.items()} | {"'": "'"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)


def write_string(text: str) -> str:
    """A string in double quotes; what cannot be printed is escaped."""
    return '"' + "".join(_SHORT.get(c) or (c if c.isprintable() else _by_number(ord(c))) for c in text) + '"'


def _by_number(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def read_string(quoted: str) -> str:
    """The text of what matches `STRING`. Raises ValueError for an escape that either language lacks."""
    return _ESCAPE.sub(_character, quoted[1:-1])


def _character(escape: re.Match[str]) -> str:
    digits = escape.group(1) or escape.group(2) or escape.group(3)
    if digits is None:
        if escape.group(4) not in _LONG:
            raise ValueError(f"{escape.group()!r} is no escape")
        return _LONG[escape.group(4)]
    number = int(digits, 16)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:  # half a surrogate pair could not be stored
        raise ValueError(f"{escape.group()!r} is no character")
    return chr(number)


def is_number(value: str, form: OutputForm) -> bool:
    """Whether a value stands without quotes: a number, or the noun that stands for one in a schematic."""
    # A span is a piece of the text, whatever it looks like.
    return value in form.number_nouns or (form.kind != "span" and NUMBER.fullmatch(value) is not None)


def distinct_names(names: Mapping[str, str], is_name: Callable[[str], bool], noun: str) -> dict[str, str]:
    """A name for each slot, those proposed where they are names and distinct, else its place: `slot3`."""
    times = Counter(names.values())
    numbered = re.compile(rf"{noun}\d+")
    return {
        slot: name if times[name] == 1 and is_name(name) and not numbered.fullmatch(name) else f"{noun}{place}"
        for place, (slot, name) in enumerate(names.items(), 1)
    }
