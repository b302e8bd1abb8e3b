"""Packed training: optimiser steps of several trials in one forward and backward pass of their common base.

    trainer = PackedTrainer(peft_model, samples, config, ...)         as `Trainer`, for a trial that may be packed
    losses = packed_step(joint, [trainer_a, trainer_b])               one step of each

Each trial keeps what is its own: adapter, optimiser, schedule, clipping, order of samples, dropout stream, number of
steps. Packed equals alone: the losses and adapters of a trial do not depend on who trains beside it, up to the rounding
of sums. What fails in company is taken again by halves, down to the one at fault.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad

from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.models.joint_model import JointModel
from sde_ray.models.lora_group import Adapter, Member
from sde_ray.models.tokenization import IGNORE_INDEX
from sde_ray.training import batching, deepspeed_engine
from sde_ray.training.batching import Step
from sde_ray.training.local_engine import LocalEngine
from sde_ray.training.trainer import Trainer, make_schedule

Loss = float | Exception  # of a trial's step: or why it could not be taken
# Tokens that a pass of its own costs: a pass is split where the padding that this saves is more. On a GPU a launch of
# kernels is dear and padding is cheap; on a CPU it is the other way round.
PASS_COST = {"cpu": 64, "cuda": 8192}


def may_be_packed(config: TrialConfig, dtype: str) -> bool:
    """Whether a trial's settings allow it: one worker, full or bfloat16 precision, and nothing that hooks the model."""
    train = config.train
    plain = config.num_workers == 1 and not config.deepspeed and deepspeed_engine.stage(config, dtype) < 2
    hooks = train.neftune_noise_alpha or train.gradient_checkpointing or train.torch_compile
    return plain and not hooks and not config.curated and dtype in ("float32", "bfloat16")


