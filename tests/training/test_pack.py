"""Packed equals alone: what trains in company has the losses, the adapter and the predictions that it has alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial
from safetensors.torch import load_file

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.models import joint_decoding
from sde_ray.storage.layout import ADAPTER, PREDICTIONS, TRAIN_LOG
from sde_ray.storage.train_log import TrainLog
from sde_ray.training import pack, packed_training
from sde_ray.training.local_engine import LocalEngine
from sde_ray.training.pack import Pack
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker import Worker
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import TrialResult

# SGD, since Adam divides by the size of a gradient: where that is rounding alone, so is the step.
PATIENCE_S = 300.0
GRADED = {"input_modeling": 0.3}
TRAIN: dict[str, Any] = {"learning_rate": 0.5, "optim": "sgd", "max_length": 2048}


@pytest.fixture(autouse=True)
def passes_are_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: all that can goes through the base at once."""
    monkeypatch.setitem(packed_training.PASS_COST, "cpu", 10**9)


def config(
    model: Path, seed: int = 0, size: int = 16, rungs: tuple[float, ...] = (1.0,), **changes: Any
) -> TrialConfig:
    design = designs.make_design(**changes.pop("design", {}))
    lora = Lora(**{"lora_dropout": 0.2, **changes.pop("lora", {})})
    train = Train(**{**TRAIN, **changes})
    generation = Generation(max_new_tokens=8)
    return TrialConfig("masa:d1", design, str(model), seed, size, 3, rungs=rungs, lora=lora, train=train,
                       generation=generation)  # fmt: skip


class Together(Pack):
    """A pack whose first step, and whose first completions, wait until so many trials have asked for theirs."""

    def __init__(self, trials: int) -> None:
        super().__init__()
        self.meeting = threading.Event()
        self.trials, self.started = trials, threading.Barrier(trials, self.meeting.set, timeout=PATIENCE_S)
        self.answering = threading.Barrier(trials, timeout=PATIENCE_S)
        self.trained = self.decoded = 0  # the most at a time

    def _step(self) -> None:
        if not self.trained:
            wait_for(lambda: len(self._training) >= self.trials)
        self.trained = max(self.trained, len(self._training))
        super()._step()

    def _decode(self) -> None:
        if not self.decoded:
            wait_for(lambda: len(self._decoding) >= self.trials)
        self.decoded = max(self.decoded, len(self._decoding))
        super()._decode()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class OnSeat:
    """A seat as a worker group calls its worker. `meets`: it trains when all that share its base have started.

    One with another base asks for its start after them: those behind it would have to wait for it.
    """

    def __init__(self, pack: Pack, number: int, meets: bool = False, decodes: bool = False) -> None:
        self.pack, self.number, self.meets, self.decodes = pack, number, meets, decodes

    def __getattr__(self, method: str) -> Any:
        if method == "train" and self.meets and isinstance(self.pack, Together):
            self.meets = False
            self.pack.started.wait()
        if method == "generate" and self.decodes and isinstance(self.pack, Together):
            self.decodes = False
            self.pack.answering.wait()
        if method == "start_trial" and not self.meets and isinstance(self.pack, Together):
            assert self.pack.meeting.wait(PATIENCE_S)
        return partial(self.pack.call, self.number, method)


def on_seat(pack: Pack, number: int, meets: bool = False, decodes: bool = False) -> TrialRunner:
    group = WorkerGroup(RunnerResources(), in_process=True)
    group._workers = [OnSeat(pack, number, meets, decodes)]
    return TrialRunner(group)


def packed(configs: Sequence[TrialConfig], folder: Path, decodes: bool = False) -> list[TrialResult]:
    """All trials at once, each on a seat; those with the base of the first begin to train together, or to decode."""
    meets = [one.model == configs[0].model for one in configs]
    shared = Together(sum(meets))
    with ThreadPoolExecutor(len(configs)) as threads:
        runs = [
            threads.submit(run_trial, on_seat(shared, n, meets[n], decodes), one, folder / str(n))
            for n, one in enumerate(configs)
        ]
        return [run.result() for run in runs]


def losses(folder: Path) -> list[float]:
    return [step.loss for step in TrainLog(folder / TRAIN_LOG).read()]


def assert_equal(alone: Path, packed: Path, tolerance: float = 1e-5) -> None:
    assert losses(packed) == pytest.approx(losses(alone), abs=tolerance)
    expected, got = (load_file(str(one / ADAPTER / "adapter_model.safetensors")) for one in (alone, packed))
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=tolerance, rtol=0)
    assert (packed / PREDICTIONS).read_text() == (alone / PREDICTIONS).read_text()


def test_packed_equals_alone(tiny_llama: Path, worker: Worker, tmp_path: Path) -> None:
    """Different designs, lengths, sizes, batches, ranks, layers, schedules, dropout, parts and ends."""
    configs = [
        config(tiny_llama),
        config(tiny_llama, 1, 10, design={"reasoning": "cot"}, lr_scheduler_type="cosine", warmup_steps=2),
        config(tiny_llama, 2, 12, lora={"r": 2, "lora_dropout": 0.0}, train_batch_size=3, max_grad_norm=0.1),
        config(tiny_llama, 3, 8, lora={"r": 4, "target_modules": ("q_proj", "down_proj"), "lora_alpha": 4}),
        config(
            tiny_llama, 4, 8, design={"input_modeling": 0.3}, gradient_accumulation_steps=2, label_smoothing_factor=0.1
        ),
        config(tiny_llama, 5, 9, (0.5, 1.0), lora={"lora_dropout": 0.5, "use_rslora": True}, weight_decay=0.1),
    ]
    for n, one in enumerate(configs):
        assert run_trial(runner_on(worker), one, tmp_path / "alone" / str(n)).status == "finished"
    for n, result in enumerate(packed(configs, tmp_path / "packed")):
        assert result.status == "finished", result.error
        assert_equal(tmp_path / "alone" / str(n), tmp_path / "packed" / str(n))


