"""Key-value cache, preallocated: a new token is written in place, finished rows are dropped, new ones join.

transformers' own cache concatenates, which copies every key and value at every step; on a CPU that was a third of the
decoding time. This one has a buffer of the final length and shows the model the part that is filled.
"""

from __future__ import annotations

from copy import copy
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

    def empty_like(self, rows: int, room: int, length: int) -> PreallocatedLayer:
        """A layer of so many rows that shows `length` tokens, all of them zero, and has room for more.

        Not uninitialised: what the mask leaves out is multiplied by zero, which makes no number of what is none.
        """
        layer = copy(self)
        layer._buffers = tuple(
            state.new_empty((rows, state.shape[1], room, state.shape[3])) for state in (self.keys, self.values)
        )
        layer._show(length)
        for shown in (layer.keys, layer.values):
            shown.zero_()
        return layer

    def join(self, rows: torch.Tensor, other: PreallocatedLayer) -> None:
        """Make the rows of another layer the last tokens of these rows."""
        end = self.get_seq_length()
        for buffer, state in zip(self._buffers, (other.keys, other.values), strict=True):
            buffer[rows, :, end - state.shape[2] : end] = state

    def drop_first(self, count: int) -> None:
        """Drop the first tokens of all rows."""
        length = self.get_seq_length()
        for buffer in self._buffers:
            buffer[:, :, : length - count] = buffer[:, :, count:length].clone()
        self._show(length - count)

    def bytes_per_token(self) -> int:
        """Bytes of one token of one row."""
        return sum(buffer.shape[1] * buffer.shape[3] * buffer.element_size() for buffer in self._buffers)

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def make_kv_cache(model: Any, max_new_tokens: int) -> DynamicCache:
    """An empty cache for the model, preallocated in its plain attention layers; others (sliding) keep their kind."""
    cache = DynamicCache(config=model.config.get_text_config())
    cache.layers = [
        PreallocatedLayer(max_new_tokens) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def empty_like(cache: Any, rows: int, room: int, length: int) -> Any:
    """A cache like a filled one, for other rows; see `PreallocatedLayer.empty_like`."""
    other = copy(cache)
    other.layers = [layer.empty_like(rows, room, length) for layer in cache.layers]
    return other


def can_drop_rows(cache: Any) -> bool:
    """Whether every layer of a filled cache can drop rows (states of linear attention may not)."""
    return isinstance(cache, DynamicCache) and all(isinstance(layer, DynamicLayer) for layer in cache.layers)


def is_plain_attention(cache: Any) -> bool:
    """Whether only the mask limits what a row sees: then rows of other lengths can join, and many share a prefix."""
    return all(isinstance(layer, PreallocatedLayer) for layer in cache.layers)
