"""Searcher, the base class of search methods: it suggests designs and observes their scores, never one design twice.

It knows nothing of seeds, training sizes or Ray: the sweep runs all trials of a suggested design and reports the mean
score. Scores may come late, in any order, or not at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sde_ray.types import Design


class Searcher(ABC):
    """Search method that suggests designs until the budget or the space is used up.

    The same seed and scores give the same designs. A method of one's own implements `_choose`, and `observe` if it
    learns from scores; `sde_ray.testing` has the tests that every method passes.

    Args:
        designs: the valid designs, without repetition.
        budget: the most designs to suggest; None: all.
        seed: of everything random.
        reference_design: the design to start from, for methods that do.
        points_to_evaluate: designs to suggest before all others, each once, within the budget; those that are not
            valid are ignored. Ray Tune's searchers have the same argument.
    """

    def __init__(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        reference_design: Design | None = None,
        points_to_evaluate: Sequence[Design] = (),
    ) -> None:
        assert len(set(designs)) == len(designs), "designs repeat"
        self.designs = tuple(designs)
        self.seed = seed
        self.reference_design = reference_design
        self.points_to_evaluate = tuple(points_to_evaluate)
        self._unseen = dict.fromkeys(self.designs)  # a set that keeps its order
        self._remaining = len(self.designs) if budget is None else min(budget, len(self.designs))

    def suggest(self) -> Design | None:
        """Next design to try; None when the budget or the space is used up."""
        if self._remaining <= 0 or not self._unseen:
            return None
        design = next((point for point in self.points_to_evaluate if point in self._unseen), None)
        if design is None:
            design = self._choose(tuple(self._unseen))
        self.mark_used(design)
        return design

    def mark_used(self, design: Design) -> None:
        """Count a design as suggested, such as one that an earlier run of the sweep has started."""
        if design in self._unseen:
            del self._unseen[design]
            self._remaining -= 1

    def observe(self, design: Design, score: float | None) -> None:
        """Observe the mean score of a design; None where it has none. Also of a design that was not suggested here."""
        self.mark_used(design)

    @abstractmethod
    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        """Choose one of the designs that were not suggested so far (at least one)."""


def distance(one: Design, other: Design) -> int:
    """Hamming distance: on how many axes two designs of a space differ."""
    return sum(a != b for a, b in zip(one.options, other.options, strict=True))
