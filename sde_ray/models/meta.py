"""Meta models: a model's modules and shapes from its configuration alone. No weight is read, nothing is computed.

    model = meta_model("Qwen/Qwen2.5-7B", dtype="bfloat16")      28 layers, 15.2 GB of weights that exist nowhere
    check_lora("Qwen/Qwen2.5-7B", Lora(target_modules=("qkv",)))  UserError: LoRA finds nothing to adapt

Tensors are on torch's device `meta`, so a training step of one allocates nothing; `training/device_memory.py` counts
what it would.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sde_ray.config.trial import Lora
from sde_ray.errors import UserError, format_error
from sde_ray.models.base import DTYPES, explained, pretrained
from sde_ray.models.lora import add_lora

FUSED = "sde_ray_fused_shapes"  # the attention of a meta model, by the name that transformers knows it under


def meta_model(
    name: str, trust_remote_code: bool = False, dtype: str = "float32", attn_implementation: str = "sdpa"
) -> Any:
    """A causal language model on the meta device, in training mode.

    Args:
        name: as in `load_base`; a model of the hub must be in the cache.
        trust_remote_code: as there.
        dtype: number format of the weights, not `auto`.
        attn_implementation: `eager` has the scores of all pairs of tokens, all others compute them piece by piece.

    Raises:
        UserError: when the model cannot be built without its weights.
    """
    where = {**pretrained(name), "trust_remote_code": trust_remote_code, "local_files_only": True}
    with explained(name, "configuration"), on_meta():
        config = AutoConfig.from_pretrained(**where)
        try:
            model = _from_config(config, attn_implementation, dtype, trust_remote_code)
        except RuntimeError as error:  # code of its own that computes as it is built
            raise UserError(f"{name} cannot be built without its weights: {format_error(error)}") from error
    return model.train()


def _from_config(config: Any, attn_implementation: str, dtype: str, trust_remote_code: bool) -> Any:
    settings = {"dtype": DTYPES[dtype], "trust_remote_code": trust_remote_code}
    if attn_implementation != "eager":
        try:
            return AutoModelForCausalLM.from_config(config, attn_implementation=FUSED, **settings)
        except (ValueError, ImportError):  # it has an attention of its own
            pass
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", **settings)


@lru_cache(maxsize=32)
def check_lora(name: str, lora: str, trust_remote_code: bool = False) -> None:
    """Raises UserError where an adapter cannot be added to a model. `lora`: the section as JSON, which is hashable."""
    try:
        model = meta_model(name, trust_remote_code)
    except UserError:  # what it takes to load it is checked elsewhere (`availability.py`)
        return
    with on_meta(), suppress(RuntimeError):  # a start of the adapter that computes with the weights
        add_lora(model, Lora.model_validate_json(lora))


@contextmanager
def on_meta() -> Iterator[None]:
    """Tensors made inside are on the meta device; without the warnings that only real ones deserve."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        yield


class FusedAttention(torch.autograd.Function):
    """The shapes of fused attention (flash): keeps queries, keys, values, output and one number a row of scores."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, *_ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _fused_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **settings: Any
) -> tuple[torch.Tensor, None]:
    """[rows, heads, tokens, width] in, [rows, tokens, heads, width] out, as transformers calls it."""
    return FusedAttention.apply(query, key, value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(FUSED, _fused_attention)
