"""What a trial is evaluated on: the items of each task and split, and the prompts that ask them."""

from __future__ import annotations

from typing import Any

from sde_ray import data
from sde_ray.config.trial import TrialConfig
from sde_ray.design import render
from sde_ray.design.answer_end import AnswerEnd, answer_end
from sde_ray.evaluation.predictions import ReportedSplit
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Example, Task


class Evaluation:
    """The evaluated items of one task in one reported split: `dev`, or `dev_ood` for an out-of-domain task."""

    def __init__(self, split: ReportedSplit, name: str, task: Task, examples: list[Example]) -> None:
        self.split, self.name, self.task, self.examples = split, name, task, examples

    def prompts(self, config: TrialConfig) -> list[Any]:
        return [
            (example.id, render.prompt_of(example.text, self.task, config.design, config.instruction_variant))
            for example in self.examples
        ]

    def ends(self, config: TrialConfig) -> list[AnswerEnd | None]:
        """When the answer to each is settled."""
        return [answer_end(self.task, config.design, example.text) for example in self.examples]


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
