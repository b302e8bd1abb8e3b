"""Gradient checkpointing changes memory only: losses, adapter and completions are those without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sde_ray.config.trial import Lora, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.training.gradient_checkpointing import enable_gradient_checkpointing
from sde_ray.training.worker import Worker
from sde_ray.types import Sample, Segment

TEXTS = ("good food", "the staff was slow and cold", "great price, awful soup, fine wine", "bad")


@pytest.fixture(scope="module")
def config(tiny_llama: Path) -> TrialConfig:
    return TrialConfig("masa:d1", make_design(), str(tiny_llama), 1, 4, 4, lora=Lora(lora_dropout=0.3))


def trained(worker: Worker, config: TrialConfig, folder: Path, **train: Any) -> tuple[list[float], dict[str, Any], Any]:
    """Losses, adapter, and the completions after it; and how often a layer was run in one training step."""
    ask = Segment("\nFood:", False, "instruction")
    samples = [
        Sample(f"s{n}", (Segment(text, False, "text"), ask), Segment(" positive", True, "completion"))
        for n, text in enumerate(TEXTS)
    ]
    settings = {"learning_rate": 1e-2, "num_train_epochs": 3, "gradient_accumulation_steps": 2, **train}
    worker.start_trial(replace(config, train=Train(**settings)), samples)
    passes: list[bool] = []
    layer = worker._peft_model.get_base_model().model.layers[0].mlp
    hook = layer.register_forward_pre_hook(lambda module, inputs: passes.append(module.training))
    losses = worker.train(3)
    hook.remove()
    texts = worker.generate([(sample.id, sample.prompt) for sample in samples])
    worker.save(folder)
    worker.end_trial()
    return losses, load_file(folder / "adapter_model.safetensors"), (texts, len(passes))


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_result_is_the_same_and_layers_run_twice(
    stage: int, worker: Worker, config: TrialConfig, tmp_path: Path
) -> None:
    sharded = {"stage": stage, **({"stage3_param_persistence_threshold": 0} if stage == 3 else {})}
    config = replace(config, deepspeed={"zero_optimization": sharded})
    losses, adapter, (texts, passes) = trained(worker, config, tmp_path / "plain")
    again, same, (same_texts, twice) = trained(worker, config, tmp_path / "saved", gradient_checkpointing=True)
    assert twice == 2 * passes == 12
    assert again == pytest.approx(losses, rel=1e-6) and len(set(losses)) == 3
    assert all(torch.allclose(same[name], adapter[name], atol=1e-6, rtol=0) for name in adapter) and same
    assert same_texts == texts
    assert trained(worker, config, tmp_path / "after")[0] == losses, "the next trial of the worker is not touched"


def test_a_trial_that_cannot_start_leaves_the_base_without_it(worker: Worker, config: TrialConfig) -> None:
    faulty = replace(config, train=Train(gradient_checkpointing=True), deepspeed={"zero_optimization": {"stag": 2}})
    sample = Sample("s", (Segment("good", False, "text"),), Segment(" positive", True, "completion"))
    with pytest.raises(UserError, match="stag"):
        worker.start_trial(faulty, [sample])
    assert not worker._loaded.model.is_gradient_checkpointing


def test_it_is_in_the_key_only_where_it_is_set(config: TrialConfig) -> None:
    assert "gradient_checkpointing" not in config.resolved()["train"]
    assert replace(config, train=Train(gradient_checkpointing=True)).key != config.key


def test_a_model_without_it_is_told() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    class Old(LlamaForCausalLM):
        supports_gradient_checkpointing = False

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with pytest.raises(UserError, match="Old has no gradient checkpointing.*gradient_accumulation_steps"):
        enable_gradient_checkpointing(Old(LlamaConfig(vocab_size=8, **sizes)), sharded=False)
