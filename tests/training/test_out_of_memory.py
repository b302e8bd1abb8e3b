"""Memory that is short in a step cuts it into smaller parts: the trial goes on as one that was cut so all along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.training.trainer import Trainer
from sde_ray.training.worker import Worker
from sde_ray.types import TrialResult


@pytest.fixture(scope="module")
def config(tiny_llama: Path) -> TrialConfig:
    """Four steps of four samples, with dropout and a schedule, so that all of an engine's state matters."""
    train = Train(learning_rate=1e-2, lr_scheduler_type="cosine", warmup_steps=2, max_length=2048)
    return TrialConfig(
        "masa:d1", designs.make_design(), str(tiny_llama), 1, 16, 2,
        lora=Lora(lora_dropout=0.2), train=train, generation=Generation(max_new_tokens=4),
    )  # fmt: skip


class Card:
    """A GPU whose memory holds `rows` samples of a step; it is short in the forward or within the backward pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int, backward: bool, after: int = 0) -> None:
        self.passes = 0
        loss = Trainer.cross_entropy

        def short(gradient: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

        def cross_entropy(trainer: Trainer, samples: Any) -> torch.Tensor:
            self.passes += 1
            fails = len(samples) > rows and len(trainer.losses) >= after
            if not fails:
                return loss(trainer, samples)
            if not backward:
                short(torch.zeros(()))
            layer = trainer.peft_model.get_base_model().model.layers[1].mlp
            hook = layer.register_forward_hook(lambda module, inputs, output: output.register_hook(short) and None)
            try:
                return loss(trainer, samples)
            finally:
                hook.remove()

        monkeypatch.setattr(Trainer, "cross_entropy", cross_entropy)


def run(worker: Worker, config: TrialConfig, folder: Path, **train: Any) -> tuple[TrialResult, bytes]:
    changed = replace(config, train=config.train.model_copy(update=train))
    result = run_trial(runner_on(worker), changed, folder)
    assert result.status == "finished", result.error
    return result, (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("stage", "dtype", "backward"),
    [(0, "float32", True), (1, "bfloat16", True), (2, "float32", False)],
)
def test_a_step_is_cut_and_gives_what_it_gives_in_smaller_parts(
    stage: int, dtype: str, backward: bool, worker: Worker, config: TrialConfig, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = replace(config, deepspeed={"zero_optimization": {"stage": stage}})
    expected, adapter = run(worker, config, tmp_path / "cut", gradient_accumulation_steps=2, dtype=dtype)
    plain, _ = run(worker, config, tmp_path / "plain", dtype=dtype)
    card = Card(monkeypatch, 2, backward)
    result, same = run(worker, config, tmp_path / "short", dtype=dtype)
    assert (result.losses, same, result.out_of_memory) == (expected.losses, adapter, 1) and card.passes == 1 + 2 * 4
    assert plain.losses != result.losses, "dropout draws otherwise in other parts"
    monkeypatch.undo()
    assert run(worker, config, tmp_path / "after", dtype=dtype)[0].losses == plain.losses


def test_within_a_training_nothing_that_was_learned_is_lost(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout a step is the same in any parts; here the third one is cut twice."""
    config = replace(config, lora=Lora(lora_dropout=0.0))
    plain, _ = run(worker, config, tmp_path / "plain")
    Card(monkeypatch, 1, True, after=2)
    result, _ = run(worker, config, tmp_path / "short")
    assert result.losses == pytest.approx(plain.losses, rel=1e-5) and result.out_of_memory == 2
    assert result.losses[:2] == plain.losses[:2]


def test_a_step_that_cannot_be_cut_says_what_to_set(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Card(monkeypatch, 0, False)
    result = run_trial(runner_on(worker), config, tmp_path)
    assert result.status == "failed" and "Tried to allocate 2.00 GiB.)" in result.error
    assert "Set train.gradient_checkpointing: true" in result.error and "GPU 0 has" not in result.error
