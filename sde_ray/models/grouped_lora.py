"""Grouped LoRA: one forward and backward pass of a frozen base for the rows of several adapters.

    joint = JointModel(base)                                  the base's modules once more, on the same weights
    logits = joint(ids, members, positions)                   rows of all members; each through its own adapter
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
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn import functional

from sde_ray.models.decoding_step import OnRows
from sde_ray.models.fast_dropout import FastDropout
from sde_ray.models.lora import ADAPTER, ROOT


class UngroupedError(Exception):
    """This model or adapter cannot be trained in a group: its layers do not see the rows one by one."""


def shared_copy(model: nn.Module) -> nn.Module:
    """The modules once more, on the same weights: parameters of their own on the same storage, the same buffers."""
    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for weight in model.parameters():
        plain = type(weight) is nn.Parameter  # a quantised one carries its state with it
        memo[id(weight)] = nn.Parameter(weight.data, requires_grad=False) if plain else weight
    return deepcopy(model, memo)


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
        if trained != {id(w) for layer in named.values() for w in (_down(layer), _up(layer))}:
            raise UngroupedError("more is trained than the adapter's matrices")
        return cls(named)


def _is_plain(layer: Any) -> bool:
    """A LoRA layer over an ordinary linear one, with matrices alone."""
    plain = type(layer) is LoraLinear and type(layer.base_layer) is nn.Linear and not layer.lora_variant
    dropout = layer.lora_dropout[ADAPTER] if plain else None
    return plain and layer.lora_B[ADAPTER].bias is None and isinstance(dropout, FastDropout | nn.Dropout | nn.Identity)


def _down(layer: LoraLinear) -> nn.Parameter:
    return layer.lora_A[ADAPTER].weight  # type: ignore[no-any-return]


def _up(layer: LoraLinear) -> nn.Parameter:
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
        self._pass = _Pass()
        self._widths: dict[str, tuple[int, int]] = {}
        for name, module in list(self.model.named_modules()):
            if type(module) is nn.Linear and module is not self._head:
                parent, _, child = name.rpartition(".")
                setattr(self.model.get_submodule(parent), child, GroupedLinear(module, name, self._pass))
                self._widths[name] = (module.in_features, module.out_features)
        self.max_tokens = math.inf
        self._plans: dict[tuple[int, ...], tuple[list[Adapter], Mapping[str, list[_LayerGroup]]]] = {}
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
            name: _stacked([adapter.layers.get(name) for adapter in adapters], widths, self._head.weight)
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

    def _plan(self, members: Sequence[Member]) -> Mapping[str, list[_LayerGroup]]:
        """What each layer needs to know of these members, made once for the same ones."""
        key = tuple(number for member in members for number in (id(member.adapter), member.rows))
        if key not in self._plans:
            groups = self.groups(members)
            device = self._head.weight.device
            layers = {name: [_LayerGroup.of(group, members, name, device) for group in groups] for name in self._widths}
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


@dataclass
class _Pass:
    """What is in the base now: rows and length, whose rows these are, and by layer what to add for them."""

    shape: tuple[int, int] = (0, 0)
    members: Sequence[Member] = ()
    layers: Mapping[str, Sequence[_LayerGroup]] = field(default_factory=dict)
    probes: bool = False
    stacks: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)  # in decoding: of all
    owners: torch.Tensor | None = None  # and of each row


@dataclass(frozen=True)
class _LayerGroup:
    """A group's part of one layer, by member: rank (0: it does not adapt it), scale, dropout.

    `first`: the group's first member. `matrices`: A and B of each that adapts it.
    """

    start: int
    end: int
    first: int
    ranks: tuple[int, ...]
    scales: torch.Tensor
    scales_in_training: torch.Tensor
    dropouts: tuple[nn.Module | None, ...]
    matrices: tuple[nn.Parameter, ...]

    @classmethod
    def of(cls, group: Group, members: Sequence[Member], name: str, device: torch.device) -> _LayerGroup:
        layers = [member.adapter.layers.get(name) for member in group.members]
        scales = [layer.scaling[ADAPTER] if layer is not None else 0.0 for layer in layers]
        shares = [_share(layer) for layer in layers]
        return cls(
            group.start,
            group.end,
            next(n for n, member in enumerate(members) if member is group.members[0]),
            tuple(layer.r[ADAPTER] if layer is not None else 0 for layer in layers),
            torch.tensor(scales, device=device),
            torch.tensor([scale / (1 - share) for scale, share in zip(scales, shares, strict=True)], device=device),
            tuple(layer.lora_dropout[ADAPTER] if layer is not None and _share(layer) else None for layer in layers),
            tuple(matrix for layer in layers if layer is not None for matrix in (_down(layer), _up(layer))),
        )


def _share(layer: LoraLinear | None) -> float:
    """The share of its inputs that an adapter's layer drops in training."""
    return float(getattr(layer.lora_dropout[ADAPTER], "p", 0.0)) if layer is not None else 0.0


