"""What a trial is evaluated on: the items of each task and split, and the prompts that ask them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sde_ray import data
from sde_ray.config.trial import TrialConfig
from sde_ray.design.answer_end import AnswerEnd
from sde_ray.design.asking import Asking
from sde_ray.design.groups import join_completions
from sde_ray.evaluation.predictions import ReportedSplit
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Example, Segment, Task


class Evaluation:
    """The evaluated items of one task in one reported split: `dev`, or `dev_ood` for an out-of-domain task."""

    def __init__(self, split: ReportedSplit, name: str, task: Task, examples: list[Example]) -> None:
        self.split, self.name, self.task, self.examples = split, name, task, examples

    def questions(self, asking: Asking) -> list[Question]:
        """What asks each example."""
        own = asking.of(self.task)
        return [Question(own.prompts(one.id, one.text), own.ends(one.text)) for one in self.examples]


class Question(NamedTuple):
    """The prompts that ask a text, mostly one, and when the completion of each is settled."""

    prompts: list[tuple[str, tuple[Segment, ...]]]
    ends: list[AnswerEnd | None]


Decode = Callable[[list[Any], list[Any]], tuple[list[str], int]]  # prompts, ends -> completions, new tokens


def ask(questions: Sequence[Question], decode: Decode) -> tuple[list[str], int]:
    """The completion of each question, and how many tokens they have in all."""
    texts, num_tokens = decode(
        [prompt for one in questions for prompt in one.prompts], [end for one in questions for end in one.ends]
    )
    left = iter(texts)
    return [join_completions([next(left) for _ in one.prompts]) for one in questions], num_tokens


Answered = tuple[Evaluation, list[str]]


def evaluations(config: TrialConfig) -> list[Evaluation]:
    """The split's own task, then the out-of-domain ones, which a design without instruction cannot be asked for."""
    parts = []
    for split in config.splits:
        parts.append(_evaluation(config, split, split, config.task))
        if config.design["instruction"] != "none":
            for other in config.out_of_domain:
                parts.append(_evaluation(config, f"{split}_ood", split, other))
    return parts


def _evaluation(config: TrialConfig, reported: Any, split: Any, name: str) -> Evaluation:
    examples = trial_examples(name, split, config.definition)
    items = data.eval_items(examples, config.eval_size)
    return Evaluation(reported, name, trial_task(name, config.definition), items)
