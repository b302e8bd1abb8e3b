"""Greedy decoding of many prompts: the same tokens as `model.generate`, row by row, in less time.

Prompts are sorted by length so that a batch has little padding; a row leaves its batch at its end token, its cache
with it; only the last position's logits are computed. Batches are padded on the left, with position ids that count
real tokens only, so that a row's tokens do not depend on its neighbours.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers import DynamicCache

Ids = Sequence[int]


@torch.inference_mode()
def decode(
    model: torch.nn.Module,
    prompts: Sequence[Ids],
    *,
    stops: Collection[int],
    pad: int,
    max_new_tokens: int,
    batch_size: int = 32,
) -> list[list[int]]:
    """The greedy continuation of each prompt, in the order given, without its end token; at most `max_new_tokens`."""
    by_length = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    written: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(prompts), batch_size):
        rows = by_length[start : start + batch_size]
        batch = _Batch(model, [prompts[i] for i in rows], set(stops), pad)
        for row, tokens in zip(rows, batch.run(max_new_tokens), strict=True):
            written[row] = tokens
    return written


class _Batch:
    """The rows still being written, with their cache, mask and next position."""

    def __init__(self, model: torch.nn.Module, prompts: Sequence[Ids], stops: set[int], pad: int) -> None:
        self.model, self.stops, self.pad = model, stops, pad
        self.device = next(model.parameters()).device
        longest = max(map(len, prompts))
        padded = [[*[pad] * (longest - len(prompt)), *prompt] for prompt in prompts]
        self.ids = torch.tensor(padded, device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        self.mask = (torch.arange(longest, device=self.device) >= (longest - lengths)[:, None]).long()
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        self.cache: Any = DynamicCache(config=model.config.get_text_config())
        self.written: list[list[int]] = [[] for _ in prompts]
        self.rows = list(range(len(prompts)))  # which prompt each row of the tensors belongs to
        known = inspect.signature(model.forward).parameters
        self.more = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self.more |= {"position_ids": None} if "position_ids" in known else {}

    def run(self, max_new_tokens: int) -> list[list[int]]:
        for _ in range(max_new_tokens):
            tokens = self._forward().argmax(-1)
            alive = [n for n, token in enumerate(tokens.tolist()) if token not in self.stops]
            for n in alive:
                self.written[self.rows[n]].append(int(tokens[n]))
            if not alive:
                break
            if len(alive) < len(self.rows):
                tokens = tokens[self._keep(alive)]
            self.ids = tokens[:, None]
            self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
            self.positions = self.positions[:, -1:] + 1
        return self.written

    def _forward(self) -> torch.Tensor:
        if "position_ids" in self.more:
            self.more["position_ids"] = self.positions
        out = self.model(
            input_ids=self.ids, attention_mask=self.mask, past_key_values=self.cache, use_cache=True, **self.more
        )
        self.cache = out.past_key_values
        return out.logits[:, -1]

    def _keep(self, alive: list[int]) -> torch.Tensor:
        """Drop the finished rows from everything that has rows."""
        kept = torch.tensor(alive, device=self.device)
        self.rows = [self.rows[n] for n in alive]
        self.mask, self.positions = self.mask[kept], self.positions[kept]
        self.cache.batch_select_indices(kept)
        return kept
