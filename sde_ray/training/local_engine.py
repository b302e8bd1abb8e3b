"""Local engine: what DeepSpeed's engine is to a trainer, for one process and without DeepSpeed.

A pack trains several adapters in one backward pass (`packed_training.py`), which no DeepSpeed engine can own. Each
member has this one: gradients in, clipping, the optimiser's step on full-precision masters, the schedule. It has the
names that `engine_state.py` knows, so a member's checkpoint is like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel

from sde_ray.config.trial import Train
from sde_ray.training.optimizer import make_optimizer


class LocalEngine:
    """The optimiser's part of a trial in a pack; float32 or bfloat16.

    `schedule`: makes the learning rate's schedule of an optimizer. `global_steps`, `global_samples`, `micro_steps`,
    `skipped_steps`: as DeepSpeed counts.
    """

    def __init__(self, peft_model: PeftModel, train: Train, schedule: Any, dtype: torch.dtype) -> None:
        self.parameters = [weight for weight in peft_model.parameters() if weight.requires_grad]
        self.masters = self.parameters
        if dtype != torch.float32:
            self.masters = [torch.nn.Parameter(weight.detach().float()) for weight in self.parameters]
            for weight in self.parameters:
                weight.data = weight.data.to(dtype)
        self.module, self._train = peft_model, train
        self.basic_optimizer = self.optimizer = make_optimizer(self.masters, train)
        self.lr_scheduler = schedule(self.basic_optimizer)
        self.global_steps = self.global_samples = self.micro_steps = self.skipped_steps = 0

    def zero_optimization_stage(self) -> int:
        return 0

    def gradient_accumulation_steps(self) -> int:
        return 1  # a step's parts are its pack's affair

    def train(self) -> None:
        self.module.train()

    def eval(self) -> None:
        self.module.eval()

    def step(self, samples: int, parts: int) -> None:
        """Take an optimiser step on the gradients that the parameters have; they have none after it."""
        if self.masters is not self.parameters:
            for master, weight in zip(self.masters, self.parameters, strict=True):
                master.grad = None if weight.grad is None else weight.grad.float()
        if self._train.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self.masters, self._train.max_grad_norm)
        self.basic_optimizer.step()
        self.lr_scheduler.step()
        if self.masters is not self.parameters:
            _copy(self.masters, self.parameters)
        self.forget_gradients()
        self.global_steps += 1
        self.global_samples += samples
        self.micro_steps += parts

    def forget_gradients(self) -> None:
        """Leave the parameters without gradients, such as after a pass that failed."""
        for weight in (*self.parameters, *self.masters):
            weight.grad = None

    def destroy(self) -> None:
        self.forget_gradients()


@torch.no_grad()
def _copy(masters: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]) -> None:
    for master, weight in zip(masters, parameters, strict=True):
        weight.copy_(master)
