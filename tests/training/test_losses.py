"""Losses stay on the device until they are read: the same numbers, and one that is not finite is seen in time."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.training import trainer
from sde_ray.training.deepspeed_engine import open_store
from sde_ray.training.trainer import Trainer
from sde_ray.training.worker import Worker


@pytest.fixture
def config(tiny_llama: Path) -> TrialConfig:
    """Eight steps of two samples."""
    train = Train(learning_rate=1e-2, train_batch_size=2, max_length=2048)
    return TrialConfig(
        "masa:d1", designs.make_design(), str(tiny_llama), 1, 16, 2,
        lora=Lora(lora_dropout=0.0), train=train, generation=Generation(max_new_tokens=4),
    )  # fmt: skip


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are read every three steps, as on a GPU every sixteen."""
    monkeypatch.setitem(trainer.READ_EVERY, "cpu", 3)


def test_losses_are_the_same_whenever_they_are_read(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_trial(runner_on(worker), config, tmp_path / "each")
    monkeypatch.setitem(trainer.READ_EVERY, "cpu", 3)
    loss, calls = Trainer.cross_entropy, []

    def short(own: Trainer, rows: Any) -> torch.Tensor:
        calls.append(len(rows))
        if len(calls) == 5:  # two steps are unread then
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss(own, rows)

    monkeypatch.setattr(Trainer, "cross_entropy", short)
    result = run_trial(runner_on(worker), config, tmp_path / "late")
    assert result.out_of_memory == 1 and len(result.losses) == 8
    assert result.losses == pytest.approx(expected.losses, rel=1e-5) and result.losses[:4] == expected.losses[:4]


def test_a_loss_that_is_not_finite_ends_the_trial_in_time(
    late: None, worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, steps = Trainer.cross_entropy, []

    def broken(own: Trainer, rows: Any) -> torch.Tensor:
        steps.append(rows)
        return loss(own, rows) * (float("nan") if len(steps) == 5 else 1.0)

    monkeypatch.setattr(Trainer, "cross_entropy", broken)
    result = run_trial(runner_on(worker), config, tmp_path)
    assert result.status == "failed" and "The loss of step 5 is not finite" in result.error
    assert len(steps) <= 7


def test_skipped_steps_are_told(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Trainer._take_step

    def overflow(own: Trainer, step: Any) -> torch.Tensor:
        own.engine.skipped_steps += step == own.steps[0]
        return take(own, step)

    monkeypatch.setattr(Trainer, "_take_step", overflow)
    short = replace(config, train_size=4)
    assert run_trial(runner_on(worker), short, tmp_path).skipped_steps == 1
    monkeypatch.undo()
    assert run_trial(runner_on(worker), short, tmp_path / "plain").skipped_steps == 0


def test_the_port_of_a_group_is_held_from_the_start() -> None:
    store = open_store("127.0.0.1", 2)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", store.port))
        other.listen()
