"""Key-value cache, preallocated: a new token is written in place, finished rows are dropped.

transformers' own cache concatenates, which copies every key and value at every step; on a CPU that was a third of the
decoding time. This one has a buffer of the final length and shows the model the part that is filled.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class PreallocatedLayer(DynamicLayer):
    """One layer's keys and values, [rows, heads, length, width], as the front part of a longer buffer."""

    def __init__(self, max_new_tokens: int) -> None:
        """`max_new_tokens`: how many tokens will follow the prompt at most."""
        super().__init__()
        self._max_new_tokens = max_new_tokens
        self._buffers: tuple[torch.Tensor, ...] = ()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        states = (key_states, value_states)
        start = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = tuple(
                s.new_empty((*s.shape[:2], s.shape[2] + self._max_new_tokens, s.shape[3])) for s in states
            )
        for buffer, state in zip(self._buffers, states, strict=True):
            buffer[:, :, start : start + state.shape[2]] = state
        self._show(start + key_states.shape[2])
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._buffers = tuple(buffer[indices] for buffer in self._buffers)
        self._show(self.get_seq_length())

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def make_kv_cache(model: Any, max_new_tokens: int) -> DynamicCache:
    """An empty cache for the model, preallocated in its plain attention layers; others (sliding) keep their kind."""
    cache = DynamicCache(config=model.config.get_text_config())
    cache.layers = [
        PreallocatedLayer(max_new_tokens) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def can_drop_rows(cache: Any) -> bool:
    """Whether every layer of a filled cache can drop rows (states of linear attention may not)."""
    return isinstance(cache, DynamicCache) and all(isinstance(layer, DynamicLayer) for layer in cache.layers)


def supports_prefix_sharing(cache: Any) -> bool:
    """Whether a prefix' keys and values may serve many rows: in plain attention, where only the mask limits reach."""
    return all(isinstance(layer, PreallocatedLayer) for layer in cache.layers)
