"""General values: how well a model knows plain texts, item by item (see `evaluation/general_set.py`).

    general_values(model, tokenizer, items, max_length=1024)  -> [1.83, ..., 1.0, 0.0]

Texts are read as they are, without a chat template: that is what a base model was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.models.perplexity import likelihoods
from sde_ray.models.token_cache import plain_ids
from sde_ray.models.tokenization import TokenizedSample, bos_prefix, pad_token_id

if TYPE_CHECKING:
    from sde_ray.evaluation.general_set import GeneralItem


def general_values(model: Any, tokenizer: Any, items: Sequence[GeneralItem], max_length: int) -> list[float]:
    """Of each passage its bits per byte, of each sentence whether its right ending is the likeliest (1 or 0).

    Args:
        model: with or without an adapter in its layers.
        tokenizer: the model's own.
        items: of a general set.
        max_length: tokens that are read of a text.
    """
    before = bos_prefix(tokenizer)
    pairs = [(item.text, ending) for item in items for ending in (item.endings or ("",))]
    prompts = plain_ids(tokenizer, [text for text, _ in pairs])
    # An ending is tokenized behind a blank, as it stands in a text.
    endings = plain_ids(tokenizer, [f" {ending}" if ending else "" for _, ending in pairs])
    samples = [
        TokenizedSample(str(n), (*before, *prompt)[:max_length], (), (*ending, 0))
        for n, (prompt, ending) in enumerate(zip(prompts, endings, strict=True))
    ]
    values = iter(zip(pairs, likelihoods(model, samples, pad_token_id(tokenizer)), strict=True))
    return [_right(item, values) if item.endings else _bits_per_byte(*next(values)) for item in items]


def base_values(peft_model: Any, tokenizer: Any, items: Sequence[GeneralItem], max_length: int) -> list[float]:
    """The same by the base of an adapted model."""
    with peft_model.disable_adapter():
        return general_values(peft_model.get_base_model(), tokenizer, items, max_length)


def _bits_per_byte(pair: tuple[str, str], likelihood: Any) -> float:
    return -likelihood.prompt / math.log(2) / len(pair[0].encode())


def _right(item: GeneralItem, values: Any) -> float:
    """1.0 where no wrong ending is as likely as the right one, each by its bytes: longer ones are no less likely so."""
    (right, *wrong) = [
        likelihood.output / len(ending.encode()) for (_, ending), likelihood in (next(values) for _ in item.endings)
    ]
    return float(right > max(wrong))
