"""NEFTune: uniform noise on the token embeddings while a model is trained (Jain et al. 2023, `neftune_noise_alpha`).

The noise of a batch lies between -m and m with m = alpha / sqrt(length x width), as in transformers. It is drawn from
torch's global generator, which a trial seeds: the same seed draws the same noise, and a resumed trial goes on with it.
"""

from __future__ import annotations

import math
from typing import Any

import torch


def add_embedding_noise(model: torch.nn.Module, alpha: float) -> Any:
    """Add the noise to the input embeddings of every forward pass in training mode; `.remove()` of the result ends it.

    Args:
        model: a causal language model, with or without an adapter in it.
        alpha: the scale of the noise; the paper uses 5, 10 and 15.
    """

    def noisy(module: torch.nn.Module, inputs: Any, embeddings: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return embeddings
        bound = alpha / math.sqrt(embeddings.shape[1] * embeddings.shape[2])
        return embeddings + torch.zeros_like(embeddings).uniform_(-bound, bound)

    return model.get_input_embeddings().register_forward_hook(noisy)  # type: ignore[operator]
