"""What the kept completions of a trial say item by item: `predictions.jsonl` read and scored again.

    read_items(result, folder, "dev", "f1") -> Items     ids ["d1-17", ...], rows of counts, the metric of summed counts

The noise of a score has two sources: training (seeds) and the items it was measured on. All trials of a sweep are
measured on the same items, so resampling them moves all scores together; that is what makes comparisons sharp.
Values only: how items become known is `read_items`; statistics take `ItemCounts` and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from sde_ray.design.designs import make_design
from sde_ray.design.render import parse_completion
from sde_ray.metrics import item_statistics, objective_from_items
from sde_ray.safe_json import one_line, read_json
from sde_ray.storage.layout import PREDICTIONS
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Design, Example, Task, TrialResult

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kept:
    """A line of `predictions.jsonl`. `task` None: the trial's own."""

    id: str
    split: Literal["train", "dev", "test", "dev_ood", "test_ood"]
    prediction: str
    task: str | None = None


_KEPT = TypeAdapter(Kept)


@dataclass(frozen=True)
class TaskItems:
    """Items of one task: counts (items, k) whose sum `measure` turns into the metric, for (k,) or (b, k)."""

    ids: tuple[str, ...]
    rows: Array
    measure: Callable[[Array], Array]


@dataclass(frozen=True)
class ItemCounts:
    """The items of a trial's split; several parts (out-of-domain tasks) count the same."""

    parts: tuple[TaskItems, ...]

    @property
    def ids(self) -> tuple[tuple[str, ...], ...]:
        return tuple(part.ids for part in self.parts)

    def scores(self, weights: Sequence[Array]) -> Array:
        """The metric under each draw of weights (draws, items), one array a part."""
        each = [np.asarray(part.measure(w @ part.rows)) for part, w in zip(self.parts, weights, strict=True)]
        return np.asarray(np.mean(each, axis=0))


def bootstrap_weights(ids: Sequence[Sequence[str]], draws: int, random: np.random.Generator) -> list[Array]:
    """Bootstrap weights for items: how often each is drawn, (draws, items) a part."""
    return [random.multinomial(len(part), np.full(len(part), 1 / len(part)), draws).astype(float) for part in ids]


def influence_matrix(trials: Sequence[ItemCounts | None]) -> Array | None:
    """How each trial's score moves with each item's weight (trials, items): the jackknife. None: items are not shared.

    A score's change under a draw of items is then, to first order, a sum over items, which makes a bootstrap of
    hundreds of trials one matrix product.
    """
    known = [items for items in trials if items is not None]
    if len(known) < len(trials) or not known or any(items.ids != known[0].ids for items in known):
        return None
    return np.stack([np.concatenate([jackknife_influence(p) / len(one.parts) for p in one.parts]) for one in known])


def jackknife_influence(part: TaskItems) -> Array:
    """How the metric of one part moves with each item's weight (items,)."""
    count = len(part.ids)
    left_out = np.asarray(part.measure(part.rows.sum(axis=0) - part.rows))
    return np.asarray((left_out.mean() - left_out) * (count - 1) / count)


def read_items(result: TrialResult, folder: Path, split: str, metric: str) -> ItemCounts | None:
    """Read a trial's completions of a split and count them again; None where they were not kept."""
    path = folder / PREDICTIONS
    home, definition = str(result.config["task"]), result.config.get("definition")
    try:
        texts = completions(path, home, split)
    except (OSError, ValueError):
        return None
    design = make_design(**result.config["design"])
    parts = []
    for name in sorted(texts):
        task = trial_task(name, definition)
        examples = trial_examples(name, split.removesuffix("_ood"), definition)  # type: ignore[arg-type]
        parts.append(count_items(task, design, [e for e in examples if e.id in texts[name]], texts[name], metric))
    return ItemCounts(tuple(parts)) if parts and all(part.ids for part in parts) else None


def read_items_by_trial(results: Sequence[TrialResult], trials: Path, split: str, metric: str) -> dict[str, ItemCounts]:
    """The items of every finished trial that kept them, by key; `trials` holds the trials' folders."""
    finished = [result for result in results if result.status == "finished"]
    read_ones = {result.key: read_items(result, trials / result.key, split, metric) for result in finished}
    return {key: items for key, items in read_ones.items() if items is not None}


def completions(path: Path, home: str, split: str) -> dict[str, dict[str, str]]:
    """task -> id -> completion; a line without a task is of the trial's own."""
    found: dict[str, dict[str, str]] = {}
    for row in rows_of(path):
        if row.split == split:
            found.setdefault(row.task or home, {})[row.id] = row.prediction
    return found


def rows_of(path: Path) -> list[Kept]:
    """The rows of `predictions.jsonl`; ValueError that names a line that is none."""
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):  # completions may hold other line ends
        if line.strip():
            try:
                rows.append(_KEPT.validate_python(read_json(line)))
            except ValueError as error:
                raise ValueError(f"line {number}: {one_line(error)}") from None
    return rows


def count_items(
    task: Task, design: Design, examples: Sequence[Example], texts: Mapping[str, str], metric: str
) -> TaskItems:
    """The counts of examples whose completions are `texts`, by id."""
    parsed = [parse_completion(texts[example.id], task, design) for example in examples]
    rows = item_statistics(task, examples, parsed)
    return TaskItems(tuple(e.id for e in examples), rows, lambda totals: objective_from_items(task, metric, totals))
