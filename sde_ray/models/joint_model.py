"""Joint model: one forward and backward pass of a frozen base for the rows of several adapters.

    joint = JointModel(base)                                  the base's modules once more, on the same weights
    logits = joint.logits(ids, members, wanted)               rows of all members; each through its own adapter
    (loss_a + loss_b).backward()                              fills the gradients of each member's own parameters

The base's products take all rows at once. The low-rank products of members with equally many rows are one batched
product (smaller ranks are filled up with zeros, which adds nothing). Each member's dropout draws from its own random
stream, in the order and shape in which it would alone, so that what a member computes does not depend on its
neighbours, up to the rounding of sums.

The idea is that of multi-LoRA training (mLoRA, LoRAFusion, PLoRA); the products themselves are plain batched ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from sde_ray.models.decoding_step import OnRows
from sde_ray.models.grouped_linear import GroupedLinear, LayerGroup, Pass, stacked
from sde_ray.models.lora_group import Adapter, Member, UngroupedError, neighbours


def shared_copy(model: nn.Module) -> nn.Module:
    """The modules once more, on the same weights: parameters of their own on the same storage, the same buffers."""
    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for weight in model.parameters():
        plain = type(weight) is nn.Parameter  # a quantised one carries its state with it
        memo[id(weight)] = nn.Parameter(weight.data, requires_grad=False) if plain else weight
    return deepcopy(model, memo)


class JointModel:
    """A frozen base that takes rows of several adapters at once.

    Its modules are copies on the base's own weights, so that the base itself stays free for other uses. `max_tokens`:
    how many, padding included, a pass of several members may have, as far as is known.
    """

    groups = staticmethod(neighbours)  # how members come into batched products

    def __init__(self, base: nn.Module) -> None:
        """Raises UngroupedError where a layer of the base does not see every token of every row."""
        self.model: Any = shared_copy(base).eval()
        self._head = self.model.get_output_embeddings()
        if type(self._head) is not nn.Linear or _has_dropout(self.model):
            raise UngroupedError("a model with dropout of its own, or without a linear output layer")
        self._pass = Pass()
        self._widths: dict[str, tuple[int, int]] = {}
        for name, module in list(self.model.named_modules()):
            if type(module) is nn.Linear and module is not self._head:
                parent, _, child = name.rpartition(".")
                setattr(self.model.get_submodule(parent), child, GroupedLinear(module, name, self._pass))
                self._widths[name] = (module.in_features, module.out_features)
        self.max_tokens = math.inf
        self._plans: dict[tuple[int, ...], tuple[list[Adapter], Mapping[str, list[LayerGroup]]]] = {}
        self._taken: torch.Tensor | None = None  # where logits are wanted
        self._head.register_forward_pre_hook(self._take)
        self._probe()

    def _probe(self) -> None:
        """One pass of a few tokens, to know now what would fail in a trial."""
        ids = torch.zeros(2, 3, dtype=torch.long, device=self._head.weight.device)
        self._pass.shape, self._pass.probes = (2, 3), True
        self._taken = torch.arange(6, device=ids.device)
        try:
            with torch.no_grad():
                self.model(input_ids=ids, use_cache=False)
        finally:
            self._taken, self._pass.probes = None, False

    def check(self, adapter: Adapter) -> None:
        """Raises UngroupedError unless the adapter's modules are linear layers of this model."""
        if not adapter.layers.keys() <= self._widths.keys():
            raise UngroupedError("an adapter on a module that is not linear in the base")

    def logits(self, ids: torch.Tensor, members: Sequence[Member], wanted: torch.Tensor) -> torch.Tensor:
        """Logits [tokens, vocabulary] of the wanted tokens alone; the output layer sees no others.

        Args:
            ids: [rows, length] of all members, one after another, padded on the right.
            members: whose rows these are.
            wanted: [tokens], their indices in the flat `ids`.
        """
        self._pass.shape, self._pass.members = (ids.shape[0], ids.shape[1]), members
        self._pass.layers = self._plan(members)
        self._taken = wanted
        try:
            logits: torch.Tensor = self.model(input_ids=ids, use_cache=False).logits
        finally:
            self._taken, self._pass.members, self._pass.layers = None, (), {}
        return logits.flatten(0, -2)

    @contextmanager
    def decoding(self, adapters: Sequence[Adapter], owners: Sequence[int]) -> Iterator[OnRows]:
        """Inside, `model` decodes rows of several adapters, in any order; what is given is told whose they are.

        Args:
            adapters: of the rows.
            owners: of each prompt, the number of its adapter.
        """
        device = self._head.weight.device
        self._pass.stacks = {
            name: stacked([adapter.layers.get(name) for adapter in adapters], widths, self._head.weight)
            for name, widths in self._widths.items()
            if any(name in adapter.layers for adapter in adapters)
        }

        def on_rows(rows: Sequence[int]) -> None:
            self._pass.owners = torch.tensor([owners[row] for row in rows], device=device)

        try:
            yield on_rows
        finally:
            self._pass.stacks = {}

    def forget(self) -> None:
        """Keep nothing of adapters that have trained."""
        self._plans.clear()

    def _plan(self, members: Sequence[Member]) -> Mapping[str, list[LayerGroup]]:
        """What each layer needs to know of these members, made once for the same ones."""
        key = tuple(number for member in members for number in (id(member.adapter), member.rows))
        if key not in self._plans:
            groups = self.groups(members)
            device = self._head.weight.device
            layers = {name: [LayerGroup.of(group, members, name, device) for group in groups] for name in self._widths}
            known = [member.adapter for member in members]  # held, so that no other one can have its id
            self._plans[key] = known, {name: [one for one in of if any(one.ranks)] for name, of in layers.items()}
        return self._plans[key][1]

    def _take(self, head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        hidden = inputs[0]
        if self._taken is None:
            return None
        if hidden.shape[:2] != self._pass.shape:
            raise UngroupedError("an output layer that does not see every position")
        return (hidden.flatten(0, 1)[self._taken][None],)


def _has_dropout(model: nn.Module) -> bool:
    """Whether the base itself drops units in training, from a random stream that all rows would share."""
    config = model.config.get_text_config()  # type: ignore[operator, union-attr]
    modules = any(isinstance(module, nn.Dropout) and module.p for module in model.modules())
    names = (name for name in vars(config) if not name.startswith(("classifier", "summary")))  # of other heads
    return modules or any(getattr(config, name) for name in names if name.endswith(("dropout", "pdrop")))
