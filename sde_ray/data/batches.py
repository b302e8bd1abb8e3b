"""Batches of instances, several in one prompt: numbered texts, answers by number.

    batched([Example("a", "x", {"match": ("yes",)}), Example("b", "y", {"match": ("no",)})], 2)
    -> [Example("a+b", "1:\\nx\\n2:\\ny", {"1": ("yes",), "2": ("no",)})]

The slots of a batch are its numbers. Its last group may have fewer instances: numbers beyond them are absent slots.
A batch of 1 is the instance itself, to the character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sde_ray.data.sampling import shuffle
from sde_ray.types import Example

GROUP_SEED = 0
JOIN = "+"
Value = TypeVar("Value")
_HEADS = re.compile(r"^(\d{1,6}):$", re.MULTILINE)


def numbers(size: int) -> tuple[str, ...]:
    """The slots of a batch: "1" to the number of its instances."""
    return tuple(str(number) for number in range(1, size + 1))


def batched(examples: Sequence[Example], size: int) -> list[Example]:
    """Groups of `size` examples of one slot, drawn at random: the same for the same examples in any order."""
    if size == 1:
        return list(examples)
    drawn = shuffle(examples, GROUP_SEED)
    return [join_batch(drawn[start : start + size]) for start in range(0, len(drawn), size)]


def join_batch(examples: Sequence[Example]) -> Example:
    """One example of several: their texts below their numbers, their answers by number."""
    return Example(
        JOIN.join(example.id for example in examples),
        join_texts([example.text for example in examples]),
        _by_number([example.answer for example in examples]),
        _by_number([example.rationale for example in examples]),
        _by_number([example.aliases for example in examples]),
    )


def join_texts(texts: Sequence[str]) -> str:
    """Texts below their numbers; `split_texts` is the inverse, as no line of an instance is a bare number."""
    return "\n".join(f"{number}:\n{text}" for number, text in zip(numbers(len(texts)), texts, strict=True))


def split_texts(text: str) -> dict[str, str]:
    """The texts of a batch by their numbers; what is no batch gives none."""
    pieces = _HEADS.split(text)
    heads, bodies = pieces[1::2], pieces[2::2]
    return {head: body.strip("\n") for head, body in zip(heads, bodies, strict=True)}


def _by_number(by_slot: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """What single examples have for their one slot, by their number."""
    pairs = zip(numbers(len(by_slot)), by_slot, strict=True)
    return {number: value for number, own in pairs for value in own.values()}
