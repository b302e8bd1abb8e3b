"""Mixup: pairs across the halves, the mixed loss against one written out, reference runs and who shares them."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.plans import plan_of
from helpers.run_trial import run_trial
from torch.nn.functional import cross_entropy

from sde_ray.config.curation import Curation
from sde_ray.config.curation import Mixup as Settings
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.curation import mixup
from sde_ray.curation.mixup import (
    Mixup,
    draw_weights,
    mixed_cross_entropy,
    order_in_pairs,
    pairs_of,
    reference_key,
    shared_positions,
)
from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.sweep.curation import carried_out, check_methods
from sde_ray.tasks.trial_task import trial_examples
from sde_ray.training import trial_runner
from sde_ray.training.batching import batch_indices, collate, split_micro_batches
from sde_ray.training.curation import methods_of
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trainer import Trainer
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example, Sample, Segment, Split, TrialResult

TRAIN = Train(learning_rate=5e-3, train_batch_size=4)
SHORT = Generation(max_new_tokens=4)
NO_DROPOUT = Lora(lora_dropout=0.0)


def trial(size: int = 10, seed: int = 1, settings: Settings | None = None, **options: object) -> TrialConfig:
    config = TrialConfig("masa:d1", make_design(**options), "tiny", seed, size, 2, train=TRAIN, generation=SHORT)
    return carried_out(replace(config, lora=NO_DROPOUT, curation=Curation(mixup=settings or Settings(checkpoints=2))))


def in_process() -> TrialRunner:
    return TrialRunner(WorkerGroup(RunnerResources(), in_process=True))


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    one = in_process()
    yield one
    one.close()


@pytest.fixture(scope="module")
def mixed(runner: TrialRunner, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialResult, Path]:
    """The usual trial with mixup, in a run of its own: the result, and the trial's folder, which nobody may change."""
    folder = tmp_path_factory.mktemp("run") / "mixed"
    result = run_trial(runner, trial(mixup=0.2), folder)
    assert result.status == "finished", result.error
    return result, folder


def trainer_of(runner: TrialRunner) -> Trainer:
    worker: Any = runner.workers._workers[0]
    return worker._trainer


def confident(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (folder / "curation" / "confidence.jsonl").read_text().splitlines()]


