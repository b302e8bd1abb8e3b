"""JSONL rows: a line of a file as a row with a text, and the row that is written for it.

    {"id": 7, "text": "Great food!"}   ->  InputRow(number=1, fields={"id": 7, "text": ...}, text="Great food!")
    with its answer                    ->  {"id": 7, "text": "Great food!", "answer": {"food": ["positive"]}, ...}
    {"id": 8                           ->  {"line": 2, "error": "The line is not JSON: ..."}

A row keeps its own fields. One that has the name of a part of the answer, as `answer` in a file of gold answers, is
kept as `input_answer`. A line that cannot be read becomes a row with `error` and stops nothing. Lines are read one by
one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from sde_ray.safe_json import read_json

MAX_LINE = 16 * 2**20  # bytes; a longer line is skipped, and never in memory as a whole
RESULT_FIELDS = ("answer", "completion", "faults", "error", "retries", "truncated_tokens", "line")
PREFIX = "input_"


@dataclass(frozen=True)
class InputRow:
    """A line of the input. `fields`: its own, as they are written again; `error`: why it has no text, else empty."""

    number: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    text: Any = None
    error: str = ""


def read_rows(file: BinaryIO, text_key: str = "text") -> Iterator[InputRow]:
    """The rows of a JSONL file, one at a time; blank lines are none. `text_key`: which field is the text."""
    for number, line in enumerate(_lines(file), 1):
        if line is None:
            yield InputRow(number, error=f"The line is longer than {MAX_LINE} bytes.")
        elif line.strip():
            yield _row(number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, text_key)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Lines as bytes; None for one that is too long."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None


def _row(number: int, line: bytes, text_key: str) -> InputRow:
    try:
        value = read_json(line)
    except UnicodeDecodeError:
        return InputRow(number, error="The line is not UTF-8.")
    except ValueError as error:
        return InputRow(number, error=f"The line is not JSON: {error}.")
    if not isinstance(value, dict):
        return InputRow(number, error=f'The line is not an object such as {{"{text_key}": "..."}}.')
    fields = _with_null(value)
    if text_key not in value:
        return InputRow(number, fields, error=f'The row has no field "{text_key}". --text-key names another one.')
    return InputRow(number, fields, value[text_key])


def _with_null(value: Any) -> Any:
    """The value with null for NaN and infinities, which JSON has not; pandas writes NaN where nothing is."""
    if isinstance(value, dict):
        return {key: _with_null(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_null(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def own_fields(row: InputRow) -> dict[str, Any]:
    """A row's own fields under the names that they have in the output; the line's number where it has none."""
    if not row.fields:
        return {"line": row.number}
    kept: dict[str, Any] = {}
    for name, value in row.fields.items():
        while name in RESULT_FIELDS or name in kept:
            name = PREFIX + name
        kept[name] = value
    return kept


def output_row(row: InputRow, result: Mapping[str, Any]) -> dict[str, Any]:
    """The row that is written: its own fields, and what it was answered (a row of `answer_rows`)."""
    return {**own_fields(row), **{name: value for name, value in result.items() if name != "text"}}


def output_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
