"""Completions that another tool has written, line by line: in which of three forms they are, and their gold.

    {"target": "food: positive", "prediction": "food: negative"}        gold as a completion in the same design
    {"prompt": "...", "predict": "...", "label": "..."}                 LLaMA-Factory's generated_predictions.jsonl
    {"id": "d1-dev-17", "prediction": "food: negative"}                 gold is the task's own item of that id

A line keeps its number in the file, for messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.design.groups import join_completions
from sde_ray.errors import FaultList, UserError
from sde_ray.safe_json import read_json
from sde_ray.types import Example

EXPECTED = '{"target": "...", "prediction": "..."}'
PART = "#"  # before the number of a sample, where a design makes several of an item: "d1-17#2"
BY_ID = '{"id": "...", "prediction": "..."}'
NAMES = {"predict": "prediction", "label": "target", "completion": "prediction"}  # what other tools call them
MOST_FAULTS = 20  # that are shown: a file of another kind would fill the screen


@dataclass(frozen=True)
class CompletionLine:
    """A completion with its gold: an item's `id`, or else the `target`. `values`: all that the line holds."""

    number: int
    prediction: str
    target: str = ""
    id: str = ""
    values: Mapping[str, Any] | None = None


def read_completions(path: Path) -> list[CompletionLine]:
    """The lines of a file. Raises UserError that lists all broken ones, or when there is none."""
    faults, lines = FaultList(str(path)), []
    for number, text in enumerate(_read(path).split("\n"), 1):
        if text.strip():
            try:
                lines.append(_line(number, text))
            except ValueError as error:
                faults.add(str(error))
    del faults.faults[MOST_FAULTS:]
    faults.raise_if_any()
    if not lines:
        raise UserError(f"{path} is empty. It needs lines such as {EXPECTED} or {BY_ID}.")
    return lines


def _line(number: int, text: str) -> CompletionLine:
    try:
        values = read_json(text)
    except ValueError as error:
        raise ValueError(f"line {number} is no JSON: {getattr(error, 'msg', error)}.") from None
    values = values if isinstance(values, dict) else {}
    named = {**{NAMES[key]: value for key, value in values.items() if key in NAMES}, **values}
    target, id = named.get("target"), named.get("id")
    needed = ("prediction",) if isinstance(id, str) and target is None else ("target", "prediction")
    missing = [key for key in needed if not isinstance(named.get(key), str)]
    if missing:
        raise ValueError(f"line {number} has no text under {' and '.join(missing)}; expected {EXPECTED}, or {BY_ID}.")
    if target is not None:
        return CompletionLine(number, named["prediction"], target, values=named)
    return CompletionLine(number, named["prediction"], id=str(id), values=named)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Give a JSONL file, or a sweep's YAML or folder."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None


def join_parts(lines: list[CompletionLine], items: Collection[str], parts: int) -> list[CompletionLine]:
    """The lines with one completion an item, where a design asks an item in several `parts`.

    Raises UserError for lines without an id, which do not tell what they are of.
    """
    if parts == 1:
        return lines
    joined: dict[str, list[str]] = {}
    numbers: dict[str, int] = {}
    for line in lines:
        base, mark, number = line.id.rpartition(PART)
        if not (mark and base in items and number.isdecimal() and 1 <= int(number) <= parts):
            raise UserError(
                f"line {line.number} is no part of an item: the design asks each in {parts}. Give {BY_ID} with the ids "
                "of prompts.jsonl."
            )
        joined.setdefault(base, [""] * parts)[int(number) - 1] = line.prediction
        numbers.setdefault(base, line.number)
    return [CompletionLine(numbers[id], join_completions(texts), id=id) for id, texts in joined.items()]


def check_ids(path: Path, lines: Iterable[CompletionLine], items: Collection[str], where: str) -> None:
    """Raises UserError: for lines of items that are not there, or that stand twice."""
    faults, seen = FaultList(str(path)), set()
    for line in lines:
        if not line.id:
            continue
        if line.id not in items:
            faults.add(f'line {line.number}: {where} has no item "{line.id}". Is it another task or --split?')
        elif line.id in seen:
            faults.add(f'line {line.number}: the item "{line.id}" stands twice. Keep one completion an item.')
        seen.add(line.id)
    del faults.faults[MOST_FAULTS:]
    faults.raise_if_any()


def by_id(examples: Iterable[Example]) -> dict[str, Example]:
    """Items by their id."""
    return {example.id: example for example in examples}
