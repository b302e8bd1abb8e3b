"""Pairs of data and training axes that no trial can have, since one would undo the other; the plan refuses them.

    list(undone({"memory_level": "divided", "mixup": "0.2"}))    -> ["memory_level=divided and mixup do not ..."]

Methods act in the order of the tables of axes, those of the data before those of the training: `filter` narrows the
pool, `memory_level` or `balance` draws from it, `augment` adds, `mix` replaces; then `repeat` takes the first part,
`mixup` pairs, `federated` splits among clients. So a pair that is not listed here is what its two options say, one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class _Pair(NamedTuple):
    """Two axes, the first one with an option or with any (""), and in words what one does to the other."""

    axis: str
    option: str
    other: str
    why: str


PAIRS = (
    _Pair("memory_level", "divided", "augment", "facts come level by level, and what a teacher writes has no level"),
    _Pair("memory_level", "divided", "mix", "facts come level by level, and samples of another task have no level"),
    _Pair("memory_level", "divided", "repeat", "facts come level by level, and repeat orders its passes anew"),
    _Pair("memory_level", "divided", "mixup", "facts come level by level, and mixup pairs them in an order of its own"),
    _Pair("memory_level", "divided", "federated", "facts come level by level, and each client has an order of its own"),
    _Pair("augment", "", "mix", "written examples stand at the end, which is what mix replaces"),
    _Pair("augment", "", "repeat", "written examples stand at the end, and repeat keeps the beginning"),
    _Pair("mixup", "", "federated", "pairs are made of all samples, and clients share none"),
)


def undone(curated: Mapping[str, str]) -> Iterator[str]:
    """Why a trial cannot have these options together, in sentences; `curated`: option by axis, without neutral ones."""
    for axis, option, other, why in PAIRS:
        if other in curated and axis in curated and option in ("", curated[axis]):
            yield (
                f"{axis}{f'={option}' if option else ''} and {other} do not go together: {why}. Sweep one of them, or "
                "list whole designs that have one each (designs: [...])."
            )
