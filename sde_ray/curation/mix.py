"""Mixing: a share of the samples is of another task, in that task's own prompt (`mix: [0, 0.25, 0.5]`).

    mix=0.25 of 80 samples     the first 60 of the plain draw, and 20 of the other task

Whether a little of other work helps is asked of code in 2405.20535; here of any task or data set, `curation.mix.task`.
Draws are nested: for p < q the own part at q is the beginning of that at p, and the other part at p the beginning of
that at q. Samples of another task are longer or shorter, so equal samples are not equal tokens: `equal: tokens` shares
out the tokens of the plain draw instead, each part up to the sample that comes nearest. Both totals are counted either
way. Trials are scored on the sweep's task alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from sde_ray.data import draw
from sde_ray.design.render import render_sample
from sde_ray.design.space import design_for
from sde_ray.errors import UserError
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.training.curation import Method
from sde_ray.types import Example, Sample, Task

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation

Parts = tuple[Sequence[Sample], Sequence[Sample]]  # the own ones and those mixed in


class Mix(Method):
    """Samples of another task in place of a share of the trial's own; `value` is the share."""

    def faults(self) -> Iterable[str]:
        if not self.settings.task:
            yield (
                "mix has no source. Set curation.mix.task to another task, such as masa:d2, or to one on data of your "
                "own, such as mams@data/MAMS."
            )
            return
        other = trial_task(self.settings.task)
        if other.name == self.config.task:
            yield (
                f"curation.mix.task is {other.name}, the sweep's own task: there is nothing to mix. Name another one, "
                "or raise train_sizes."
            )
            return
        wanted, size = round(self.value * self.config.train_size), self.config.train_size
        available = len(other.load("train"))
        if not wanted:
            yield f"mix={self.value:g} of {size} samples mixes in none. Set mix to {1 / size:.2g} or more."
        elif not available or (self.settings.equal == "samples" and wanted > available):
            yield self._too_few(f"{wanted} samples", other, available)
        yield from self._leaks(other)

    def _leaks(self, other: Task) -> Iterable[str]:
        """What would be trained on and scored, too. The test split is only looked through."""
        own, name = self.config, self.config.task
        scored = {one.text.strip() for split in ("dev", "test") for one in trial_examples(name, split, own.definition)}
        leaked = sum(one.text.strip() in scored for one in other.load("train"))
        if leaked:
            yield (
                f"{leaked} train texts of {other.name} are items of {name}'s dev or test split, so trials would learn "
                "what they are scored on. Mix in another task, or take these texts out of its train split."
            )

    def notes(self) -> Iterable[str]:
        other, own = trial_task(self.settings.task), trial_task(self.config.task, self.config.definition)
        words = f"mix: {self.settings.equal} of {other.name} in place of {own.name}'s, in prompts of their own"
        if other.kind != own.kind or other.language != own.language:
            words += f" (answers of another kind: {other.kind}, {other.language}; here {own.kind}, {own.language})"
        fitted = design_for(other, self.config.design)
        changed = sorted(set(fitted.options) - set(self.config.design.options))
        yield words
        if changed:
            options = ", ".join(f"{axis}={option}" for axis, option in changed)
            yield f"mix: {other.name} cannot have every option of every design; its samples then have {options}"

    def samples(self, samples: Sequence[Sample], preparation: Preparation) -> Sequence[Sample]:
        task, pool = preparation.pool_of(self.settings.task)
        order = draw(pool, len(pool), self.config.seed)
        by_tokens = self.settings.equal == "tokens"
        own, mixed = (self._by_tokens if by_tokens else self._by_samples)(samples, task, order, preparation)
        for name, part in (("own", own), ("mixed", mixed)):
            preparation.count(f"{name}_samples", len(part))
            preparation.count(f"{name}_tokens", sum(preparation.count_tokens(part)) if part else 0)
        return [*own, *mixed]

    def _by_samples(
        self, samples: Sequence[Sample], task: Task, order: Sequence[Example], preparation: Preparation
    ) -> Parts:
        count = round(self.value * len(samples))
        if count > len(order):
            raise UserError(self._too_few(f"{count} samples", task, len(order)))
        return samples[: len(samples) - count], self._write(task, order[:count])

    def _by_tokens(
        self, samples: Sequence[Sample], task: Task, order: Sequence[Example], preparation: Preparation
    ) -> Parts:
        sizes = preparation.count_tokens(samples)
        budget = self.value * sum(sizes)
        others: list[Sample] = []
        other_sizes: list[int] = []
        while sum(other_sizes) < budget and len(others) < len(order):  # a pool may be far larger than what it takes
            more = self._write(task, order[len(others) : 2 * len(others) + len(samples)])
            others, other_sizes = others + more, other_sizes + preparation.count_tokens(more)
        if sum(other_sizes) + max(other_sizes, default=0) / 2 < budget:
            raise UserError(self._too_few(f"{budget:.0f} tokens", task, sum(other_sizes)))
        count = nearest_prefix(other_sizes, budget)
        if not count:
            raise UserError(
                f"mix={self.value:g} takes {budget:.0f} tokens of {task.name}, of which a sample has {other_sizes[0]}: "
                "it mixes in none. Raise the share or train_sizes."
            )
        return samples[: nearest_prefix(sizes, sum(sizes) - budget)], others[:count]

    def _write(self, task: Task, examples: Sequence[Example]) -> list[Sample]:
        """Samples of the other task, in the trial's design as far as it can have it."""
        design, variant = design_for(task, self.config.design), self.config.instruction_variant
        variant = variant if variant < len(task.instructions) else 0
        return [render_sample(one, task, design, variant) for one in examples]

    def _too_few(self, wanted: str, task: Task, available: int) -> str:
        return (
            f"mix={self.value:g} of {self.config.train_size} samples takes {wanted} of {task.name}, whose train split "
            f"has {available}. Lower the share or train_sizes, or add data."
        )


def nearest_prefix(sizes: Sequence[int], budget: float) -> int:
    """How many of the first sizes sum up to nearest the budget, which it grows with; fewer where two are as near."""
    totals = [0, *accumulate(sizes)]
    return min(range(len(totals)), key=lambda count: (abs(totals[count] - budget), count))
