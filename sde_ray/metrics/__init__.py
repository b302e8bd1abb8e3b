"""Scores of parsed completions against gold answers, as functions of per-item counts.

    score(task, examples, parsed)              -> {"weighted_kappa": 0.76, "weighted_kappa/food": 0.57, ...}
    item_statistics(task, examples, parsed)    -> rows (n items, k): counts that add up
    objective_from_items(task, name, totals)   -> the metric of summed rows, (k,) or (b, k): b resamples at once

A name is a row of `metrics_of(task)`, `<metric>/<slot>` for one slot, or `<metric>_strict`, where a faulty completion
is all wrong. `format_adherence`, the share of completions without a fault, belongs to every kind. A metric from outside
the package is named "my_pkg.my_metrics:score" in the task's metrics (plugin.py says what it is). No examples give 0
everywhere; gold answers give the maximum. Every metric is the better the higher it is.

label.py  slot_label.py  multilabel.py  one label a slot of one list; of the slot's own; several labels a slot
positive.py                             one answer that is looked for: F1 of "yes"
span.py  free.py  number.py             spans; free values; free values that are numbers
record.py                               records with named fields
base.py  span_matching.py               counts that add up; when two spans name the same thing
meanings.py                             what each metric says, in half a sentence

A bootstrap:    rows = item_statistics(...);  weights = rng.multinomial(n, [1 / n] * n, size=1000)
                values = objective_from_items(task, "f1", weights @ rows)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from sde_ray.errors import UserError, unknown
from sde_ray.metrics.base import Array, Counts, Kind, Metric, Shapes, label_blocks, pack, ratio, unpack, width
from sde_ray.metrics.free import FREE
from sde_ray.metrics.label import LABEL, confusion, is_sentiment
from sde_ray.metrics.multilabel import MULTILABEL
from sde_ray.metrics.number import NUMBER
from sde_ray.metrics.plugin import Score, bounded, call_metric, load_metric, plugin_bounds
from sde_ray.metrics.positive import POSITIVE
from sde_ray.metrics.record import RECORD
from sde_ray.metrics.slot_label import SLOT_LABEL
from sde_ray.metrics.span import SPAN
from sde_ray.plugins import is_path
from sde_ray.types import Example, Fault, Parsed, Scores, Task

__all__ = [
    "KINDS",
    "Metric",
    "bounded",
    "check_metric",
    "confusion",
    "fault_counts",
    "is_sentiment",
    "item_statistics",
    "kind_of",
    "load_metric",
    "mean_over_tasks",
    "metric_bounds",
    "metric_names",
    "metrics_of",
    "num_counts",
    "objective_from_items",
    "score",
    "try_plugins",
]

KINDS: dict[str, Kind] = {
    "label": LABEL,
    "slot_label": SLOT_LABEL,
    "multilabel": MULTILABEL,
    "positive": POSITIVE,
    "span": SPAN,
    "free": FREE,
    "number": NUMBER,
    "record": RECORD,
}

ADHERENCE = "format_adherence"
STRICT = "_strict"
NEEDS = {
    "label": "labels of one list",
    "slot_label": "labels by slot",
    "multilabel": "several labels a slot (multilabel)",
    "positive": "an answer that is looked for",
    "span": "spans",
    "free": "free values",
    "number": "free values that are numbers (range)",
    "record": "records",
}
"""What a task of a kind has, for a metric that belongs to others."""
JUDGED = ("rouge", "bleu", "bertscore", "meteor", "judge", "perplexity")
"""Beginnings of names of metrics that users know and the package does not have."""


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
    if metric == ADHERENCE or metric in _plugins(task):
        return ratio(counts[metric], counts["all"])
    table = metrics_of(task)
    name, _, slot = metric.partition("/")
    if slot:
        return table[name].measure(task, _of_slot(task, counts, task.slots.index(slot)))
    if name in table:
        return table[name].measure(task, _pooled(task, counts))
    name = name.removesuffix(STRICT)
    return table[name].measure(task, {key: counts[key + STRICT] for key in kind_of(task).shapes(task)})


def kind_of(task: Task) -> Kind:
    """How the task's answers are counted."""
    if task.kind == "label":
        if task.positive:
            return POSITIVE
        return MULTILABEL if task.multilabel else SLOT_LABEL if task.slot_labels else LABEL
    return NUMBER if task.kind == "free" and task.ranges else KINDS[task.kind]


def metrics_of(task: Task) -> Mapping[str, Metric]:
    """The package's metrics of a task, by name."""
    return kind_of(task).metrics


def metric_names(task: Task) -> tuple[str, ...]:
    """Names of all metrics that `score` gives for the task, pooled ones first."""
    table = metrics_of(task)
    pooled = [name for name, row in table.items() if row.applies(task, "")]
    strict = [name + STRICT for name in pooled if table[name].strict]
    slots = task.slots if len(task.slots) > 1 else ()
    rows = [(name, row, slot) for name, row in table.items() if row.by_slot for slot in slots]
    by_slot = [f"{name}/{slot}" for name, row, slot in rows if row.applies(task, slot)]
    return (*pooled, ADHERENCE, *strict, *_plugins(task), *by_slot)


