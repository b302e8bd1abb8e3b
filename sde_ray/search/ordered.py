"""Methods whose order is fixed from the start: all designs, some at random, or one axis at a time.

The order of `random` with a larger budget begins with that of a smaller one, so a raised budget only adds designs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sde_ray.search.base import Searcher, distance
from sde_ray.types import Design


class Grid(Searcher):
    """Every design once, in a random order: an interrupted grid is a fair sample of the space."""

    def __init__(
        self, designs: Sequence[Design], budget: int | None = None, seed: int = 0, around: Design | None = None
    ) -> None:
        super().__init__(designs, budget, seed, around)
        # Sorted first, so that the order depends on the designs and the seed only.
        order = sorted(self.designs)
        random.Random(seed).shuffle(order)
        self._unseen = dict.fromkeys(order)

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        return unseen[0]


class Random(Grid):
    """The first `budget` designs of the random order."""


class OneAtATime(Searcher):
    """The paper's protocol (section 1.4): the design `around`, then each that differs from it on exactly one axis."""

    def __init__(
        self, designs: Sequence[Design], budget: int | None = None, seed: int = 0, around: Design | None = None
    ) -> None:
        around = around or designs[0]
        near = [design for design in designs if distance(design, around) == 1]
        near.sort(key=lambda design: first_difference(design, around))  # axis by axis, options in the table's order
        super().__init__([design for design in designs if design == around] + near, budget, seed, around)

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        return unseen[0]


def first_difference(one: Design, other: Design) -> int:
    """The position of the first axis on which two designs differ."""
    pairs = zip(one.options, other.options, strict=True)
    return next(n for n, (a, b) in enumerate(pairs) if a != b)
