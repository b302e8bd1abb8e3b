"""LoRA group: the adapters whose rows go through a base together, and how many rows each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from sde_ray.models.fast_dropout import FastDropout
from sde_ray.models.lora import ADAPTER, ROOT


class UngroupedError(Exception):
    """This model or adapter cannot be trained in a group: its layers do not see the rows one by one."""


@dataclass(frozen=True)
class Adapter:
    """What the joint pass needs of a member's adapter: its LoRA layers by the module that they adapt."""

    layers: Mapping[str, LoraLinear]

    @classmethod
    def of(cls, peft_model: PeftModel) -> Adapter:
        """Raises UngroupedError where it is more than low-rank products beside linear layers."""
        config = peft_model.peft_config[ADAPTER]
        more = config.use_dora or config.modules_to_save or getattr(config, "target_parameters", None)
        named = {
            name.removeprefix(ROOT): module
            for name, module in peft_model.named_modules()
            if hasattr(module, "lora_A") and len(module.lora_A)
        }
        head = peft_model.get_base_model().get_output_embeddings()
        if more or not all(_is_plain(layer) and layer is not head for layer in named.values()):
            raise UngroupedError("an adapter of another kind than low-rank products beside linear layers")
        trained = {id(weight) for weight in peft_model.parameters() if weight.requires_grad}
        if trained != {id(w) for layer in named.values() for w in (lora_down(layer), lora_up(layer))}:
            raise UngroupedError("more is trained than the adapter's matrices")
        return cls(named)


def _is_plain(layer: Any) -> bool:
    """A LoRA layer over an ordinary linear one, with matrices alone."""
    plain = type(layer) is LoraLinear and type(layer.base_layer) is nn.Linear and not layer.lora_variant
    dropout = layer.lora_dropout[ADAPTER] if plain else None
    return plain and layer.lora_B[ADAPTER].bias is None and isinstance(dropout, FastDropout | nn.Dropout | nn.Identity)


def lora_down(layer: LoraLinear) -> nn.Parameter:
    return layer.lora_A[ADAPTER].weight  # type: ignore[no-any-return]


def lora_up(layer: LoraLinear) -> nn.Parameter:
    return layer.lora_B[ADAPTER].weight  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Member:
    """A member's rows in a joint pass: how many, and how long they are alone; `random`: what its dropout draws from."""

    adapter: Adapter
    rows: int
    length: int
    random: torch.Generator | None = None


@dataclass(frozen=True)
class Group:
    """Neighbouring members with equally many rows each; `start`: the first row."""

    start: int
    members: tuple[Member, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.members) * self.members[0].rows


def neighbours(members: Sequence[Member]) -> list[Group]:
    """Members with equally many rows that follow one another, as one group each."""
    groups: list[Group] = []
    start = 0
    for member in members:
        if groups and groups[-1].members[0].rows == member.rows:
            groups[-1] = Group(groups[-1].start, (*groups[-1].members, member))
        else:
            groups.append(Group(start, (member,)))
        start += member.rows
    return groups
