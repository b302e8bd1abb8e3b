"""Samples and predictions for the report: one training example in several designs, and a trial's held-out answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sde_ray.analysis.frames import agreement
from sde_ray.analysis.report.html import Html, escape, tag
from sde_ray.analysis.study import Study
from sde_ray.design import render
from sde_ray.design.designs import design_of, essential
from sde_ray.errors import UserError
from sde_ray.evaluation.predictions import read_predictions
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.tasks.trial_task import trial_task
from sde_ray.types import Design, Task

MAX_CHARS = 4000  # characters of a text that is shown
SHOWN_ANSWERS = 2


@dataclass(frozen=True)
class AnsweredItem:
    """A held-out text, a trial's completion for it, and whether the answer is right."""

    text: str
    completion: str
    right: bool


def render_in_designs(study: Study, designs: Sequence[Design]) -> dict[Design, list[Html]] | None:
    """The first training example in each design, with its loss marked; None where its task cannot be loaded."""
    try:
        task = _task(study)
        example = task.load("train")[0]
    except (UserError, OSError, IndexError):
        return None
    wording = int(study.results[0].config.get("instruction_variant", 0))
    by_design: dict[Design, list[Html]] = {}
    for design in designs:
        sample = render.render_sample(example, task, design, wording)
        parts = [(part.text[:MAX_CHARS], part.loss) for part in (*sample.prompt, sample.completion)]
        by_design[design] = [tag("mark", text) if loss else escape(text) for text, loss in parts]
    return by_design


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
    for row in rows:
        if row.split != "dev" or row.id not in texts or len(answered) == SHOWN_ANSWERS:
            continue
        example, parsed = texts[row.id], render.parse_completion(row.prediction, task, design)
        right = agreement(example.answer, parsed.answer) == 1 and not parsed.faults  # the order of values is nothing
        answered.append(AnsweredItem(example.text[:MAX_CHARS], row.prediction[:MAX_CHARS], right))
    return answered
