"""Seeds on which a contender could not be compared, each with the reason: its trial failed, is missing, has no score.

    dropped = dropped_seeds(trials, results, "weighted_kappa", "test")
    dropped_sentence(dropped)     "Not paired: es-sde on seed 102 (failed: out of memory)."

A seed without the assembled design's trial pairs nobody; one without a control's trial leaves out that control alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sde_ray.config.trial import TrialConfig
from sde_ray.types import TrialResult

LONGEST_REASON = 80  # characters of an error in a sentence


@dataclass(frozen=True)
class DroppedSeeds:
    """The seeds of a contender that lack a score, for one reason."""

    contender: str
    seeds: tuple[int, ...]
    reason: str


def dropped_seeds(
    trials: Mapping[str, Sequence[TrialConfig]], results: Mapping[str, TrialResult], metric: str, split: str
) -> tuple[DroppedSeeds, ...]:
    """The seeds of each contender on which a planned trial has no finite score on the split, by reason."""
    dropped: dict[tuple[str, str], list[int]] = {}
    for name, planned in trials.items():
        for trial in planned:
            reason = _reason(results.get(trial.key), metric, split)
            seeds = dropped.setdefault((name, reason), []) if reason else []
            if trial.seed not in seeds:
                seeds.append(trial.seed)
    return tuple(DroppedSeeds(name, tuple(seeds), reason) for (name, reason), seeds in dropped.items())


def _reason(result: TrialResult | None, metric: str, split: str) -> str:
    """Why a trial has no finite score; "" where it has one."""
    if result is None:
        return "no trial"
    if result.status != "finished":
        error = (result.error.splitlines() or [""])[0][:LONGEST_REASON]
        return f"{result.status}: {error}" if error else result.status
    score = result.scores.get(split, {}).get(metric)
    if score is None:
        return f"no {metric}"
    return "" if math.isfinite(score) else f"{metric} is no finite number"


def dropped_sentence(dropped: Sequence[DroppedSeeds]) -> str:
    """All of them in one sentence; "" of none."""
    parts = [
        f"{one.contender} on seed{'s' * (len(one.seeds) > 1)} {', '.join(map(str, one.seeds))} ({one.reason})"
        for one in dropped
    ]
    return f"Not paired: {'; '.join(parts)}." if parts else ""
