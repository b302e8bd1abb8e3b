"""Facts by memory level: a trial learns only what the untuned model knows to that degree (`memory_level: [0, 1, 2]`).

0 ... 4     facts of one level, D0 to D4
mixed       as many of each level, in the plain random order
divided     the same facts as mixed, one level after another in each pass, the best known first
any         neutral: the plain draw, whatever the levels

The draw is equal by relation: one fact of each relation in turn, in the order that the trial's seed decides. So a
smaller draw is part of a larger, and all levels have the same numbers of each relation as long as they hold that many;
a relation that is used up leaves its turns to the others (PAPER.md 2.5). Only training facts that `sde-ray memory` has
measured can be drawn. The papers do not say what their mixed and divided sets are; these are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

from sde_ray.config.memory_file import read_levels, read_model
from sde_ray.curation.memory.levels import LEVELS
from sde_ray.data.facts import by_relation, relation_of
from sde_ray.errors import UserError
from sde_ray.tasks.trial_task import trial_examples
from sde_ray.training.curation import Method
from sde_ray.types import Example

if TYPE_CHECKING:
    from sde_ray.models.tokenization import TokenizedSample
    from sde_ray.training.batching import Step
    from sde_ray.training.preparation import Preparation

MIXED, DIVIDED = "mixed", "divided"


class MemoryLevel(Method):
    """Training facts of one memory level, or of all equally; `value` is the option's name."""

    def faults(self) -> Iterable[str]:
        try:
            facts = self._facts(trial_examples(self.config.task, "train", self.config.definition))
            measured_on = read_model(self.settings.levels)
        except UserError as error:
            yield str(error)
            return
        if measured_on != self.config.model:
            yield (
                f"The memory levels in {self.settings.levels} are of {measured_on}, the trial trains "
                f"{self.config.model}: levels are a model's own. Measure them: sde-ray memory SWEEP.yaml."
            )
        counts = Counter(self._levels[fact.id] for fact in facts)
        named = f"memory_level={self.value} of {self.config.model}"
        if not facts:
            yield (
                f"{named} has no training fact: of {sum(counts.values()) or len(self._levels)} measured ones not one "
                "is of this level. Leave the level out, or measure more facts: sde-ray memory SWEEP.yaml --limit N."
            )
        elif len(facts) < self._count(facts):
            yield (
                f"{named} has {len(facts)} training facts, but train_sizes asks for {self.config.train_size}. Lower "
                "it, leave the level out, or measure more facts: sde-ray memory SWEEP.yaml --limit N."
            )

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        facts = self._facts(preparation.pool())
        drawn = self._draw(facts, self._count(facts))
        if len(drawn) < self._count(facts):
            raise UserError(
                f"memory_level={self.value} has {len(drawn)} training facts, {self.config.train_size} were asked for."
            )
        for level, count in Counter(self._levels[one.id] for one in drawn).items():
            preparation.count(f"D{level}", count)
        preparation.count("relations", len({relation_of(one.id) for one in drawn}))
        self.prepared = [self._levels[one.id] for one in drawn]
        return drawn

    def steps(self, steps: list[Step], samples: Sequence[TokenizedSample]) -> list[Step]:
        """Of `divided`, in each pass the best known level first; within a level in the plain order."""
        if self.value != DIVIDED:
            return steps
        order = [index for step in steps for index in step]
        passes = [order[start : start + len(samples)] for start in range(0, len(order), len(samples))]
        sorted_order = [index for part in passes for index in sorted(part, key=lambda n: -self.prepared[n])]
        following = iter(sorted_order)
        return [tuple(next(following) for _ in step) for step in steps]

    @cached_property
    def _levels(self) -> Mapping[str, int]:
        return read_levels(self.settings.levels, self.settings.rule)

    def _facts(self, pool: Sequence[Example]) -> list[Example]:
        """The examples of the pool that are measured, and of this level."""
        measured = [one for one in pool if one.id in self._levels]
        if self.value in (MIXED, DIVIDED):
            return measured
        return [one for one in measured if self._levels[one.id] == int(self.value)]

    def _count(self, facts: Sequence[Example]) -> int:
        """How many facts are drawn: as configured, or all of the level where the trial takes all examples."""
        everything = len(trial_examples(self.config.task, "train", self.config.definition))
        return len(facts) if self.config.train_size >= everything else self.config.train_size

    def _draw(self, facts: Sequence[Example], count: int) -> list[Example]:
        """The first facts of a fixed order: levels in turn, and in each level relations in turn."""
        of_levels = [[one for one in facts if self._levels[one.id] == level] for level in LEVELS]
        return in_turn([in_turn(by_relation(some, self.config.seed).values()) for some in of_levels if some])[:count]


def in_turn(groups: Iterable[Sequence[Example]]) -> list[Example]:
    """One example of each group in turn; a group that is used up is passed over."""

    def rounds() -> Iterator[Example | None]:
        for round_ in zip_longest(*groups):
            yield from round_

    return [one for one in rounds() if one is not None]
