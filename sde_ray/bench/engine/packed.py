"""Packed training against each trial alone and against a loop over adapters: samples a second, memory, equality.

    compare("tiny", members=[1, 4], batch_sizes=[4]) ─▶ {"settings", "rows", "equality"}

Alone: peft's own layers, one trial after another on the warm base, a whole step in one pass, which is its best cut.
Loop: the base's products for all rows together, the low-rank ones of each adapter by themselves (naive packing).
Packed: those too as batched products. All ways do the same steps on the same samples with the same dropout, and end
with the same optimiser's step, so that `equality` can compare their losses and adapters. The model is one by name, with
the samples of a task's designs, or one of `shapes.py` with random weights and samples of one length. No Ray and no
DeepSpeed, so also on a bare GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from sde_ray.bench.engine.measurement import Measurement, ratio, timed
from sde_ray.bench.engine.settings import keep_quiet, settings
from sde_ray.bench.engine.shapes import LOSS_SHARE, SHAPES, random_model
from sde_ray.bench.engine.work import TASK, Size, encoder_of, make_trials, write_samples
from sde_ray.config.trial import Lora, Train, TrialConfig
from sde_ray.models.base import load_base
from sde_ray.models.joint_model import JointModel, shared_copy
from sde_ray.models.lora import add_lora
from sde_ray.models.lora_group import Adapter, Group, Member, neighbours
from sde_ray.models.tokenization import TokenizedSample, pad_token_id
from sde_ray.training.batching import collate
from sde_ray.training.packed_training import PackedTrainer, packed_step
from sde_ray.training.trainer import seed_everything
from sde_ray.training.worker import peak_memory_mb, reset_peak_memory

MEMBERS = (1, 2, 4, 8, 16)
BATCH_SIZES = (1, 4, 8)
LENGTH = 512  # tokens of a sample of a model with random weights
Say = Callable[[str], None]
Samples = Sequence[TokenizedSample]


class LoopModel(JointModel):
    """Naive packing: each adapter's products by themselves."""

    @staticmethod
    def groups(members: Sequence[Member]) -> list[Group]:
        return [
            Group(group.start + n * one.rows, (one,))
            for group in neighbours(members)
            for n, one in enumerate(group.members)
        ]


class Trials:
    """Trials on one base, and the ways to train them."""

    def __init__(self, base: Any, trials: Sequence[tuple[TrialConfig, Samples]], dtype: str, pad_id: int) -> None:
        self._base, self._trials, self._dtype, self._pad_id = base, trials, dtype, pad_id
        self.joint = {kind: kind(base) for kind in (JointModel, LoopModel)}

    def trainers(self) -> list[PackedTrainer]:
        """Every trial anew, before its first step."""
        return [self._trainer(config, samples) for config, samples in self._trials]

    def _trainer(self, config: TrialConfig, samples: Samples) -> PackedTrainer:
        seed_everything(config.seed)
        peft_model = add_lora(shared_copy(self._base), config.lora)
        adapter = Adapter.of(peft_model)
        trainer = PackedTrainer(adapter, peft_model, samples, config, dtype=self._dtype, pad_token_id=self._pad_id)
        trainer.engine.train()
        return trainer


def alone(trials: Trials, trainers: Sequence[PackedTrainer]) -> None:
    """One trial after another."""
    _alone(trainers, lambda model: model)


def alone_compiled(trials: Trials, trainers: Sequence[PackedTrainer]) -> None:
    """The same after `torch.compile`; its compilation is in the first run, which is not measured."""
    torch._dynamo.config.cache_size_limit = 64  # each length and adapter is compiled once
    _alone(trainers, torch.compile)


def _alone(trainers: Sequence[PackedTrainer], ready: Callable[[Any], Any]) -> None:
    for trainer in trainers:
        seed_everything(trainer.config.seed)  # dropout, from where the trial's own generator begins
        model = ready(trainer.peft_model)
        for step in trainer.steps:
            rows = [trainer.samples[i] for i in step]
            ids, targets, positions = (tensor.to(trainer.device) for tensor in collate(rows, trainer.pad_token_id))
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=positions).logits
            loss = cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum")
            loss = loss / sum(row.num_loss_tokens for row in rows)
            loss.backward()
            trainer.engine.step(len(rows), 1)
            trainer.losses.append(loss.item())


def loop(trials: Trials, trainers: Sequence[PackedTrainer]) -> None:
    """All trials together, the adapters one after another."""
    _together(trials.joint[LoopModel], trainers)


def packed(trials: Trials, trainers: Sequence[PackedTrainer]) -> None:
    """All trials together."""
    _together(trials.joint[JointModel], trainers)


def _together(joint: JointModel, trainers: Sequence[PackedTrainer]) -> None:
    for _ in trainers[0].steps:
        for outcome in packed_step(joint, trainers):
            if isinstance(outcome, Exception):
                raise outcome


