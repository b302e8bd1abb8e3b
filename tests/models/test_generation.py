"""Greedy decoding gives what transformers' own gives, whatever the batch, and leaves the base as it was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_ray.config.trial import Lora
from sde_ray.models import base as model
from sde_ray.models import generation, lora
from sde_ray.models.decoding_step import NextLogits
from sde_ray.models.merged_lora import merged_lora

NEW = 24


@pytest.fixture(scope="module")
def base(tiny_llama: Path) -> model.LoadedModel:
    return model.load_base(str(tiny_llama))


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    draw = random.Random(0)
    return [[1] + [draw.randrange(3, 400) for _ in range(draw.randrange(2, 40))] for _ in range(17)]


def reference(base: model.LoadedModel, prompts: list[list[int]], stops: list[int]) -> list[list[int]]:
    """`model.generate`, one prompt at a time, without padding."""
    rows = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out: Any = base.model.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=stops,
            pad_token_id=0,
        )
        row = out[0, len(prompt) :].tolist()
        rows.append(row[:-1] if row[-1] in stops else row)
    return rows


@pytest.fixture(scope="module")
def stops(base: model.LoadedModel, prompts: list[list[int]]) -> list[int]:
    """The end token, and tokens that this random model likes to write: so that rows end at different steps."""
    free = generation.generate(base.model, prompts, eos_token_ids=[], pad_token_id=0, max_new_tokens=NEW, batch_size=1)
    draw = random.Random(1)
    return [2, *{row[draw.randrange(2, NEW)] for row in free[:6]}]


@pytest.fixture(scope="module")
def expected(base: model.LoadedModel, prompts: list[list[int]], stops: list[int]) -> list[list[int]]:
    return reference(base, prompts, stops)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 32])
def test_equals_generate(
    base: model.LoadedModel, prompts: list[list[int]], stops: list[int], expected: list[list[int]], batch_size: int
) -> None:
    lengths = {len(row) for row in expected}
    assert len(lengths) > 3 and NEW in lengths, f"rows must end at different steps to test compaction: {lengths}"
    generated = generation.generate(
        base.model, prompts, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW, batch_size=batch_size
    )
    assert generated == expected


def test_no_row_depends_on_its_neighbours_where_near_ties_are_continued_alone(tiny_llama: Path) -> None:
    """In bfloat16 a batch moves logits by more than near ties are apart; in float32 by its last digits."""
    half = model.load_base(str(tiny_llama), dtype="bfloat16")
    draw = random.Random(3)
    many = [[1] + [draw.randrange(3, 400) for _ in range(draw.randrange(2, 40))] for _ in range(48)]
    settings: dict[str, Any] = {"eos_token_ids": [2], "pad_token_id": 0, "max_new_tokens": NEW}
    limit = {row: 3 + row % 5 for row in range(len(many))}

    def is_complete(row: int, tokens: Any) -> bool:
        return len(tokens) >= limit[row]

    alone = [
        generation.generate(half.model, [row], **settings, is_complete=lambda _, t, n=n: is_complete(n, t))[0]
        for n, row in enumerate(many)
    ]
    batched = [
        generation.generate(half.model, many, **settings, is_complete=is_complete, share_prefix=True, near_tie=tie)
        for tie in (0.0, 0.25)
    ]
    assert batched[0] != alone and batched[1] == alone


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_decoded_in_batches(tiny_llama: Path, prompts: list[list[int]], dtype: str) -> None:
    """One prefill a batch, with the adapter: its weights change what is written."""
    half = model.load_base(str(tiny_llama), dtype=dtype)
    plain = generation.generate(
        half.model, prompts, eos_token_ids=[2], pad_token_id=0, max_new_tokens=NEW, batch_size=6
    )
    peft_model = lora.add_lora(half.model, Lora(lora_dropout=0.0)).eval()
    for name, weight in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5, generator=torch.Generator().manual_seed(7))
    rows: list[int] = []
    with merged_lora(peft_model) as decoding:
        handle = decoding.register_forward_pre_hook(
            lambda _, given, named: rows.append(named["input_ids"].shape[0]), with_kwargs=True
        )
        generated = generation.generate(
            decoding, prompts, eos_token_ids=[2], pad_token_id=0, max_new_tokens=NEW, batch_size=6
        )
        handle.remove()
    assert max(rows) == 6
    assert len(rows) <= 3 * NEW  # three batches of 17 prompts, not 17 times as many forwards
    assert generated != plain


@pytest.mark.parametrize("kind", ["gpt2", "sliding", "mamba"])
def test_other_architectures(kind: str, prompts: list[list[int]]) -> None:
    """Learned positions, a sliding window, and a state that is no key-value cache."""
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        MambaConfig,
        MambaForCausalLM,
        MistralConfig,
        MistralForCausalLM,
    )

    torch.manual_seed(0)
    small = {"vocab_size": 400, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind == "gpt2":
        net: Any = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, initializer_range=0.3, **small))
    elif kind == "sliding":
        net = MistralForCausalLM(
            MistralConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                sliding_window=16,
                initializer_range=0.3,
                **small,
            )
        )
    else:
        net = MambaForCausalLM(MambaConfig(hidden_size=32, state_size=8, num_hidden_layers=2, **small))
    net.eval()
    foreign = model.LoadedModel(kind, net, None, 512, (2,))
    expected = reference(foreign, prompts, [2, 7])
    assert (
        generation.generate(net, prompts, eos_token_ids=[2, 7], pad_token_id=0, max_new_tokens=NEW, batch_size=5)
        == expected
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom", "sliding"])
def test_a_common_beginning_is_read_once(
    kind: str, base: model.LoadedModel, prompts: list[list[int]], stops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tokens; in plain attention each batch reads the 40 common ones in one row. A window keeps to its own."""
    from transformers import (
        BloomConfig,
        BloomForCausalLM,
        GPT2Config,
        GPT2LMHeadModel,
        MistralConfig,
        MistralForCausalLM,
    )

    torch.manual_seed(0)
    ids = {"vocab_size": 400, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.3}
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64}
    made: dict[str, Any] = {
        "llama": lambda: base.model,
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, **ids)),
        "bloom": lambda: BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=2, n_head=2, **ids)),
        "sliding": lambda: MistralForCausalLM(MistralConfig(hidden_size=32, sliding_window=16, **sizes, **ids)),
    }
    net = made[kind]().eval()
    draw = random.Random(5)
    beginning = [1] + [draw.randrange(3, 400) for _ in range(39)]
    whole = [beginning + prompt[1:] for prompt in prompts]
    expected = reference(model.LoadedModel(kind, net, None, 512, (2,)), whole, stops)
    read: list[torch.Size] = []
    step = NextLogits.__call__
    monkeypatch.setattr(
        NextLogits, "__call__", lambda self, ids, *rest: (read.append(ids.shape), step(self, ids, *rest))[1]
    )
    generated = generation.generate(
        net, whole, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW, batch_size=6, share_prefix=True
    )
    assert generated == expected
    assert ((1, 40) in read) == (kind != "sliding")
    read.clear()
    assert (
        generation.generate(
            net, whole[:1] * 2, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW, share_prefix=True
        )
        == expected[:1] * 2
    )


