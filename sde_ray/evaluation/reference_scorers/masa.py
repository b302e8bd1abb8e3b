"""The published scorer of Chinese MASA, reproduced for comparison: its parsers, its soft matching, its kappa.

    score("natural", task, [(target, prediction), ...])  -> PublishedScores({"weighted_kappa": 0.7639, ...}, 50, 0)

A rebuilding from PAPER.md 1.10 to 1.13, not a copy. Of its defects those stay that decide a number: labels and aspects
are matched by substring, so that "不积极" is positive; what could not be read counts as unmentioned; only the first two
parts of an entry are looked at. Left out are those that only break it: no `eval`, and the OU branch, which could never
be taken, does what it was written for. Our own reading is `render.parse_completion`;
docs/tasks-and-metrics.md says where both differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.evaluation.reference_scorers.literals import python_literal
from sde_ray.evaluation.reference_scorers.outcome import Crash, PublishedScores
from sde_ray.metrics.label import AGREEMENT
from sde_ray.types import Task

CLASSES = ("正面", "中性", "负面", "未提及")
ABSENT = "未提及"
STEMS: Mapping[str, tuple[str, ...]] = {
    "食品评价": ("食品",),
    "饮品评价": ("饮品",),
    "价格水平": ("价格",),
    "卫生情况": ("卫生",),
    "服务人员态度": ("服务",),
    "停车方便程度": ("停车",),
    "交通便利程度": ("交通",),
    "排队等候情况": ("排队", "等候"),
    "点菜上菜速度": ("点菜",),
    "装修情况": ("装修",),
    "嘈杂情况": ("嘈杂",),
}
"""An aspect is met where a stem is part of what was written."""

LABELS: Mapping[str, str] = {
    "积极": "正面",
    "正向": "正面",
    "正面": "正面",
    "中性": "中性",
    "消极": "负面",
    "负向": "负面",
    "负面": "负面",
    "未提及": "未提及",
}
NUMBERS = {"1": "正面", "0": "中性", "-1": "负面", "-2": "未提及"}
REPAIRS = (("}, {", "}\n{"), ("},\n{", "}\n{"), ("}, \n{", "}\n{"), ('"， "', '", "'), ('"; "', '", "'),
           ('" ; "', '", "'), ('"}, "', '", "'), ('"},"', '", "'))  # fmt: skip
Said = dict[Any, Any]


def score(form: str, task: Task, lines: Sequence[tuple[str, str]]) -> PublishedScores:
    """The scorer's numbers for pairs of target and prediction. The aspects are the task's, in its order."""
    table = np.zeros((len(task.slots), len(CLASSES), len(CLASSES)))
    right = wrong = 0
    crashes = []
    for number, (target, prediction) in enumerate(lines, 1):
        gold, gold_fault = parse(form, target, task)
        predicted: Said
        try:
            parsed, fault = parse(form, prediction, task)
            predicted = soften(parsed, task)
        except Crash:
            crashes.append(number)
            predicted, fault = dict.fromkeys(task.slots, ABSENT), True
        if form in ("cot", "rcot"):
            fault = fault or parse(form, prediction, task, repair=False)[1]
        gold = {} if gold_fault else gold
        wrong += fault
        right += gold == predicted
        if not _count(table, gold, predicted, task) and number not in crashes:
            crashes.append(number)
    scores = _scores(table, right, len(lines), task) if wrong < len(lines) else dict.fromkeys(HEADS)
    return PublishedScores(scores, len(lines), wrong, tuple(crashes))


HEADS = ("weighted_kappa", "accuracy", "sentence_accuracy")


def _count(table: npt.NDArray[np.float64], gold: Said, predicted: Said, task: Task) -> bool:
    """Add a line to the confusion matrices by aspect; False for a gold aspect or label that has no cell."""
    for slot, label in gold.items():
        if slot not in task.slots or label not in CLASSES:
            return False
        table[task.slots.index(slot), CLASSES.index(label), CLASSES.index(predicted[slot])] += 1
    return True


def _scores(table: npt.NDArray[np.float64], right: int, items: int, task: Task) -> dict[str, float | None]:
    whole = table.sum(axis=0)
    heads = (weighted_kappa(whole), _accuracy(whole), right / items)
    scores: dict[str, float | None] = dict(zip(HEADS, heads, strict=True))
    for slot, matrix in zip(task.slots, table, strict=True):
        scores |= {f"weighted_kappa/{slot}": weighted_kappa(matrix), f"accuracy/{slot}": _accuracy(matrix)}
    return scores


def weighted_kappa(matrix: npt.ArrayLike) -> float | None:
    """Rows gold, columns said, in the order of `CLASSES`; 0 where chance alone agrees, None for an empty matrix."""
    counts = np.asarray(matrix, dtype=np.float64)
    total = counts.sum()
    if not total:
        return None
    observed = float((counts * AGREEMENT).sum() / total)
    expected = float(counts.sum(axis=1) @ AGREEMENT @ counts.sum(axis=0) / total**2)
    return (observed - expected) / (1 - expected) if expected < 1 - 1e-12 else 0.0


def _accuracy(matrix: npt.NDArray[np.float64]) -> float | None:
    return float(np.trace(matrix) / matrix.sum()) if matrix.sum() else None


# ---- what a completion says ------------------------------------------------------------------------------------------


def parse(form: str, text: str, task: Task, repair: bool = True) -> tuple[Said, bool]:
    """Aspects and labels as written, and whether the scorer calls the format wrong."""
    if form in ("json", "cot", "rcot"):
        return _objects(text, repair and form != "json")
    if form == "ou":
        said, fault = _entries([piece for piece in _pieces(text) if piece])
        return said | {slot: ABSENT for slot in task.slots if slot not in said}, fault
    if not text:
        return {}, True
    if form == "lines":
        return _entries(text.strip("\n").split("\n"))
    return _entries(_pieces(text), NUMBERS if form == "numlabel" else None)


def _pieces(text: str) -> list[str]:
    return text.strip("。").split("，") if text else []


def _entries(pieces: Sequence[str], numbers: Mapping[str, str] | None = None) -> tuple[Said, bool]:
    said: Said = {}
    fault = False
    for piece in pieces:
        slot, *rest = piece.split("：")
        if rest and (numbers is None or rest[0] in numbers):
            said[slot] = rest[0] if numbers is None else numbers[rest[0]]
        else:
            fault = True
    return said, fault


def _objects(text: str, repair: bool) -> tuple[Said, bool]:
    if not text:
        return {}, True
    for broken, whole in REPAIRS if repair else ():
        text = text.replace(broken, whole)
    said: Said = {}
    last: dict[str, str] = {}  # what a row does not say stays from the row before, as in the published loop
    fault = False
    for row in text.strip("\n").split("\n"):
        try:
            value = python_literal(row)
            said[value["方面"]] = value["情感"]
        except (ValueError, TypeError, LookupError):
            fault = True
            _by_hand(row, last, said)
    return said, fault


def _by_hand(row: str, last: dict[str, str], said: Said) -> None:
    """A row that is no literal, cut at `", "` and `": "`."""
    for part in row.strip('"{').strip('}"').strip("{").strip("}").split('", "'):
        key, *rest = part.split('": "')
        if key in ("方面", "情感"):
            if not rest:
                return
            last[key] = rest[0]
    if len(last) == 2:
        said[last["方面"]] = last["情感"]


def soften(said: Said, task: Task) -> dict[str, str]:
    """Every aspect of the task with a label: the first that was written for it, unmentioned where none was read."""
    labels: Said = {}
    for written, label in said.items():
        for slot in task.slots:
            if slot not in labels and any(stem in str(written) for stem in STEMS[slot]):
                labels[slot] = label
    return {slot: _label(labels[slot]) if slot in labels else ABSENT for slot in task.slots}


def _label(written: Any) -> str:
    """The first label that is part of what was written."""
    try:
        return next((label for stem, label in LABELS.items() if stem in written), ABSENT)
    except TypeError:
        raise Crash from None