WAYS: Mapping[str, Callable[[Trials, Sequence[PackedTrainer]], None]] = {
    "alone": alone,
    "alone compiled": alone_compiled,
    "loop": loop,
    "packed": packed,
}
USUAL = ("alone", "loop", "packed")


def compare(
    model: str = "tiny",
    *,
    members: Sequence[int] = MEMBERS,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    steps: int = 4,
    repeats: int = 3,
    threads: int = 1,
    ways: Sequence[str] = USUAL,
    dropout: float = Lora().lora_dropout,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Measure every way at every number of trials and batch size. Returns plain JSON values.

    `model`: a name or folder, or a shape of `shapes.py`.
    """
    torch.set_num_threads(threads)
    keep_quiet()
    rows: list[Measurement] = []
    equality: list[dict[str, Any]] = []
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    for batch_size in batch_sizes:
        for count in members:
            trials = make(model, count, batch_size, steps, dtype, dropout)
            case = f"{count} trials, batch {batch_size}"
            measured, differences = _measure(trials, ways, steps * batch_size * count, repeats)
            rows += [replace(row, name=f"{case}: {row.name}") for row in measured]
            equality += [{"case": f"{case}: {way}", **gap} for way, gap in differences.items()]
            say(", ".join(f"{row.name} {row.median:.3g} {row.unit}" for row in rows[-len(measured) :]))
    return {
        "settings": settings(
            model=model, task=TASK, dtype=dtype, steps=steps, lora_r=Lora().r, lora_dropout=dropout,
            target_modules=Lora().target_modules, gradient_checkpointing=False, threads=threads, repeats=repeats,
        ),
        "rows": [row.to_dict() for row in rows],
        "equality": equality,
    }  # fmt: skip


def make(model: str, count: int, batch_size: int, steps: int, dtype: str, dropout: float) -> Trials:
    """Trials of different designs and seeds on one base, for so many steps."""
    base, tokenizer = _base(model, dtype)
    train = Train(train_batch_size=batch_size, learning_rate=1e-3, max_length=4096)
    size = Size(count, steps * batch_size, 1)
    configs = make_trials(size, model, 0, dtype, train, Lora(lora_dropout=dropout))
    configs = [replace(config, seed=seed) for seed, config in enumerate(configs)]
    if tokenizer is None:
        return Trials(base, [(one, _random_samples(one, base.config.vocab_size)) for one in configs], dtype, 0)
    encoder = encoder_of(model)
    pairs = [(one, encoder.samples(write_samples(one))) for one in configs]
    return Trials(base, pairs, dtype, pad_token_id(tokenizer))


@cache
def _base(model: str, dtype: str) -> tuple[Any, Any]:
    """A base and its tokenizer; none for one with random weights."""
    if model in SHAPES:
        return random_model(model, dtype), None
    loaded = load_base(model, dtype=dtype)
    return loaded.model, loaded.tokenizer


def _random_samples(config: TrialConfig, vocabulary: int) -> list[TokenizedSample]:
    draw = torch.Generator().manual_seed(config.seed)
    ids = torch.randint(3, vocabulary, (config.train_size, LENGTH), generator=draw).tolist()
    answer = LENGTH // LOSS_SHARE
    return [
        TokenizedSample(str(n), tuple(row[:-answer]), (False,) * (LENGTH - answer), tuple(row[-answer:]), 0)
        for n, row in enumerate(ids)
    ]


def _measure(
    trials: Trials, ways: Sequence[str], samples: int, repeats: int
) -> tuple[list[Measurement], dict[str, dict[str, float]]]:
    """Samples a second, peak memory and speed-up of each way, and how far its results are from those alone."""
    rates: dict[str, Measurement] = {}
    rows: list[Measurement] = []
    ends: dict[str, list[PackedTrainer]] = {}
    for way in ways:
        ends[way] = trials.trainers()
        WAYS[way](trials, ends[way])  # warm
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    peaks: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way in ways:  # by turns, as the machine may change
            trainers = trials.trainers()
            reset_peak_memory()
            seconds[way].append(timed(partial(WAYS[way], trials, trainers))[0])
            peaks[way].append(peak_memory_mb())
    for way in ways:
        rates[way] = Measurement(way, "samples/s", tuple(samples / one for one in seconds[way]))
        rows += [rates[way], Measurement(f"{way}, peak memory", "MiB", tuple(peaks[way]))]
    rows += [ratio(f"{way} / {ways[0]}", rates[way], rates[ways[0]]) for way in ways[1:]]
    return rows, {way: _difference(ends[ways[0]], ends[way]) for way in ways[1:]}


def _difference(one: Sequence[PackedTrainer], two: Sequence[PackedTrainer]) -> dict[str, float]:
    losses = max(abs(a - b) for x, y in zip(one, two, strict=True) for a, b in zip(x.losses, y.losses, strict=True))
    pairs = [
        pair for x, y in zip(one, two, strict=True) for pair in zip(x.engine.masters, y.engine.masters, strict=True)
    ]
    return {
        "losses differ by": losses,
        "adapters differ by": max(float((a - b).detach().abs().max()) for a, b in pairs),
    }
