"""Zero-shot and few-shot prompts for an untuned model: a sample's own prompt, alone or after examples (PAPER.md 1.6).

    Example 1:
    {prompt of the first demonstration}{its completion}

    Example 2:
    {prompt of the query}

Demonstrations are whole or left out, the last first, and how many are left is reported: a cut one would show a wrong
answer. The query's instruction is never cut; its text only where even the prompt alone does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sde_ray.design.demonstrations import BETWEEN, Prompt, in_context
from sde_ray.types import Sample


@dataclass(frozen=True)
class Fitted:
    """A prompt that leaves room for its completion, with its demonstrations, and `num_truncated` tokens of text cut."""

    prompt: Prompt
    num_demonstrations: int
    num_truncated: int


def fit(encoder: Any, query: Prompt, demonstrations: Sequence[Sample], language: str, budget: int) -> Fitted:
    """The prompt with as many of the demonstrations as fit with the query and `budget` new tokens."""
    for count in range(len(demonstrations), 0, -1):
        prompt = in_context(query, demonstrations[:count], language)
        if encoder.length(prompt) + budget <= encoder.max_length:
            return Fitted(prompt, count, 0)
    return Fitted(query, 0, max(0, encoder.length(query) + budget - encoder.max_length))


def answer_of(completion: str) -> str:
    """The answer in a completion: all before the first blank line, since an untuned model tends to continue.

    No design writes a blank line within an answer.
    """
    return completion.lstrip("\n").partition(BETWEEN)[0]
