"""Texts are tokenized once a process: over designs, seeds and rungs; equal ids, bounded memory, one tokenizer each."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from transformers import AutoTokenizer

from sde_ray.design import render
from sde_ray.design.designs import NAMED
from sde_ray.models import token_cache
from sde_ray.models.token_cache import TokenCache
from sde_ray.models.tokenization import Encoder
from sde_ray.tasks.trial_task import trial_examples, trial_task


class Counting:
    """A tokenizer that remembers which texts it was asked for."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.texts = tokenizer, list[str]()

    def __call__(self, texts: Any, **options: Any) -> Any:
        self.texts += [] if isinstance(texts, str) else texts
        return self._tokenizer(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)


@pytest.fixture
def tokenizer(tiny_llama: Path) -> Counting:
    return Counting(AutoTokenizer.from_pretrained(tiny_llama))


def test_no_text_is_tokenized_twice_over_designs_seeds_and_rungs(tokenizer: Counting) -> None:
    task, examples = trial_task("masa:d1"), trial_examples("masa:d1", "train")[:12]
    for name in ("es-sde", "ew-sde", "es-sde"):
        samples = [render.render_sample(example, task, NAMED[name]) for example in examples]
        encoded = Encoder(tokenizer, 4096).samples(samples)
        alone = Encoder(Counting(tokenizer._tokenizer), 4096).samples(samples)
        assert encoded == alone, "as by a tokenizer that has seen none of them"
        prompts = [(sample.id, sample.prompt) for sample in samples]
        assert Encoder(tokenizer, 4096).prompts(prompts, 8) == [row.prompt for row in encoded]
    assert len(tokenizer.texts) == len(set(tokenizer.texts)) > 24


def test_memory_is_bounded_and_the_oldest_text_goes_first(tokenizer: Counting) -> None:
    cache = TokenCache(capacity=100)
    first = cache.ids(tokenizer, ["good food"])["good food"]
    for number in range(50):
        cache.ids(tokenizer, ["good food", f"bad food {number}"])
        assert cache.size <= 100
    assert tokenizer.texts.count("good food") == 1, "it was asked for all the time"
    cache.ids(tokenizer, ["bad food 0"])
    assert tokenizer.texts.count("bad food 0") == 2, "it was not"
    assert cache.ids(tokenizer, ["x" * 300, "good food"])["good food"] == first and cache.size <= 100


def test_another_tokenizer_and_one_with_new_tokens_start_anew(tokenizer: Counting, tiny_llama: Path) -> None:
    cache = token_cache.token_cache(tokenizer)
    assert token_cache.token_cache(tokenizer) is cache
    assert token_cache.token_cache(AutoTokenizer.from_pretrained(tiny_llama)) is not cache
    tokenizer._tokenizer.add_tokens(["zxqvj"])
    assert token_cache.token_cache(tokenizer) is not cache


def test_an_instruction_is_rendered_once_a_design(monkeypatch: pytest.MonkeyPatch) -> None:
    task, examples = trial_task("masa:d1"), trial_examples("masa:d1", "train")[:12]
    expected = [render.render_sample(example, task, NAMED["es-sde"]) for example in examples]
    monkeypatch.setattr(render, "_instructions", {})
    plain = Mock(wraps=render.render_instruction)
    monkeypatch.setattr(render, "render_instruction", plain)
    for _ in range(2):
        assert [render.render_sample(example, task, NAMED["es-sde"]) for example in examples] == expected
    assert plain.call_count == 1
    monkeypatch.setattr(render, "MAX_INSTRUCTIONS", 2)
    for name in ("baseline", "ew-sde", "heuristic", "es-sde"):
        render.render_sample(examples[0], task, NAMED[name])
        assert len(render._instructions) <= 2
