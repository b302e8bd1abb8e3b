"""Gradient checkpointing: keep each layer's input only, and compute its activations again in the backward pass.

A training step takes about a third longer and holds the activations of one layer instead of all. Losses and gradients
are the same: a layer's dropout is drawn again from the same state of the generator. Only modules in training mode do
it, so decoding is as without.
"""

from __future__ import annotations

from typing import Any

from sde_ray.errors import UserError


def enable_gradient_checkpointing(model: Any, sharded: bool) -> None:
    """Switch it on for all layers of a base model, with or without an adapter in it.

    Args:
        model: a causal language model of transformers.
        sharded: under ZeRO-3 a weight is an empty tensor outside of its layer's own pass, which the non-reentrant
            variant takes for a change of shape. The reentrant one needs an input that requires a gradient, which
            transformers sees to.

    Raises:
        UserError: when the model has none.
    """
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": sharded})
    except ValueError as error:
        raise UserError(
            f"{type(model).__name__} has no gradient checkpointing. Leave out train.gradient_checkpointing; to need "
            "less memory, raise train.gradient_accumulation_steps."
        ) from error


def disable_gradient_checkpointing(model: Any) -> None:
    """Switch it off, and let the embeddings need no gradient again."""
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    disable()
    model.disable_input_require_grads()
