"""Per-item scores for the bootstrap and the jackknife: a trial's kept completions, counted item by item.

    items = read_items(result, folder, "dev", "f1")      ids ["d1-17", ...], rows of counts, the metric of summed counts
    items.scores(bootstrap_weights(items.ids, 2000, random))      the metric under 2,000 draws of the items

The noise of a score has two sources: training (seeds) and the items it was measured on. All trials of a sweep are
measured on the same items, so resampling them moves all scores together; that is what makes paired comparisons sharp.
Only `read_items` reads files; statistics take `ItemCounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sde_ray.design.designs import design_of
from sde_ray.design.render import parse_completion
from sde_ray.evaluation.predictions import completions_by_task
from sde_ray.metrics import item_statistics, objective_from_items
from sde_ray.storage.layout import PREDICTIONS
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Design, Example, Task, TrialResult

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TaskItems:
    """Sufficient statistics of one task's items: `rows` [items, counts]; `measure` makes the metric of their sum.

    `measure` takes sums [counts] or [draws, counts].
    """

    ids: tuple[str, ...]
    rows: Array
    measure: Callable[[Array], Array]


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
    count = len(part.ids)
    left_out = np.asarray(part.measure(part.rows.sum(axis=0) - part.rows))
    return np.asarray((left_out.mean() - left_out) * (count - 1) / count)


def read_items(result: TrialResult, folder: Path, split: str, metric: str) -> ItemCounts | None:
    """Read a trial's completions of a split and count them again; None where they were not kept."""
    path = folder / PREDICTIONS
    home, definition = str(result.config["task"]), result.config.get("definition")
    try:
        by_task = completions_by_task(path, home)
    except (OSError, ValueError):
        return None
    texts = {task: completions for (where, task), completions in by_task.items() if where == split}
    design = design_of(result)
    parts = []
    for name in sorted(texts):
        task = trial_task(name, definition)
        examples = trial_examples(name, split.removesuffix("_ood"), definition)  # type: ignore[arg-type]
        parts.append(count_items(task, design, [e for e in examples if e.id in texts[name]], texts[name], metric))
    return ItemCounts(tuple(parts)) if parts and all(part.ids for part in parts) else None


def read_items_by_trial(results: Sequence[TrialResult], trials: Path, split: str, metric: str) -> dict[str, ItemCounts]:
    """Counts by item of every finished trial that kept its completions, by key; `trials` holds the trials' folders."""
    finished = [result for result in results if result.status == "finished"]
    by_trial = {result.key: read_items(result, trials / result.key, split, metric) for result in finished}
    return {key: items for key, items in by_trial.items() if items is not None}


def count_items(
    task: Task, design: Design, examples: Sequence[Example], texts: Mapping[str, str], metric: str
) -> TaskItems:
    """Count completions item by item; `texts` are the completions by the id of their example."""
    parsed = [parse_completion(texts[example.id], task, design) for example in examples]
    rows = item_statistics(task, examples, parsed)
    return TaskItems(tuple(e.id for e in examples), rows, lambda sums: objective_from_items(task, metric, sums))
