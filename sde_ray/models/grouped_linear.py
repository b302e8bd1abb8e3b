"""Grouped linear layer: one layer of a frozen base for the rows of several adapters, each with its own beside it.

In training members with equally many rows are one batched product, and each member's dropout draws from its own
random stream, in the order and shape in which it would alone. In decoding each row goes through its own adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn import functional

from sde_ray.models.fast_dropout import FastDropout
from sde_ray.models.lora import ADAPTER
from sde_ray.models.lora_group import Group, Member, UngroupedError, lora_down, lora_up


@dataclass
class Pass:
    """What is in the base now: rows and length, whose rows these are, and by layer what to add for them."""

    shape: tuple[int, int] = (0, 0)
    members: Sequence[Member] = ()
    layers: Mapping[str, Sequence[LayerGroup]] = field(default_factory=dict)
    probes: bool = False
    stacks: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)  # in decoding: of all
    owners: torch.Tensor | None = None  # and of each row


@dataclass(frozen=True)
class LayerGroup:
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
    def of(cls, group: Group, members: Sequence[Member], name: str, device: torch.device) -> LayerGroup:
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
            tuple(matrix for layer in layers if layer is not None for matrix in (lora_down(layer), lora_up(layer))),
        )


def _share(layer: LoraLinear | None) -> float:
    """The share of its inputs that an adapter's layer drops in training."""
    return float(getattr(layer.lora_dropout[ADAPTER], "p", 0.0)) if layer is not None else 0.0


class GroupedLinear(nn.Module):
    """A linear layer of the base with the low-rank products of all members beside it."""

    def __init__(self, linear: nn.Linear, name: str, current: Pass) -> None:
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

    def _keep(self, one: LayerGroup, x: torch.Tensor) -> torch.Tensor:
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


def stacked(
    layers: Sequence[LoraLinear | None], widths: tuple[int, int], like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A [adapters, rank, inputs], scale * B [adapters, outputs, rank]), filled up with zeros."""
    rank = max(layer.r[ADAPTER] for layer in layers if layer is not None)
    down = like.new_zeros(len(layers), rank, widths[0])
    up = like.new_zeros(len(layers), widths[1], rank)
    with torch.no_grad():
        for n, layer in enumerate(layers):
            if layer is not None:
                down[n, : layer.r[ADAPTER]] = lora_down(layer)
                up[n, :, : layer.r[ADAPTER]] = lora_up(layer) * layer.scaling[ADAPTER]
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
