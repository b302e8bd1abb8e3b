"""Metrics as per-item counts that add up, and a function from summed counts to a value.

    Example, Parsed ──count──▶ counts (one row an item) ──sum──▶ totals ──measure──▶ value

Every metric of the package is a function of summed counts, so a bootstrap over items is a matrix product of resampling
weights and the counts. A kind of task brings a `Kind`: the shapes of its counts, how to fill them for one item, and its
table of metrics. Arrays may have any leading axes (one for each resample); the last axes are those of `shapes`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sde_ray.types import Example, Parsed, Task

Array = NDArray[np.float64]
Counts = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


def always(task: Task, slot: str) -> bool:
    """Apply to every task and slot."""
    return True


@dataclass(frozen=True)
class Metric:
    """Metric, a row of the table. `by_slot`: also for each slot ("f1/DNA"); `strict`: also as "f1_strict".

    `bounds`: the lowest and the highest value that it can have; None where that depends on the task.
    `applies(task, slot)`: whether it can be measured of that slot; of all slots together where `slot` is empty.
    """

    measure: Callable[[Task, Counts], Array]
    by_slot: bool = True
    strict: bool = True
    bounds: tuple[float, float] | None = (0.0, 1.0)
    applies: Callable[[Task, str], bool] = always


@dataclass(frozen=True)
class Kind:
    """Kind of task: how its answers are counted, and its metrics.

    `shapes(task)` names the counts of one answer, `by_slot` those of them with a leading slot axis, `by_label` those
    with one column for each label of each slot in turn (`label_blocks`). `count(task, example, answer, faulty)` fills
    them; `faulty` makes the strict twin, where nothing of the completion is right.
    """

    shapes: Callable[[Task], Shapes]
    by_slot: frozenset[str]
    count: Callable[[Task, Example, Parsed, bool], Mapping[str, Any]]
    metrics: Mapping[str, Metric]
    by_label: Mapping[str, int] = field(default_factory=dict)
    """How many further classes each slot has in that table: 1 where "not mentioned" is one."""


def label_blocks(task: Task, further: int) -> list[slice]:
    """Columns of each slot in a table with one column for each label of each slot, and `further` ones a slot."""
    ends = list(itertools.accumulate(len(task.labels_of(slot)) + further for slot in task.slots))
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def width(shapes: Shapes) -> int:
    """Number of columns that `shapes` take."""
    return sum(math.prod(shape) for shape in shapes.values())


def pack(shapes: Shapes, counts: Mapping[str, Any]) -> Array:
    """Pack counts into one row, [width], in the order of `shapes`."""
    assert counts.keys() == shapes.keys(), (sorted(counts), sorted(shapes))
    return np.concatenate([np.asarray(counts[name], dtype=np.float64).reshape(-1) for name in shapes])


def unpack(shapes: Shapes, rows: Array) -> Counts:
    """Unpack rows, [..., width], into counts; the inverse of `pack`."""
    counts, start = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        counts[name] = rows[..., start : start + size].reshape((*rows.shape[:-1], *shape))
        start += size
    return counts


def ratio(part: Array, whole: Array, empty: Array | float = 0.0) -> Array:
    """Ratio `part / whole`, and `empty` where the whole is 0: no metric is ever nan or infinite."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), empty)
