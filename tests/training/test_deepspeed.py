"""ZeRO over two workers on a CPU: whole adapters, the losses and the completions of one worker; and it goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.run_trial import cut_within, run_trial
from helpers.worker_memory import base_bytes, bytes_sent, count_broadcasts, decoding_peak, live_bytes, watch_decoding
from safetensors.torch import load_file

from sde_ray.config.curation import Curation, Federated
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.errors import UserError
from sde_ray.training import checkpoint, trial_runner
from sde_ray.training.runner import RunnerResources, WorkerDiedError
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import TrialResult

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
        runner = TrialRunner(WorkerGroup(RunnerResources(num_workers=2), in_process=False))
        yield runner
        runner.close()
        ray.shutdown()


@pytest.fixture(scope="module")
def config(tiny_llama: Path) -> TrialConfig:
    """Three steps, the last of them on a single sample, so that one worker has nothing to do in it."""
    return TrialConfig(
        "masa:d1",
        designs.NAMED["es-sde"],
        str(tiny_llama),
        seed=1,
        train_size=9,
        eval_size=5,
        lora=Lora(lora_dropout=0.0),
        train=Train(learning_rate=3e-2, train_batch_size=4, max_length=2048),
        rungs=(0.5, 1.0),
        generation=Generation(batch_size=4, max_new_tokens=10),
    )


@pytest.fixture(scope="module")
def alone(config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialResult, Path]:
    """The same trial by one worker."""
    folder = tmp_path_factory.mktemp("alone")
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    result = run_trial(runner, config, folder)
    runner.close()
    return result, folder


@pytest.mark.parametrize("section", SECTIONS)
def test_two_workers_are_as_one(
    section: str, pair: TrialRunner, config: TrialConfig, alone: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    one, folder = alone
    sharded = replace(config, num_workers=2, deepspeed={"zero_optimization": SECTIONS[section]})
    two = run_trial(pair, sharded, tmp_path)
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


def sharded(config: TrialConfig, section: str) -> TrialConfig:
    """The trial by two workers, with dropout, which draws differently in each of them."""
    section_of = {"zero_optimization": SECTIONS[section]}
    return replace(config, num_workers=2, deepspeed=section_of, lora=Lora(lora_dropout=0.3))


def assert_equal_to_the_digit(one: TrialResult, folder: Path, other: TrialResult, its: Path) -> None:
    assert (one.status, one.error) == ("finished", "")
    assert (one.losses, one.rungs) == (other.losses, other.rungs)
    for name in ("predictions.jsonl", "adapter/adapter_model.safetensors"):
        assert (folder / name).read_bytes() == (its / name).read_bytes(), name


@pytest.mark.parametrize(
    "section", ["zero 2", *(pytest.param(name, marks=pytest.mark.long) for name in SECTIONS if name != "zero 2")]
)
def test_two_workers_go_on_from_a_rung_to_the_last_digit(
    section: str, pair: TrialRunner, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off within the rung, then after it."""
    config = sharded(config, section)
    whole = run_trial(pair, config, tmp_path / "whole")
    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(pair.workers, "resources", replace(pair.workers.resources, checkpoint_interval_s=1e-9))
        patch.setattr(trial_runner, "PART_S", 0.0)
        cut_within(pair, config, folder, 1)
    assert checkpoint.progress(folder, config.key) == (0, 1)
    pair.start(config, folder)
    done = pair.train_rung(0)
    assert len(list(folder.glob(checkpoint.WORKER_FILES))) == 2, "each worker keeps its share"
    resumed = pair.start(config, folder)
    assert (resumed.rungs, resumed.note) == ((done,), "")
    pair.train_rung(1)
    assert pair._running().losses[:2] == list(whole.losses[:2]) and len(whole.losses) == 3
    assert_equal_to_the_digit(pair.finish(), folder, whole, tmp_path / "whole")


def test_a_share_that_is_gone_on_one_worker_is_used_on_none(
    pair: TrialRunner, config: TrialConfig, tmp_path: Path
) -> None:
    config = sharded(config, "zero 2")
    pair.start(config, tmp_path)
    pair.train_rung(0)
    (tmp_path / checkpoint.worker_file((1, 2), 1)).unlink()
    resumed = pair.start(config, tmp_path)
    assert resumed.rungs == () and "checkpoint.1.2.1.safetensors cannot be read" in resumed.note
    pair.finish("failed", "")


def test_a_broken_group_is_replaced_and_the_trial_goes_on(
    pair: TrialRunner, config: TrialConfig, tmp_path: Path
) -> None:
    """A worker that dies in mid-trial is told as lost; the trial goes on on new workers from its last rung."""
    import ray

    config = sharded(config, "zero 2")
    whole = run_trial(pair, config, tmp_path / "whole")
    folder = tmp_path / "cut"
    pair.start(config, folder)
    pair.train_rung(0)
    ray.kill(pair.workers._workers[1])
    with pytest.raises(WorkerDiedError, match="worker process died"):
        pair.train_rung(1)
    assert_equal_to_the_digit(run_trial(pair, config, folder), folder, whole, tmp_path / "whole")


