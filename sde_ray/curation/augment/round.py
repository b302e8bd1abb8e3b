"""A round of augmentation: what every scheme's round begins with, and where it counts what it drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.config.curation import Augment as Settings
from sde_ray.curation.augment.teacher import Teacher
from sde_ray.curation.augment.written import example_of
from sde_ray.types import Example

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation


class Round:
    """One round of a scheme.

    Args:
        seeds: the trial's own examples.
        written: what the rounds before have written, as plain values; `written` has them as examples.
        number: of the round, from 0.
        settings: of the axis.
        preparation: the trial's.
        teacher: who writes.

    `dropped` counts replies that are not used, by reason.
    """

    def __init__(
        self,
        seeds: Sequence[Example],
        written: Sequence[dict[str, Any]],
        number: int,
        settings: Settings,
        preparation: Preparation,
        teacher: Teacher,
    ) -> None:
        self.seeds, self.number, self.settings = seeds, number, settings
        self.preparation, self.teacher, self.task = preparation, teacher, preparation.task
        self.written = [example_of(one) for one in written]
        self.seed = preparation.config.seed * 1000 + number  # of what is sampled in this round
        self.dropped: Counter[str] = Counter()

    def clear_adapter(self) -> None:
        """A fresh adapter, untrained: the teacher may be the base, which needs one to switch off."""
        self.preparation.fit(self.preparation.render(self.seeds), steps=0)
