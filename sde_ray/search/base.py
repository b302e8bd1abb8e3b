"""What every search method is: a proposer of designs that never proposes one twice.

It knows nothing of seeds, training sizes or Ray: the sweep runs all trials of a proposed design and tells the mean
score. Scores may come late, in any order, or not at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sde_ray.types import Design


class Searcher(ABC):
    """Hands out designs until the budget or the space is used up; the same seed and scores give the same designs.

    `designs` are the valid ones, without repetition. `around` is the design to start from, for methods that do.
    """

    def __init__(
        self, designs: Sequence[Design], budget: int | None = None, seed: int = 0, around: Design | None = None
    ) -> None:
        assert len(set(designs)) == len(designs), "designs repeat"
        self.designs = tuple(designs)
        self.seed = seed
        self.around = around
        self._unseen = dict.fromkeys(self.designs)  # a set that keeps its order
        self._left = len(self.designs) if budget is None else min(budget, len(self.designs))

    def suggest(self) -> Design | None:
        """The next design to try, or None at the end."""
        if self._left <= 0 or not self._unseen:
            return None
        design = self._choose(tuple(self._unseen))
        self.claim(design)
        return design

    def claim(self, design: Design) -> None:
        """Count a design as proposed, such as one that an earlier run of the sweep has begun."""
        if design in self._unseen:
            del self._unseen[design]
            self._left -= 1

    def observe(self, design: Design, score: float | None) -> None:
        """Learn the mean score of a design; None where it has none. A design that was not proposed is claimed."""
        self.claim(design)

    @abstractmethod
    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        """One of the designs not proposed so far (at least one)."""


def distance(one: Design, other: Design) -> int:
    """On how many axes two designs of a space differ."""
    return sum(a != b for a, b in zip(one.options, other.options, strict=True))
