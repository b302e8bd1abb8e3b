"""A sweep of thousands of trials that have all ended, in a folder: its configuration and its ledger, in seconds.

config = sweep_of(folder, trials=10_000)
write_ledger(config)                       4 KB a line, as a real sweep writes it
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from sde_ray.config.load import check
from sde_ray.config.schema import SweepConfig
from sde_ray.storage.ledger import to_json
from sde_ray.sweep.plan import plan
from sde_ray.testing.planted import planted
from sde_ray.types import RungResult, TrialResult

DESIGNS = 216


def sweep_of(storage_path: object, trials: int, **values: Any) -> SweepConfig:
    """A sweep by `adaptive` over all designs of `masa:d1`, with as many seeds as it takes and the budget for all."""
    seeds = -(-trials // DESIGNS)
    search = {"method": "adaptive", "n_trials": seeds * DESIGNS, "max_trials": 10**6, "points_to_evaluate": []}
    return check(
        {
            "name": "many",
            "task": "masa:d1",
            "out_of_domain": [],
            "seeds": list(range(seeds)),
            "train_sizes": 40,
            "eval_size": 20,
            "search": search,
            "storage_path": str(storage_path),
            "mlflow": {"enabled": False},
            "validation": {"seeds": [1001], "controls": []},
            **values,
        }
    )


def results_of(config: SweepConfig) -> Iterator[TrialResult]:
    """A finished result of every trial, with a planted score and as many metrics as a real one."""
    noise = random.Random(0)
    for trial in plan(config).trials:
        score = planted(trial.design, trial.seed) + noise.gauss(0, 0.01)
        by_metric = {"weighted_kappa": score, "format_adherence": 1.0}
        by_metric |= {f"weighted_kappa/{slot}": score + noise.gauss(0, 0.05) for slot in "abcdefghijkl"}
        scores = {"dev": by_metric}
        yield TrialResult(
            trial.key,
            trial.resolved(),
            "finished",
            scores,
            rungs=(RungResult(0, trial.train_size, scores),),
            faults={"dev": {"missing slot": 3, "unknown label": 1}},
            seconds={"total": 2.0, "train": 1.2, "generate": 0.8},
            tokens={"input": 100.0, "output": 20.0},
            losses=tuple(round(2.0 / (step + 1), 4) for step in range(40)),
        )


def write_ledger(config: SweepConfig) -> list[str]:
    """Write a ledger of finished results, and the folder of each trial; returns their keys."""
    folder = config.run_dir.path
    folder.mkdir(parents=True, exist_ok=True)
    keys = []
    with config.run_dir.ledger.path.open("w", encoding="utf-8") as file:
        for result in results_of(config):
            file.write(json.dumps(to_json(result), ensure_ascii=False) + "\n")
            keys.append(result.key)
            config.run_dir.trial(result.key).mkdir(parents=True)
    return keys
