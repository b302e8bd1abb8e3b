"""Offline scoring of predictions, without a model: of any JSONL file, or of a sweep's trials.

    score_file("out.jsonl", "masa_zh:d1", "baseline")   lines {"target": "口味: 积极", "prediction": "口味: 消极"}
    score_completions(path, task, design)               the same for a task of one's own
    score_run("runs/quickstart")                        every trial's predictions.jsonl, scored again

A target is the gold completion in the same design. Target and prediction go through the same reader (seqio's rule), so
a score never depends on how gold was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sde_ray import metrics
from sde_ray.design import designs, render
from sde_ray.design.groups import groups_of
from sde_ray.errors import UserError, format_error
from sde_ray.evaluation.batch_retries import parse_answers
from sde_ray.evaluation.completion_lines import EXPECTED, by_id, check_ids, join_parts, read_completions
from sde_ray.evaluation.predictions import completions_by_task
from sde_ray.plugins import code_of, trust
from sde_ray.safe_json import read_json
from sde_ray.storage.layout import CONFIG, PREDICTIONS, SCORES, TRIALS
from sde_ray.tasks import get_task
from sde_ray.tasks.trial_task import trial_task
from sde_ray.types import Design, Example, Parsed, Scores, Task


@dataclass(frozen=True)
class _Trial:
    """What is needed of a trial's `config.json`."""

    key: str
    task: str
    design: dict[str, str]
    seed: int
    definition: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reported:
    """What is needed of its `scores.json`."""

    scores: dict[str, dict[str, float]]


_TRIAL: TypeAdapter[Any] = TypeAdapter(_Trial)
_REPORTED: TypeAdapter[Any] = TypeAdapter(_Reported)


@dataclass(frozen=True)
class FileScores:
    """Scores of a file. `faults`: parse faults of predictions by kind; `bad_targets`: lines whose target has one."""

    scores: Scores
    faults: Mapping[str, int]
    items: int
    bad_targets: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrialScores:
    """A trial's recomputed scores by split; `max_change`: largest absolute difference from what its run reported."""

    key: str
    design: Design
    seed: int
    scores: Mapping[str, Scores]
    max_change: float

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return {**asdict(self), "design": dict(self.design.options)}


def score_file(path: Path, task_name: str, design: str, split: str = "dev") -> FileScores:
    """Score the completions of a file in a task and a design by their names; see `score_completions`."""
    trust(*code_of(design))
    return score_completions(path, get_task(task_name), designs.parse_design(design), split)


def score_completions(path: Path, task: Task, design: Design, split: str = "dev") -> FileScores:
    """Score predictions against gold, both read in a design.

    Args:
        path: JSON lines in a form of `completion_lines`; for questions also `aliases`: a list, or lists by slot.
        task: whose items they are.
        design: in which targets and predictions are written.
        split: of the task, in which an item is looked up by its id.

    Raises:
        UserError: when the file cannot be read or has broken lines, or no such item is there.
    """
    lines = read_completions(path)
    items = by_id(task.load(split)) if any(line.id for line in lines) else {}  # type: ignore[arg-type]
    lines = join_parts(lines, items, len(groups_of(task, design)))
    check_ids(path, lines, items, f"the {split} split of {task.name}")
    examples, parsed, bad_targets = [], [], []
    for line in lines:
        if line.id:
            examples.append(items[line.id])
            parsed.append(parse_answers({line.id: line.prediction}, items[line.id], task, design))
            continue
        gold = render.parse_completion(line.target, task, design)
        if gold.faults:
            bad_targets.append(line.number)
        aliases = _aliases((line.values or {}).get("aliases"), task)
        examples.append(Example(str(line.number), "", gold.answer, aliases=aliases))
        parsed.append(render.parse_completion(line.prediction, task, design))
    scores, faults = metrics.score(task, examples, parsed), metrics.fault_counts(parsed)
    return FileScores(scores, faults, len(examples), tuple(bad_targets))


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The numbered lines of a file of targets and predictions. Raises UserError as `read_completions` does."""
    lines = read_completions(path)
    without = next((line.number for line in lines if line.id), None)
    if without is not None:
        raise UserError(f"{path}: line {without} has no text under target; expected {EXPECTED}.")
    return [(line.number, {"target": line.target, "prediction": line.prediction}) for line in lines]


def _aliases(value: Any, task: Task) -> dict[str, tuple[str, ...]]:
    by_slot = value if isinstance(value, dict) else {task.slots[0]: value} if isinstance(value, list) else {}
    return {slot: tuple(map(str, values)) for slot, values in by_slot.items()}


def score_run(folder: Path) -> list[TrialScores]:
    """Recompute the scores of every trial that kept its completions. Raises UserError when none has."""
    scores = [_rescore(trial) for trial in sorted((folder / TRIALS).glob("*/")) if (trial / PREDICTIONS).is_file()]
    if not scores:
        raise UserError(
            f"{folder} holds no completions. Give the folder of a sweep that has run, such as runs/quickstart."
        )
    return scores


def _rescore(trial: Path) -> TrialScores:
    config: _Trial = _checked(trial / CONFIG, _TRIAL)
    design = designs.make_design(**config.design)
    by_split: dict[str, list[Scores]] = {}
    try:
        completions = completions_by_task(trial / PREDICTIONS, config.task)
    except (OSError, ValueError) as error:
        raise _damaged(trial / PREDICTIONS, error) from None
    for (split, name), texts in completions.items():
        task = trial_task(name, config.definition)
        examples = [example for example in task.load(split.removesuffix("_ood")) if example.id in texts]  # type: ignore[arg-type]
        parsed: list[Parsed] = [parse_answers(texts, example, task, design) for example in examples]
        by_split.setdefault(split, []).append(metrics.score(task, examples, parsed))
    scores = {split: metrics.mean_over_tasks(each) for split, each in by_split.items()}
    reported = _checked(trial / SCORES, _REPORTED).scores if (trial / SCORES).is_file() else {}
    return TrialScores(config.key, design, config.seed, scores, _max_change(scores, reported))


def _checked(path: Path, kind: TypeAdapter[Any]) -> Any:
    """What a trial's file holds; `UserError` where it is missing or damaged."""
    try:
        return kind.validate_python(read_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or format_error(error)
    return UserError(
        f"{path} cannot be used: {reason}. Restore it, or take the folder {path.parent.name} out of trials/ to score "
        "the others."
    )


def _max_change(scores: Mapping[str, Scores], reported: Mapping[str, Scores]) -> float:
    changes = [abs(value - reported[split][name]) for split, each in scores.items() for name, value in each.items()
               if name in reported.get(split, {})]  # fmt: skip
    return max(changes, default=0.0)
