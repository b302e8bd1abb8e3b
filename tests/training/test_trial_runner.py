"""A trial on a tiny random model: exact repetition, rungs, accumulation, failure, files, and that it learns."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray import __version__, data
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs, render
from sde_ray.errors import UserError
from sde_ray.evaluation.racing import Opponent
from sde_ray.models import base
from sde_ray.models.base import library_versions
from sde_ray.models.predictor import Predictor, find_adapter
from sde_ray.models.tokenization import IGNORE_INDEX, TokenizedSample
from sde_ray.storage.train_log import TrainLog
from sde_ray.tasks import get_task
from sde_ray.training import batching, deepspeed_engine
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker import Worker
from sde_ray.types import Sample, Segment

WORDS = "good bad food staff price slow great awful fine cold".split()


def samples(count: int, seed: int = 0) -> list[Sample]:
    draw = random.Random(seed)
    made = []
    for n in range(count):
        text = " ".join(draw.choice(WORDS) for _ in range(draw.randrange(3, 12)))
        prompt = (Segment(text, False, "text"), Segment("\nFood:", False, "instruction"))
        made.append(Sample(f"s{n}", prompt, Segment(draw.choice([" positive", " negative"]), True, "completion")))
    return made


def settings(**changes: Any) -> Train:
    return Train(**{"learning_rate": 1e-2, "train_batch_size": 4, **changes})


@pytest.fixture
def config(tiny_llama: Path) -> TrialConfig:
    return TrialConfig("masa:d1", designs.make_design(), str(tiny_llama), 1, 12, 4, train=settings())


def losses_and_completions(worker: Worker, config: TrialConfig) -> tuple[list[float], list[str]]:
    attached = worker.start_trial(config, samples(config.train_size))
    losses = worker.train(attached.steps)
    completions, _ = worker.generate([(sample.id, sample.prompt) for sample in samples(5, seed=9)])
    worker.end_trial()
    return losses, completions


def fingerprint(net: torch.nn.Module) -> dict[str, int]:
    return {name: hash(tensor.numpy().tobytes()) for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_update_is_the_whole_learning_rate(worker: Worker, config: TrialConfig, dtype: str) -> None:
    """AdamW's first step moves each weight by the learning rate, whatever its gradient: DeepSpeed must not count one
    of its own before (its stage 0 does, in half precision: 0.745 of the rate).
    """
    train = settings(dtype=dtype, lr_scheduler_type="constant")
    worker.start_trial(replace(config, train=train, lora=Lora(lora_dropout=0.0)), samples(config.train_size))
    worker.train(1)
    moved = [
        weight.detach().float().abs() for name, weight in worker._peft_model.named_parameters() if "lora_B" in name
    ]
    steps = torch.cat([weight.flatten() for weight in moved])
    assert steps[steps > 0].median().item() == pytest.approx(1e-2, rel=0.01)
    worker.end_trial()


def test_steps_are_a_function_of_the_seed_only() -> None:
    wanted = settings(num_train_epochs=1.5)
    steps = batching.batch_indices(10, wanted, seed=3)
    assert steps == batching.batch_indices(10, wanted, seed=3) != batching.batch_indices(10, wanted, seed=4)
    assert [len(step) for step in steps] == [4, 4, 4, 3]
    assert sorted(sum(steps, ())[:10]) == list(range(10))
    for step in steps:
        assert sorted(batching.rank_slice(step, 0, 2) + batching.rank_slice(step, 1, 2)) == sorted(step)
    assert batching.split_micro_batches((1, 2, 3), 2) == [(1, 2), (3,)]
    assert batching.split_micro_batches((1,), 2) == [(1,), ()]


def test_collate_keeps_the_positions_that_predict_something() -> None:
    rows = [TokenizedSample("a", (5, 6), (False, False), (7, 2)), TokenizedSample("b", (8,), (False,), (2,))]
    ids, targets, kept = batching.collate(rows, pad_token_id=0)
    assert ids.tolist() == [[5, 6, 7, 2], [8, 2, 0, 0]]
    assert kept.tolist() == [0, 1, 2]
    assert targets.tolist() == [[IGNORE_INDEX, 7, 2], [2, IGNORE_INDEX, IGNORE_INDEX]]
    ids, targets, kept = batching.collate([], pad_token_id=0)
    assert (ids.tolist(), targets.tolist(), kept.tolist()) == ([[0]], [[IGNORE_INDEX]], [0])


def test_deepspeed_section_is_merged_and_checked(config: TrialConfig) -> None:
    section = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}
    merged = deepspeed_engine.deepspeed_config(replace(config, deepspeed=section), "float32")
    assert merged["zero_optimization"] == {"stage": 3, "stage3_param_persistence_threshold": 0}
    assert merged["train_micro_batch_size_per_gpu"] == 4
    assert deepspeed_engine.stage(config) == 0 and deepspeed_engine.stage(replace(config, num_workers=2)) == 2
    wrong = {"optimizer": {}, "fp16": {}, "zero_optimization": {"stage": 7}}
    bad = replace(config, train=settings(train_batch_size=5), num_workers=2, deepspeed=wrong)
    with pytest.raises(UserError) as fault:
        deepspeed_engine.check_deepspeed_section(bad)
    for part in ("4 faults", "train.learning_rate", "train.dtype", "multiple of 2", "0, 1, 2 or 3"):
        assert part in str(fault.value)


def test_an_unknown_deepspeed_value_is_the_users_error(worker: Worker, config: TrialConfig) -> None:
    bad = replace(config, deepspeed={"zero_optimization": {"stage": 2, "reduce_bucket_size": "big"}})
    with pytest.raises(UserError, match="deepspeed section.*reduce_bucket_size"):
        worker.start_trial(bad, samples(4))


def test_same_seed_same_result_before_and_after_other_trials(worker: Worker, config: TrialConfig) -> None:
    first = losses_and_completions(worker, config)
    before = fingerprint(worker._loaded.model)
    other = losses_and_completions(worker, replace(config, seed=2, lora=Lora(r=4)))
    again = losses_and_completions(worker, config)
    assert first == again
    assert other[0] != first[0]
    assert fingerprint(worker._loaded.model) == before
    cold = Worker()
    assert losses_and_completions(cold, config) == first


def test_a_rung_and_its_decoding_change_nothing(worker: Worker, config: TrialConfig) -> None:
    whole, completions = losses_and_completions(worker, config)
    worker.start_trial(config, samples(config.train_size))
    parts = worker.train(1)
    worker.generate([("s", samples(1)[0].prompt)])
    parts += worker.train(3)
    assert parts == whole
    assert worker.generate([(sample.id, sample.prompt) for sample in samples(5, seed=9)])[0] == completions
    worker.end_trial()


def test_first_loss_is_the_base_models_own(worker: Worker, config: TrialConfig) -> None:
    """An adapter starts as nothing, so the first loss is what transformers computes for the batch."""
    config = replace(config, lora=Lora(lora_dropout=0.0))
    worker.start_trial(config, samples(4))
    rows = worker._trainer.samples
    loss = worker.train(1)[0]
    worker.end_trial()
    with torch.no_grad():
        sums = [
            worker._loaded.model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss.item()
            * row.num_loss_tokens
            for row in rows
        ]
    assert loss == pytest.approx(sum(sums) / sum(row.num_loss_tokens for row in rows), rel=1e-5)


def test_accumulation_takes_the_same_steps(worker: Worker, config: TrialConfig) -> None:
    config = replace(config, train_size=10, lora=Lora(lora_dropout=0.0))
    whole, _ = losses_and_completions(worker, config)
    split = replace(config, train=settings(gradient_accumulation_steps=2))
    assert losses_and_completions(worker, split)[0] == pytest.approx(whole, rel=1e-4)


def test_it_learns_by_heart(worker: Worker, config: TrialConfig) -> None:
    known = samples(4, seed=5)
    config = replace(config, train=settings(num_train_epochs=40, learning_rate=2e-2), lora=Lora(lora_dropout=0.0))
    losses = worker.train(worker.start_trial(config, known).steps)
    completions, _ = worker.generate([(sample.id, sample.prompt) for sample in known])
    worker.end_trial()
    assert losses[-1] < 0.1 < losses[0]
    assert completions == [sample.completion.text for sample in known]


def test_an_adapter_that_learned_nothing_is_not_saved(worker: Worker, config: TrialConfig, tmp_path: Path) -> None:
    worker.start_trial(config, samples(4))
    with pytest.raises(AssertionError, match="lora_B"):
        worker.save(tmp_path)
    worker.end_trial()


@pytest.fixture(scope="module")
def runner(worker: Worker) -> TrialRunner:
    return runner_on(worker)


def small(config: TrialConfig) -> TrialConfig:
    return replace(
        config,
        train_size=6,
        eval_size=3,
        train=settings(max_length=2048),
        generation=Generation(batch_size=8, max_new_tokens=12),
    )


def test_a_trial_leaves_its_files_and_can_be_used(runner: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    config = replace(small(config), out_of_domain=("masa:d2",), rungs=(0.5, 1.0))
    result = run_trial(runner, config, tmp_path)
    assert (result.status, result.error, result.key) == ("finished", "", config.key)
    assert [rung.examples for rung in result.rungs] == [4, 6]
    assert set(result.scores) == {"dev", "dev_ood"} and "weighted_kappa" in result.scores["dev_ood"]
    assert len(result.losses) == 2 and result.tokens["train"] > result.tokens["prompt"] > 0
    assert {"setup", "tokenize", "first_step", "train", "decode"} <= set(result.seconds)
    assert set(library_versions()) == {"torch", "transformers", "peft", "deepspeed"}
    ran_on = {"device": "cpu", "dtype": "float32", "sde_ray": __version__}
    assert result.environment == {**ran_on, **library_versions()}
    assert json.loads((tmp_path / "config.json").read_text())["key"] == config.key
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["dev"] == result.scores["dev"]
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["dev"] * 3 + ["dev_ood"] * 3
    predictor = Predictor.load(tmp_path)
    texts = {example.id: example.text for example in predictor.task.load("dev")}
    own = [line for line in lines if line["split"] == "dev"]
    answers = predictor.predict([texts[line["id"]] for line in own])
    assert [raw for _, raw in answers] == [line["prediction"] for line in own]


def test_no_instruction_has_no_out_of_domain_score(runner: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    none = designs.make_design(instruction="none")
    result = run_trial(runner, replace(small(config), design=none, out_of_domain=("masa:d2",)), tmp_path)
    assert result.status == "finished" and set(result.scores) == {"dev"}


def test_a_failed_trial_leaves_the_worker_as_it_was(runner: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    config = small(config)
    good = run_trial(runner, config, tmp_path / "good")
    bad = replace(config, train_size=24, train=settings(max_length=2048).model_copy(update={"learning_rate": 1e30}))
    result = run_trial(runner, bad, tmp_path / "bad")
    assert result.status == "failed" and "not finite" in result.error and "train.learning_rate" in result.error
    assert not (tmp_path / "bad" / "adapter").exists()
    missing = run_trial(runner, replace(config, model=str(tmp_path)), tmp_path / "missing")
    assert missing.status == "failed" and "config.json" in missing.error
    again = run_trial(runner, config, tmp_path / "again")
    assert (again.losses, again.scores) == (good.losses, good.scores)


def test_what_holds_no_model_or_adapter_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        base.load_base(str(tmp_path))
    with pytest.raises(UserError, match=r"sde\.json"):
        find_adapter(tmp_path)
    for name in ("adapter-masa_d2", "adapter-masa_d1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sde.json").write_text("{}")
    with pytest.raises(UserError, match=r"for each task and model.*adapter-masa_d1, .*adapter-masa_d2"):
        find_adapter(tmp_path)


def gold(config: TrialConfig, folder: Path) -> Opponent:
    """A rival that has answered every dev item right."""
    task = get_task(config.task)
    examples = data.eval_items(task.load("dev"), config.eval_size)
    texts = [render.render_sample(example, task, config.design).completion.text for example in examples]
    folder.mkdir()
    lines = [
        {"split": "dev", "id": example.id, "prediction": text, "task": config.task}
        for example, text in zip(examples, texts, strict=True)
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text(json.dumps({"design": dict(config.design.options)}))
    return Opponent(folder, "weighted_kappa")


def test_a_trial_clearly_behind_its_rival_is_not_asked_all(
    runner: TrialRunner, config: TrialConfig, tmp_path: Path
) -> None:
    config = replace(small(config), eval_size=40, out_of_domain=("masa:d2",), interim_looks=(0.5,))
    runner.start(config, tmp_path / "slow")
    done = runner.train_rung(0, gold(config, tmp_path / "rival"))
    result = runner.finish("pruned")
    assert "behind on the first 20 items" in done.stopped_early
    assert result.status == "pruned" and set(result.scores) == {"dev"}
    assert len((tmp_path / "slow" / "predictions.jsonl").read_text().splitlines()) == 20
    assert (tmp_path / "slow" / "adapter").is_dir()


def test_a_race_without_a_rival_changes_no_completion(runner: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    config = replace(small(config), eval_size=18)
    raced = replace(config, interim_looks=(0.5,))
    whole, cut = run_trial(runner, config, tmp_path / "a"), run_trial(runner, raced, tmp_path / "b")
    assert (tmp_path / "a/predictions.jsonl").read_text() == (tmp_path / "b/predictions.jsonl").read_text()
    assert whole.scores == cut.scores and cut.rungs[0].stopped_early == ""


@pytest.mark.realdata
def test_a_real_checkpoint_trains(worker: Worker, realdata: Path, config: TrialConfig) -> None:
    config = replace(config, model=str(realdata / "models" / "TinyStories-656K"), train=settings(num_train_epochs=8))
    losses, completions = losses_and_completions(worker, config)
    assert losses[-1] < losses[0] / 2
    assert len(completions) == 5


# ---- the log of a training -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant_with_warmup"])
def test_the_learning_rates_that_are_logged_are_those_of_the_engine(
    worker: Worker, config: TrialConfig, schedule: str
) -> None:
    train = settings(lr_scheduler_type=schedule, warmup_steps=2, num_train_epochs=2)
    info = worker.start_trial(replace(config, train=train), samples(config.train_size))
    engine, seen = worker._trainer.engine, []
    for step in range(info.steps):
        seen.append(engine.get_lr()[0])
        worker.train(step + 1)
    worker.end_trial()
    assert len(set(seen)) > 1
    assert info.learning_rates == pytest.approx(seen)


def test_a_trial_logs_the_loss_of_every_step(runner: TrialRunner, config: TrialConfig, tmp_path: Path) -> None:
    result = run_trial(runner, replace(config, rungs=(0.5, 1.0)), tmp_path)
    steps = TrainLog(tmp_path / "train_log.jsonl").read()
    assert [one.step for one in steps] == list(range(1, len(result.losses) + 1))
    assert [one.loss for one in steps] == list(result.losses)
    assert all(one.learning_rate > 0 for one in steps)
