"""Trainer: one adapter's training loop, a DeepSpeed engine on the resident base, run rung by rung.

    Trainer(peft_model, samples, config, ...) ─▶ .run(until=25 steps) ─▶ losses ─▶ .run(until=100) ─▶ .destroy()

The engine is made anew for each trial and destroyed after it; model, process group and compiled kernels stay. All
randomness (adapter start, dropout, order) comes from the trial's seed, so a trial's losses do not depend on what ran
before it in the process.
"""

from __future__ import annotations

import gc
import inspect
import math
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from peft import PeftModel
from pydantic import ValidationError
from torch.nn.functional import cross_entropy
from transformers import get_scheduler

from sde_ray.config.trial import Train, TrialConfig
from sde_ray.errors import UserError
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.training import batching, deepspeed_engine, engine_state, zero3
from sde_ray.training.checkpoint import CheckpointError
from sde_ray.training.compiled import CompiledLayers
from sde_ray.training.gradient_checkpointing import disable_gradient_checkpointing, enable_gradient_checkpointing
from sde_ray.training.micro_batch import MicroBatch
from sde_ray.training.neftune import add_embedding_noise
from sde_ray.training.optimizer import make_optimizer

READ_EVERY = {"cuda": 16, "cpu": 1}  # steps after which losses are read: on a GPU that waits for all that it has to do


