"""Roofline of a training step on a GPU that is not at hand: its kernels are counted, their times assumed.

    estimate(["1.5b"], members=[1, 4, 16], gpu=Gpu()) ─▶ {"settings", "rows": kernels, seconds and samples/s a step}

Forward and backward of a step run on the meta device, alone (peft's layers) and packed, and every operation that
would start a kernel is counted with its arithmetic and the bytes that it reads and writes. What is assumed: a kernel
takes the longer of its arithmetic at a share of the nominal matrix rate and its bytes at the nominal bandwidth; the
host starts one kernel after another; a step takes the longer of the two sums. So it is an estimate of eager PyTorch
and no measurement; `shapes.py` and `packed.py` measure. The optimiser's step, few kernels in all ways, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from sde_ray.bench.engine.shapes import LOSS_SHARE, SHAPES
from sde_ray.bench.engine.work import LORA, plain_lora
from sde_ray.models.joint_model import JointModel, shared_copy
from sde_ray.models.lora_group import Adapter, Member
from sde_ray.models.meta import FUSED, on_meta

ALLOCATIONS = (
    "empty",
    "new_empty",
    "empty_like",
    "empty_strided",
    "new_empty_strided",
    "detach",
    "alias",
    "lift_fresh",
)
# Of fused attention, which stands for one operation without arithmetic on the meta device.
ATTENTION_KERNELS = 1 + 3


@dataclass(frozen=True)
class Gpu:
    """What is assumed of a GPU; the defaults are an H100's (SXM) nominal rates, and usual shares of them."""

    peak_tflops: float = 989.0
    share: float = 0.45
    bandwidth_tbs: float = 3.35
    launch_us: float = 5.0


@dataclass(frozen=True)
class Cost:
    """Of one pass: kernels, and seconds of a GPU that is never kept waiting."""

    kernels: int
    busy: float

    def seconds(self, gpu: Gpu) -> float:
        return max(self.kernels * gpu.launch_us * 1e-6, self.busy)


class KernelCounter(TorchDispatchMode):
    """Counts what is computed inside."""

    def __init__(self, gpu: Gpu) -> None:
        super().__init__()
        self._gpu = gpu
        self.kernels, self.busy = 0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if func.is_view or packet.__name__ in ALLOCATIONS:
            return out
        counted = flop_registry.get(packet)
        flops = counted(*args, **(kwargs or {}), out_val=out) if counted else 0
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        arithmetic = flops / (self._gpu.peak_tflops * 1e12 * self._gpu.share)
        self.kernels += 1
        self.busy += max(arithmetic, moved / (self._gpu.bandwidth_tbs * 1e12))
        return out


def estimate(
    shapes: Sequence[str],
    *,
    members: Sequence[int] = (1, 2, 4, 8, 16),
    batch_size: int = 4,
    length: int = 512,
    dropout: float = LORA.lora_dropout,
    gpu: Gpu = Gpu(),
) -> dict[str, Any]:
    """Seconds of a step of every trial, alone and packed, and how many samples a second that makes."""
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        base = _meta_base(shape)
        lone = _alone(base, dropout, batch_size, length, gpu)
        rows.append(_row(f"{shape}, alone", lone, 1, batch_size, lone, gpu))
        for count in members:
            cost = _packed(base, dropout, count, batch_size, length, gpu)
            rows.append(_row(f"{shape}, {count} packed", cost, count, batch_size, lone, gpu))
    given = {"batch_size": batch_size, "length": length, "lora_r": LORA.r, "lora_dropout": dropout, **asdict(gpu)}
    return {"settings": given, "rows": rows}


def _row(name: str, cost: Cost, trials: int, batch_size: int, lone: Cost, gpu: Gpu) -> dict[str, Any]:
    seconds = cost.seconds(gpu) / trials
    return {
        "name": name,
        "kernels a trial's step": cost.kernels / trials,
        "started in ms": cost.kernels / trials * gpu.launch_us * 1e-3,
        "computed in ms": 1e3 * cost.busy / trials,
        "samples/s": batch_size / seconds,
        "x alone": lone.seconds(gpu) / seconds,
        "GPU busy": cost.busy / cost.seconds(gpu),
    }


def _alone(base: Any, dropout: float, rows: int, length: int, gpu: Gpu) -> Cost:
    model = _adapted(base, dropout)
    with on_meta():
        ids = torch.zeros(rows, length, dtype=torch.long)
    kept = length // LOSS_SHARE

    def loss() -> torch.Tensor:
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
        return cross_entropy(logits.flatten(0, 1).float(), ids[:, -kept:].flatten())

    return _count(loss, base, gpu)


def _packed(base: Any, dropout: float, count: int, rows: int, length: int, gpu: Gpu) -> Cost:
    joint = JointModel(base)
    adapters = [Adapter.of(_adapted(base, dropout)) for _ in range(count)]
    members = [Member(adapter, rows, length) for adapter in adapters]
    with on_meta():
        ids = torch.zeros(count * rows, length, dtype=torch.long)
        wanted = torch.zeros(count * rows * (length // LOSS_SHARE), dtype=torch.long)

    def loss() -> torch.Tensor:
        logits = joint.logits(ids, members, wanted).float()
        return cross_entropy(logits, torch.zeros_like(wanted), reduction="none").sum()

    joint.logits(ids, members, wanted)  # what is made once is no part of a step
    return _count(loss, base, gpu)


def _count(loss: Any, base: Any, gpu: Gpu) -> Cost:
    with on_meta(), KernelCounter(gpu) as counter:
        loss().backward()
    return Cost(counter.kernels + ATTENTION_KERNELS * base.config.num_hidden_layers, counter.busy)


def _adapted(base: Any, dropout: float) -> Any:
    """A copy of the base with an adapter, with PyTorch's own dropout, as on a GPU."""
    from peft import LoraConfig, get_peft_model

    with on_meta():
        model = get_peft_model(
            shared_copy(base),  # type: ignore[arg-type]
            LoraConfig(**{**plain_lora(LORA), "lora_dropout": dropout}, task_type="CAUSAL_LM"),
        )
        model.to(torch.bfloat16)  # as an engine in bfloat16 has it
    return model.train()


def _meta_base(shape: str) -> Any:
    from transformers import AutoModelForCausalLM, Qwen2Config

    with on_meta():
        config = Qwen2Config(**SHAPES[shape])
        return AutoModelForCausalLM.from_config(config, attn_implementation=FUSED, dtype=torch.bfloat16).eval()
