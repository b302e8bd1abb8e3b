"""Repeated looks at the test split: which one a final comparison is, and the level at which it may claim.

    look = next_look(trials, earlier)     the same trials: the look that they were; others: one more
    look.level                            0.05, then 0.025, 0.0125, ...

Whoever adds seeds until a comparison turns out well finds a winner where there is none (optional stopping). So each
look has a level of its own (alpha spending by a fixed sequence): look k has `ALPHA` / 2^(k - 1), two-sided. A false
"better" takes one of the two sides, so over any number of looks its probability is at most 2.5% + 1.25% + ... = 5%. A
look is told by its planned trials: to repeat trials that failed, or to write the verdict again, is not a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sde_ray.config.trial import TrialConfig

ALPHA = 0.05  # two-sided level of the first look


@dataclass(frozen=True)
class Look:
    """One look at the test split: its number from 1, the training seeds, and a digest of the planned trials."""

    number: int
    seeds: tuple[int, ...]
    trials: str

    @property
    def level(self) -> float:
        """The two-sided level of a family of claims at this look."""
        return float(ALPHA / 2 ** (self.number - 1))


def next_look(trials: Mapping[str, Sequence[TrialConfig]], earlier: Sequence[Look] = ()) -> Look:
    """The look that these trials are: an earlier one where they are the same, else the one after all earlier ones."""
    planned = {trial.key: trial.seed for contender in trials.values() for trial in contender}
    digest = hashlib.sha256("\n".join(sorted(planned)).encode()).hexdigest()[:16]
    for look in earlier:
        if look.trials == digest:
            return look
    return Look(max((look.number for look in earlier), default=0) + 1, tuple(sorted(set(planned.values()))), digest)
