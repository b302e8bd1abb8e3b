"""Whom a trial races: the best trial of its task, model and training size so far (`evaluation/racing.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.sweep.queue import TrialQueue
from sde_ray.types import TrialResult


def opponent_key(
    config: SweepConfig,
    queue: TrialQueue,
    results: Iterable[TrialResult],
    score: Callable[[TrialResult], float | None],
    trial: TrialConfig,
) -> str:
    """The key of the trial that this one races, or "". A resumed trial keeps the opponent that it had."""
    if trial.key in queue.in_flight:
        return queue.in_flight[trial.key].rival
    opponent = best_peer(config, results, score, trial)
    return opponent.key if opponent else ""


def best_peer(
    config: SweepConfig,
    results: Iterable[TrialResult],
    score: Callable[[TrialResult], float | None],
    trial: TrialConfig,
) -> TrialResult | None:
    """The best comparable trial, one that came furthest first; None where there is no racing."""
    if not config.search.racing or config.objective.split != "dev":
        return None
    peers = [one for one in results if one.status != "failed" and _is_comparable(one, trial)]
    scored = [(len(one.rungs), score(one), one) for one in peers if not one.rungs[-1].stopped_early]
    ranked = [(rungs, value, one.key, one) for rungs, value, one in scored if value is not None]
    return max(ranked)[-1] if ranked else None


def _is_comparable(result: TrialResult, trial: TrialConfig) -> bool:
    resolved = trial.resolved()
    same = all(result.config[name] == resolved[name] for name in ("task", "model", "train_size"))
    return bool(result.rungs) and same
