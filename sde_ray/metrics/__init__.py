"""Scores of parsed completions against gold answers, as functions of per-item counts.

    score(task, examples, parsed)              -> {"weighted_kappa": 0.76, "weighted_kappa/food": 0.57, ...}
    item_statistics(task, examples, parsed)    -> rows (n items, k): counts that add up
    objective_from_items(task, name, totals)   -> the metric of summed rows, (k,) or (b, k): b resamples at once

A name is a row of `METRICS[task.kind]`, `<metric>/<slot>` for one slot, or `<metric>_strict`, where a faulty completion
is all wrong. `format_adherence`, the share of completions without a fault, belongs to every kind. A metric from outside
the package is named "my_pkg.my_metrics:SCORE" in the task's metrics: a function (task, example, parsed) -> float whose
mean over items is the metric. No examples give 0 everywhere; gold answers give the maximum.

A bootstrap:    rows = item_statistics(...);  weights = rng.multinomial(n, [1 / n] * n, size=1000)
                values = objective_from_items(task, "f1", weights @ rows)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType

import numpy as np

from sde_ray.errors import UserError, unknown
from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, pack, ratio, unpack, width
from sde_ray.metrics.free import FREE
from sde_ray.metrics.label import LABEL, confusion, is_sentiment
from sde_ray.metrics.span import SPAN
from sde_ray.plugins import load_object
from sde_ray.types import Example, Parsed, Scores, Task

__all__ = [
    "METRICS",
    "Metric",
    "check_metric",
    "confusion",
    "fault_counts",
    "is_sentiment",
    "item_statistics",
    "mean_over_tasks",
    "metric_bounds",
    "metric_names",
    "num_counts",
    "objective_from_items",
    "score",
]

KINDS: dict[str, Kind] = {"label": LABEL, "span": SPAN, "free": FREE}

METRICS: dict[str, Mapping[str, Metric]] = {kind: row.metrics for kind, row in KINDS.items()}

ADHERENCE = "format_adherence"
STRICT = "_strict"

Score = Callable[[Task, Example, Parsed], float]


def score(task: Task, examples: Sequence[Example], parsed: Sequence[Parsed]) -> dict[str, float]:
    """Score parsed completions: every metric of the task's kind, pooled, strict and by slot, and the task's own.

    Args:
        task: its kind, slots and metrics.
        examples: the gold answers, [item].
        parsed: the completions, parsed, in the same order.

    Returns the value by metric name, "f1/DNA" for one slot, "f1_strict" where a faulty completion is all wrong.
    """
    totals = item_statistics(task, examples, parsed).sum(axis=0)
    return {name: float(objective_from_items(task, name, totals)) for name in metric_names(task)}


def mean_over_tasks(scores: Sequence[Scores]) -> Scores:
    """The mean over tasks of each metric; a metric that only some tasks have (one aspect's) over those."""
    names = dict.fromkeys(name for by_metric in scores for name in by_metric)
    values = {name: [by_metric[name] for by_metric in scores if name in by_metric] for name in names}
    return {name: sum(each) / len(each) for name, each in values.items()}


def fault_counts(parsed: Sequence[Parsed]) -> dict[str, int]:
    """Counts of parse faults by kind, most frequent first."""
    return dict(Counter(fault.kind for one in parsed for fault in one.faults).most_common())


def item_statistics(task: Task, examples: Sequence[Example], parsed: Sequence[Parsed]) -> Array:
    """Counts of each item, [item, count]; a sum of rows is what `objective_from_items` takes."""
    assert len(examples) == len(parsed), f"{len(examples)} examples, {len(parsed)} parsed completions"
    shapes = _shapes(task)
    rows = [_row(task, shapes, example, one) for example, one in zip(examples, parsed, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, pack(shapes, _nothing(shapes)).size))


def num_counts(task: Task) -> int:
    """Number of counts of an item of the task: the columns of `item_statistics`."""
    return width(_shapes(task))


def objective_from_items(task: Task, metric: str, totals: Array) -> Array:
    """Metric of summed rows: a number for [count], an array [resample] for [resample, count].

    Raises UserError: when the task has no such metric.
    """
    check_metric(task, metric)
    counts = unpack(_shapes(task), np.asarray(totals, dtype=np.float64))
    if metric == ADHERENCE or (":" in metric and metric in task.metrics):
        return ratio(counts[metric], counts["all"])
    table = METRICS[task.kind]
    name, _, slot = metric.partition("/")
    if slot:
        return table[name].measure(task, _of_slot(task, counts, task.slots.index(slot)))
    if name in table:
        return table[name].measure(task, _pooled(task, counts))
    name = name.removesuffix(STRICT)
    return table[name].measure(task, {key: counts[key + STRICT] for key in KINDS[task.kind].shapes(task)})


def metric_names(task: Task) -> tuple[str, ...]:
    """Names of all metrics that `score` gives for the task, pooled ones first."""
    table = METRICS[task.kind]
    strict = [name + STRICT for name, row in table.items() if row.strict]
    slots = task.slots if len(task.slots) > 1 else ()
    by_slot = [f"{name}/{slot}" for name, row in table.items() if row.by_slot for slot in slots]
    return (*table, ADHERENCE, *strict, *_foreign(task), *by_slot)


def metric_bounds(name: str) -> tuple[float, float] | None:
    """The lowest and the highest value of a metric, by its name; None for one from outside the package."""
    pooled = name.partition("/")[0]
    pooled = pooled if pooled == ADHERENCE else pooled.removesuffix(STRICT)
    rows = [table[pooled] for table in METRICS.values() if pooled in table]
    if pooled == ADHERENCE:
        return 0.0, 1.0
    return rows[0].bounds if rows else None


def check_metric(task: Task, name: str) -> None:
    """Validate a metric's name: `UserError` with the task's pooled metrics where there is none."""
    names = metric_names(task)
    if name not in names:
        shown = names if "/" in name else [pooled for pooled in names if "/" not in pooled]
        raise UserError(unknown(f"metric of the task {task.name}", name, shown))


def _foreign(task: Task) -> dict[str, Score]:
    """Metrics of the task from outside the package, by their name "package.module:NAME"."""
    return {name: load_object(name, FunctionType, "a metric") for name in task.metrics if ":" in name}


def _pooled_shapes(task: Task) -> Shapes:
    kind = KINDS[task.kind]
    return {name: shape[1:] if name in kind.by_slot else shape for name, shape in kind.shapes(task).items()}


def _shapes(task: Task) -> Shapes:
    """The columns of a row: counts by slot, strict counts pooled, items, adherence, foreign scores."""
    strict = {name + STRICT: shape for name, shape in _pooled_shapes(task).items()}
    foreign = {name: () for name in task.metrics if ":" in name}
    return {**KINDS[task.kind].shapes(task), **strict, "all": (), ADHERENCE: (), **foreign}


def _nothing(shapes: Shapes) -> Counts:
    return {name: np.zeros(shape) for name, shape in shapes.items()}


def _row(task: Task, shapes: Shapes, example: Example, parsed: Parsed) -> Array:
    kind, faulty = KINDS[task.kind], bool(parsed.faults)
    counts = kind.count(task, example, parsed, False)
    strict = _sum_slots(task, kind.count(task, example, parsed, True) if faulty else counts)
    foreign = {name: _scored(name, score_one(task, example, parsed)) for name, score_one in _foreign(task).items()}
    general = {"all": 1, ADHERENCE: not faulty, **foreign}
    return pack(shapes, {**counts, **{name + STRICT: value for name, value in strict.items()}, **general})


def _scored(name: str, value: float) -> float:
    if not np.isfinite(value):
        raise UserError(f'Metric "{name}" returned {value}. Expected a finite number for every item.')
    return float(value)


def _sum_slots(task: Task, counts: Mapping[str, object]) -> Counts:
    by_slot = KINDS[task.kind].by_slot
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in counts.items()}
    return {name: value.sum(axis=0) if name in by_slot else value for name, value in arrays.items()}


def _pooled(task: Task, counts: Counts) -> Counts:
    kind = KINDS[task.kind]
    shapes = kind.shapes(task)
    return {
        name: counts[name].sum(axis=-len(shape)) if name in kind.by_slot else counts[name]
        for name, shape in shapes.items()
    }


def _of_slot(task: Task, counts: Counts, slot: int) -> Counts:
    kind = KINDS[task.kind]
    return {
        name: np.take(counts[name], slot, axis=-len(shape)) if name in kind.by_slot else counts[name]
        for name, shape in kind.shapes(task).items()
    }
