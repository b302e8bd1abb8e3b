"""Federated averaging: its laws to the digit, what travels, and that a round is never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from helpers.run_trial import run_trial
from safetensors.torch import load_file

from sde_ray.config.curation import Curation, Federated
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker import Worker
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Sample, Segment, TrialResult

TRAIN = Train(learning_rate=2e-2, train_batch_size=4, max_length=2048)
UNEVEN = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12], [13, 14, 15]]
WORDS = "soup tea cold warm staff kind price high low park".split()

Weights = dict[str, torch.Tensor]


def trial(
    size: int = 16, option: object = "federated", train: Train = TRAIN, seed: int = 1, **settings: Any
) -> TrialConfig:
    """A trial of `masa:d1`; the base is put in by the fixtures."""
    design = make_design(federated=option)
    config = TrialConfig("masa:d1", design, "tiny", seed, size, 2, train=train, generation=Generation(max_new_tokens=4))
    return replace(config, curation=Curation(federated=Federated(**settings)))


def written(count: int) -> list[Sample]:
    """Short samples, all different."""
    random = Random(0)
    texts = [" ".join(random.choices(WORDS, k=random.randint(2, 6))) for _ in range(count)]
    return [
        Sample(f"{n}", (Segment(f"{text}: ", False, "text"),), Segment(text.split()[0], True, "completion"))
        for n, text in enumerate(texts)
    ]


@dataclass
class Base:
    """A worker, and the base model of its trials."""

    worker: Worker
    model: str


@pytest.fixture(scope="module")
def base(tiny_llama: Path) -> Iterator[Base]:
    one = Worker()
    one.join(*one.address())
    yield Base(one, str(tiny_llama))
    one.end_trial()


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    one = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    yield one
    one.close()


def trained(
    base: Base, config: TrialConfig, clients: Sequence[Sequence[int]] = (), samples: Sequence[Sample] = ()
) -> tuple[list[float], Weights]:
    """The losses of a training and the adapter after it, with clients as they are given."""
    samples = samples or written(config.train_size)
    prepared = {"federated": [list(client) for client in clients]}
    info = base.worker.start_trial(replace(config, model=base.model), samples, samples, prepared)
    losses = base.worker.train(info.steps)
    named = base.worker._peft_model.named_parameters()
    return losses, {name: one.detach().clone() for name, one in named if one.requires_grad}


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# ---- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_client_that_carries_its_optimizer_is_the_plain_trial_to_the_digit(base: Base, dtype: str) -> None:
    train = TRAIN.model_copy(update={"dtype": dtype})
    losses, weights = trained(base, trial(14, "central", train))
    carried = trial(14, train=train, optimizer_state="carried", rounds=3)
    assert len(losses) == 4
    one = trained(base, carried, [range(14)])
    assert one[0] == losses and same(one[1], weights)
    single = trained(base, trial(14, train=train, rounds=1), [range(14)])
    assert single[0] == losses and same(single[1], weights)
    fresh = trained(base, trial(14, train=train, rounds=3), [range(14)])
    assert fresh[0][:2] == losses[:2] and not same(fresh[1], weights)


@pytest.mark.parametrize("optimizer_state", ["fresh", "carried"])
def test_clients_with_the_same_samples_are_as_one(base: Base, optimizer_state: Any) -> None:
    config = trial(12, optimizer_state=optimizer_state, rounds=2)
    samples = written(12)
    one = trained(base, config, [range(12)], [*samples, *samples, *samples])
    three = trained(base, config, [range(12), range(12, 24), range(24, 36)], [*samples, *samples, *samples])
    assert len(one[0]) == 9 and three[0] == pytest.approx(one[0], rel=1e-12) and same(one[1], three[1])


def test_the_order_of_the_clients_changes_nothing(base: Base) -> None:
    config = trial(rounds=2, optimizer_state="carried")
    forth = trained(base, config, UNEVEN)
    back = trained(base, config, [UNEVEN[2], UNEVEN[0], UNEVEN[1]])
    assert same(forth[1], back[1]) and forth[0] == pytest.approx(back[0], rel=1e-12)
    other = trained(base, config, [UNEVEN[0], UNEVEN[1], UNEVEN[2][:2]])
    assert not same(forth[1], other[1])


def test_one_step_of_plain_sgd_is_one_step_on_the_joint_batch(base: Base) -> None:
    """With as many tokens that count at each client, and gradients that are not clipped."""
    sgd = Train(
        optim="sgd", learning_rate=0.5, lr_scheduler_type="constant", max_grad_norm=0, train_batch_size=4
    )  # clients take batches of 4, the joint trial one of 8
    joint = replace(trial(8, "central", sgd.model_copy(update={"train_batch_size": 8})), lora=Lora(lora_dropout=0.0))
    samples = written(8)
    samples = [
        *samples[:4],
        *(replace(two, completion=one.completion) for one, two in zip(samples, samples[4:], strict=False)),
    ]
    before = trained(base, replace(joint, train=joint.train.model_copy(update={"learning_rate": 1e-30})), (), samples)[
        1
    ]
    whole = trained(base, joint, (), samples)[1]
    config = replace(trial(8, train=sgd, clients=2, rounds=1, local_steps=1), lora=Lora(lora_dropout=0.0))
    losses, parts = trained(base, config, [range(4), range(4, 8)], samples)
    assert len(losses) == 1
    moved = {name: (whole[name] - before[name]).abs().max().item() for name in whole}
    assert max(moved.values()) > 1e-3
    assert all(
        torch.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-6) for name in whole
    )  # float32 sums in another order


@pytest.mark.parametrize("aggregate", ["weighted", "mean"])
def test_a_round_is_the_mean_of_what_the_clients_train_alone_and_the_gap_is_that_of_the_products(
    base: Base, aggregate: Any
) -> None:
    settings: dict[str, Any] = {"rounds": 1, "aggregate": aggregate}
    losses, common = trained(base, trial(**settings), UNEVEN)
    gap = base.worker.counts()["federated/gap"]
    alone = [trained(base, trial(**settings), [client]) for client in UNEVEN]
    sizes = [len(client) if aggregate == "weighted" else 1 for client in UNEVEN]
    shares = [size / sum(sizes) for size in sizes]
    for name, weight in common.items():
        mean = sum(share * one[1][name].double() for share, one in zip(shares, alone, strict=True))
        assert torch.allclose(weight.double(), mean, rtol=1e-6, atol=1e-12)
    assert losses == pytest.approx([sum(s * one[0][n] for s, one in zip(shares, alone, strict=True)) for n in range(4)])
    difference = whole = 0.0
    for name in common:
        if ".lora_A." in name:
            other = name.replace("lora_A", "lora_B")
            products = [one[1][other].double() @ one[1][name].double() for one in alone]
            mean = sum(share * product for share, product in zip(shares, products, strict=True))
            difference += float((mean - common[other].double() @ common[name].double()).square().sum())
            whole += float(mean.square().sum())
    assert 0 < gap == pytest.approx((difference / whole) ** 0.5, rel=1e-3)


# ---- whole trials ----------------------------------------------------------------------------------------------------


def test_only_adapters_travel_and_their_bytes_are_counted(
    runner: TrialRunner, tiny_llama: Path, tmp_path: Path
) -> None:
    config = replace(trial(rounds=2, clients=3, split="field food"), model=str(tiny_llama))
    result = run_trial(runner, config, tmp_path)
    assert result.status == "finished" and len(result.losses) == 4, result.error
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    size = sum(weight.numel() * weight.element_size() for weight in adapter.values())
    counts = result.curation
    assert counts["federated/adapter_bytes"] == size and counts["federated/bytes"] == 2 * 2 * 3 * size
    assert counts["federated/rounds"] == 2 and counts["federated/clients"] == 3 and counts["samples"] == 16
    assert 0 < counts["federated/gap"] <= counts["federated/largest_gap"]


def test_a_client_alone_has_its_own_samples_and_as_many_steps(
    runner: TrialRunner, tiny_llama: Path, tmp_path: Path
) -> None:
    def run(option: object) -> TrialResult:
        config = replace(trial(8, option=option, rounds=2), model=str(tiny_llama))
        return run_trial(runner, config, tmp_path / str(option))

    results = {n: run(n) for n in (0, 1, 2)}
    assert [result.curation["samples"] for result in results.values()] == [3, 3, 2]
    assert {len(result.losses) for result in results.values()} == {2}
    assert len({result.losses for result in results.values()}) == 3
    local = run("local")  # seed 1 of 3 clients
    assert local.curation["federated/client"] == 1 and "federated/bytes" not in local.curation
    assert local.losses == results[1].losses and local.scores == results[1].scores


def test_all_samples_at_one_client_is_central_in_rounds(runner: TrialRunner, tiny_llama: Path, tmp_path: Path) -> None:
    def run(option: object, **settings: Any) -> TrialResult:
        config = replace(trial(8, option=option, rounds=2, **settings), model=str(tiny_llama))
        return run_trial(runner, config, tmp_path / f"{option}-{settings}")

    central, carried, fresh = run("central"), run("pooled", optimizer_state="carried"), run("pooled")
    assert carried.losses == central.losses and carried.scores == central.scores
    assert fresh.losses[0] == central.losses[0] and fresh.status == "finished", fresh.error
    one = run("federated", clients=1)
    assert fresh.losses == one.losses and fresh.scores == one.scores
    assert fresh.curation == {"samples": 8} and one.curation["federated/clients"] == 1


@pytest.mark.parametrize("optimizer_state", ["carried", "fresh"])
def test_a_trial_resumes_between_rounds_to_the_digit(base: Base, tmp_path: Path, optimizer_state: Any) -> None:
    config = trial(rounds=2, optimizer_state=optimizer_state)
    losses, weights = trained(base, config, UNEVEN)
    counts = base.worker.counts()
    samples, prepared = written(16), {"federated": UNEVEN}
    base.worker.start_trial(replace(config, model=base.model), samples, samples, prepared)
    assert base.worker.train(1) == losses[:2]  # the first round, which is not cut
    digest, failure = base.worker.save_state(tmp_path / "state")
    assert not failure
    base.worker.start_trial(replace(config, model=base.model), samples, samples, prepared)
    assert base.worker.load_state(tmp_path / "state", digest) == ""
    base.worker.restore_state()
    assert base.worker.train(4) == losses[2:] and base.worker.counts() == counts
    named = dict(base.worker._peft_model.named_parameters())
    assert all(torch.equal(named[name], weight) for name, weight in weights.items())


def test_too_few_samples_for_the_rounds_fail_the_trial_in_one_sentence(
    runner: TrialRunner, tiny_llama: Path, tmp_path: Path
) -> None:
    result = run_trial(runner, replace(trial(rounds=9), model=str(tiny_llama)), tmp_path)
    assert result.status == "failed" and "9 rounds need as many optimiser steps, and the trial has 4" in result.error
