"""Device memory of a trial, from the model's configuration alone: a step on the meta device, its live bytes counted.

    estimate = estimate_memory(trial, Sizes(rows=4, length=1024, loss_positions=60, new_tokens=90), gpu=True)
    estimate.activations        30.0 GiB: what the layers keep for the backward pass
    estimate.peak               46.8 GiB

Every operation of forward and backward runs on tensors without content, and what each allocates and frees is added up,
so the peak is what the allocator would be asked for. Not in it: the CUDA context, workspaces of kernels, fragmentation.
Attention is fused (flash), as on a GPU; `attn_implementation: eager` has its scores too. A dropout keeps one byte a
unit on a GPU, a number of the model's own format on a CPU (`fast_dropout.py`).
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sde_ray.config.trial import Lora, TrialConfig
from sde_ray.errors import UserError, format_error
from sde_ray.models.base import DTYPES
from sde_ray.models.base_settings import BYTES
from sde_ray.models.kv_cache import make_kv_cache
from sde_ray.models.lora import add_lora
from sde_ray.models.merged_lora import mergeable_layers
from sde_ray.models.meta import meta_model, on_meta
from sde_ray.training import deepspeed_engine
from sde_ray.training.gradient_checkpointing import enable_gradient_checkpointing
from sde_ray.training.optimizer import STATE

GIB = 2**30


@dataclass(frozen=True)
class Sizes:
    """Sizes of a trial's tensors.

    `rows`: samples of one forward pass in training, on one worker. `length`: tokens of the longest one, prompt and
    completion. `loss_positions`: positions whose logits are computed. `new_tokens`: of a completion, at most.
    `decoded_rows`: prompts decoded together.
    """

    rows: int
    length: int
    loss_positions: int
    new_tokens: int = 0
    decoded_rows: int = 1


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one worker's device.

    `optimizer`: its state, gradients and full-precision copies. `activations`: kept by the layers between forward and
    backward. `workspace`: logits, their gradients, and what a layer needs while it computes. `cache`: keys and values.
    `decoding_work`: what decoding needs beside it. `merged`: weights that decoding holds once more, with the adapter in
    them; a GPU without room for both lets the base wait on the host. None: not known of this architecture, whose
    computation depends on values.
    """

    weights: int
    adapter: int
    optimizer: int
    activations: int | None = None
    workspace: int | None = None
    cache: int | None = None
    decoding_work: int | None = None
    merged: int = 0

    @property
    def resident(self) -> int:
        """What is there in training and decoding alike."""
        return self.weights + self.adapter + self.optimizer

    @property
    def training(self) -> int:
        """The peak of a training step."""
        return self.resident + (self.activations or 0) + (self.workspace or 0)

    @property
    def decoding(self) -> int:
        """The peak of decoding."""
        return self.resident + self.merged + (self.cache or 0) + (self.decoding_work or 0)

    @property
    def peak(self) -> int:
        """The peak of the trial."""
        return max(self.training, self.decoding)


