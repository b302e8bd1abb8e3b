"""Metrics as per-item counts that add up, and a function from summed counts to a value.

    Example, Parsed ──count──▶ counts (one row an item) ──sum──▶ totals ──measure──▶ value

Every metric of the package is a function of summed counts, so a bootstrap over items is a matrix product of resampling
weights and the counts. A kind of task brings a `Kind`: the shapes of its counts, how to fill them for one item, and its
table of metrics. Arrays may have any leading axes (one for each resample); the last axes are those of `shapes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sde_ray.types import Example, Parsed, Task

Array = NDArray[np.float64]
Counts = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Metric:
    """Metric, a row of the table. `by_slot`: also for each slot ("f1/DNA"); `strict`: also as "f1_strict".

    `bounds`: the lowest and the highest value that it can have.
    """

    measure: Callable[[Task, Counts], Array]
    by_slot: bool = True
    strict: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Kind:
    """Kind of task: how its answers are counted, and its metrics.

    `shapes(task)` names the counts of one answer, `by_slot` those of them with a leading slot axis. `count(task,
    example, answer, faulty)` fills them; `faulty` makes the strict twin, where nothing of the completion is right.
    """

    shapes: Callable[[Task], Shapes]
    by_slot: frozenset[str]
    count: Callable[[Task, Example, Parsed, bool], Mapping[str, Any]]
    metrics: Mapping[str, Metric]


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
