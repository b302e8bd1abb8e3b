"""Designs that a model's tokenizer cannot write: left out of the plan, before anything is trained.

A tokenizer without `{` loses every brace of a JSON answer without a word, and the trial would score the tokenizer. Only
the characters that the design itself brings count (instruction, labels, punctuation); what the texts bring is lost for
every design alike, and is only noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sde_ray.config.load import open_tasks
from sde_ray.design.render import prompt_of, render_sample
from sde_ray.errors import UserError
from sde_ray.models.tokenization import missing_characters
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.plan import Dropped, Plan, assemble_plan
from sde_ray.types import Design, Example, Task, TrialResult

LOOKED_AT = 200  # examples whose texts are looked at
WRITTEN = 5  # examples that are written in every design


def drop_unencodable(plan: Plan, results: Mapping[str, TrialResult] = MappingProxyType({})) -> Plan:
    """The plan without the designs that need characters the tokenizer lacks; `UserError` if none is left."""
    from sde_ray.models.base import load_tokenizer

    tasks = open_tasks(plan.config)
    contests: list[Contest] = []
    reasons: list[Dropped] = []
    for contest in plan.contests:
        tokenizer = load_tokenizer(contest.model, plan.config.trust_remote_code)
        _check_chat_template(contest, tokenizer)
        fitted, lacking = _fit(contest, tasks[contest.task], tokenizer, plan.config.instruction_variant)
        contests.append(fitted)
        reasons += lacking
    if not reasons:
        return plan
    if not any(contest.trials for contest in contests):
        raise UserError(f"No design can be written for this model. {reasons[0][1]}. Choose another model.")
    dropped = (*plan.dropped, *reasons)
    return assemble_plan(plan.config, tuple(contests), plan.pinned, dropped, plan.counts, results)


def _check_chat_template(contest: Contest, tokenizer: Any) -> None:
    if len(contest.axes.get("chat_template", ())) > 1 and not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"axes.chat_template: the tokenizer of {contest.model} has no chat template, so all options make the same "
            "samples. Leave the axis out, or choose a model that has one."
        )


def _fit(contest: Contest, task: Task, tokenizer: Any, wording: int) -> tuple[Contest, list[Dropped]]:
    examples = task.load("train")[:LOOKED_AT]
    data = _brought_by(examples, task)
    reasons: list[Dropped] = []
    lost = missing_characters(tokenizer, [data])
    if lost:
        reasons.append((f"{len(lost)} characters of the texts of {task.name}", _lack(contest.model, lost)))
    fitted = {}
    for design, trials in contest.trials.items():
        missing = missing_characters(tokenizer, [_brought_by_design(design, task, examples[:WRITTEN], data, wording)])
        if missing:
            reasons.append((f"design {design.slug} on {task.name}", _lack(contest.model, missing)))
        else:
            fitted[design] = trials
    reference = contest.reference_design
    if reference not in fitted:
        reference = next(iter(fitted), reference)
    points = tuple(design for design in contest.points_to_evaluate if design in fitted)
    return replace(contest, trials=fitted, reference_design=reference, points_to_evaluate=points), reasons


def _brought_by(examples: Sequence[Example], task: Task) -> str:
    """Every character of the data: texts, rationales, and values where they are not the task's own labels."""
    texts = [example.text for example in examples]
    texts += [why for example in examples for why in example.rationale.values()]
    if task.kind != "label":
        texts += [value for example in examples for values in example.answer.values() for value in values]
    return "".join(sorted(set("".join(texts))))


def _brought_by_design(design: Design, task: Task, examples: Sequence[Example], data: str, wording: int) -> str:
    prompt = "".join(segment.text for segment in prompt_of("", task, design, wording))
    completions = "".join(render_sample(example, task, design, wording).completion.text for example in examples)
    return "".join(sorted(set(prompt) | (set(completions) - set(data))))


def _lack(model: str, characters: set[str]) -> str:
    shown = " ".join(sorted(characters)[:12])
    return f"the tokenizer of {model} lacks {shown}" + (" ..." if len(characters) > 12 else "")