def estimate_memory(config: TrialConfig, sizes: Sizes, gpu: bool, dtype: str = "") -> MemoryEstimate:
    """The device memory of a trial. Reads the model's configuration, which must be on this machine.

    `dtype`: what `train.dtype` has come to, where that is known.
    Raises UserError: for an adapter that the model cannot take, and where shapes alone do not tell.
    """
    dtype = dtype or config.train.dtype
    dtype = dtype if dtype != "auto" else "bfloat16" if gpu else "float32"
    stage = deepspeed_engine.stage(config, dtype)
    train = config.train
    shape = _ModelShape(
        config.model,
        config.trust_remote_code,
        config.lora.model_dump_json(),
        dtype,
        gpu,
        train.gradient_checkpointing,
        train.attn_implementation,
        train.quantization,
    )
    fixed = _fixed(shape, config.train.optim)
    offload = config.deepspeed.get("zero_optimization", {})
    workers = config.num_workers
    whole = fixed.weights
    shard = workers if stage == 3 else 1
    weights = 0 if offload.get("offload_param") and stage == 3 else -(-whole // shard)
    optimizer = 0 if offload.get("offload_optimizer") else -(-fixed.optimizer // (workers if stage else 1))
    # ZeRO-3 decodes a layer at a time, the adapter beside it.
    merged = fixed.merged if config.generation.merge_adapter and stage != 3 else 0
    activations, workspace = _training(shape, sizes.rows, sizes.length, sizes.loss_positions)
    prompt = max(1, sizes.length - sizes.new_tokens)
    cache, work = _decoding(shape, sizes.decoded_rows, prompt, sizes.new_tokens)
    return MemoryEstimate(
        weights, fixed.adapter, optimizer, activations, workspace, cache, work, merged if sizes.new_tokens else 0
    )


@dataclass(frozen=True)
class _ModelShape:
    """What decides the shapes of a model's tensors; `lora` as JSON."""

    name: str
    trust_remote_code: bool
    lora: str
    dtype: str
    gpu: bool
    checkpointing: bool
    attention: str
    quantization: str


@lru_cache(maxsize=4)
def _model(shape: _ModelShape) -> Any:
    """The model with its adapter, on the meta device."""
    base = meta_model(shape.name, shape.trust_remote_code, shape.dtype, shape.attention)
    with on_meta():
        try:
            peft_model = add_lora(base, Lora.model_validate_json(shape.lora))
        except RuntimeError as error:
            raise UserError(f"The adapter's start needs the weights of {shape.name}: {format_error(error)}") from error
        peft_model.to(next(base.parameters()).dtype)  # DeepSpeed does that
        if shape.gpu:
            _use_byte_masks(peft_model)
        if shape.checkpointing:
            enable_gradient_checkpointing(peft_model.get_base_model(), sharded=False)
    return peft_model.train()


@lru_cache(maxsize=32)
def _fixed(shape: _ModelShape, optim: str) -> MemoryEstimate:
    """What does not depend on the samples, on one worker without ZeRO."""
    peft_model = _model(shape)
    trained = [weight for weight in peft_model.parameters() if weight.requires_grad]
    count = sum(weight.numel() for weight in trained)
    half = shape.dtype != "float32"
    # Per trained number: moments, the gradient in full precision, and a copy of the weight in full precision.
    numbers = len(STATE.get(optim, ())) + (2 if half else 0)
    merged = _bytes(layer.get_base_layer().weight for layer in mergeable_layers(peft_model))
    frozen = [weight for weight in peft_model.parameters() if not weight.requires_grad]
    weights = _bytes(frozen) + _bytes(peft_model.buffers())
    if shape.quantization != "none":
        quantized = _quantized(peft_model.get_base_model())
        weights += round(BYTES[shape.quantization] * sum(weight.numel() for weight in quantized)) - _bytes(quantized)
        merged = 0
    return MemoryEstimate(
        weights,
        _bytes(trained),
        4 * numbers * count,
        merged=merged,
    )


def _quantized(model: Any) -> list[torch.Tensor]:
    """The weights that bitsandbytes quantises: of linear layers, but for the head."""
    head = model.get_output_embeddings()
    linear = (module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head)
    return [module.weight for module in linear if not module.weight.requires_grad]


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


@lru_cache(maxsize=256)
def _training(shape: _ModelShape, rows: int, length: int, loss_positions: int) -> tuple[int | None, int | None]:
    """(activations, workspace) of one forward and backward pass, in bytes."""
    peft_model = _model(shape)
    selects = "logits_to_keep" in inspect.signature(peft_model.get_base_model().forward).parameters
    with on_meta():
        ids = torch.zeros(rows, length, dtype=torch.long)
        mask = {}
        if shape.attention == "eager":  # made by transformers, by values
            mask = {"attention_mask": torch.zeros(rows, 1, length, length, dtype=DTYPES[shape.dtype])}
        positions = torch.zeros(min(loss_positions, length), dtype=torch.long)
        targets = torch.zeros(rows * len(positions), dtype=torch.long)
        live = LiveBytes(peft_model)
        try:
            with live:
                selection = {"logits_to_keep": positions} if selects else {}
                logits = peft_model(input_ids=ids, use_cache=False, **selection, **mask).logits
                held = live.now - _bytes([logits])
                logits = logits if selects else logits[:, positions]
                loss = _loss(logits, targets)
                del logits
                loss.backward()
        except (RuntimeError, ValueError, TypeError, AttributeError):  # its computation depends on values
            return None, None
        finally:
            peft_model.zero_grad(set_to_none=True)
    return held, live.peak - held


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """As in `Trainer.cross_entropy`."""
    scores = logits.flatten(0, 1).float()
    return cross_entropy(scores, targets, reduction="sum")


@lru_cache(maxsize=256)
def _decoding(shape: _ModelShape, rows: int, prompt: int, new_tokens: int) -> tuple[int | None, int | None]:
    """(cache, what the reading of the prompts needs beside it), in bytes."""
    if not new_tokens:
        return 0, 0
    peft_model = _model(replace(shape, checkpointing=False))
    model = peft_model.get_base_model().eval()
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    with on_meta(), torch.inference_mode():
        live = LiveBytes(peft_model)
        try:
            with live:
                cache = make_kv_cache(model, new_tokens)
                output = model(
                    input_ids=torch.zeros(rows, prompt, dtype=torch.long), past_key_values=cache, use_cache=True, **last
                )
                logits = _bytes([output.logits])
                held = live.now - logits
        except (RuntimeError, ValueError, TypeError, AttributeError):
            return None, None
        finally:
            peft_model.train()
    return held, live.peak - held


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that live: `now`, and at most so far: `peak`. The model's own are not counted."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        tensors = (*model.parameters(), *model.buffers())
        self._storages = {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _add(self, storage: Any) -> None:
        """Count a storage once, whatever views of it there are, until it goes."""
        address, size = storage._cdata, storage.nbytes()
        if address not in self._storages:
            self._storages.add(address)
            self.now += size
            weakref.finalize(storage, self._remove, address, size)

    def _remove(self, address: int, size: int) -> None:
        self._storages.discard(address)
        self.now -= size


class _ByteMask(torch.autograd.Function):
    """The shapes of a GPU's fused dropout: one byte a unit is kept, not the input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x.new_empty(x.shape, dtype=torch.bool))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(gradients[0])


class _ByteMaskDropout(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _ByteMask.apply(x) if self.training else x


def _use_byte_masks(peft_model: torch.nn.Module) -> None:
    for module in peft_model.modules():
        dropouts = getattr(module, "lora_dropout", None)
        if isinstance(dropouts, torch.nn.ModuleDict):
            for name, dropout in list(dropouts.items()):
                if not isinstance(dropout, torch.nn.Identity):
                    dropouts[name] = _ByteMaskDropout()