def metric_bounds(name: str) -> tuple[float, float] | None:
    """The lowest and the highest value of a metric, by its name.

    None where that depends on the task, or where a metric from outside the package declares none.
    """
    if is_path(name):
        return plugin_bounds(name)
    pooled = name.partition("/")[0]
    pooled = pooled if pooled == ADHERENCE else pooled.removesuffix(STRICT)
    rows = [kind.metrics[pooled] for kind in KINDS.values() if pooled in kind.metrics]
    if pooled == ADHERENCE:
        return 0.0, 1.0
    return rows[0].bounds if rows else None


def check_metric(task: Task, name: str) -> None:
    """Validate a metric's name: `UserError` with the task's pooled metrics where there is none."""
    names = metric_names(task)
    if name not in names:
        shown = names if "/" in name else [pooled for pooled in names if "/" not in pooled]
        raise UserError(unknown(f"metric of the task {task.name}", name, shown) + _remedy(task, name))


def _remedy(task: Task, name: str) -> str:
    """What to do about a name that the user may know from elsewhere."""
    if is_path(name):
        return (
            f' A metric of your own is named in the task: metrics: [{", ".join(task.metrics)}, "{name}"] '
            "(docs/tasks-and-metrics.md, also for a task of the package)."
        )
    if name.casefold().startswith(JUDGED):
        return (
            " It is none of the package's. Write it as a function of your own, with a library of your choice, and name "
            'it in the task: metrics: ["my_pkg.my_metrics:score"] (docs/tasks-and-metrics.md).'
        )
    if name.casefold() in ("mae", "mse", "rmse", "nmae"):
        return (
            " Designs are ranked by what is better the higher it is: use neg_mae or neg_nmae, which need the range of "
            "the values in the task: range: [0, 100]."
        )
    pooled = name.partition("/")[0].removesuffix(STRICT)
    if pooled in metrics_of(task):
        return {
            "quadratic_weighted_kappa": " It needs labels that are numbers.",
            "neg_mae": " It needs slots of one range; neg_nmae takes any.",
        }.get(pooled, "")
    others = [NEEDS[kind] for kind, row in KINDS.items() if pooled in row.metrics]
    return f" It is for tasks with {' or '.join(others)}." if others else ""


def _plugins(task: Task) -> dict[str, Score]:
    """Metrics of the task from outside the package, by their name "package.module:NAME"."""
    return {name: load_metric(name) for name in task.metrics if is_path(name)}


def _pooled_shapes(task: Task) -> Shapes:
    kind = kind_of(task)
    return {name: shape[1:] if name in kind.by_slot else shape for name, shape in kind.shapes(task).items()}


def _shapes(task: Task) -> Shapes:
    """The columns of a row: counts by slot, strict counts pooled, items, adherence, foreign scores."""
    strict = {name + STRICT: shape for name, shape in _pooled_shapes(task).items()}
    plugins = {name: () for name in task.metrics if is_path(name)}
    return {**kind_of(task).shapes(task), **strict, "all": (), ADHERENCE: (), **plugins}


def _nothing(shapes: Shapes) -> Counts:
    return {name: np.zeros(shape) for name, shape in shapes.items()}


def try_plugins(task: Task, examples: Sequence[Example]) -> None:
    """Call the task's metrics from outside the package on gold and on empty answers, before anything is trained.

    Raises UserError: for one that fails or gives no finite number within its bounds.
    """
    for name, metric in _plugins(task).items():
        for example in examples:
            for parsed in (Parsed(example.answer), Parsed({}, (Fault("empty"),))):
                call_metric(name, metric, task, example, parsed)


def _row(task: Task, shapes: Shapes, example: Example, parsed: Parsed) -> Array:
    kind, faulty = kind_of(task), bool(parsed.faults)
    counts = kind.count(task, example, parsed, False)
    strict = _sum_slots(task, kind.count(task, example, parsed, True) if faulty else counts)
    plugins = {name: call_metric(name, metric, task, example, parsed) for name, metric in _plugins(task).items()}
    general = {"all": 1, ADHERENCE: not faulty, **plugins}
    return pack(shapes, {**counts, **{name + STRICT: value for name, value in strict.items()}, **general})


def _sum_slots(task: Task, counts: Mapping[str, object]) -> Counts:
    by_slot = kind_of(task).by_slot
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in counts.items()}
    return {name: value.sum(axis=0) if name in by_slot else value for name, value in arrays.items()}


def _pooled(task: Task, counts: Counts) -> Counts:
    kind = kind_of(task)
    shapes = kind.shapes(task)
    return {
        name: counts[name].sum(axis=-len(shape)) if name in kind.by_slot else counts[name]
        for name, shape in shapes.items()
    }


def _of_slot(task: Task, counts: Counts, slot: int) -> Counts:
    """Counts of one slot; in a table by label the columns of the other slots are 0."""
    kind, of_slot = kind_of(task), {}
    for name, shape in kind.shapes(task).items():
        if name in kind.by_slot:
            of_slot[name] = np.take(counts[name], slot, axis=-len(shape))
        elif name in kind.by_label:
            block = label_blocks(task, kind.by_label[name])[slot]
            of_slot[name] = np.zeros_like(counts[name])
            of_slot[name][..., block] = counts[name][..., block]
        else:
            of_slot[name] = counts[name]
    return of_slot
