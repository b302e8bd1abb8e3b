"""Validation of a task's definition: what every design needs to write and parse it (the laws' assumptions).

The one check for every task, of the package, of a YAML section, or imported: all its faults in one `UserError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sde_ray.design.answer import numbers_of
from sde_ray.design.base import MARKS
from sde_ray.design.lexer import quote_if_needed
from sde_ray.errors import FaultList
from sde_ray.types import Task


def check_task(task: Task) -> Task:
    """Validate a task: slots, labels, numbers and nouns are distinct, the placeholder cannot be misread; returns it.

    Raises UserError: with all faults at once.
    """
    faults = FaultList(f"Task {task.name}")
    if not task.slots or not task.instructions:
        faults.add("has no slot or no instruction. Give at least one of each.")
    for what, words in (("slots", task.slots), ("labels", task.labels or ()), ("nouns", _keys(task))):
        _check_distinct(what, words, faults)
    if (task.kind == "label") != bool(task.labels):
        faults.add(f'kind "{task.kind}" {"needs labels" if task.kind == "label" else "takes no labels"}.')
    if task.labels:
        _check_labels(task, faults)
    marks = MARKS[task.language]
    delimiters = [marks.colon, marks.comma, marks.semicolon, "\n", " => ", " <= "]
    if quote_if_needed(task.placeholder, delimiters, placeholder="", stop=marks.stop) != task.placeholder:
        faults.add(f'the placeholder "{task.placeholder}" holds a delimiter. Choose a plain word.')
    faults.raise_if_any()
    return task


def _keys(task: Task) -> tuple[str, ...]:
    return task.nouns.slot, task.nouns.value, task.nouns.rationale


def _check_distinct(what: str, words: Sequence[str], faults: FaultList) -> None:
    doubled = sorted(word for word, times in Counter(words).items() if times > 1)
    if doubled:
        faults.add(f"{what} {', '.join(doubled)} stand twice. Name each once.")
    if any(not word.strip() for word in words):
        faults.add(f"one of the {what} is empty. Give it a name.")


def _check_labels(task: Task, faults: FaultList) -> None:
    labels = task.labels or ()
    if task.placeholder in labels:
        faults.add(f'the placeholder "{task.placeholder}" is also a label. Rename one of them.')
    foreign = sorted(set(task.numbers) - {*labels, task.placeholder})
    if foreign:
        faults.add(f"numbers name {', '.join(foreign)}, which is no label. Labels: {', '.join(labels)}.")
    _check_distinct("numbers", [numbers_of(task)[word] for word in (*labels, task.placeholder)], faults)
