"""Prompt loss weight: a number between off and on of `input_modeling` is the weight of a prompt token in the loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design.axes import find_option
from sde_ray.design.designs import make_design, paper_label
from sde_ray.design.render import render_sample
from sde_ray.errors import UserError
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.tasks import get_task
from sde_ray.training import batching
from sde_ray.training.worker import Worker

PROMPT, COMPLETION = (5, 6, 7), (8, 9)


def sample(weight: float, prompt: tuple[int, ...] = PROMPT) -> TokenizedSample:
    return TokenizedSample("x", prompt, (weight,) * len(prompt), COMPLETION)


@pytest.mark.parametrize(("written", "spelled"), [(0, "off"), ("0.0", "off"), (1, "on"), ("1e0", "on"), (0.10, "0.1")])
def test_a_weight_has_one_spelling_and_none_and_all_are_the_papers_options(written: object, spelled: str) -> None:
    design = make_design(input_modeling=written)
    assert design["input_modeling"] == spelled
    assert design == make_design(input_modeling=spelled)


def test_a_weight_beyond_its_range_is_refused() -> None:
    with pytest.raises(
        UserError, match=r'"1.5" is no option of input_modeling. Expected a number of 0 or more, at most'
    ):
        make_design(input_modeling=1.5)


def test_a_weight_is_that_of_every_prompt_token_and_of_no_other() -> None:
    task = get_task("masa:d1")
    graded = render_sample(task.load("train")[0], task, make_design(input_modeling=0.25))
    assert {segment.loss for segment in graded.prompt} == {0.25} and graded.completion.loss is True
    assert paper_label(make_design(input_modeling=0.25)).split(", ")[1] == "MI-0.25"
    assert find_option("input_modeling", "0.25").label == "MI-0.25"
    assert find_option("input_modeling", "0.25") is find_option("input_modeling", "0.250")


def test_the_loss_is_the_weighted_mean() -> None:
    rows = [sample(0.25), sample(0.25, prompt=(5,))]
    ids, targets, positions = batching.collate(rows, pad_token_id=0)
    weights = batching.loss_weights(rows, positions)
    assert ids.shape == (2, 5) and positions.tolist() == [0, 1, 2, 3]
    assert weights is not None and weights.tolist() == [[0.25, 0.25, 1, 1], [1, 1, 0, 0]]
    assert [row.total_weight for row in rows] == [2.5, 2]
    assert (weights * (targets != -100)).sum() == sum(row.total_weight for row in rows)


@pytest.mark.parametrize("weight", [0, 1, False, True])
def test_without_a_weight_between_nothing_is_weighed(weight: float) -> None:
    row = sample(weight)
    assert row.weights is None and type(row.total_weight) is int and row.total_weight == row.num_loss_tokens
    assert batching.loss_weights([row], torch.arange(4)) is None


def test_rows_of_several_weights_share_a_step() -> None:
    rows = [sample(0.5), replace(sample(True), id="y"), replace(sample(False), id="z")]
    weights = batching.loss_weights(rows, torch.arange(4))
    assert weights is not None and weights.tolist() == [[0.5, 0.5, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(("weight", "option"), [(1e-7, "off"), (1 - 1e-7, "on")])
def test_a_training_goes_over_into_that_of_the_papers_options(
    weight: float, option: str, worker: Worker, tiny_llama: Path, tmp_path: Path
) -> None:
    def losses(value: object) -> tuple[float, ...]:
        lora, train = Lora(lora_dropout=0.0), Train(learning_rate=0.5, optim="sgd", train_batch_size=2, max_length=2048)
        design, short = make_design(input_modeling=value), Generation(max_new_tokens=4)
        config = TrialConfig("masa:d1", design, str(tiny_llama), 1, 8, 2, lora=lora, train=train, generation=short)
        return run_trial(runner_on(worker), config, tmp_path / str(value)).losses

    graded, plain = losses(weight), losses(option)
    assert len(plain) == 4 and len(set(plain)) == 4
    assert graded == pytest.approx(plain, rel=1e-4)
    assert losses(0.3) != pytest.approx(plain, rel=1e-3)
