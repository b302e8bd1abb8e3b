"""`gradient_accumulation_steps: auto`: parts by the memory that is free, remembered, with the result of that number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.training import micro_batch
from sde_ray.training.device_memory import Sizes, estimate_memory
from sde_ray.training.micro_batch import MicroBatch
from sde_ray.training.worker import Worker
from sde_ray.types import Sample, Segment, TrialResult

PLENTY = 2**40


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialConfig:
    monkeypatch.setenv(micro_batch.CACHE, str(tmp_path / "parts"))
    train = Train(gradient_accumulation_steps="auto", train_batch_size=4, learning_rate=1e-2, max_length=2048)
    return TrialConfig(
        "masa:d1", designs.make_design(), str(tiny_llama), 1, 8, 2,
        lora=Lora(lora_dropout=0.2), train=train, generation=Generation(max_new_tokens=4),
    )  # fmt: skip


def run(worker: Worker, config: TrialConfig, folder: Path, **train: Any) -> tuple[TrialResult, bytes]:
    config = replace(config, train=config.train.model_copy(update=train))
    result = run_trial(runner_on(worker), config, folder)
    assert result.status == "finished", result.error
    return result, (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(micro_batch, "free_memory", lambda device: count)


def choice(config: TrialConfig) -> MicroBatch:
    sample = TokenizedSample("s", (5,) * 90, (False,) * 90, (7,) * 10, 0)
    return MicroBatch(config, [sample] * 4, "float32", torch.device("cpu"), 1)


def needed(config: TrialConfig, rows: int) -> int:
    told = estimate_memory(config, Sizes(rows, 100, min(100, rows * 10)), gpu=False)
    assert told.activations is not None and told.workspace is not None
    return told.optimizer + told.activations + told.workspace


@pytest.mark.parametrize(("rows", "parts"), [(4, 1), (2, 2), (1, 4)])
def test_as_few_parts_as_fit(rows: int, parts: int, config: TrialConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, int(needed(config, rows) / micro_batch.SHARE["cpu"]) + 10)
    assert choice(config).choose() == parts
    free(monkeypatch, 1)
    assert choice(config).choose() == 4, "the smallest, if none fits"


def test_the_result_is_that_of_the_number(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1)
    chosen, adapter = run(worker, config, tmp_path / "chosen")
    set_so, same = run(worker, config, tmp_path / "set", gradient_accumulation_steps=4)
    assert (chosen.losses, adapter) == (set_so.losses, same)


def test_a_trial_goes_on_in_the_parts_that_it_had(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more memory is free by then: the rest is the same to the digit."""
    samples = [
        Sample(f"s{n}", (Segment("good food " * n, False, "text"),), Segment(" positive", True, "completion"))
        for n in range(16)
    ]
    free(monkeypatch, 1)
    worker.start_trial(config, samples)
    worker.train(2)
    digest, problem = worker.save_state(tmp_path / "state")
    rest = worker.train(4)
    free(monkeypatch, PLENTY)
    worker.start_trial(config, samples)
    assert worker._trainer.parts == 1 and not problem
    assert worker.load_state(tmp_path / "state", digest) == ""
    worker.restore_state()
    assert worker._trainer.parts == 4 and worker.train(4) == rest and len(rest) == 2
    worker.end_trial()


def test_what_memory_was_short_for_is_remembered(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sde_ray.training.trainer import Trainer

    free(monkeypatch, PLENTY)
    loss, sizes = Trainer.cross_entropy, []

    def short(trainer: Trainer, rows: Any) -> torch.Tensor:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss(trainer, rows)

    monkeypatch.setattr(Trainer, "cross_entropy", short)
    first, adapter = run(worker, config, tmp_path / "first")
    assert first.out_of_memory == 1 and sizes.pop(0) == 4
    second, same = run(worker, config, tmp_path / "second")
    assert second.out_of_memory == 0 and max(sizes) == 2
    assert (second.losses, same) == (first.losses, adapter)


HOSTILE = [
    "",
    "[]",
    '{"parts": 3, "free": 1}',
    '{"parts": true, "free": 1}',
    '{"parts": "2"}',
    "[" * 3000,
    '{"parts":2}',
]


@pytest.mark.parametrize("content", [*HOSTILE, '{"parts": 2, "free": 1' + " " * 5000 + "}", "\x00\xff"])
def test_whatever_the_file_holds_a_number_is_chosen(
    content: str, config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, PLENTY)
    assert choice(config).choose() == 1
    (path,) = Path(micro_batch.os.environ[micro_batch.CACHE]).iterdir()
    assert json.loads(path.read_text()) == {"parts": 1, "free": PLENTY}
    path.write_text(content)
    assert choice(config).choose() == 1
    path.write_text(json.dumps({"parts": 2, "free": PLENTY}))
    assert choice(config).choose() == 2, "kept"
    free(monkeypatch, 2 * PLENTY)
    assert choice(config).choose() == 1, "another card, or a neighbour has gone"


def test_it_is_in_the_key_as_it_is_set(config: TrialConfig) -> None:
    assert config.resolved()["train"]["gradient_accumulation_steps"] == "auto"
    assert replace(config, train=Train()).resolved()["train"]["gradient_accumulation_steps"] == 1
