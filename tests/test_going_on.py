"""A trial that was cut off goes on from its last rung, to the last digit of one that was not; or says why it does not.

Real training on the tiny random model. "Cut off" is a runner that is let go after a rung; another one begins the trial.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sde_ray import bookmark, design, engine_state
from sde_ray.group import WorkerGroup
from sde_ray.race import Rival
from sde_ray.runner import Begun, RunnerPlace
from sde_ray.train import Training
from sde_ray.trial import TrialRunner, run_trial
from sde_ray.types import DecodeSettings, LoraSettings, TrainSettings, TrialConfig, TrialResult
from sde_ray.worker import Worker

PREDICTIONS = "predictions.jsonl"
ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    one = Worker()
    one.join(*one.address())
    yield one
    one.detach()


@pytest.fixture
def runner(worker: Worker) -> TrialRunner:
    return runner_on(worker)


def runner_on(worker: Worker) -> TrialRunner:
    """A new runner on a worker that has detached: what the one before knew is gone, but for the resident base."""
    worker.detach()
    group = WorkerGroup(RunnerPlace(), in_process=True)
    group._workers = [worker]
    return TrialRunner(group)


@pytest.fixture
def config(tiny_llama: Path) -> TrialConfig:
    """Nine steps, scored after the third, the sixth and the last; dropout, warm-up, and accumulation are all on."""
    train = TrainSettings(
        lr=1e-2, batch_size=2, gradient_accumulation=2, warmup=0.3, schedule="cosine", weight_decay=0.1, epochs=3
    )
    return TrialConfig(
        "masa:d1",
        design.make(),
        str(tiny_llama),
        seed=1,
        train_size=12,
        eval_size=4,
        lora=LoraSettings(dropout=0.3),
        train=replace(train, max_length=2048, rungs=(0.3, 0.6, 1.0)),
        decode=DecodeSettings(batch_size=4, max_new_tokens=10),
    )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of every step that is trained, in order."""
    taken: list[int] = []
    step = Training._step

    def counted(training: Training, own: Any) -> float:
        taken.append(len(training.losses))
        return step(training, own)

    monkeypatch.setattr(Training, "_step", counted)
    return taken


def cut_off(runner: TrialRunner, config: TrialConfig, folder: Path, after: int) -> None:
    """Run the trial up to this rung, no further."""
    begun = runner.begin(config, folder)
    for rung in range(len(begun.rungs), after + 1):
        runner.rung(rung)
    scramble()


def scramble() -> None:
    """What another process would not share either."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


def assert_same(result: TrialResult, folder: Path, whole: TrialResult, its: Path) -> None:
    assert (result.status, result.error) == ("finished", "")
    assert result.losses == whole.losses
    assert result.rungs == whole.rungs
    assert (result.scores, result.faults, result.tokens) == (whole.scores, whole.faults, whole.tokens)
    names = [PREDICTIONS, *(path.name for path in its.glob("predictions.*.jsonl")), ADAPTER]
    for name in names:
        assert (folder / name).read_bytes() == (its / name).read_bytes(), name
    assert marks(folder) == [], "what has ended leaves no bookmark"


def marks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("bookmark*"))


SETTINGS: dict[str, dict[str, Any]] = {
    "accumulation, dropout, warm-up": {},
    "no dropout": {"lora": LoraSettings(dropout=0.0)},
    "constant rate": {"schedule": "constant", "gradient_accumulation": 1, "epochs": 1.5},
    "linear, clipped": {"schedule": "linear", "max_grad_norm": 0.01},
    "bf16": {"precision": "bf16"},
    "ZeRO 1": {"deepspeed": {"zero_optimization": {"stage": 1}}},
    "ZeRO 2": {"deepspeed": {"zero_optimization": {"stage": 2}}},
    "ZeRO 2, bf16": {"precision": "bf16", "deepspeed": {"zero_optimization": {"stage": 2}}},
    "ZeRO 2, offloaded": {"deepspeed": {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}},
    "ZeRO 3": {"deepspeed": {"zero_optimization": {"stage": 3}}},
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_trial_goes_on_to_the_last_digit(
    settings: str, worker: Worker, config: TrialConfig, steps: list[int], tmp_path: Path
) -> None:
    given = dict(SETTINGS[settings])
    config = replace(config, lora=given.pop("lora", config.lora), train=replace(config.train, **given))
    whole = run_trial(runner_on(worker), config, tmp_path / "whole")
    assert whole.error == ""
    total = len(whole.losses)
    assert steps == list(range(total)) and len(set(whole.losses)) > total / 2, "it must train to compare anything"
    steps.clear()
    folder = tmp_path / "cut"
    cut_off(runner_on(worker), config, folder, after=0)
    cut_off(runner_on(worker), config, folder, after=1)
    assert marks(folder) == ["bookmark.1.0.safetensors", "bookmark.json"]
    result = run_trial(runner_on(worker), config, folder)
    assert steps == list(range(total)), "no step is trained twice"
    assert_same(result, folder, whole, tmp_path / "whole")
    assert result.seconds["total"] > result.seconds["train"] > 0


def test_what_is_in_the_middle_of_a_rung_is_trained_again_from_the_rung_before(
    worker: Worker, config: TrialConfig, steps: list[int], tmp_path: Path
) -> None:
    whole = run_trial(runner_on(worker), config, tmp_path / "whole")
    runner, folder = runner_on(worker), tmp_path / "cut"
    cut_off(runner, config, folder, after=0)
    before = len(bookmark.read(folder, config.key).losses)  # type: ignore[union-attr]
    runner.rung(1)
    bookmark.share_name(1, 0)
    steps.clear()
    # As a kill would leave it between the share of rung 1 and its bookmark: the bookmark of rung 0 still counts.
    mark = bookmark.read(folder, config.key)
    assert mark is not None and len(mark.rungs) == 2
    result = run_trial(runner_on(worker), config, folder)
    assert steps[0] > before
    assert_same(result, folder, whole, tmp_path / "whole")
