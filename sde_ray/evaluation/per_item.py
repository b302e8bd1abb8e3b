"""Per-item scores for the bootstrap and the jackknife: a trial's kept completions, counted item by item.

    items = read_items(result, folder, "dev", "f1")      ids ["d1-17", ...], rows of counts, the metric of summed counts
    items.scores(bootstrap_weights(items.ids, 2000, random))      the metric under 2,000 draws of the items

The noise of a score has two sources: training (seeds) and the items it was measured on. All trials of a sweep are
measured on the same items, so resampling them moves all scores together; that is what makes paired comparisons sharp.
Only `read_items` reads files; statistics take `ItemCounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.design.designs import design_of
from sde_ray.design.render import parse_completion
from sde_ray.evaluation.batch_retries import parse_answers
from sde_ray.evaluation.item_cache import ItemCache, OpenTask, Parts
from sde_ray.evaluation.predictions import completions_by_task
from sde_ray.metrics import item_statistics, objective_from_items
from sde_ray.storage.layout import PREDICTIONS
from sde_ray.tasks import fingerprint
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Design, Example, Task, TrialResult

Array = npt.NDArray[np.float64]
Prepare = Callable[[Sequence[Example]], Sequence[Example]]


@dataclass(frozen=True)
class TaskItems:
    """Sufficient statistics of one task's items: `rows` [items, counts]; `measure` makes the metric of their sum.

    `measure` takes sums [counts] or [draws, counts]. Small whole numbers may be bytes: thousands of trials are held.
    """

    ids: tuple[str, ...]
    rows: npt.NDArray[Any]
    measure: Callable[[Array], Array]

    @cached_property
    def influence(self) -> Array:
        """Jackknife influence: the metric's change per unit of weight of each item [items]; computed once."""
        count = len(self.ids)
        left_out = np.asarray(self.measure(self.rows.sum(axis=0) - self.rows))
        return np.asarray((left_out.mean() - left_out) * (count - 1) / count)


@dataclass(frozen=True)
class ItemCounts:
    """A trial's items on a split, task by task; several tasks (out-of-domain) have the same weight each."""

    parts: tuple[TaskItems, ...]

    @property
    def ids(self) -> tuple[tuple[str, ...], ...]:
        """The items' names by task; trials with equal ids were scored on the same items."""
        return tuple(part.ids for part in self.parts)

    def scores(self, weights: Sequence[Array]) -> Array:
        """The metric under each draw [draws], in its own units; `weights` [draws, items] for each task."""
        by_task = [np.asarray(part.measure(w @ part.rows)) for part, w in zip(self.parts, weights, strict=True)]
        return np.asarray(np.mean(by_task, axis=0))


def bootstrap_weights(ids: Sequence[Sequence[str]], draws: int, random: np.random.Generator) -> list[Array]:
    """Multinomial bootstrap weights: how often each item is drawn [draws, items], for each task."""
    return [random.multinomial(len(part), np.full(len(part), 1 / len(part)), draws).astype(float) for part in ids]


def influence_matrix(trials: Sequence[ItemCounts | None]) -> Array | None:
    """Jackknife influence of each item on each trial's score [trials, items]; None where items are not shared.

    A score's change under a draw of items is then, to first order, a sum over items, which makes a bootstrap of
    hundreds of trials one matrix product (the infinitesimal jackknife).
    """
    counts = [items for items in trials if items is not None]
    if len(counts) < len(trials) or not counts or any(items.ids != counts[0].ids for items in counts):
        return None
    return np.stack(
        [np.concatenate([jackknife_influence(part) / len(items.parts) for part in items.parts]) for items in counts]
    )


def jackknife_influence(part: TaskItems) -> Array:
    """Jackknife influence: the metric's change per unit of weight of each item [items]."""
    return part.influence


def read_items(
    result: TrialResult,
    folder: Path,
    split: str,
    metric: str,
    cache: ItemCache | None = None,
    prepare: Prepare | None = None,
) -> ItemCounts | None:
    """Read a trial's completions of a split and count them again; None where they were not kept.

    Args:
        result: the trial.
        folder: its own folder.
        split: "dev", "dev_ood", "test" or "test_ood".
        metric: what the counts are to measure.
        cache: counts that were made before, from which unchanged completions are taken, and where new ones are kept.
        prepare: makes of the gold examples those that are scored against; no cache then.
    """
    path = folder / PREDICTIONS
    definition = result.config.get("definition")
    open_task = partial(_open_task, split=split, definition=definition)
    if prepare is not None:
        open_task, cache = partial(_open_prepared, split=split, definition=definition, prepare=prepare), None
    parts = cache.get(result, path, open_task) if cache else None
    if parts is None:
        try:
            parts = _count(result, path, split, open_task)
        except (OSError, ValueError):
            return None
        if cache:
            cache.put(result, path, open_task, parts)
    items = [_task_items(open_task(name), *parts[name], metric) for name in sorted(parts)]
    return ItemCounts(tuple(items)) if items and all(part.ids for part in items) else None