# ---- order and pairs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "epochs"), [(10, 1), (10, 3), (11, 1), (11, 2), (7, 5), (2, 1), (3, 1)])
def test_every_pass_sees_every_sample_and_pairs_cross_the_median(count: int, epochs: int) -> None:
    by_confidence = random.Random(3).sample(range(count), count)
    order = order_in_pairs(by_confidence, count * epochs, seed=1)
    assert Counter(order) == Counter(list(range(count)) * epochs)
    place = {index: by_confidence.index(index) for index in order}
    pairs = list(zip(order[::2], order[1::2], strict=False))
    for first, second in pairs:
        assert place[first] <= count // 2 and place[second] >= count // 2
        assert place[first] < place[second] or (count % 2 and place[first] == count // 2)
    assert order_in_pairs(by_confidence, count * epochs, seed=1) == order
    assert count < 7 or order_in_pairs(by_confidence, count * epochs, seed=2) != order


@pytest.mark.parametrize(("count", "total"), [(10, 15), (9, 14), (5, 3), (4, 1)])
def test_a_part_of_a_pass_is_balanced(count: int, total: int) -> None:
    order = order_in_pairs(range(count), total, seed=0)
    seen = Counter(order)
    assert len(order) == total and max(seen.values()) <= math.ceil(total / count) + count % 2
    assert all(index <= count // 2 for index in order[::2]) and all(index >= count // 2 for index in order[1::2])


def test_weights_are_drawn_from_beta_and_are_the_same_in_any_process_after_any_resume() -> None:
    weights = [weight for step in range(4000) for weight in draw_weights(2, 0.5, 7, step)]
    assert all(0 <= weight <= 1 for weight in weights)
    mean = sum(weights) / len(weights)
    variance = sum((weight - mean) ** 2 for weight in weights) / len(weights)
    assert mean == pytest.approx(0.5, abs=0.02)  # its sampling error is 0.004
    assert variance == pytest.approx(1 / (4 * (2 * 0.5 + 1)), abs=0.01)
    assert draw_weights(2, 0.5, 7, 11) == weights[22:24] == draw_weights(3, 0.5, 7, 11)[:2]
    assert all(draw_weights(3, 1e-3, 1, step) for step in range(50))


def test_a_pair_stays_in_one_micro_batch_and_nothing_else_changes() -> None:
    assert split_micro_batches(tuple(range(6)), 2, together=2) == [(0, 1, 2, 3), (4, 5)]
    for length in range(12):
        samples = tuple(range(length))
        for count in (1, 2, 3, 4):
            parts = split_micro_batches(samples, count, together=2)
            assert len(parts) == count and tuple(one for part in parts for one in part) == samples
            assert all(len(part) % 2 == 0 for part in parts if part and part[-1] != length - 1)
            assert split_micro_batches(samples, count, together=1) == split_micro_batches(samples, count)


# ---- the loss against one written out --------------------------------------------------------------------------------


def row(name: str, prompt: int, completion: list[int]) -> TokenizedSample:
    return TokenizedSample(name, tuple(range(1, prompt + 1)), (False,) * prompt, tuple(completion))


ROWS = [row("a", 5, [3, 1, 4, 1]), row("b", 2, [5, 9]), row("c", 3, [2, 6, 5]), row("d", 7, [3, 5, 8, 9, 7])]


def random_logits(rows: list[TokenizedSample], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    _, targets, positions = collate(rows, 0)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(rows), targets.shape[1], 12, generator=generator, requires_grad=True), positions


def at(logits: torch.Tensor, positions: torch.Tensor, rows: list[TokenizedSample], number: int, n: int) -> torch.Tensor:
    """The logits that predict the completion's token n of a row."""
    return logits[number, positions.tolist().index(len(rows[number].prompt) - 1 + n)]


def test_the_mixed_loss_is_the_written_out_sum() -> None:
    logits, positions = random_logits(ROWS)
    logits = logits.detach()
    weights = [0.3, 0.9]
    expected = 0.0
    for number, weight in enumerate(weights):
        first, second = ROWS[2 * number], ROWS[2 * number + 1]
        for n in range(min(len(first.completion), len(second.completion))):
            z = weight * at(logits, positions, ROWS, 2 * number, n)
            z = z + (1 - weight) * at(logits, positions, ROWS, 2 * number + 1, n)
            logs = z.log_softmax(0)
            expected -= float(weight * logs[first.completion[n]] + (1 - weight) * logs[second.completion[n]])
    assert float(mixed_cross_entropy(logits, positions, pairs_of(ROWS), weights)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("side", [0, 1])
def test_a_weight_of_0_or_1_is_the_cross_entropy_of_one_side_at_the_shared_positions(side: int) -> None:
    logits, positions = random_logits(ROWS)
    expected = 0.0
    for number in (0, 2):
        one, shared = ROWS[number + side], shared_positions((ROWS[number], ROWS[number + 1]))
        scores = torch.stack([at(logits, positions, ROWS, number + side, n) for n in shared])
        expected += float(cross_entropy(scores, torch.tensor([one.completion[n] for n in shared]), reduction="sum"))
    loss = mixed_cross_entropy(logits, positions, pairs_of(ROWS), [1.0 - side] * 2)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_exchanging_the_sides_changes_nothing() -> None:
    logits, positions = random_logits(ROWS)
    other = [ROWS[1], ROWS[0], ROWS[3], ROWS[2]]
    loss = mixed_cross_entropy(logits, positions, pairs_of(ROWS), [0.3, 0.9], smoothing=0.1)
    exchanged = mixed_cross_entropy(logits[[1, 0, 3, 2]], positions, pairs_of(other), [0.7, 0.1], smoothing=0.1)
    assert float(exchanged) == pytest.approx(float(loss), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_of_identical_samples_the_mixed_loss_is_the_plain_one(smoothing: float) -> None:
    rows = [ROWS[0], ROWS[0], ROWS[2], ROWS[2]]
    logits, positions = random_logits(rows)
    same = logits[[0, 0, 2, 2]]
    targets = collate(rows, 0)[1]
    plain = cross_entropy(same.flatten(0, 1), targets.flatten(), reduction="mean", label_smoothing=smoothing)
    mixed = mixed_cross_entropy(same, positions, pairs_of(rows), [0.3, 0.8], smoothing=smoothing)
    assert float(mixed) / (4 + 3) == pytest.approx(float(plain), rel=1e-6)


def test_gradients_reach_both_rows_at_the_shared_positions_only() -> None:
    logits, positions = random_logits(ROWS)
    mixed_cross_entropy(logits, positions, pairs_of(ROWS), [0.3, 0.9]).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    for number, length in enumerate((2, 2, 3, 3)):
        reached = {int(positions[column]) for column in logits.grad[number].abs().sum(1).nonzero().flatten()}
        first = len(ROWS[number].prompt) - 1
        assert reached == set(range(first, first + length))


def test_the_first_token_of_a_sequence_has_no_prediction_to_mix() -> None:
    rows = [row("a", 0, [3, 1, 4]), row("b", 4, [2, 7])]
    assert list(shared_positions((rows[0], rows[1]))) == [1]
    logits, positions = random_logits(rows)
    loss = mixed_cross_entropy(logits, positions, pairs_of(rows), [1.0])
    expected = cross_entropy(at(logits, positions, rows, 0, 1)[None], torch.tensor([1]))
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    single = [row("a", 0, [3, 1]), row("b", 4, [2])]
    assert float(mixed_cross_entropy(*random_logits(single), pairs_of(single), [0.5])) == 0.0


# ---- the loss on a model ---------------------------------------------------------------------------------------------


def gemma(tiny_llama: Path, folder: Path) -> Path:
    """A random Gemma 2, which bends its logits, with the tokenizer of the tiny Llama."""
    from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 1024}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = Gemma2Config(vocab_size=400, final_logit_softcapping=0.5, **sizes, **heads, **ids)
    model = Gemma2ForCausalLM(config)
    model.lm_head.weight.data *= 50  # far enough for the bend to matter
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_mixed_logits_are_those_of_mixed_hidden_states(
    family: str, tiny_llama: Path, runner: TrialRunner, tmp_path: Path
) -> None:
    """The loss that a method gives, against the paper's: mix the last layer's hidden states, then the output layer."""
    model = tiny_llama if family == "llama" else gemma(tiny_llama, tmp_path / "model")
    runner.start(replace(trial(mixup=0.2), model=str(model)), tmp_path / "trial")
    trainer = trainer_of(runner)
    (method,) = trainer.methods
    assert isinstance(method, Mixup)
    method.before_step(trainer, 0)
    rows = [trainer.samples[index] for index in trainer.steps[0]]
    weights, pairs = draw_weights(2, 0.5, 1, 0), pairs_of(rows)
    base: Any = trainer.peft_model.get_base_model()
    cap, total, count = mixup.soft_cap(trainer), 0.0, 0
    assert (cap is not None) == (family == "gemma")
    with torch.no_grad():
        hidden = [
            base(torch.tensor([one.input_ids]), output_hidden_states=True).hidden_states[-1][0, len(one.prompt) - 1 :]
            for one in rows
        ]
        for number, (weight, pair) in enumerate(zip(weights, pairs, strict=True)):
            for n in shared_positions(pair):
                z = weight * hidden[2 * number][n] + (1 - weight) * hidden[2 * number + 1][n]
                scores = base.lm_head(z)
                scores = scores if cap is None else cap * torch.tanh(scores / cap)
                logs = scores.log_softmax(0)
                total -= float(weight * logs[pair[0].completion[n]] + (1 - weight) * logs[pair[1].completion[n]])
                count += 1
        tokens = sum(one.num_loss_tokens for one in rows)
        loss = method.loss(trainer, rows, tokens)
        assert loss is not None
        plain = float(trainer.cross_entropy(rows))
    assert float(loss) / tokens == pytest.approx(plain / tokens + 0.2 * total / count, rel=1e-5)
    method.value = 0.0
    method.before_step(trainer, 0)
    with torch.no_grad():
        none = method.loss(trainer, rows, tokens)
    assert none is not None and float(none) == plain  # to the digit
    runner.finish("failed", "enough seen")


# ---- trials ----------------------------------------------------------------------------------------------------------


def test_mu_0_is_the_plain_run_and_a_last_odd_batch_trains_all_samples(runner: TrialRunner, tmp_path: Path) -> None:
    plain = run_trial(runner, trial(size=11), tmp_path / "plain")
    neutral = run_trial(runner, trial(size=11, mixup=0), tmp_path / "neutral")
    mixed = run_trial(runner, trial(size=11, mixup=0.2), tmp_path / "mixed")
    assert plain.status == mixed.status == "finished", plain.error + mixed.error
    assert plain.losses == neutral.losses and plain.scores == neutral.scores
    assert plain.tokens == neutral.tokens and not neutral.curation
    assert len(mixed.losses) == len(plain.losses) == 3 and mixed.losses != plain.losses
    assert mixed.tokens["train"] == plain.tokens["train"]
    assert mixed.curation == {"samples": 11.0, "mixup/reference_runs": 1.0, "mixup/prepared_steps": 3.0}
    rows = confident(tmp_path / "mixed")
    assert [one["confident"] for one in rows] == [True] * 6 + [False] * 5
    values = [one["confidence"] for one in rows]
    assert values == sorted(values, reverse=True) and all(value <= -1.0 for value in values)


def test_the_confidence_is_minus_the_mean_perplexity_at_the_checkpoints(
    runner: TrialRunner, mixed: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    plain = replace(trial(mixup=0.2), design=make_design())
    expected: dict[str, float] = {}
    for steps in (round(3 / 2), 3):
        runner.start(plain, tmp_path / f"plain{steps}")
        trainer = trainer_of(runner)
        trainer.run(steps)
        for one in trainer.samples:
            with torch.no_grad():
                loss = trainer.cross_entropy([one]) / len(one.completion)
            expected[one.id] = expected.get(one.id, 0.0) - math.exp(float(loss)) / 2
        runner.finish("failed", "enough seen")
    measured = {one["id"]: one["confidence"] for one in confident(mixed[1])}
    assert measured == pytest.approx(expected, rel=1e-4)


SAME = {
    "mu and alpha": trial(mixup=0.5, settings=Settings(alpha=2.0, checkpoints=2)),
    "what is scored": replace(trial(mixup=0.2), eval_size=5, splits=("dev", "test")),
    "rungs": replace(trial(mixup=0.2), rungs=(0.5, 1.0)),
}
OTHERS = {
    "seed": trial(mixup=0.2, seed=2),
    "design": trial(mixup=0.2, format="lines"),
    "checkpoints": trial(mixup=0.2, settings=Settings(checkpoints=1)),
    "reference model": trial(mixup=0.2, settings=Settings(checkpoints=2, reference="other")),
    "model": replace(trial(mixup=0.2), model="another"),
    "rank": replace(trial(mixup=0.2), lora=Lora(r=4, lora_dropout=0.0)),
    "learning rate": replace(trial(mixup=0.2), train=TRAIN.model_copy(update={"learning_rate": 1e-3})),
}


def test_trials_share_a_reference_run_where_only_mu_or_alpha_differs(
    runner: TrialRunner, mixed: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    first, folder = mixed
    shared = run_trial(runner, SAME["mu and alpha"], folder.with_name("shared"))
    alone = run_trial(runner, SAME["mu and alpha"], tmp_path / "alone")
    other = run_trial(runner, OTHERS["seed"], folder.with_name("other"))
    assert shared.status == alone.status == other.status == "finished", shared.error + alone.error + other.error
    made = [one.curation.get("mixup/reference_runs") for one in (first, shared, alone, other)]
    assert made == [1.0, None, 1.0, 1.0]
    assert shared.losses == alone.losses and shared.scores == alone.scores  # whoever has made the reference run


def test_the_key_of_a_reference_run_has_all_that_decides_its_confidences() -> None:
    def key(config: TrialConfig, text: str = "good soup") -> str:
        (method,) = methods_of(config)
        return reference_key(config, method.settings, [written_out("a", text), written_out("b", "cold tea")])

    usual = key(trial(mixup=0.2))
    assert {name: key(config) == usual for name, config in SAME.items()} == dict.fromkeys(SAME, True)
    keys = {usual, key(trial(mixup=0.2), "bad soup"), *(key(config) for config in OTHERS.values())}
    assert len(keys) == 2 + len(OTHERS)


def written_out(name: str, text: str) -> Sample:
    return Sample(name, (Segment(text, False, "text"),), Segment("food: positive", True, "completion"))


def test_a_resumed_trial_goes_on_to_the_digit(runner: TrialRunner, tmp_path: Path) -> None:
    config = replace(trial(size=14, mixup=0.4), rungs=(0.5, 1.0), lora=Lora(lora_dropout=0.1))
    whole = run_trial(runner, config, tmp_path / "whole")
    assert whole.status == "finished" and len(whole.losses) == 4, whole.error
    runner.start(config, tmp_path / "elsewhere" / "cut")
    runner.train_rung(0)
    again = in_process()
    resumed = again.start(config, tmp_path / "elsewhere" / "cut")
    assert len(resumed.rungs) == 1, resumed.note
    again.train_rung(1)
    result = again.finish()
    again.close()
    assert result.losses == whole.losses and result.scores == whole.scores and result.curation == whole.curation
    runner.finish("failed", "cut off")


def test_where_all_samples_are_alike_mixup_changes_nothing(
    runner: TrialRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A world in which it cannot help: the mixed loss is the plain one, and AdamW does not see a loss' scale."""
    one, examples = trial_examples("masa:d1", "train")[0], trial_examples

    def alike(name: str, split: Split, definition: Any = None) -> list[Example]:
        return [replace(one, id=str(n)) for n in range(12)] if split == "train" else examples(name, split, definition)

    monkeypatch.setattr(trial_runner, "trial_examples", alike)
    train = TRAIN.model_copy(update={"max_grad_norm": 0.0, "adam_epsilon": 1e-14})
    plain = run_trial(runner, replace(trial(size=12), train=train), tmp_path / "plain")
    mixed = run_trial(runner, replace(trial(size=12, mixup=1), train=train), tmp_path / "mixed")
    assert plain.status == mixed.status == "finished", plain.error + mixed.error
    assert len(plain.losses) == 3 and plain.losses[2] < 0.9 * plain.losses[0]
    assert [loss / 2 for loss in mixed.losses] == pytest.approx(plain.losses, rel=1e-3)
    assert mixed.scores == plain.scores


def test_accumulation_changes_nothing_but_rounding(
    runner: TrialRunner, mixed: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    train = TRAIN.model_copy(update={"gradient_accumulation_steps": 2})
    parts = run_trial(runner, replace(trial(mixup=0.2), train=train), tmp_path / "parts")
    assert parts.status == "finished", parts.error
    assert parts.losses == pytest.approx(mixed[0].losses, rel=1e-3)


def test_the_reference_may_be_another_model(
    runner: TrialRunner, mixed: tuple[TrialResult, Path], tiny_llama: Path, tmp_path: Path
) -> None:
    own, folder = mixed
    settings = Settings(checkpoints=1, reference=str(tiny_llama))
    other = run_trial(runner, trial(mixup=0.2, settings=settings), tmp_path / "other")
    assert other.status == "finished", other.error
    assert other.tokens == own.tokens  # the trial itself is trained on its own model
    of_llama, of_tiny = ({one["id"]: one["confidence"] for one in confident(n)} for n in (tmp_path / "other", folder))
    assert of_llama.keys() == of_tiny.keys() and of_llama != of_tiny
    missing = Settings(reference=str(tmp_path / "nowhere"))
    failed = run_trial(runner, trial(mixup=0.2, settings=missing), tmp_path / "missing")
    assert failed.status == "failed" and "nowhere" in failed.error


def test_damaged_confidences_are_refused(runner: TrialRunner, mixed: tuple[TrialResult, Path], tmp_path: Path) -> None:
    config = trial(mixup=0.2)
    shutil.copytree(mixed[1], tmp_path / "one")
    kept = tmp_path / "one" / "curation" / "confidence.json"
    for value in ([1.0], ["a"] * 10, None, [True] * 9, [float("nan")] * 10):
        kept.write_text(json.dumps({"key": config.key, "value": value, "counts": {}}))
        failed = run_trial(runner, config, tmp_path / "one")
        assert failed.status == "failed" and "are damaged. Delete that folder" in failed.error, value


# ---- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": Train(train_batch_size=5)}, "train.train_batch_size is 5. Set an even number"),
        ({"num_workers": 2}, "resources.num_workers is 2. Set it to 1"),
        ({"train_size": 1}, "train_sizes has 1. Set it to 2 or more"),
        ({"input_modeling": "0.1"}, "input_modeling is 0.1. Take off or on"),
    ],
)
def test_what_cannot_be_paired_is_refused_by_the_plan(changes: dict[str, Any], message: str) -> None:
    def changed(one: TrialConfig) -> TrialConfig:
        options = {axis: option for axis, option in changes.items() if axis in AXES}
        design = one.design.replace(**options)
        return replace(one, design=design, **{name: value for name, value in changes.items() if name not in options})

    check_methods([trial(mixup=0.2)])
    check_methods([changed(trial())])  # a plain trial may have it
    with pytest.raises(UserError, match=message):
        check_methods([changed(trial(mixup=0.2))])


def test_another_axis_that_changes_samples_afterwards_is_told() -> None:
    method = Mixup("mixup", 0.2, Settings(), trial(mixup=0.2))
    method.prepared = [0, 1, 2]
    samples: Any = [None] * 4
    with pytest.raises(UserError, match="measured 3 samples and the trial trains on 4"):
        method.steps(batch_indices(4, TRAIN, 1), samples)


def test_the_plan_says_what_it_costs_and_the_settings_are_in_the_key() -> None:
    made = plan_of(designs=["baseline", "mixup=0.2", "mixup=0.50"])
    assert sorted(one.design["mixup"] for one in made.trials) == ["0", "0.2", "0.5"]
    assert "mixup, training: 0, 0.2, 0.5; 0.2 takes 2 times as long; 0.5 takes 2 times as long" in made.curation
    assert trial(mixup=0.2).key != trial(mixup=0.2, settings=Settings(alpha=1.0, checkpoints=2)).key
    assert trial().key == trial(settings=Settings(alpha=1.0)).key
    assert Curation(mixup=Settings(reference="org/small")).models == ("org/small",) and Curation().models == ()
