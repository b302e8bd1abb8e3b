"""Comparison of search methods by simple regret: runs contestants on many truths, over processes, and sums up.

mean_regret: true best minus the true value of the design chosen. within_0.01: the share of truths where that is at
most 0.01. standard_error: of the mean.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from sde_ray.bench.search.contestants import CONTESTANTS
from sde_ray.bench.search.truth import Truth

COSTS = (10, 15, 22, 30, 43, 60)
NEAR_BEST = 0.01
RegretTable = dict[str, dict[int, dict[str, float]]]
Regrets = dict[str, dict[int, float]]


def run_contest(
    draw: Callable[[int], Truth],
    seeds: Sequence[int],
    methods: Sequence[str],
    costs: Sequence[int] = COSTS,
    jobs: int = 1,
    on_progress: Callable[[], None] = lambda: None,
) -> RegretTable:
    """Simple regret of every method on every truth, at each cost.

    Args:
        draw: the truth of a seed.
        seeds: one truth each.
        methods: names of contestants.
        costs: in full trials.
        jobs: processes.
        on_progress: called whenever a truth is done.

    Returns:
        method -> cost -> mean_regret (in the metric's units), within_0.01 (a share), standard_error.
    """
    regrets_by_truth: list[Regrets] = []
    for regrets in _each(partial(_regrets, draw, tuple(methods), tuple(costs)), seeds, jobs):
        regrets_by_truth.append(regrets)
        on_progress()
    return {
        method: {cost: _summary([regrets[method][cost] for regrets in regrets_by_truth]) for cost in costs}
        for method in methods
    }


def _regrets(draw: Callable[[int], Truth], methods: Sequence[str], costs: Sequence[int], seed: int) -> Regrets:
    truth = draw(seed)
    regrets = {}
    for method in methods:
        chosen = CONTESTANTS[method](truth, costs, seed)
        regrets[method] = {cost: truth.regret(chosen[cost]) for cost in costs}
    return regrets


def _each(task: Callable[[int], Regrets], seeds: Sequence[int], jobs: int) -> Iterator[Regrets]:
    if jobs == 1:
        yield from map(task, seeds)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # a process a core; spawned ones read this at their start
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(task, seeds, chunksize=1)


def _summary(regrets: Sequence[float]) -> dict[str, float]:
    values = np.array(regrets)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return {
        "mean_regret": float(values.mean()),
        f"within_{NEAR_BEST:g}": float(np.mean(values <= NEAR_BEST + 1e-12)),
        "standard_error": error,
    }


def flat(table: RegretTable) -> list[dict[str, Any]]:
    """One row a method and cost."""
    return [
        {"method": method, "cost": cost, **row} for method, by_cost in table.items() for cost, row in by_cost.items()
    ]
