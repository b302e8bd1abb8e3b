"""ZeRO over two workers on a CPU: whole adapters, the losses and the completions of one worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sde_ray import design
from sde_ray.errors import UserError
from sde_ray.group import WorkerGroup
from sde_ray.runner import RunnerPlace
from sde_ray.trial import TrialRunner, run_trial
from sde_ray.types import DecodeSettings, LoraSettings, TrainSettings, TrialConfig, TrialResult

pytestmark = pytest.mark.cluster

SECTIONS: dict[str, dict[str, Any]] = {
    "zero 2": {"stage": 2},
    "zero 3": {"stage": 3},
    "zero 3, all sharded": {"stage": 3, "stage3_param_persistence_threshold": 0},
}


@pytest.fixture(scope="module")
def pair() -> Iterator[TrialRunner]:
    """A runner on two actors, in a Ray of its own."""
    import ray

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="sde_") as folder:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        runner = TrialRunner(WorkerGroup(RunnerPlace(bundles=2), in_process=False))
        yield runner
        runner.close()
        ray.shutdown()


@pytest.fixture(scope="module")
def config(tiny_llama: Path) -> TrialConfig:
    """Three steps, the last of them on a single sample, so that one worker has nothing to do in it."""
    return TrialConfig(
        "masa:d1",
        design.NAMED["es-sde"],
        str(tiny_llama),
        seed=1,
        train_size=9,
        eval_size=5,
        lora=LoraSettings(dropout=0.0),
        train=TrainSettings(lr=3e-2, batch_size=4, max_length=2048, rungs=(0.5, 1.0)),
        decode=DecodeSettings(batch_size=4, max_new_tokens=10),
    )


@pytest.fixture(scope="module")
def alone(config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialResult, Path]:
    """The same trial by one worker."""
    folder = tmp_path_factory.mktemp("alone")
    runner = TrialRunner(WorkerGroup(RunnerPlace(), in_process=True))
    result = run_trial(runner, config, folder)
    runner.close()
    return result, folder


@pytest.mark.parametrize("section", SECTIONS)
def test_two_workers_are_as_one(
    section: str, pair: TrialRunner, config: TrialConfig, alone: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    one, folder = alone
    train = replace(config.train, workers=2, deepspeed={"zero_optimization": SECTIONS[section]})
    two = run_trial(pair, replace(config, train=train), tmp_path)
    assert (two.status, two.error) == ("finished", "")
    assert two.losses == pytest.approx(one.losses, rel=1e-3)
    assert two.losses[-1] != pytest.approx(two.losses[0], rel=1e-2), "it must have learned to compare anything"
    assert (tmp_path / "predictions.jsonl").read_text() == (folder / "predictions.jsonl").read_text()
    assert two.scores == one.scores
    expected = load_file(folder / "adapter" / "adapter_model.safetensors")
    found = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in expected.items()}
    for name, tensor in found.items():
        assert (tensor - expected[name]).abs().max() < 0.02, name
        assert tensor.any(), name


def test_a_broken_group_is_replaced(
    pair: TrialRunner, config: TrialConfig, alone: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    """A worker that dies in mid-trial fails the trial; the next one runs on new workers, to the same losses."""
    import ray

    config = replace(config, train=replace(config.train, workers=2))
    pair.begin(config, tmp_path / "bad")
    ray.kill(pair.workers._workers[1])
    with pytest.raises(RuntimeError, match="worker process died"):
        pair.rung(0)
    assert pair.end("failed", "lost").status == "failed"
    again = run_trial(pair, config, tmp_path / "again")
    assert again.status == "finished"
    assert again.losses == pytest.approx(alone[0].losses, rel=1e-3)


def test_a_users_error_keeps_its_words(pair: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    config = replace(config, model=str(tmp_path), train=replace(config.train, workers=2))
    with pytest.raises(UserError, match=r"no config\.json"):
        pair.begin(config, tmp_path / "trial")
    assert pair.end("failed", "refused").error == "refused"
