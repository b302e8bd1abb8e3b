"""Rows that join a running batch get the tokens that they get alone, in bounded memory and in fewer forward passes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_ray.models import continuous_batch, generation
from sde_ray.models.base import load_base
from sde_ray.models.decoding_step import NextLogits

NEW = 20
Shapes = list[tuple[int, int]]


@pytest.fixture(scope="module")
def net(tiny_llama: Path) -> Any:
    return load_base(str(tiny_llama)).model


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    """Half of them long and alike in their beginning, half short: those outlive the cache's first columns."""
    draw = random.Random(4)
    beginning = [draw.randrange(3, 400) for _ in range(35)]
    return [
        [1, *(beginning if n % 2 else []), *(draw.randrange(3, 400) for _ in range(draw.randrange(1, 30)))]
        for n in range(40)
    ]


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """The shapes of the inputs of all forward passes."""
    seen: Shapes = []
    step = NextLogits.__call__
    monkeypatch.setattr(
        NextLogits, "__call__", lambda self, ids, *more: (seen.append(tuple(ids.shape)), step(self, ids, *more))[1]
    )
    return seen


def settings(**more: Any) -> dict[str, Any]:
    return {"eos_token_ids": {2, *range(5, 400, 20)}, "pad_token_id": 0, "max_new_tokens": NEW, **more}


def is_complete(row: int, tokens: Any) -> bool:
    return sum(tokens) % 7 == row % 7


WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "complete": {"is_complete": is_complete},
    "sampled": {"sampling": generation.Sampling(3, 1.4, 50, 0.95)},
    "sampled and complete": {"sampling": generation.Sampling(4, 0.9, 0, 1.0), "is_complete": is_complete},
}


@pytest.mark.parametrize("way", WAYS)
def test_tokens_depend_on_no_neighbour(way: str, net: Any, prompts: list[list[int]], monkeypatch: Any) -> None:
    """Over batch sizes, shared prefixes, prompts read in small parts, and a front that is dropped early or late."""
    alone = generation.generate(net, prompts, **settings(**WAYS[way], batch_size=1))
    lengths = {len(row) for row in alone}
    assert len(lengths) > 4 and (NEW in lengths or "is_complete" in WAYS[way]), (
        f"rows must end at different steps: {lengths}"
    )
    for batch_size, share_prefix, read_tokens, spare in [
        (2, False, 4096, 0.25),
        (3, True, 100, 0.0),
        (7, False, 1, 0.0),
        (16, True, 4096, 9.0),
        (64, True, 200, 0.25),
    ]:
        monkeypatch.setattr(continuous_batch, "READ_TOKENS", read_tokens)
        monkeypatch.setattr(continuous_batch, "MAX_SPARE", spare)
        more = {"batch_size": batch_size, "share_prefix": share_prefix}
        assert generation.generate(net, prompts, **settings(**WAYS[way], **more)) == alone, more


def test_a_row_that_ends_makes_way(net: Any, prompts: list[list[int]], shapes: Shapes) -> None:
    """Forward passes, against batches that wait for their last row: 8 rows at a time take 5 batches of up to 20."""
    generated = generation.generate(net, prompts, **settings(batch_size=8))
    by_length = sorted(range(40), key=lambda n: -len(prompts[n]))
    ends = [len(generated[n]) + (len(generated[n]) < NEW) for n in by_length]
    waiting = sum(max(ends[start : start + 8]) for start in range(0, 40, 8))
    rows = sum(rows for rows, length in shapes if length == 1)
    assert len(shapes) < waiting and max(rows for rows, _ in shapes) == 8
    assert rows < 1.4 * sum(ends), "few of the rows are idle"


def test_prompts_are_read_in_parts(net: Any, prompts: list[list[int]], shapes: Shapes, monkeypatch: Any) -> None:
    monkeypatch.setattr(continuous_batch, "READ_TOKENS", 160)
    generation.generate(net, prompts, **settings(batch_size=40))
    assert max(rows * length for rows, length in shapes) <= 160


def test_as_many_rows_as_memory_allows(net: Any, prompts: list[list[int]], shapes: Shapes, monkeypatch: Any) -> None:
    """A row of the cache takes 2 layers x 2 x 2 heads x 16 x 4 bytes a token, of 64 + 20 + 16 at most, and logits."""
    row = 2 * 2 * 2 * 16 * 4 * (max(map(len, prompts)) + NEW + 16) + 4 * 4 * 400
    monkeypatch.setattr(continuous_batch, "free_memory", lambda device: int(2 * 10.5 * row))
    monkeypatch.setattr(continuous_batch, "READ_TOKENS", 200)
    generation.generate(net, prompts, **settings(batch_size=None))
    assert max(rows for rows, length in shapes) == 10


@pytest.mark.parametrize("most", [9, 1])
def test_short_memory_halves_the_batch(most: int, net: Any, prompts: list[list[int]], monkeypatch: Any) -> None:
    """The same tokens, in plain attention and for a cache that no row can join; one row alone must fit."""
    prompts = prompts[:14]
    expected = generation.generate(net, prompts, **settings(batch_size=1))
    monkeypatch.setattr(NextLogits, "__call__", _short_of_memory(NextLogits.__call__, most))
    assert generation.generate(net, prompts, **settings(batch_size=32)) == expected
    monkeypatch.setattr(generation, "is_plain_attention", lambda cache: False)
    assert generation.generate(net, prompts, **settings(batch_size=32)) == expected
    monkeypatch.setattr(NextLogits, "__call__", _short_of_memory(NextLogits.__call__, 0))
    with pytest.raises(torch.OutOfMemoryError):
        generation.generate(net, prompts, **settings(batch_size=32))


def _short_of_memory(step: Callable[..., Any], most: int) -> Callable[..., Any]:
    """A forward pass that fits so many rows, and those only until they are long."""

    def forward(self: Any, ids: torch.Tensor, mask: torch.Tensor, *more: Any) -> Any:
        if len(ids) > most and (most < 2 or mask.shape[1] > 40):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, ids, mask, *more)

    return forward
