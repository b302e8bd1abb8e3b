"""Balanced draw: each label equally often, where the train split has few of one (`balance: [drawn, equal]`).

    40 matches among 268 pairs, balance=equal, 240 samples     120 matches, each three times, and 120 others once

A model that sees one match in seven learns to answer "no" first of all. The number of samples and steps is that of the
plain draw; examples of a rare label are repeated in turn. Labels follow each other in turn in the draw, so a smaller
draw is the beginning of a larger. Dev and test stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, cycle, islice
from typing import TYPE_CHECKING

from sde_ray.data.sampling import shuffle
from sde_ray.tasks.trial_task import trial_examples
from sde_ray.training.curation import Method
from sde_ray.types import Example

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation


class Balance(Method):
    """Training examples with each label that occurs equally often; `value` is not used."""

    def faults(self) -> Iterable[str]:
        groups = by_label(trial_examples(self.config.task, "train", self.config.definition))
        if len(groups) < 2:
            has = f'only the label "{next(iter(groups))}"' if groups else "no label"
            yield f"balance=equal: the train split of {self.config.task} has {has}. Leave balance out, or add data."

    def notes(self) -> Iterable[str]:
        groups = by_label(trial_examples(self.config.task, "train", self.config.definition))
        rarest = min(groups, key=lambda label: len(groups[label]), default="")
        times = self.config.train_size / len(groups) / len(groups[rarest]) if groups else 0
        counts = ", ".join(f"{label} {len(some)}" for label, some in groups.items())
        again = f'; of {self.config.train_size} samples each "{rarest}" stands {times:.1f} times' if times > 1 else ""
        yield f"balance=equal: labels of {self.config.task} are drawn equally often, not as they are ({counts}){again}"

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        drawn = balanced_draw(preparation.pool(), self.config.train_size, self.config.seed)
        for label, some in by_label(drawn).items():
            preparation.count(label, len(some))
        preparation.count("repeated", len(drawn) - len({one.text for one in drawn}))
        return drawn


def by_label(examples: Iterable[Example]) -> Mapping[str, list[Example]]:
    """Examples by their label, by name; those without one are left out."""
    groups: dict[str, list[Example]] = {}
    for one in examples:
        for values in one.answer.values():
            groups.setdefault(values[0], []).append(one)
    return dict(sorted(groups.items()))


def balanced_draw(examples: Sequence[Example], size: int, seed: int) -> list[Example]:
    """`size` examples, the labels in turn, each label's in a seeded order and from its beginning when it is used up."""
    orders = [_again_and_again(shuffle(some, seed)) for some in by_label(examples).values()]
    return [next(order) for order in islice(cycle(orders), size)] if orders else []


def _again_and_again(examples: Sequence[Example]) -> Iterator[Example]:
    """The examples, then the same with ids of their own, as what is drawn is told apart by its id."""
    yield from examples
    for time in count(2):
        yield from (replace(one, id=f"{one.id}*{time}") for one in examples)