class GroupedLinear(nn.Module):
    """A linear layer of the base with the low-rank products of all members beside it."""

    def __init__(self, linear: nn.Linear, name: str, current: _Pass) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._name, self._pass = name, current

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._name in self._pass.stacks:
            return self._decoded(x, *self._pass.stacks[self._name])
        groups = self._pass.layers.get(self._name, ())
        rows, length = self._pass.shape
        if (groups or self._pass.probes) and x.numel() != rows * length * self.in_features:
            raise UngroupedError("a layer that does not see every token of every row")
        if not groups:
            return functional.linear(x, self.weight, self.bias)
        training = torch.is_grad_enabled()
        products = [
            _Products(
                one.start,
                one.end,
                one.ranks,
                one.scales_in_training if training else one.scales,
                self._keep(one, x) if training and any(one.dropouts) else None,
            )
            for one in groups
        ]
        matrices = [matrix for one in groups for matrix in one.matrices]
        flat = x.reshape(rows, length, self.in_features).contiguous()
        y: torch.Tensor = _LinearWithLora.apply(flat, self.weight, self.bias, products, *matrices)
        return y.view(*x.shape[:-1], self.out_features)

    def _decoded(self, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Each row through its own adapter, in whatever order they are."""
        owners = self._pass.owners
        assert owners is not None
        y = functional.linear(x, self.weight, self.bias)
        inner = torch.bmm(x.reshape(len(owners), -1, self.in_features), down[owners].mT)
        y.view(len(owners), -1, self.out_features).baddbmm_(inner, up[owners].mT)
        return y

    def _keep(self, one: _LayerGroup, x: torch.Tensor) -> torch.Tensor:
        """Which inputs dropout keeps, [members, rows of a member, length, width].

        On a CPU as numbers: it takes twice as long to multiply by truth values there.
        """
        members = self._pass.members[one.first : one.first + len(one.ranks)]
        length = self._pass.shape[1]
        dtype = x.dtype if x.device.type == "cpu" else torch.bool
        keep = torch.empty(len(members), members[0].rows, length, self.in_features, dtype=dtype, device=x.device)
        for part, dropout, member in zip(keep, one.dropouts, members, strict=True):
            if dropout is None:
                part.fill_(1)
                continue
            part[:, member.length :].fill_(1)
            _draw(dropout, member, part[:, : member.length])
        return keep


def _stacked(
    layers: Sequence[LoraLinear | None], widths: tuple[int, int], like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A [adapters, rank, inputs], scale * B [adapters, outputs, rank]), filled up with zeros."""
    rank = max(layer.r[ADAPTER] for layer in layers if layer is not None)
    down = like.new_zeros(len(layers), rank, widths[0])
    up = like.new_zeros(len(layers), widths[1], rank)
    with torch.no_grad():
        for n, layer in enumerate(layers):
            if layer is not None:
                down[n, : layer.r[ADAPTER]] = _down(layer)
                up[n, :, : layer.r[ADAPTER]] = _up(layer) * layer.scaling[ADAPTER]
    return down, up


def _draw(dropout: nn.Module, member: Member, keep: torch.Tensor) -> None:
    """Fill `keep` with what a layer's dropout keeps in this pass."""
    if isinstance(dropout, FastDropout):
        dropout.kept(keep.shape, member.random, out=keep)
    else:
        torch.ge(torch.rand(keep.shape, generator=member.random, device=keep.device), dropout.p, out=keep)


@dataclass(frozen=True)
class _Products:
    """The low-rank products of rows `start` to `end`: ranks (0: none) and scales by member; what dropout keeps."""

    start: int
    end: int
    ranks: tuple[int, ...]
    scales: torch.Tensor
    keep: torch.Tensor | None

    def stack(self, matrices: list[torch.Tensor], shapes: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(A [members, rank, inputs], B [members, outputs, rank]) of the next matrices, which it takes off the list."""
        if len(set(self.ranks)) == 1:
            pairs = [matrices.pop(0) for _ in range(2 * len(self.ranks))]
            return torch.stack(pairs[::2]), torch.stack(pairs[1::2])
        inputs, outputs = shapes
        down = self.scales.new_zeros(len(self.ranks), max(self.ranks), inputs, dtype=matrices[0].dtype)
        up = down.new_zeros(len(self.ranks), outputs, max(self.ranks))
        for n, rank in enumerate(self.ranks):
            if rank:
                down[n, :rank], up[n, :, :rank] = matrices.pop(0), matrices.pop(0)
        return down, up

    def unstack(self, down: torch.Tensor, up: torch.Tensor) -> list[torch.Tensor]:
        """The gradients of the members' own matrices, in the order of `stack`."""
        pairs = [(down[n, :rank], up[n, :, :rank]) for n, rank in enumerate(self.ranks) if rank]
        return [matrix for pair in pairs for matrix in pair]


class _LinearWithLora(torch.autograd.Function):
    """y = x W' + b + scale (keep * x) A' B' for each member's rows; the base's weight has no gradient.

    One function instead of a dozen operations: of the inputs only `x`, which layers share, and a byte a unit of dropout
    are kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        groups: Sequence[_Products],
        *matrices: torch.Tensor,
    ) -> torch.Tensor:
        y = functional.linear(x, weight, bias)
        left = list(matrices)
        kept: list[torch.Tensor] = []
        for group in groups:
            down, up = group.stack(left, (x.shape[-1], y.shape[-1]))
            inner = torch.bmm(_dropped(x, group), down.mT).mul_(group.scales[:, None, None])
            rows = y[group.start : group.end].view(len(group.ranks), -1, y.shape[-1])
            rows.baddbmm_(inner, up.mT)
            kept += [down, up, inner]
        ctx.groups = groups
        ctx.save_for_backward(x, weight, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        gradient = gradients[0].contiguous()
        x, weight, *kept = ctx.saved_tensors
        of_x = gradient @ weight if ctx.needs_input_grad[0] else None
        of_matrices: list[torch.Tensor] = []
        for number, group in enumerate(ctx.groups):
            down, up, inner = kept[3 * number : 3 * number + 3]
            own = gradient[group.start : group.end].view(len(group.ranks), -1, gradient.shape[-1])
            of_inner = torch.bmm(own, up).mul_(group.scales[:, None, None])
            of_up = torch.bmm(own.mT, inner)
            of_down = torch.bmm(of_inner.mT, _dropped(x, group))
            of_matrices += group.unstack(of_down, of_up)
            if of_x is not None:
                rows = of_x[group.start : group.end].view(len(group.ranks), -1, x.shape[-1])
                if group.keep is None:
                    rows.baddbmm_(of_inner, down)
                else:
                    rows += torch.bmm(of_inner, down).mul_(group.keep.view_as(rows))
        return (of_x, None, None, None, *of_matrices)


def _dropped(x: torch.Tensor, group: _Products) -> torch.Tensor:
    """The group's inputs [members, rows x length, width], zero where dropout drops them."""
    rows = x[group.start : group.end].view(len(group.ranks), -1, x.shape[-1])
    return rows if group.keep is None else rows * group.keep.view_as(rows)
