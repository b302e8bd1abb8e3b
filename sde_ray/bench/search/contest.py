"""Comparison of search methods by simple regret: runs contestants on many truths, over processes.

    regrets = run_contest(World("planted/paper", draw, seeds), ["adaptive", "optuna"], save=Path("regrets.jsonl"))
    regrets["optuna"][22]                  simple regret at a cost of 22, by replication, [replication]

All methods meet the same truths and the same noise, so their differences are paired (`summary.py`). With a file to save
in, what it holds is not run again. A line is of one world, method and replication: delete the lines of a method whose
code has changed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sde_ray.bench.search.contestants import contestant
from sde_ray.bench.search.truth import Array, Truth

COSTS = (10, 22, 43, 60)
Regrets = dict[str, dict[int, Array]]
Job = tuple[str, int]  # method, replication


@dataclass(frozen=True)
class World:
    """Truths that methods are compared on. `name` tells it from all others, in its parameters or data, too.

    `draw` gives the truth of a seed; `seeds`: of each replication.
    """

    name: str
    draw: Callable[[int], Truth]
    seeds: Sequence[int]


def run_contest(
    world: World,
    methods: Sequence[str],
    costs: Sequence[int] = COSTS,
    jobs: int = 1,
    save: Path | None = None,
    on_progress: Callable[[], None] = lambda: None,
) -> Regrets:
    """Simple regret of every method on every truth, at each cost.

    Args:
        world: where the truths are drawn.
        methods: names of contestants (`contestants.py`).
        costs: in full trials.
        jobs: processes.
        save: a file of JSON lines that regrets are read from and added to; None: none.
        on_progress: called whenever a replication of a method is done.

    Returns:
        method -> cost -> regrets in the metric's units, [replication].
    """
    done = _saved(save, world.name, costs)
    jobs_left = [(method, seed) for seed in world.seeds for method in methods if (method, seed) not in done]
    for _ in range(len(methods) * len(world.seeds) - len(jobs_left)):
        on_progress()
    for (method, seed), regrets in _each(partial(_regrets, world.draw, tuple(costs)), jobs_left, jobs):
        done[method, seed] = regrets
        if save is not None:
            _append(save, world.name, method, seed, regrets)
        on_progress()
    return {
        method: {cost: np.array([done[method, seed][cost] for seed in world.seeds]) for cost in costs}
        for method in methods
    }


def _regrets(draw: Callable[[int], Truth], costs: Sequence[int], job: Job) -> tuple[Job, dict[int, float]]:
    method, seed = job
    truth = draw(seed)
    chosen = contestant(method)(truth, costs, seed)
    return job, {cost: truth.regret(chosen[cost]) for cost in costs}


def _each(
    task: Callable[[Job], tuple[Job, dict[int, float]]], jobs_left: Sequence[Job], jobs: int
) -> Iterator[tuple[Job, dict[int, float]]]:
    if jobs == 1:
        yield from map(task, jobs_left)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # a process a core; spawned ones read this at their start
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(task, jobs_left, chunksize=1)


def _saved(path: Path | None, world: str, costs: Sequence[int]) -> dict[Job, dict[int, float]]:
    """What a file holds of a world, where it has all costs; a torn last line is left out."""
    if path is None or not path.is_file():
        return {}
    done = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        regrets = {int(cost): float(regret) for cost, regret in row["regrets"].items()}
        if row["world"] == world and set(costs) <= set(regrets):
            done[row["method"], row["seed"]] = regrets
    return done


def _append(path: Path, world: str, method: str, seed: int, regrets: Mapping[int, float]) -> None:
    row = {"world": world, "method": method, "seed": seed, "regrets": {str(k): v for k, v in regrets.items()}}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
