"""Compiled layers: torch.compile on each decoder layer of the base, with its adapter, while it trains.

    layers = CompiledLayers(peft_model.get_base_model())
    with layers: ...            a training step runs the compiled layers, decoding the plain ones

All layers have the same code, so that it is compiled once; any number of rows and tokens is served by it. The first
step of a process waits for the compiler. Random numbers are those of the plain layers.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer


class CompiledLayers:
    """A context in which a model's layers are compiled."""

    def __init__(self, model: torch.nn.Module) -> None:
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        self.layers: list[Any] = layers or [model]
        torch._inductor.config.fallback_random = True
        for layer in self.layers:
            layer.compile(dynamic=True)
        self._calls = [layer._compiled_call_impl for layer in self.layers]
        self.__exit__()

    def __enter__(self) -> None:
        for layer, call in zip(self.layers, self._calls, strict=True):
            layer._compiled_call_impl = call

    def __exit__(self, *error: object) -> None:
        for layer in self.layers:
            layer._compiled_call_impl = None
