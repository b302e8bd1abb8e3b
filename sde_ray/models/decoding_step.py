"""A step of decoding: the input of some rows in, their logits out; and the words for what decides the tokens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

Ids = Sequence[int]
# logits [rows, vocabulary], the rows' prompts, how many tokens each has so far -> tokens [rows]
Choose = Callable[[torch.Tensor, Sequence[int], Sequence[int]], torch.Tensor]
OnRows = Callable[[Sequence[int]], None]  # the prompts of the rows that the model reads next
IsComplete = Callable[[int, Ids], bool]  # the prompt's index, its new tokens so far -> whether the rest is of no use


class NextLogits:
    """The forward pass of a causal language model that gives the logits after its input, of the last position only."""

    def __init__(self, model: torch.nn.Module) -> None:
        accepted = inspect.signature(model.forward).parameters
        self.model = model
        self.last_logits = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self.takes_positions = "position_ids" in accepted

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any
    ) -> tuple[torch.Tensor, Any]:
        """Logits [rows, vocabulary] and the cache with the input in it.

        Args:
            ids: [rows, length], the input.
            mask: [rows, all tokens so far], 1 for real ones.
            positions: [rows, length], which count real tokens only.
            cache: keys and values of what stands before the input.
        """
        named = {"position_ids": positions} if self.takes_positions else {}
        out = self.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **named, **self.last_logits
        )
        return out.logits[:, -1], out.past_key_values


def pad_left(prompts: Sequence[Ids], pad_token_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [prompts, longest], padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[*[pad_token_id] * (longest - len(prompt)), *prompt] for prompt in prompts], device=device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    return ids, (torch.arange(longest, device=device) >= (longest - lengths)[:, None]).long()


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Positions [rows, length] that count real tokens only."""
    return (mask.cumsum(1) - 1).clamp(min=0)
