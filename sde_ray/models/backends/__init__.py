"""Decoding backends: the ids of prompts in, the ids of completions out, by a base model with an adapter or none.

request.py      what decoding is asked for, and the interface of a backend
builtin.py      our own decoding, on the model that training uses
vllm.py         vLLM's engine beside it, on a GPU (`pip install "sde_ray[vllm]"`)

    backend = make_backend("builtin", loaded, BackendSettings(max_length=1024))
    backend.generate(peft_model, [[1, 5, 9]], Request(eos_token_ids=(2,), max_new_tokens=32))

A library is imported by the module of its backend alone, once it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from sde_ray.models.backends.request import Backend, BackendSettings

if TYPE_CHECKING:
    from sde_ray.models.base import LoadedModel

# The class of each, by its module in this room: the names are the values of `generation.backend`.
BACKENDS = {"builtin": "Builtin", "vllm": "Vllm"}


def make_backend(name: str, loaded: LoadedModel, settings: BackendSettings) -> Backend:
    """The backend of this name for a base model."""
    make: Callable[[LoadedModel, BackendSettings], Backend]
    make = getattr(import_module(f"{__name__}.{name}"), BACKENDS[name])
    return make(loaded, settings)
