"""Racing: a trial whose first answers are clearly worse than a rival's is not asked the remaining dev items.

    rival = Rival(folder, "weighted_kappa")
    rival.reason_to_stop("predictions.jsonl", task, design, examples, texts, looks=2)
    -> "0.412 behind on the first 30 items [0.205, 0.619]", or "" where the trial goes on

Both answered the same items, so the difference is paired: what is hard for both cancels. It is looked at after each
share of the items in `search.racing`; the chance of giving up a design that is as good as its rival is at most `ERROR`
over all looks (Bonferroni). Only completions are compared, after equal shares of the training, never losses.
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

ERROR = 0.01
FEWEST = 16  # items below which no trial is given up: a jackknife of less is a guess


@dataclass(frozen=True)
class Opponent:
    """The trial to be compared with: its folder, and the metric that decides."""

    folder: Path
    metric: str

    def reason_to_stop(
        self, rung: str, task: Task, design: Design, examples: Sequence[Example], texts: Sequence[str], looks: int
    ) -> str:
        """Why the trial that wrote `texts` is given up; empty: it goes on. `rung`: the file of the rival's answers."""
        known = _answers(self.folder / rung, task.name)
        if len(examples) < FEWEST or any(example.id not in known for example in examples):
            return ""
        written = dict(zip((example.id for example in examples), texts, strict=True))
        own = count_items(task, design, examples, written, self.metric)
        other = count_items(task, _design(self.folder), examples, known, self.metric)
        return behind(own, other, looks)


def behind(own: TaskItems, other: TaskItems, looks: int) -> str:
    """The loss in words where it is beyond the noise of the items, at `ERROR` over all `looks`; else empty."""
    count = len(own.ids)
    gap = float(other.measure(other.rows.sum(axis=0)) - own.measure(own.rows.sum(axis=0)))
    each = jackknife_influence(other) - jackknife_influence(own)
    error = float(np.sqrt((each**2).sum() * count / (count - 1)))
    reach = float(stats.t.ppf(1 - ERROR / looks, count - 1)) * error
    if not np.isfinite(gap) or gap - reach <= 0:
        return ""
    return f"{gap:.3f} behind on the first {count} items [{gap - reach:.3f}, {gap + reach:.3f}]"


def slices(count: int, looks: Sequence[float]) -> list[slice]:
    """How `count` items are cut by the shares after which one looks: (0.25, 0.5) of 120 -> 0:30, 30:60, 60:120."""
    ends = [0, *(round(count * look) for look in looks), count]
    return [slice(start, end) for start, end in pairwise(ends) if end > start]


@lru_cache(maxsize=8)
def _answers(path: Path, task: str) -> Mapping[str, str]:
    """The rival's dev completions by item; nothing where they were not kept."""
    try:
        return completions_by_task(path, task).get(("dev", task), {})
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=8)
def _design(folder: Path) -> Design:
    return make_design(**json.loads((folder / CONFIG).read_text(encoding="utf-8"))["design"])
