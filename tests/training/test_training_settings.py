"""Settings of TrainingArguments act as they do there; at their neutral value a trial is the plain one to the digit."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from sde_ray.config.trial import Lora, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.training import deepspeed_engine
from sde_ray.training.neftune import add_embedding_noise
from sde_ray.training.optimizer import OPTIMIZERS
from sde_ray.training.worker import Worker
from sde_ray.types import Sample, Segment

WORDS = "good bad food staff price slow great awful fine cold".split()
PLAIN = {"learning_rate": 1e-2}
NEUTRAL: dict[str, Any] = {
    "optim": "adamw_torch_fused",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "neftune_noise_alpha": None,
    "label_smoothing_factor": 0.0,
}
OTHER: list[dict[str, Any]] = [
    {"optim": "sgd"},
    {"optim": "rmsprop"},
    {"optim": "adafactor"},
    {"adam_beta1": 0.5},
    {"adam_beta2": 0.9},
    {"adam_epsilon": 1e-2},
    {"neftune_noise_alpha": 50.0},
    {"label_smoothing_factor": 0.2},
    {"weight_decay": 10.0},
    {"max_grad_norm": 1e-6, "adam_epsilon": 1e-2},
]


def samples(count: int) -> list[Sample]:
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randrange(3, 12))) for _ in range(count)]
    instruction = Segment("\nFood:", False, "instruction")
    return [
        Sample(f"s{n}", (Segment(text, False, "text"), instruction), Segment(" positive", True, "completion"))
        for n, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def config(tiny_llama: Path) -> TrialConfig:
    lora = Lora(lora_dropout=0.0)
    return TrialConfig("masa:d1", make_design(), str(tiny_llama), 1, 12, 4, train=Train(**PLAIN), lora=lora)


def losses(worker: Worker, config: TrialConfig, **settings: Any) -> list[float]:
    config = replace(config, train=Train(**{**PLAIN, **settings}))
    info = worker.start_trial(config, samples(config.train_size))
    values = worker.train(info.steps)
    worker.end_trial()
    return values


@pytest.fixture(scope="module")
def plain(worker: Worker, config: TrialConfig) -> list[float]:
    return losses(worker, config)


@pytest.mark.parametrize("name", NEUTRAL)
def test_the_neutral_value_is_the_plain_trial_to_the_digit(
    name: str, worker: Worker, config: TrialConfig, plain: list[float]
) -> None:
    setting = {name: NEUTRAL[name]}
    assert Train(**setting) == Train()
    assert replace(config, train=Train(**PLAIN, **setting)).key == config.key
    assert name not in config.resolved()["train"]
    assert losses(worker, config, **setting) == plain


@pytest.mark.parametrize("setting", OTHER, ids=str)
def test_another_value_trains_another_way_and_always_the_same(
    setting: dict[str, Any], worker: Worker, config: TrialConfig, plain: list[float]
) -> None:
    changed = losses(worker, config, **setting)
    assert changed[1:] != plain[1:] and len(changed) == len(plain) == 3
    assert losses(worker, config, **setting) == changed
    assert losses(worker, config) == plain, "the next trial of the worker is not touched"
    assert replace(config, train=Train(**PLAIN, **setting)).key != config.key


def test_unfused_adamw_takes_the_same_steps(worker: Worker, config: TrialConfig, plain: list[float]) -> None:
    assert losses(worker, config, optim="adamw_torch") == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_the_engine_has_the_optimizer_and_its_numbers(optim: str, worker: Worker, config: TrialConfig) -> None:
    adam = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6} if optim.startswith("adam") else {}
    train = Train(optim=optim, learning_rate=0.01, lr_scheduler_type="constant", weight_decay=0.3, **adam)
    worker.start_trial(replace(config, train=train), samples(4))
    optimizer = worker._trainer.engine.basic_optimizer
    group = optimizer.param_groups[0]
    worker.end_trial()
    names = {"sgd": "SGD", "rmsprop": "RMSprop", "adafactor": "Adafactor"}
    assert type(optimizer).__name__ == names.get(optim, "AdamW")
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.3)
    if adam:
        assert (group["betas"], group["eps"], group["fused"]) == ((0.8, 0.95), 1e-6, optim == "adamw_torch_fused")


def test_label_smoothing_spreads_its_share_over_the_vocabulary(worker: Worker, config: TrialConfig) -> None:
    share = 0.2
    worker.start_trial(replace(config, train=Train(label_smoothing_factor=share)), samples(4))
    rows = worker._trainer.samples
    (loss,) = worker.train(1)
    worker.end_trial()
    total = count = 0.0
    with torch.no_grad():
        for row in rows:
            scores = worker._loaded.model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1].log_softmax(-1)
            for position, label in enumerate(row.labels[1:]):
                if label >= 0:
                    total -= (1 - share) * scores[position, label].item() + share * scores[position].mean().item()
                    count += 1
    assert loss == pytest.approx(total / count, rel=1e-5)


def test_noise_is_within_its_bounds_in_training_and_none_otherwise() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(7, 16)

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.embed

    model, ids = Model(), torch.tensor([[1, 2, 3, 4]])
    clean = model.embed(ids)
    handle = add_embedding_noise(model, alpha=4.0)
    noise = (model.embed(ids) - clean).abs()
    assert 0.4 < noise.max().item() <= 4.0 / (4 * 16) ** 0.5 and noise.min().item() < 0.1
    model.eval()
    assert torch.equal(model.embed(ids), clean)
    model.train()
    handle.remove()
    assert torch.equal(model.embed(ids), clean)


def test_adafactor_is_refused_where_deepspeed_flattens_its_matrices(config: TrialConfig) -> None:
    config = replace(config, train=Train(optim="adafactor"))
    for dtype, workers in (("bfloat16", 1), ("float32", 2)):
        with pytest.raises(UserError, match="adafactor works on whole matrices"):
            deepspeed_engine.deepspeed_config(replace(config, num_workers=workers), dtype)


def test_a_beta_without_adamw_is_refused() -> None:
    with pytest.raises(ValidationError, match="adam_beta1 is for AdamW, but optim is sgd"):
        Train(optim="sgd", adam_beta1=0.5)


def test_steps_of_warmup_are_a_number_or_a_share() -> None:
    assert [Train(warmup_steps=value).num_warmup_steps(200) for value in (0, 0.05, 7, 7.0)] == [0, 10, 7, 7]
    assert Train(warmup_steps=7.0) == Train(warmup_steps=7)
    with pytest.raises(ValidationError, match="neither a whole number of steps nor a share"):
        Train(warmup_steps=1.5)
    with pytest.raises(ValidationError, match="Use constant_with_warmup"):
        Train(lr_scheduler_type="constant", warmup_steps=3)


@pytest.mark.filterwarnings("ignore")
def test_dora_and_a_module_trained_whole_go_through_a_trial(
    worker: Worker, config: TrialConfig, plain: list[float], tmp_path: Path
) -> None:
    lora = Lora(lora_dropout=0.0, use_dora=True, modules_to_save=("lm_head",))
    worker.start_trial(replace(config, lora=lora), samples(config.train_size))
    changed = worker.train(3)
    completions, count = worker.generate([(sample.id, sample.prompt) for sample in samples(3)])
    worker.save(tmp_path / "adapter")
    worker.end_trial()
    assert changed[0] == pytest.approx(plain[0], rel=1e-5) and changed[-1] < plain[-1]
    assert len(completions) == 3 and count > 0 and (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert losses(worker, config) == plain