def test_a_users_error_keeps_its_words(pair: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    config = replace(config, model=str(tmp_path), num_workers=2)
    with pytest.raises(UserError, match=r"no config\.json"):
        pair.start(config, tmp_path / "trial")
    assert pair.finish("failed", "refused").error == "refused"


# ---- what ZeRO-3 holds -----------------------------------------------------------------------------------------------

ALL_SHARDED = {"zero_optimization": SECTIONS["zero 3, all sharded"]}


def in_workers(runner: TrialRunner, function: Any) -> list[Any]:
    """What a function says of each worker, where it is."""
    import ray

    return list(ray.get([worker.__ray_call__.remote(function) for worker in runner.workers._workers]))


def test_the_base_is_in_shards_as_soon_as_it_is_loaded_and_while_it_decodes(
    pair: TrialRunner, config: TrialConfig, tmp_path: Path
) -> None:
    """Five items over two workers: one of them has a pass more than the other."""
    config = replace(config, num_workers=2, deepspeed=ALL_SHARDED)
    pair.workers.close()
    pair.workers.call("count_tokens", config, [])  # loads the base, and nothing else
    for held in in_workers(pair, base_bytes):
        assert held["full"] == 0 and 0 < held["shards"] < 0.51 * held["all"]
    pair.start(config, tmp_path)
    pair._train(3, "train")
    in_workers(pair, watch_decoding)
    pair.train_rung(1)
    assert pair.finish().status == "finished"
    for held, peak in zip(in_workers(pair, base_bytes), in_workers(pair, decoding_peak), strict=True):
        assert held["shards"] < peak < held["shards"] + 2 * held["largest"] < held["all"]


def test_zero_3_leaves_nothing_of_a_trial_behind_and_repeats_it_to_the_digit(
    pair: TrialRunner, config: TrialConfig, tmp_path: Path
) -> None:
    """Its first trial reads the base; from then on a trial leaves the process as it was."""
    config = replace(config, num_workers=2, deepspeed=ALL_SHARDED)
    results, sizes = [], []
    for number in range(5):
        results.append(run_trial(pair, config, tmp_path / str(number)))
        sizes.append(in_workers(pair, live_bytes))
    assert [result.error for result in results] == [""] * 5
    assert {result.losses for result in results} == {results[0].losses}
    assert sizes[1:] == [sizes[0]] * 4


def test_zero_3_takes_the_steps_of_stage_0(pair: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    train = config.train.model_copy(update={"learning_rate": 1e-3})
    losses = []
    for section in ({"zero_optimization": {"stage": 0}}, ALL_SHARDED):
        trial = replace(config, num_workers=2, deepspeed=section, train=train)
        losses.append(run_trial(pair, trial, tmp_path / str(len(losses))).losses)
    assert losses[0] == pytest.approx(losses[1], abs=1e-5) and len(losses[0]) == 3


def test_the_frozen_base_is_sent_to_the_other_workers_once(
    pair: TrialRunner, config: TrialConfig, tmp_path: Path
) -> None:
    config = replace(config, num_workers=2, deepspeed={"zero_optimization": {"stage": 2}})
    pair.workers.close()
    pair.workers.call("count_tokens", config, [])
    in_workers(pair, count_broadcasts)
    first = run_trial(pair, config, tmp_path / "1")
    whole = in_workers(pair, bytes_sent)
    second = run_trial(pair, config, tmp_path / "2")
    both = in_workers(pair, bytes_sent)
    pair.workers.close()  # with what was patched in them
    assert second.losses == first.losses
    adapter = sum(tensor.nbytes for tensor in load_file(tmp_path / "1/adapter/adapter_model.safetensors").values())
    assert [total - before for total, before in zip(both, whole, strict=True)] == [adapter, adapter]
    assert all(sent > 2 * adapter for sent in whole)


# ---- clients on several workers --------------------------------------------------------------------------------------


def clients_of(config: TrialConfig, option: str = "federated") -> TrialConfig:
    """Three clients, of whom two share a worker; with dropout, which draws alike in each of them."""
    settings = Federated(clients=3, rounds=2, optimizer_state="carried")
    return replace(
        config,
        design=designs.make_design(**dict(config.design.options), federated=option),
        curation=Curation(federated=settings),
        lora=Lora(lora_dropout=0.3),
        train=config.train.model_copy(update={"num_train_epochs": 2.0}),
    )


@pytest.mark.parametrize(
    ("option", "dtype", "stage"), [("federated", "float32", 0), ("federated", "bfloat16", 2), ("local", "float32", 0)]
)
def test_clients_on_two_workers_are_those_on_one_to_the_digit(
    option: str,
    dtype: str,
    stage: int,
    pair: TrialRunner,
    config: TrialConfig,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Of a client alone the second worker has nothing to do: it does the same."""
    config = replace(clients_of(config, option), deepspeed={"zero_optimization": {"stage": stage}})
    config = replace(config, train=config.train.model_copy(update={"dtype": dtype}))
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    one = run_trial(runner, config, tmp_path / "one")
    runner.close()
    two = run_trial(pair, replace(config, num_workers=2), tmp_path / "two")
    assert_equal_to_the_digit(two, tmp_path / "two", one, tmp_path / "one")
    assert not [notice for notice in recwarn if "No checkpoint" in str(notice.message)]
    assert two.curation == one.curation and ("federated/bytes" in two.curation) == (option == "federated")


def test_clients_on_two_workers_go_on_from_a_rung_and_leave_no_groups_behind(
    pair: TrialRunner, config: TrialConfig, alone: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    plain, config = config, replace(clients_of(config), num_workers=2)
    whole = run_trial(pair, config, tmp_path / "whole")
    pair.start(config, tmp_path / "cut")
    done = pair.train_rung(0)
    resumed = pair.start(config, tmp_path / "cut")
    assert (resumed.rungs, resumed.note) == ((done,), "")
    pair.train_rung(1)
    after = pair.finish()
    assert_equal_to_the_digit(after, tmp_path / "cut", whole, tmp_path / "whole")
    plain = run_trial(pair, replace(plain, num_workers=2), tmp_path / "plain")
    assert plain.losses == pytest.approx(alone[0].losses, rel=1e-3)
