"""Samples and predictions for the report: one training example in several designs, and a trial's held-out answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sde_ray.analysis.frames import agreement
from sde_ray.analysis.report.html import Html, escape, joined, tag
from sde_ray.analysis.study import Study
from sde_ray.design.asking import first_sample
from sde_ray.design.designs import design_of, essential
from sde_ray.errors import UserError
from sde_ray.evaluation.batch_retries import asked, parse_answers, retries_of, retry_prompt
from sde_ray.evaluation.predictions import read_predictions
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.tasks.trial_task import trial_task
from sde_ray.types import Design, Example, Task

MAX_CHARS = 4000  # characters of a text that is shown
SHOWN_ANSWERS = 2


@dataclass(frozen=True)
class AnsweredItem:
    """A held-out text, a trial's completion for it, and whether the answer is right.

    `retries`: of a batch, the numbers that were asked again, with their completions.
    """

    text: str
    completion: str
    right: bool
    retries: tuple[tuple[str, str], ...] = ()


def render_in_designs(study: Study, designs: Sequence[Design]) -> dict[Design, Html] | None:
    """The first training example in each design, with its loss marked; None where its task cannot be loaded.

    Of a batch also the prompt that asks for one of its numbers again.
    """
    try:
        task = _task(study)
        example = task.load("train")[0]
    except (UserError, OSError, IndexError):
        return None
    wording = int(study.results[0].config.get("instruction_variant", 0))
    by_design: dict[Design, Html] = {}
    for design in designs:
        sample = first_sample(example, task, design, task.load("train"), wording)
        parts = [(part.text[:MAX_CHARS], part.loss) for part in (*sample.prompt, sample.completion)]
        written = tag("pre", *(tag("mark", text) if loss else escape(text) for text, loss in parts))
        by_design[design] = joined([written, _retry(example, task, design, wording)])
    return by_design


def _retry(example: Example, task: Task, design: Design, wording: int) -> Html | None:
    """How the last number of a batch would be asked again alone; None for a task without batches."""
    if not task.numbered:
        return None
    number = asked(example.text, task)[-1]
    text = "".join(segment.text for segment in retry_prompt(example, number, task, design, wording))
    title = f"An answer that leaves out number {number} gets it asked again alone:"
    return joined([tag("p", title, class_="quiet"), tag("pre", text[:MAX_CHARS])])


def held_out_answers(study: Study, design: Design) -> list[AnsweredItem]:
    """The first held-out predictions of a finished trial of the design; empty where none were kept."""
    for result in study.results:
        path = RunDirectory.at(study.folder).predictions(result.key)
        same = essential(design_of(result)) == essential(design)
        if result.status == "finished" and same and path.is_file():
            return _read(study, design, path)
    return []


def _task(study: Study) -> Task:
    return trial_task(study.group.task, study.results[0].config.get("definition"))


def _read(study: Study, design: Design, path: Path) -> list[AnsweredItem]:
    task = _task(study)
    texts = {example.id: example for example in task.load("dev")}
    answered: list[AnsweredItem] = []
    try:
        rows = read_predictions(path)
    except (OSError, ValueError):
        return []  # a damaged file costs the report its examples only
    completions = {row.id: row.prediction for row in rows if row.split == "dev"}
    for name in [name for name in completions if name in texts][:SHOWN_ANSWERS]:
        example, parsed = texts[name], parse_answers(completions, texts[name], task, design)
        retries = tuple(retries_of(completions, example, task).items())
        right = agreement(example.answer, parsed.answer) == 1 and not parsed.faults  # the order of values is nothing
        answered.append(AnsweredItem(example.text[:MAX_CHARS], completions[name][:MAX_CHARS], right, retries))
    return answered
