"""The optimizers that `train.optim` names, as transformers builds them from the same `TrainingArguments`.

make_optimizer(parameters, Train(optim="sgd", learning_rate=0.1))  ─▶  torch.optim.SGD
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from sde_ray.config.trial import Train

# What each keeps of every parameter between two steps, by its own names; `engine_state.py` saves these.
STATE: Mapping[str, tuple[str, ...]] = {
    "adamw_torch_fused": ("exp_avg", "exp_avg_sq"),
    "adamw_torch": ("exp_avg", "exp_avg_sq"),
    "sgd": (),
    "rmsprop": ("square_avg",),
}


def make_optimizer(parameters: Iterable[torch.nn.Parameter], train: Train) -> torch.optim.Optimizer:
    """The optimizer of a trial over the trained parameters."""
    return OPTIMIZERS[train.optim](parameters, {"lr": train.learning_rate, "weight_decay": train.weight_decay}, train)


def _adamw(parameters: Any, shared: Mapping[str, float], train: Train, fused: bool) -> torch.optim.Optimizer:
    betas = (train.adam_beta1, train.adam_beta2)
    return torch.optim.AdamW(parameters, **shared, betas=betas, eps=train.adam_epsilon, fused=fused)


def _adafactor(parameters: Any, shared: Mapping[str, float], train: Train) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    return Adafactor(parameters, **shared, scale_parameter=False, relative_step=False)


OPTIMIZERS: Mapping[str, Callable[[Any, Mapping[str, float], Train], torch.optim.Optimizer]] = {
    "adamw_torch_fused": lambda parameters, shared, train: _adamw(parameters, shared, train, fused=True),
    "adamw_torch": lambda parameters, shared, train: _adamw(parameters, shared, train, fused=False),
    "sgd": lambda parameters, shared, train: torch.optim.SGD(parameters, **shared),
    "rmsprop": lambda parameters, shared, train: torch.optim.RMSprop(parameters, **shared),
    "adafactor": _adafactor,
}