def read_items_by_trial(
    results: Sequence[TrialResult], trials: Path, split: str, metric: str, prepare: Prepare | None = None
) -> dict[str, ItemCounts]:
    """Counts by item of every finished trial that kept its completions, by key; `trials` holds the trials' folders.

    Completions are counted once: what that gave is kept beside `trials` (`item_cache.py`).
    """
    finished = [result for result in results if result.status == "finished"]
    caches: dict[tuple[str, ...], ItemCache] = {}
    by_trial = {}
    for result in finished:
        name = (*(str(result.config.get(each)) for each in ("task", "model", "train_size")), split)
        if name not in caches:
            caches[name] = ItemCache(trials.parent, name)
        by_trial[result.key] = read_items(result, trials / result.key, split, metric, caches[name], prepare)
    for cache in caches.values():
        cache.flush()
    return {key: items for key, items in by_trial.items() if items is not None}


def _count(result: TrialResult, path: Path, split: str, open_task: Callable[[str], OpenTask]) -> Parts:
    """Counts of a trial's completions of a split, task by task. Raises OSError or ValueError where they are damaged."""
    by_task = completions_by_task(path, str(result.config["task"]))
    texts = {task: completions for (where, task), completions in by_task.items() if where == split}
    design, parts = design_of(result), {}
    for name, completions in texts.items():
        opened = open_task(name)
        numbers = [number for number, example in enumerate(opened.examples) if example.id in completions]
        examples = [opened.examples[number] for number in numbers]
        parsed = [parse_answers(completions, example, opened.task, design) for example in examples]
        parts[name] = numbers, _compact(item_statistics(opened.task, examples, parsed))
    return parts


def _compact(rows: Array) -> npt.NDArray[Any]:
    """The counts as bytes where they are whole numbers below 256, which takes an eighth."""
    bytes_ = np.clip(rows, 0, 255).astype(np.uint8)
    return bytes_ if np.array_equal(bytes_, rows) else rows


_opened: dict[tuple[str, str], OpenTask] = {}


def _open_task(name: str, split: str, definition: Mapping[str, Any] | None) -> OpenTask:
    """The task of a trial with its examples; hashed once, as trials share them."""
    task = trial_task(name, definition)
    examples = trial_examples(name, split.removesuffix("_ood"), definition)  # type: ignore[arg-type]
    opened = _opened.get((name, split))
    if opened is None or opened.task is not task or opened.examples is not examples:
        content = fingerprint(replace(task, load=lambda _: examples), (split.removesuffix("_ood"),))  # type: ignore[arg-type]
        opened = _opened[name, split] = OpenTask(task, examples, content)
    return opened


def _open_prepared(name: str, split: str, definition: Mapping[str, Any] | None, prepare: Prepare) -> OpenTask:
    opened = _open_task(name, split, definition)
    return replace(opened, examples=prepare(opened.examples))


def _task_items(opened: OpenTask, numbers: Sequence[int], rows: npt.NDArray[Any], metric: str) -> TaskItems:
    ids = _ids(tuple(opened.examples[number].id for number in numbers))
    return TaskItems(ids, rows, lambda sums: objective_from_items(opened.task, metric, sums))


@lru_cache(maxsize=16)
def _ids(ids: tuple[str, ...]) -> tuple[str, ...]:
    """The same ids as one object, as most trials answer the same items."""
    return ids


def count_items(
    task: Task, design: Design, examples: Sequence[Example], texts: Mapping[str, str], metric: str
) -> TaskItems:
    """Count completions item by item, without retries; `texts` are the completions by the id of their example."""
    parsed = [parse_completion(texts[example.id], task, design, example.text) for example in examples]
    rows = item_statistics(task, examples, parsed)
    return TaskItems(tuple(e.id for e in examples), rows, lambda sums: objective_from_items(task, metric, sums))