def test_trials_decode_together_what_they_decode_alone(
    tiny_llama: Path, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Different adapters, prompts and limits in one batch, as on a GPU."""
    configs = [
        config(tiny_llama, 1),
        config(tiny_llama, 2, lora={"r": 2, "target_modules": ("q_proj", "up_proj")}),
        replace(config(tiny_llama, 3), generation=Generation(max_new_tokens=20)),
    ]
    together: list[int] = []
    generate = joint_decoding.generate_together

    def counted(joint: Any, requests: Sequence[Any]) -> Any:
        together.append(len(requests))
        return generate(joint, requests)

    monkeypatch.setattr(joint_decoding, "generate_together", counted)
    monkeypatch.setattr(pack, "TOGETHER", ("cpu",))
    assert [result.error for result in packed(configs, tmp_path, decodes=True)] == ["", "", ""]
    assert together == [3]
    assert len({(tmp_path / str(n) / PREDICTIONS).read_text() for n in (0, 1)}) == 2, "each its own adapter"
    for n, one in enumerate(configs):
        run_trial(runner_on(worker), one, tmp_path / "alone")
        assert_equal(tmp_path / "alone", tmp_path / str(n))


def test_neither_failure_nor_lack_of_memory_nor_another_kind_reaches_a_neighbour(
    tiny_llama: Path, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.symlink_to(tiny_llama)
    noise = {"learning_rate": 99.0, "max_grad_norm": 0, "lora": {"lora_alpha": 10**12}}
    configs = {
        "plain": config(tiny_llama, 1),
        "not finite": config(tiny_llama, 2, **noise),
        "a hook on the base": config(tiny_llama, 3, neftune_noise_alpha=5.0),
        "another kind of adapter": config(tiny_llama, 4, lora={"use_dora": True}),
        "a data axis": config(tiny_llama, 7, 8, design={"repeat": "2"}),
        "large batches": config(tiny_llama, 5, train_batch_size=8),
        "another base": config(other, 6, 8),
    }
    together: list[int] = []
    one_pass = packed_training._pass

    def pass_on_a_small_card(joint: Any, parts: Sequence[Any], losses: torch.Tensor) -> None:
        one_pass(joint, parts, losses)
        together.append(len(parts))
        if sum(len(part.ids) for part in parts) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(packed_training, "_pass", pass_on_a_small_card)
    results = dict(zip(configs, packed(list(configs.values()), tmp_path), strict=True))
    assert max(together) >= 2, "trials of one base train together"
    assert results["not finite"].status == "failed" and "is not finite" in results["not finite"].error
    assert results["large batches"].out_of_memory == 1
    parts = configs["large batches"].train.model_copy(update={"gradient_accumulation_steps": 2})
    configs["large batches"] = replace(configs["large batches"], train=parts)
    for n, (name, one) in enumerate(configs.items()):
        if name != "not finite":
            assert results[name].status == "finished", results[name].error
            run_trial(runner_on(worker), one, tmp_path / "alone")
            assert_equal(tmp_path / "alone", tmp_path / str(n))


def test_an_optimizer_that_fails_is_its_own_trials_alone(
    tiny_llama: Path, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever thread takes the step for all."""
    configs = [config(tiny_llama, 1, 8), config(tiny_llama, 2, 8, weight_decay=0.5), config(tiny_llama, 3, 8)]
    step = LocalEngine.step

    def fails(engine: LocalEngine, samples: int, parts: int) -> None:
        if engine.basic_optimizer.param_groups[0]["weight_decay"]:
            raise RuntimeError("no room for its state")
        step(engine, samples, parts)

    monkeypatch.setattr(LocalEngine, "step", fails)
    results = packed(configs, tmp_path)
    assert [result.status for result in results] == ["finished", "failed", "finished"]
    assert "no room for its state" in results[1].error
    for n in (0, 2):
        run_trial(runner_on(worker), configs[n], tmp_path / "alone")
        assert_equal(tmp_path / "alone", tmp_path / str(n))


@pytest.mark.parametrize("first", ["packed", "alone"])
def test_a_trial_resumes_packed_or_alone(
    first: str, tiny_llama: Path, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are the same: a sweep may be packed otherwise when it is run again."""
    one = config(tiny_llama, rungs=(0.5, 1.0), lora={"lora_dropout": 0.4}, lr_scheduler_type="cosine")
    run_trial(runner_on(worker), one, tmp_path / "alone")
    begin, end = (on_seat(Pack(), 0), runner_on(worker)) if first == "packed" else (runner_on(worker), None)
    begin.start(one, tmp_path / "cut")
    begin.train_rung(0)
    torch.manual_seed(99)
    end = end or on_seat(Pack(), 0)
    assert len(end.start(one, tmp_path / "cut").rungs) == 1
    end.train_rung(1)
    assert end.finish().status == "finished"
    assert_equal(tmp_path / "alone", tmp_path / "cut")
