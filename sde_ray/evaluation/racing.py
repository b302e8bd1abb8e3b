"""Racing, or stopping for futility: a trial that is clearly behind on its first dev items is not asked the others.

A one-sided paired test (jackknife error of the items) against the best comparable trial.

    opponent = Opponent(folder, "weighted_kappa")
    opponent.reason_to_stop("predictions.jsonl", task, design, examples, texts, interim_looks=2)
    -> "0.412 behind on the first 30 items [0.205, 0.619]"; "" where the trial is evaluated further

Both answered the same items, so the difference is paired: what is hard for both cancels. It is looked at after each
share of the items in `search.racing`; the chance of stopping a design that is as good as its opponent is at most
`ALPHA` over all looks (Bonferroni). Only completions are compared, after equal shares of the training, never losses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from sde_ray.design.designs import make_design
from sde_ray.evaluation.per_item import TaskItems, count_items, jackknife_influence
from sde_ray.evaluation.predictions import completions_by_task
from sde_ray.storage.layout import CONFIG
from sde_ray.types import Design, Example, Task

ALPHA = 0.01
MIN_ITEMS = 16  # below them no trial is stopped: a jackknife of less is a guess


@dataclass(frozen=True)
class Opponent:
    """The trial to be compared with: its folder, and the metric that decides."""

    folder: Path
    metric: str

    def reason_to_stop(
        self,
        predictions: str,
        task: Task,
        design: Design,
        examples: Sequence[Example],
        texts: Sequence[str],
        interim_looks: int,
    ) -> str:
        """Early-stopping decision on the first items: why the trial is stopped; "" = evaluate it further.

        Args:
            predictions: The name of the file with the opponent's completions at the same rung.
            task: The trial's own task.
            design: The trial's design.
            examples: The items that were decoded so far.
            texts: The trial's completions for them.
            interim_looks: At so many points the two are compared, in all.
        """
        completed = _opponent_completions(self.folder / predictions, task.name)
        if len(examples) < MIN_ITEMS or any(example.id not in completed for example in examples):
            return ""
        written = dict(zip((example.id for example in examples), texts, strict=True))
        own = count_items(task, design, examples, written, self.metric)
        other = count_items(task, _design(self.folder), examples, completed, self.metric)
        return futility_reason(own, other, interim_looks)


def futility_reason(own: TaskItems, other: TaskItems, interim_looks: int) -> str:
    """One-sided paired test: how far behind in words, if beyond the items' noise at `ALPHA` over all looks; else ""."""
    count = len(own.ids)
    gap = float(other.measure(other.rows.sum(axis=0)) - own.measure(own.rows.sum(axis=0)))
    each = jackknife_influence(other) - jackknife_influence(own)
    error = float(np.sqrt((each**2).sum() * count / (count - 1)))
    reach = float(stats.t.ppf(1 - ALPHA / interim_looks, count - 1)) * error
    if not np.isfinite(gap) or gap - reach <= 0:
        return ""
    return f"{gap:.3f} behind on the first {count} items [{gap - reach:.3f}, {gap + reach:.3f}]"


def slices(count: int, interim_looks: Sequence[float]) -> list[slice]:
    """How `count` items are cut by the shares after which one looks: (0.25, 0.5) of 120 -> 0:30, 30:60, 60:120."""
    ends = [0, *(round(count * share) for share in interim_looks), count]
    return [slice(start, end) for start, end in pairwise(ends) if end > start]


@lru_cache(maxsize=8)
def _opponent_completions(path: Path, task: str) -> Mapping[str, str]:
    """The opponent's dev completions by item; nothing where they were not kept."""
    try:
        return completions_by_task(path, task).get(("dev", task), {})
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=8)
def _design(folder: Path) -> Design:
    return make_design(**json.loads((folder / CONFIG).read_text(encoding="utf-8"))["design"])
