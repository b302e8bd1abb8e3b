"""Merging a LoRA adapter into the weights while decoding, and taking it out again to the byte.

    with merged_lora(peft_model) as model:      the speed of the base model, with the adapter's answers
        generate(model, ...)

Decoding is many small steps, and two more small products per layer would double their cost. The sum of weight and
adapter is computed in float32 and rounded once to the weight's dtype, so in float32 it is the adapter beside its layers
up to the last digit, and in half precision up to one rounding of each weight, as large as that of each activation.
Base and sum are held once each: on a GPU that has no room for both, the base waits in the host's memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear as LoraLinear

from sde_ray.models.lora import ADAPTER
from sde_ray.models.memory import free_memory

ROOM = 2  # the copies may take one part of so many of the free memory: decoding needs the rest


def mergeable_layers(peft_model: PeftModel) -> list[Any]:
    """The adapted layers, if the adapter is a sum with their weights: else none, and it stays beside its layers.

    It is one for plain linear layers of floating-point weights that no other module uses. It is none with DoRA, which
    rescales the sum, with `modules_to_save` and `target_parameters`, on embeddings, and on a quantised base.
    """
    config = peft_model.peft_config[ADAPTER]
    if config.use_dora or config.modules_to_save or getattr(config, "target_parameters", None):
        return []
    layers = [module for module in peft_model.modules() if isinstance(module, LoraLayer)]
    uses: dict[int, int] = {}
    for module in peft_model.modules():
        for parameter in module._parameters.values():
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    exact = all(
        type(layer) is LoraLinear
        and layer.get_base_layer().weight.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and uses[id(layer.get_base_layer().weight)] == 1
        for layer in layers
    )
    return layers if exact else []


@contextmanager
def merged_lora(peft_model: PeftModel, merge: bool = True) -> Iterator[torch.nn.Module]:
    """The model to decode with; at the end, also after an exception, the base has its own tensors again.

    `merge`: false leaves the adapter beside its layers, as in training; so does an adapter that is no sum.
    """
    layers = mergeable_layers(peft_model) if merge else []
    if not layers:
        yield peft_model.get_base_model()  # its layers carry the adapter; peft's own forward hides what the model takes
        return
    weights = [layer.get_base_layer().weight for layer in layers]
    to_host, device = waits_on_host(weights), weights[0].device
    originals: list[tuple[Any, torch.Tensor]] = []
    try:
        with peft_model.disable_adapter(), torch.no_grad():
            for layer, weight in zip(layers, weights, strict=True):
                merged = merged_weight(weight.data, layer)
                originals.append((weight, weight.data.cpu() if to_host else weight.data))
                weight.data = merged
            yield peft_model.get_base_model()
    finally:
        for weight, original in originals:
            weight.data = original.to(device)


def waits_on_host(weights: Sequence[torch.Tensor]) -> bool:
    """Whether the GPU of these weights has no room for them twice, with what decoding needs besides."""
    device = weights[0].device
    copies = sum(weight.numel() * weight.element_size() for weight in weights)
    return device.type == "cuda" and copies * ROOM > free_memory(device)


def merged_weight(weight: torch.Tensor, layer: Any) -> torch.Tensor:
    """Weight and adapter in one tensor like the weight: the sum in float32, rounded once."""
    delta = layer.lora_B[ADAPTER].weight.float() @ layer.lora_A[ADAPTER].weight.float()
    delta = (delta.T if layer.fan_in_fan_out else delta) * layer.scaling[ADAPTER]
    return delta.add_(weight).to(weight.dtype)
