"""Scores from kept completions, without a model: of any JSONL file, or of a sweep's trials.

    of_file("out.jsonl", "masa_zh:d1", "baseline")   lines {"target": "口味: 积极", "prediction": "口味: 消极"}
    of_sweep("runs/quickstart")                      every trial's predictions.jsonl, scored again

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
from sde_ray.errors import FaultList, UserError
from sde_ray.evaluation.per_item import rows_of
from sde_ray.safe_json import one_line, read_json
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
EXPECTED = '{"target": "...", "prediction": "..."}'


@dataclass(frozen=True)
class FileScores:
    """`faults` counts the predictions' by kind; `bad_targets` are lines whose own target departs from the form."""

    scores: Scores
    faults: Mapping[str, int]
    items: int
    bad_targets: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrialScores:
    """A trial's scores by split as recomputed, and the largest difference from what its own run had reported."""

    key: str
    design: Design
    seed: int
    scores: Mapping[str, Scores]
    moved: float

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "design": dict(self.design.options)}


def score_file(path: Path, task_name: str, design: str) -> FileScores:
    """Score a file of lines with `target`, `prediction` and, for questions, `aliases`: a list, or lists by slot."""
    task, wanted = get_task(task_name), designs.parse_design(design)
    examples, parsed, bad = [], [], []
    for number, line in read_lines(path):
        gold = render.parse_completion(line["target"], task, wanted)
        if gold.faults:
            bad.append(number)
        examples.append(Example(str(number), "", gold.answer, aliases=_aliases(line.get("aliases"), task)))
        parsed.append(render.parse_completion(line["prediction"], task, wanted))
    return FileScores(metrics.score(task, examples, parsed), metrics.fault_counts(parsed), len(examples), tuple(bad))


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The numbered lines of the file; all broken ones are told at once."""
    faults, found = FaultList(str(path)), []
    for number, text in enumerate(_read(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            line = read_json(text)
        except ValueError as error:
            faults.add(f"line {number} is no JSON: {getattr(error, 'msg', error)}.")
            continue
        missing = [
            key for key in ("target", "prediction") if not isinstance(line, dict) or not isinstance(line.get(key), str)
        ]
        if missing:
            faults.add(f"line {number} has no text under {' and '.join(missing)}; expected {EXPECTED}.")
            continue
        found.append((number, line))
    del faults.faults[20:]  # a file of another kind would fill the screen
    faults.raise_if_any()
    if not found:
        raise UserError(f"{path} is empty. It needs lines such as {EXPECTED}.")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Give a JSONL file, or a sweep's YAML or folder."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None


def _aliases(given: Any, task: Task) -> dict[str, tuple[str, ...]]:
    by_slot = given if isinstance(given, dict) else {task.slots[0]: given} if isinstance(given, list) else {}
    return {slot: tuple(map(str, values)) for slot, values in by_slot.items()}


def score_run(folder: Path) -> list[TrialScores]:
    """Every trial of a sweep that kept completions, scored again from them."""
    found = [_rescore(trial) for trial in sorted((folder / TRIALS).glob("*/")) if (trial / PREDICTIONS).is_file()]
    if not found:
        raise UserError(
            f"{folder} holds no completions. Give the folder of a sweep that has run, such as runs/quickstart."
        )
    return found


def _rescore(trial: Path) -> TrialScores:
    config: _Trial = _checked(trial / CONFIG, _TRIAL)
    design = designs.make_design(**config.design)
    by_split: dict[str, list[Scores]] = {}
    for (split, name), texts in _completions(trial, config.task).items():
        task = trial_task(name, config.definition)
        examples = [one for one in task.load(split.removesuffix("_ood")) if one.id in texts]  # type: ignore[arg-type]
        parsed: list[Parsed] = [render.parse_completion(texts[one.id], task, design) for one in examples]
        by_split.setdefault(split, []).append(metrics.score(task, examples, parsed))
    scores = {split: mean(each) for split, each in by_split.items()}
    reported = _checked(trial / SCORES, _REPORTED).scores if (trial / SCORES).is_file() else {}
    return TrialScores(config.key, design, config.seed, scores, _moved(scores, reported))


def _checked(path: Path, kind: TypeAdapter[Any]) -> Any:
    """What a trial's file holds; `UserError` where it is missing or damaged."""
    try:
        return kind.validate_python(read_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or one_line(error)
    return UserError(
        f"{path} cannot be used: {reason}. Restore it, or take the folder {path.parent.name} out of trials/ to score "
        "the others."
    )


def _completions(trial: Path, home: str) -> dict[tuple[str, str], dict[str, str]]:
    """(split, task) -> id -> completion; a line without a task is of the trial's own."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    path = trial / PREDICTIONS
    try:
        rows = rows_of(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    for row in rows:
        found.setdefault((row.split, row.task or home), {})[row.id] = row.prediction
    return found


def mean(scores: list[Scores]) -> Scores:
    """The mean over out-of-domain tasks of each metric; one that only some have, over those."""
    names = dict.fromkeys(name for one in scores for name in one)
    return {name: _average([one[name] for one in scores if name in one]) for name in names}


def _average(values: list[float]) -> float:
    return sum(values) / len(values)


def _moved(scores: Mapping[str, Scores], reported: Mapping[str, Scores]) -> float:
    changes = [abs(value - reported[split][name]) for split, each in scores.items() for name, value in each.items()
               if name in reported.get(split, {})]  # fmt: skip
    return max(changes, default=0.0)