def test_sampled_tokens_do_not_depend_on_the_batch(
    base: model.LoadedModel, prompts: list[list[int]], stops: list[int]
) -> None:
    hot = generation.Sampling(seed=1, temperature=1.5, top_k=50, top_p=0.95)
    generated = [
        generation.generate(
            base.model, prompts, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW, batch_size=size, sampling=hot
        )
        for size in (1, 4, 32)
    ]
    assert generated[0] == generated[1] == generated[2]
    other = generation.Sampling(seed=2, temperature=1.5, top_k=50, top_p=0.95)
    assert (
        generation.generate(
            base.model, prompts, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW, sampling=other
        )
        != generated[0]
    )
    one = generation.Sampling(seed=1, top_k=1)
    greedy = generation.generate(base.model, prompts, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW)
    assert (
        generation.generate(base.model, prompts, eos_token_ids=stops, pad_token_id=0, max_new_tokens=NEW, sampling=one)
        == greedy
    )


def test_several_continuations_of_a_prompt_read_it_once(
    base: model.LoadedModel, prompts: list[list[int]], stops: list[int]
) -> None:
    """The same draws as of as many prompts, each read by itself; and they differ from each other."""
    hot = generation.Sampling(seed=1, temperature=1.5, top_k=0, top_p=1.0)
    repeated = [prompt for prompt in prompts[:4] for _ in range(3)]
    settings: dict[str, Any] = {"eos_token_ids": stops, "pad_token_id": 0, "max_new_tokens": NEW, "sampling": hot}
    apart = generation.generate(base.model, repeated, **settings)
    read: list[int] = []
    handle = base.model.register_forward_pre_hook(
        lambda _, given, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    together = generation.generate(base.model, repeated, share_prefix=True, **settings)
    handle.remove()
    assert together == apart
    assert len({tuple(row) for row in together[:3]}) == 3
    assert read[0] == 4 * max(map(len, prompts[:4])) and read[1] == len(repeated)


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.6), (4, 0.7)])
def test_tokens_are_drawn_as_transformers_weighs_them(top_k: int, top_p: float) -> None:
    """20,000 draws from one distribution, against the shares that transformers' own filters leave."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(3)) * 2
    filtered = TemperatureLogitsWarper(0.7)(None, logits)
    filtered = TopKLogitsWarper(top_k)(None, filtered) if top_k else filtered
    filtered = TopPLogitsWarper(top_p)(None, filtered) if top_p < 1 else filtered
    expected = filtered.softmax(-1)[0]
    count = 20_000
    draw = generation._Sampler(generation.Sampling(5, 0.7, top_k, top_p), [(row,) for row in range(count)], 1)
    found = torch.bincount(draw(logits.expand(count, -1), range(count), [0] * count), minlength=12) / count
    assert ((found > 0) == (expected > 0)).all()
    assert (found - expected).abs().max() < 0.015


def test_no_prompts_and_an_instant_end(base: model.LoadedModel, prompts: list[list[int]]) -> None:
    assert generation.generate(base.model, [], eos_token_ids=[2], pad_token_id=0, max_new_tokens=4) == []
    everything = set(range(400))
    assert generation.generate(base.model, prompts[:3], eos_token_ids=everything, pad_token_id=0, max_new_tokens=4) == [
        [],
        [],
        [],
    ]


def test_merged_decoding_equals_the_adapter_and_leaves_the_base(
    base: model.LoadedModel, prompts: list[list[int]]
) -> None:
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    plain = generation.generate(base.model, prompts, eos_token_ids=[2], pad_token_id=0, max_new_tokens=NEW)
    peft_model = lora.add_lora(base.model, Lora())
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    peft_model.eval()
    beside = generation.generate(peft_model, prompts, eos_token_ids=[2], pad_token_id=0, max_new_tokens=NEW)
    with merged_lora(peft_model) as folded:
        generated = generation.generate(folded, prompts, eos_token_ids=[2], pad_token_id=0, max_new_tokens=NEW)
    assert generated == beside != plain
    again = lora.remove_lora(peft_model)
    assert all(torch.equal(before[name], tensor) for name, tensor in again.state_dict().items())
    assert set(before) == set(again.state_dict())
