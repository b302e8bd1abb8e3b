"""General set: plain texts that no task is about, scored before and after training, to see what a model forgets.

    items = open_general_set("bundled")                 60 passages, 40 sentences with their right ending and wrong ones
    forgetting(items, before, after)                    {"bits_per_byte": 1.92, "base_bits_per_byte": 1.85, ...}

A file of one's own is JSONL: {"text": "A passage."}, or {"text": "The sun rises in the", "right": "east.",
"wrong": ["soup."]}. A passage is measured in bits per byte (its surprise, whatever the tokenizer), a sentence by
whether its right ending is the likeliest, byte by byte. A loss is no accuracy: less is better, and 0.1 of it is much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sde_ray.errors import FaultList, UserError
from sde_ray.safe_json import read_json, stream_hash

BUNDLED = "bundled"
FILE = Path(__file__).with_name("general_set.jsonl")
LEAST = 5  # passages: the interval is over them
MOST_BYTES = 2**20


@dataclass(frozen=True)
class GeneralItem:
    """A passage; or the beginning of a sentence with its right ending and wrong ones."""

    text: str
    right: str = ""
    wrong: tuple[str, ...] = ()

    @property
    def endings(self) -> tuple[str, ...]:
        """What may follow the text, the right ending first; none: it is a passage."""
        return (self.right, *self.wrong) if self.right else ()


def general_set_name(path: str | None) -> str:
    """What a trial's configuration calls its set: `bundled`, or a path with the hash of the file. Raises UserError."""
    if path is None:
        return BUNDLED
    open_general_set(name := f"{path}@{stream_hash([_content(path)])}")
    return name


@lru_cache(maxsize=4)
def open_general_set(name: str) -> tuple[GeneralItem, ...]:
    """The items of a set by its name. Raises UserError where it cannot be read, or has changed since."""
    path, _, digest = (str(FILE), "", "") if name == BUNDLED else name.rpartition("@")
    content = _content(path)
    if digest and stream_hash([content]) != digest:
        raise UserError(f"general.path: {path} has changed since the sweep was planned. Start the sweep again.")
    faults = FaultList(f"general.path: {path}")
    items: list[GeneralItem] = []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                items.append(_item(read_json(line)))
            except ValueError as error:
                faults.add(f"line {number}: {error}")
    faults.raise_if_any()
    if sum(not item.endings for item in items) < LEAST:
        faults.add(f'it has fewer than {LEAST} passages, rows such as {{"text": "..."}} without "right".')
    faults.raise_if_any()
    return tuple(items)


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"general.path: {path} cannot be read: {error.strerror}. Give a JSONL file.") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"general.path: {path} has more than {MOST_BYTES} bytes. Each trial reads it: take less.")
    return content


def _item(row: Any) -> GeneralItem:
    """Raises ValueError for what is no item."""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or len(row["text"].strip()) < 2:
        raise ValueError('not a row such as {"text": "A passage."}')
    unknown = sorted(set(row) - {"text", "right", "wrong"})
    right, wrong = row.get("right", ""), row.get("wrong", [])
    texts = isinstance(wrong, list) and all(isinstance(one, str) and one.strip() for one in [*wrong, right or "x"])
    if unknown or not texts or bool(right) != bool(wrong) or not isinstance(right, str):
        raise ValueError('a row has "text" alone, or "text", "right": "..." and "wrong": ["...", ...]')
    return GeneralItem(row["text"], right, tuple(wrong))


def forgetting(items: Sequence[GeneralItem], before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """What training has done to the set.

    Args:
        items: of the set.
        before: of each item its value by the base model: bits per byte of a passage, 1 or 0 for a right ending.
        after: the same by the trained one.

    Returns:
        bits_per_byte and base_bits_per_byte, means over the passages; difference and standard_error, paired by passage;
        right_endings and base_right_endings, shares of the sentences, where the set has some.
    """
    pairs = [(b, a) for item, b, a in zip(items, before, after, strict=True) if not item.endings]
    endings = [(b, a) for item, b, a in zip(items, before, after, strict=True) if item.endings]
    differences = [a - b for b, a in pairs]
    values = {
        "bits_per_byte": fmean(a for _, a in pairs),
        "base_bits_per_byte": fmean(b for b, _ in pairs),
        "difference": fmean(differences),
        "standard_error": stdev(differences) / len(differences) ** 0.5,
    }
    if endings:
        values["right_endings"] = fmean(a for _, a in endings)
        values["base_right_endings"] = fmean(b for b, _ in endings)
    return values


def has_forgetting(general: Mapping[str, float]) -> bool:
    """Whether a result's values are whole."""
    return {"bits_per_byte", "base_bits_per_byte", "difference", "standard_error"} <= set(general)