def seed_everything(seed: int) -> None:
    """Set every generator that the adapter's start and dropout may draw from."""
    import numpy

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class Trainer:
    """A trial's engine. `losses`: the mean loss of each optimiser step, or this worker's part of it.

    `parts`: into how many a worker's share of a step is cut; more of them when memory was short, `out_of_memory` times.

    `environment`: what its digits depend on beside the settings.

    `methods` are the trial's curation methods (`curation.py`). `counts`: what a method's own trainer has counted, by
    "axis/name". `apart`: of several workers each trains by itself, as if it were the only one.
    """

    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        peft_model: PeftModel,
        samples: Sequence[TokenizedSample],
        config: TrialConfig,
        *,
        dtype: str,
        pad_token_id: int,
        rank: int = 0,
        methods: Sequence[Any] = (),
        apart: bool = False,
    ) -> None:
        self.peft_model, self.samples, self.config = peft_model, samples, config
        self.rank, self.pad_token_id, self.dtype = rank, pad_token_id, dtype
        self.methods = methods
        self._share = (0, 1) if apart else (rank, config.num_workers)  # of each batch: this part, of so many
        self.steps = batching.batch_indices(len(samples), config.train, config.seed)
        for method in methods:
            self.steps = method.steps(self.steps, samples)
        self.losses: list[float] = []
        self._unread: list[torch.Tensor] = []  # losses of the last steps, still on the device
        self.counts: dict[str, float] = {}
        self.device = next(peft_model.parameters()).device
        auto = config.train.gradient_accumulation_steps == "auto"
        self._micro_batch = MicroBatch(config, samples, dtype, self.device, self._share[1]) if auto else None
        self.parts, self.out_of_memory = config.train.parts, 0
        if self._micro_batch:
            self.parts = self._micro_batch.choose()
        self._checkpointing = config.train.gradient_checkpointing
        if self._checkpointing:
            enable_gradient_checkpointing(peft_model.get_base_model(), deepspeed_engine.stage(config) == 3)
        self._apart = apart
        try:
            self.engine = self.make_engine(self.parts)
        except Exception:
            self._end_checkpointing()  # the base goes on to other trials
            raise
        self._compiled = CompiledLayers(peft_model.get_base_model()) if config.train.torch_compile else nullcontext()
        self._selects_logits = "logits_to_keep" in inspect.signature(peft_model.get_base_model().forward).parameters
        noise = config.train.neftune_noise_alpha
        self._noise = add_embedding_noise(peft_model.get_base_model(), noise) if noise else None
        # Dropout differs between workers that share a batch; the adapter's start was drawn before.
        seed_everything(config.seed + self._share[0])

    def make_engine(self, parts: int) -> Any:
        """A fresh engine of the trial, for steps that are cut into so many parts."""
        return _engine(self.peft_model, self.config, len(self.steps), self.dtype, self._apart, parts)

    def run(self, until: int, seconds: float = math.inf) -> list[float]:
        """Train up to step number `until` and return the new losses.

        One worker stops before it after so many seconds, or at a loss that is not finite; it looks every `READ_EVERY`
        steps. Of several workers none may stop alone.
        """
        with self._compiled:
            return self._run(until, seconds)

    def _run(self, until: int, seconds: float) -> list[float]:
        first, deadline = len(self.losses), time.perf_counter() + seconds
        alone = self.config.num_workers == 1
        self.engine.train()
        for number, step in enumerate(self.steps[first:until], first):
            for method in self.methods:
                method.before_step(self, number)
            self._unread.append(self._step(step))
            if len(self._unread) >= READ_EVERY[self.device.type]:
                finite = self._read_losses()
                if alone and (time.perf_counter() >= deadline or not finite):
                    break
        self._read_losses()
        self.engine.eval()
        return self.losses[first:]

    def _read_losses(self) -> bool:
        """Take the losses over from the device, in one transfer. Returns whether all are finite."""
        new: list[float] = torch.stack(self._unread).tolist() if self._unread else []
        self._unread.clear()
        self.losses += new
        return all(map(math.isfinite, new))

    @property
    def skipped_steps(self) -> int:
        """How many steps changed nothing, as float16 gradients overflowed; the loss scale was halved after each."""
        return int(self.engine.skipped_steps)

    def destroy(self) -> None:
        """Free the optimiser's state and take the engine's hooks off the model."""
        if self._noise is not None:
            self._noise.remove()
        self._end_checkpointing()
        self.engine.destroy()
        if self.engine.zero_optimization_stage() == 3:
            zero3.forget_engine(self.peft_model)
        self.peft_model.zero_grad(set_to_none=True)

    def _end_checkpointing(self) -> None:
        if self._checkpointing:
            disable_gradient_checkpointing(self.peft_model.get_base_model())

    def more_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """What is in a checkpoint beside the engine's state: tensors, and plain JSON values."""
        return {}, {"parts": self.parts}

    def prepare_restore(self, values: dict[str, Any]) -> None:
        """Cut steps as they were when `values` of `more_state` were saved: dropout draws otherwise in other parts."""
        parts, size = values.get("parts", self.parts), self.config.train.train_batch_size
        if parts != self.parts and type(parts) is int and 0 < parts <= size and size % parts == 0:
            self.engine.destroy()
            self.engine, self.parts = self.make_engine(parts), parts

    def restore_more(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Take over what `more_state` gave; among `tensors` are others, too."""

    def _step(self, step: batching.Step) -> torch.Tensor:
        """Take a step; where memory is short, take it anew in smaller parts, which gives the same."""
        random_state = _random_state(self.device)
        while True:
            try:
                return self._take_step(step)
            except torch.OutOfMemoryError as error:
                problem = str(error).partition("\n")[0]
            # Here nothing refers to the failed pass any more, so that what it held is free.
            self._read_losses()
            self._cut_smaller(problem)
            _set_random_state(random_state)

    def _cut_smaller(self, problem: str) -> None:
        """A new engine in the old one's state, for the next larger number of parts.

        Raises UserError where a step cannot be cut, or is not one worker's alone: the others would wait for ever.
        """
        size, more = self.config.train.train_batch_size, self.config.num_workers == 1
        parts = next((n for n in range(2 * self.parts, size + 1) if size % n == 0), 0)
        try:
            if not (parts and more and self.engine.zero_optimization_stage() < 3):
                raise CheckpointError("it cannot be cut further")
            state = engine_state.snapshot(self)
        except CheckpointError:
            raise UserError(
                f"A training step does not fit into memory ({problem}). Set train.gradient_checkpointing: true, a "
                "higher train.gradient_accumulation_steps, or a lower train.max_length."
            ) from None
        self.engine.destroy()
        self.peft_model.zero_grad(set_to_none=True)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.engine = self.make_engine(parts)
        self.parts, self.out_of_memory = parts, self.out_of_memory + 1
        if self._micro_batch:
            self._micro_batch.remember(parts)
        state.values["counters"]["micro_steps"] = self.engine.micro_steps  # counts parts
        engine_state.restore_engine(self, state)
        self.engine.train()

    def _take_step(self, step: batching.Step) -> torch.Tensor:
        """One optimiser step. Returns the loss, on the device: reading it would wait for the step to end."""
        rank, workers = self._share
        total_weight = sum(self.samples[i].total_weight for i in step)
        indices = batching.rank_slice(step, rank, workers)
        loss = torch.zeros((), device=self.device)
        together = math.lcm(*(method.together for method in self.methods))
        for part in batching.split_micro_batches(indices, self.parts, together):
            part_loss = self._loss([self.samples[i] for i in part], total_weight) / total_weight
            # DeepSpeed averages gradients over workers and accumulation; the division above has done both.
            self.engine.backward(part_loss * workers, scale_wrt_gas=False)
            self.engine.step()
            loss += part_loss.detach()
        return loss

    def _loss(self, rows: list[TokenizedSample], total_weight: float) -> torch.Tensor:
        """The summed loss of `rows`: a method's, else the cross entropy."""
        losses = (method.loss(self, rows, total_weight) for method in self.methods)
        loss: torch.Tensor | None = next((one for one in losses if one is not None), None)
        return self.cross_entropy(rows) if loss is None else loss

    def cross_entropy(self, rows: list[TokenizedSample]) -> torch.Tensor:
        """The summed cross entropy over the loss tokens of `rows`, each with its weight."""
        logits, targets, positions = self.logits(rows)
        smoothing = self.config.train.label_smoothing_factor
        scores = logits.flatten(0, 1).float()
        weights = batching.loss_weights(rows, positions.cpu())
        if weights is None:
            return cross_entropy(scores, targets.flatten(), reduction="sum", label_smoothing=smoothing)
        losses = cross_entropy(scores, targets.flatten(), reduction="none", label_smoothing=smoothing)
        return losses @ weights.flatten().to(losses)

    def logits(self, rows: list[TokenizedSample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(logits [rows, positions, vocabulary], targets, positions), the latter as `collate` gives them."""
        ids, targets, positions = (tensor.to(self.device) for tensor in batching.collate(rows, self.pad_token_id))
        selection = {"logits_to_keep": positions} if self._selects_logits else {}
        logits = self.engine(input_ids=ids, use_cache=False, **selection).logits
        return logits if self._selects_logits else logits[:, positions], targets, positions


def make_trainer(*arguments: Any, methods: Sequence[Any] = (), **options: Any) -> Trainer:
    """The trainer of a trial: that of a method which has its own, else the plain one."""
    own = (method.trainer(*arguments, methods=methods, **options) for method in methods)
    trainer = next((one for one in own if one is not None), None)
    return Trainer(*arguments, methods=methods, **options) if trainer is None else trainer


def learning_rates(train: Train, total_steps: int) -> tuple[float, ...]:
    """The learning rate of each optimiser step of a training."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=train.learning_rate)
    schedule, rates = make_schedule(optimizer, train, total_steps), []
    for _ in range(total_steps):
        rates.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return tuple(rates)


def make_schedule(optimizer: torch.optim.Optimizer, train: Train, total_steps: int) -> Any:
    """The learning rate's schedule of a training, bound to its optimizer."""
    return get_scheduler(
        train.lr_scheduler_type,
        optimizer,
        num_warmup_steps=train.num_warmup_steps(total_steps),
        num_training_steps=total_steps,
    )


def _random_state(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The state of the generators that dropout draws from."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


def _engine(peft_model: PeftModel, config: TrialConfig, total_steps: int, dtype: str, apart: bool, parts: int) -> Any:
    import deepspeed

    config = replace(config, train=config.train.model_copy(update={"gradient_accumulation_steps": parts}))
    apart = apart and config.num_workers > 1
    config = replace(config, num_workers=1) if apart else config
    deepspeed_engine.forget_groups()
    section, train = deepspeed_engine.deepspeed_config(config, dtype), config.train
    trained = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained, train)
    schedule = make_schedule(optimizer, train, total_steps)
    try:
        with deepspeed_engine.base_sent_once(peft_model.get_base_model(), apart):
            engine, *_ = deepspeed.initialize(
                model=peft_model,
                optimizer=optimizer,
                model_parameters=trained,
                lr_scheduler=schedule,
                config=section,
                mpu=deepspeed_engine.one_worker() if apart else None,
            )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UserError(f"deepspeed section: {faults}. See https://www.deepspeed.ai/docs/config-json/.") from error
    return engine
