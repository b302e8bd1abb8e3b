"""Teachers that answer by a rule instead of a model: right, wrong, repeating, refusing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sde_ray.config.trial import TrialConfig
from sde_ray.curation.augment.teacher import Prompt
from sde_ray.curation.augment.written import TEXT, write_example
from sde_ray.data import draw
from sde_ray.tasks import get_task
from sde_ray.types import Example, Segment, Task

Write = Callable[[str, "FakeTeacher"], str]


@dataclass
class FakeTeacher:
    """Answers each prompt by `write(the seed's text, this teacher)`; `unused`: examples that no trial has drawn."""

    task: Task
    unused: list[Example]
    write: Write
    prompts: list[str] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def answer(self, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        self.prompts += ["".join(segment.text for segment in prompt) for prompt in prompts]
        return [self.write(seed_of(prompt), self) for prompt in prompts]


def seed_of(prompt: Prompt) -> str:
    """The text of the example that a prompt shows."""
    return next(segment.text for segment in prompt if isinstance(segment, Segment) and segment.role == "text")


def fake_teacher(config: TrialConfig, write: Write) -> FakeTeacher:
    """A teacher that knows the rest of the train split."""
    task = get_task(config.task)
    train = task.load("train")
    drawn = {one.id for one in draw(train, config.train_size, config.seed)}
    return FakeTeacher(task, [one for one in train if one.id not in drawn], write)


def right(seed: str, teacher: FakeTeacher) -> str:
    """A new example with its gold answer."""
    return write_example(teacher.unused.pop(), teacher.task)


def wrong(seed: str, teacher: FakeTeacher) -> str:
    """A new example whose slots have labels that are not gold's."""
    example = teacher.unused.pop()
    answer = {}
    for slot in teacher.task.slots:
        gold = example.answer.get(slot, ())
        answer[slot] = (teacher.random.choice([label for label in teacher.task.labels_of(slot) if (label,) != gold]),)
    return write_example(replace(example, answer=answer), teacher.task)


def repeating(seed: str, teacher: FakeTeacher) -> str:
    """The seed itself, in other letters."""
    answer = write_example(teacher.unused[0], teacher.task).rpartition("\n")[2]
    return f"{TEXT} {seed.upper()}!\n{answer}"


def refusing(seed: str, teacher: FakeTeacher) -> str:
    return "I am sorry, but I cannot help with that."
