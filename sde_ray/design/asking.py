"""Asking: the samples that an example makes in a design, and the prompts that ask a text; mostly one each.

    asking = ask_in(task, design, trained_on)          with the demonstrations that the design has
    asking.samples(example)                            what is trained on
    asking.prompts("d1-17", text), asking.ends(text)   what is asked; `join_completions` makes one of the completions

With `slots_per_sample` they are several, one for each group of slots; with `demonstrations` others stand before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sde_ray.design.answer_end import AnswerEnd, answer_end
from sde_ray.design.demonstrations import in_context, num_demonstrations, others
from sde_ray.design.groups import NEGATIVES, groups_of, whole
from sde_ray.design.render import option_of, prompt_of, render_sample
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.types import Design, Example, Sample, Segment, Task

Prompt = tuple[Segment, ...]


@dataclass(frozen=True)
class Asking:
    """How a task is asked in a design.

    `demonstrations`: one more than the design has, of the task `home`, as no text is shown its own answer.
    """

    task: Task
    design: Design
    instruction_variant: int
    demonstrations: tuple[Example, ...]
    home: Task

    def of(self, task: Task) -> Asking:
        """How another task is asked, after the same demonstrations."""
        return replace(self, task=task)

    def samples(self, example: Example) -> list[Sample]:
        """The training samples of an example: one a group of slots, less the negatives that the design leaves out."""
        groups, design = groups_of(self.task, self.design), whole(self.design)
        written = [render_sample(example, group, design, self.instruction_variant) for group in groups]
        return [
            replace(sample, prompt=self._in_context(number, sample.prompt, example.text))
            for number, (group, sample) in enumerate(zip(groups, written, strict=True))
            if len(groups) == 1 or self._learns(example, group)
        ]

    def prompts(self, id: str, text: str) -> list[tuple[str, Prompt]]:
        """The (id, prompt) pairs that ask a text, the same as in training: one a group of slots."""
        design = whole(self.design)
        prompts = [prompt_of(text, group, design, self.instruction_variant) for group in self._groups]
        return [(id, self._in_context(number, prompt, text)) for number, prompt in enumerate(prompts)]

    def ends(self, text: str) -> list[AnswerEnd | None]:
        """When the completion of each of these prompts is settled."""
        return [answer_end(group, whole(self.design), text) for group in self._groups]

    def after_demonstrations(self, prompt: Prompt) -> Prompt:
        """A prompt of the caller's own after the demonstrations."""
        return self._in_context(0, prompt, "")

    @property
    def _groups(self) -> tuple[Task, ...]:
        return groups_of(self.task, self.design)

    def _learns(self, example: Example, group: Task) -> bool:
        """Whether a group is among the samples: those without an answer are by the share that is asked for."""
        share = float(option_of(self.design, NEGATIVES))
        answered = any(example.answer.get(slot) for slot in group.slots)
        return answered or int(content_hash([example.id, *group.slots]), 16) < share * 16**16

    def _in_context(self, group: int, prompt: Prompt, text: str) -> Prompt:
        count = num_demonstrations(self.design)
        if not count:
            return prompt
        tasks, design = groups_of(self.home, self.design), whole(self.design)
        task = tasks[group % len(tasks)]
        shown = [
            render_sample(one, task, design, self.instruction_variant)
            for one in others(self.demonstrations, text, count)
        ]
        return in_context(prompt, shown, self.home.language)


def ask_in(task: Task, design: Design, trained_on: Sequence[Example], instruction_variant: int = 0) -> Asking:
    """How a task is asked in a design. `trained_on`: a trial's examples, the first of which are shown."""
    count = num_demonstrations(design)
    shown = tuple(trained_on[: count + 1]) if count else ()
    return Asking(task, design, instruction_variant, shown, task)


def samples_of(examples: Sequence[Example], task: Task, design: Design, instruction_variant: int = 0) -> list[Sample]:
    """The samples of some examples, of which the first are the demonstrations."""
    asking = ask_in(task, design, examples, instruction_variant)
    return [sample for example in examples for sample in asking.samples(example)]


def first_sample(
    example: Example, task: Task, design: Design, train: Sequence[Example], instruction_variant: int = 0
) -> Sample:
    """An example's first sample, to be looked at, after the first examples of the train split as demonstrations."""
    asking = ask_in(task, design, train, instruction_variant)
    return next(iter(asking.samples(example)), render_sample(example, task, design, instruction_variant))


def first_group(task: Task, design: Design) -> tuple[Task, Design]:
    """The task and the design of an example's first sample."""
    return groups_of(task, design)[0], whole(design)


def check_plain(designs: Iterable[Design], purpose: str) -> None:
    """Raises UserError where a design asks in several prompts, or after demonstrations, which `purpose` does not."""
    axes = dict.fromkeys(
        axis
        for design in designs
        for axis, option in design.options
        if (axis == "slots_per_sample" and option != "all") or (axis == "demonstrations" and option != "0")
    )
    if axes:
        raise UserError(f"{purpose} takes designs with one plain prompt a text: leave out {', '.join(axes)}.")
