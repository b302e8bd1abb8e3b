"""How far the trials of a block are: those of one design and seed at every nuisance value, which a search takes as one.

block = BlockProgress(request, {"5f0c...", "a921..."})
block.end(result, {0: 0.41, 1: 0.52})          scores by rung, as each trial ends
block.ended, block.means()                     True, {0: 0.44, 1: 0.55}: the means at rungs that all have reached
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from sde_ray.search.adaptive.request import TrialRequest
from sde_ray.types import TrialResult


@dataclass
class BlockProgress:
    """Progress of a block; `waiting` has the keys of the trials that have not ended."""

    request: TrialRequest
    waiting: set[str]
    failed: bool = False
    scores: list[Mapping[int, float]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether all trials have."""
        return not self.waiting

    def end(self, result: TrialResult, scores: Mapping[int, float]) -> None:
        """A trial has ended with these scores by rung; without any it has failed, and the block with it."""
        self.waiting.discard(result.key)
        self.failed |= result.status == "failed" or not scores
        self.scores.append(scores)

    def means(self) -> dict[int, float]:
        """Mean score over the values by rung, ascending; none of a block that has failed."""
        if self.failed or not self.scores:
            return {}
        common = set.intersection(*(set(scores) for scores in self.scores))
        return {rung: fmean(scores[rung] for scores in self.scores) for rung in sorted(common)}
