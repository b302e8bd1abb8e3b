"""Grid search, random search and one-factor-at-a-time: methods whose order is fixed from the start.

The order of `random` with a larger budget begins with that of a smaller one, so a raised budget only adds designs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sde_ray.search.base import Searcher, distance
from sde_ray.types import Design


class Grid(Searcher):
    """Grid search: every design once, in a random order, so that an interrupted grid is a fair sample of the space."""

    def __init__(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        reference_design: Design | None = None,
        points_to_evaluate: Sequence[Design] = (),
    ) -> None:
        super().__init__(designs, budget, seed, reference_design, points_to_evaluate)
        # Sorted first, so that the order depends on the designs and the seed only.
        order = sorted(self.designs)
        random.Random(seed).shuffle(order)
        self._unseen = dict.fromkeys(order)

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        return unseen[0]


class Random(Grid):
    """Random search: the first `budget` designs of the random order."""


class OneAtATime(Searcher):
    """One factor at a time (paper section 1.4): the reference design, then each that differs on exactly one axis.

    `points_to_evaluate` come before them, also such that differ on several.
    """

    def __init__(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        reference_design: Design | None = None,
        points_to_evaluate: Sequence[Design] = (),
    ) -> None:
        centre = reference_design or designs[0]
        near = [design for design in designs if distance(design, centre) == 1]
        near.sort(key=lambda design: first_difference(design, centre))  # axis by axis, options in the table's order
        order = [*(design for design in designs if design == centre), *near]
        points = [point for point in points_to_evaluate if point in designs]
        super().__init__(tuple(dict.fromkeys([*points, *order])), budget, seed, centre, points)

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        return unseen[0]


def first_difference(one: Design, other: Design) -> int:
    """Position of the first axis on which two designs differ."""
    pairs = zip(one.options, other.options, strict=True)
    return next(n for n, (a, b) in enumerate(pairs) if a != b)
