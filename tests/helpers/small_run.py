"""A sweep that is trained for good, in this very process: a few trials of the embedded model, seconds each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import in_process

import sde_ray
from sde_ray.training.trial_runner import make_runner

HOTELS = {
    "name": "hotels",
    "kind": "label",
    "slots": ["room", "wifi"],
    "labels": ["good", "bad"],
    "data": {"format": "jsonl", "path": "hotels.jsonl"},
}


def write_sweep_file(path: Path, task: Any, **values: Any) -> None:
    """A sweep of two designs and one control, on two seeds each."""
    defaults = {
        "task": task,
        "designs": ["baseline", "es-sde"],
        "search": {"method": "grid"},
        "seeds": [0, 1],
        "train_sizes": 8,
        "eval_size": 5,
        "train": {"train_batch_size": 4, "learning_rate": 6.0e-3},
        "mlflow": {"enabled": False},
        "validation": {"seeds": [101, 102], "test_size": 5, "controls": ["baseline"]},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**defaults, **values}))


def write_hotels(path: Path) -> None:
    """The data of the task `HOTELS`."""
    kinds = (("lovely room, slow wifi", "good", "bad"), ("small room, fast wifi", "bad", "good"))
    rows = [
        {"text": f"visit {n}: {text}", "answer": {"room": room, "wifi": wifi}}
        for n in range(30)
        for text, room, wifi in kinds
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(sweep: Path) -> sde_ray.Run:
    """Run the sweep file, from its plan to the verdict."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde_ray.sweep.run._tune", in_process.Tune())
        return sde_ray.run(sweep, runner_factory=make_runner)