class PackedTrainer(Trainer):
    """A trial that trains in company: no DeepSpeed, and dropout from a generator of its own."""

    environment = MappingProxyType({"training": "packed"})

    def __init__(self, adapter: Adapter, peft_model: Any, *arguments: Any, **options: Any) -> None:
        self.adapter = adapter
        super().__init__(peft_model, *arguments, **options)
        self.random = torch.Generator(self.device)
        self.random.manual_seed(self.config.seed)

    def make_engine(self, parts: int) -> LocalEngine:
        schedule = partial(make_schedule, train=self.config.train, total_steps=len(self.steps))
        return LocalEngine(self.peft_model, self.config.train, schedule, getattr(torch, self.dtype))

    def cut_smaller(self, problem: str) -> None:
        """More parts from the next step on. Raises UserError where a step cannot be cut."""
        size = self.config.train.train_batch_size
        parts = next((n for n in range(2 * self.parts, size + 1) if size % n == 0), 0)
        if not parts:
            raise UserError(
                f"A training step does not fit into memory ({problem}). Set a lower train.max_length, a lower "
                "resources.pack, or train.gradient_checkpointing: true, with which a trial trains alone."
            )
        self.parts, self.out_of_memory = parts, self.out_of_memory + 1
        if self._micro_batch:
            self._micro_batch.remember(parts)

    def more_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Its generator in place of the process' own: alone, the trial would draw from that."""
        return {f"random.{'cuda' if self.device.type == 'cuda' else 'torch'}": self.random.get_state()}, {}

    def restore_more(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        self.random.set_state(tensors[f"random.{'cuda' if self.device.type == 'cuda' else 'torch'}"])

    @property
    def next_step(self) -> Step:
        return self.steps[len(self.losses)]


@dataclass(frozen=True)
class _Part:
    """A trial's rows in one pass: ids, targets and their weights [rows, length]; the weight of its whole step."""

    number: int
    trainer: PackedTrainer
    ids: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None
    total_weight: float


def packed_step(joint: JointModel, trainers: Sequence[PackedTrainer]) -> list[Loss]:
    """Take the next step of each trial; the losses in their order, or what was wrong with one.

    A trial whose loss is not finite keeps its adapter as it was.
    """
    states = [trainer.random.get_state() for trainer in trainers]
    try:
        losses = _gradients(joint, trainers)
    except Exception as error:
        problem: Exception = error
        problem.__traceback__ = None  # it would hold the failed pass' tensors
    else:
        return [_apply(trainer, loss) for trainer, loss in zip(trainers, losses, strict=True)]
    _undo(trainers, states)
    short = isinstance(problem, torch.OutOfMemoryError)
    if len(trainers) > 1:
        if short:  # remembered, so that the next step need not fail first
            joint.max_tokens = _most_tokens(trainers) // 2
        half = len(trainers) // 2
        return [*packed_step(joint, trainers[:half]), *packed_step(joint, trainers[half:])]
    if not short:
        return [problem]
    try:
        trainers[0].cut_smaller(str(problem).partition("\n")[0])
    except UserError as error:
        return [error]
    return packed_step(joint, trainers)


def _apply(trainer: PackedTrainer, loss: float) -> Loss:
    """Let a trial's optimiser act on the gradients that it has."""
    try:
        if math.isfinite(loss):
            trainer.engine.step(len(trainer.next_step), trainer.parts)
    except Exception as error:  # the trial's own, whoever takes the step for all
        return error
    finally:
        trainer.engine.forget_gradients()
    trainer.losses.append(loss)
    return loss


def _undo(trainers: Sequence[PackedTrainer], states: Sequence[torch.Tensor]) -> None:
    """As before a step that failed."""
    for trainer, state in zip(trainers, states, strict=True):
        trainer.engine.forget_gradients()
        trainer.random.set_state(state)
    gc.collect()
    if trainers[0].device.type == "cuda":
        torch.cuda.empty_cache()


def _gradients(joint: JointModel, trainers: Sequence[PackedTrainer]) -> list[float]:
    """The gradients of each trial's next step, in its parameters; returns the losses."""
    device = trainers[0].device
    losses = torch.zeros(len(trainers), device=device)
    for part in range(max(trainer.parts for trainer in trainers)):
        parts = [_part(n, one, part) for n, one in enumerate(trainers) if part < one.parts]
        for together in split_passes(parts, PASS_COST.get(device.type, 0), joint.max_tokens):
            _pass(joint, together, losses)
    return [float(loss) for loss in losses.tolist()]


def _part(number: int, trainer: PackedTrainer, part: int) -> _Part:
    step, samples = trainer.next_step, trainer.samples
    rows = [samples[i] for i in batching.split_micro_batches(step, trainer.parts)[part]]
    ids, targets = batching.pad_rows(rows, trainer.pad_token_id)
    weights = batching.loss_weights(rows, torch.arange(ids.shape[1])) if rows else None
    return _Part(number, trainer, ids, targets, weights, sum(samples[i].total_weight for i in step))


def _most_tokens(trainers: Sequence[PackedTrainer]) -> int:
    """The tokens of a pass, padding included, that all trials' next parts take together."""
    parts = [_part(n, trainer, 0) for n, trainer in enumerate(trainers)]
    return sum(len(part.ids) for part in parts) * max(part.ids.shape[1] for part in parts)


def split_passes(parts: Sequence[_Part], pass_cost: int, max_tokens: float) -> Iterator[list[_Part]]:
    """Parts that go through the base together: all, or several passes where these save more padding than they cost.

    No pass of several parts has more than so many tokens. Parts with equally many rows are neighbours, since their
    low-rank products are one batched product.
    """
    together: list[_Part] = []
    for part in sorted(parts, key=lambda one: (one.ids.shape[1], one.ids.shape[0])):
        length = part.ids.shape[1]
        padding = sum(len(one.ids) * (length - one.ids.shape[1]) for one in together)
        tokens = (len(part.ids) + sum(len(one.ids) for one in together)) * length
        if together and (padding > pass_cost or tokens > max_tokens):
            yield together
            together = []
        together.append(part)
    yield sorted(together, key=lambda one: len(one.ids))


def _pass(joint: JointModel, parts: Sequence[_Part], losses: torch.Tensor) -> None:
    """Forward and backward for all rows of these parts; adds the parts' losses to those of their trials."""
    device, length = losses.device, max(part.ids.shape[1] for part in parts)
    ids = torch.cat([pad(part.ids, (0, length - part.ids.shape[1])) for part in parts]).to(device)
    targets = torch.cat([pad(p.targets, (0, length - p.targets.shape[1]), value=IGNORE_INDEX) for p in parts])
    members = [Member(p.trainer.adapter, p.ids.shape[0], p.ids.shape[1], p.trainer.random) for p in parts]
    targets = targets.flatten()
    wanted = (targets != IGNORE_INDEX).nonzero().squeeze(1)
    counts = [int((part.targets != IGNORE_INDEX).sum()) for part in parts]
    logits = joint.logits(ids, members, wanted.to(device)).float()
    per_token = _losses(logits, targets[wanted].to(device), parts, counts)
    owners = torch.repeat_interleave(torch.tensor([p.number for p in parts]), torch.tensor(counts)).to(device)
    shares = torch.tensor([1.0 / part.total_weight for part in parts])
    weighted = per_token * torch.repeat_interleave(shares, torch.tensor(counts)).to(device)
    if any(part.weights is not None for part in parts):
        weighted = weighted * torch.cat([_weights(part) for part in parts]).to(weighted)
    if len(weighted):
        weighted.sum().backward()
    losses.index_add_(0, owners, weighted.detach())


def _weights(part: _Part) -> torch.Tensor:
    """The weights of a part's tokens that count [tokens]."""
    counted = part.targets != IGNORE_INDEX
    return torch.ones(int(counted.sum())) if part.weights is None else part.weights[counted]


def _losses(logits: torch.Tensor, targets: torch.Tensor, parts: Sequence[_Part], counts: Sequence[int]) -> torch.Tensor:
    """The cross entropy of each token [tokens], with each trial's own label smoothing."""
    smoothing = [part.trainer.config.train.label_smoothing_factor for part in parts]
    if len(set(smoothing)) == 1:
        return cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing[0])
    pieces = zip(logits.split(list(counts)), targets.split(list(counts)), smoothing, strict=True)
    return torch.cat([cross_entropy(a, b, reduction="none", label_smoothing=share) for a, b, share in pieces])
