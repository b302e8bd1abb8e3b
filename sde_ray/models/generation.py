"""Batched generation: the same greedy tokens as transformers' `generate`, row by row, in less time; or sampled ones.

Prompts are taken longest first, and a row that is finished makes way for the next one (`ContinuousBatch`). Only the
last position's logits are computed. Rows are padded on the left, with position ids that count real tokens only, so that
a row's tokens do not depend on its neighbours. Nor do sampled ones: each row draws from its own random stream, seeded
by the seed and the prompt's index, or by what the caller names. If prompts begin alike (with the same demonstrations,
say), `share_prefix` computes the keys and values of that prefix once; a prompt that stands there several times, to be
continued in several ways, is read once. A model without a plain cache is decoded in batches, or prompt by prompt.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from sde_ray.config.trial import CPU_ROWS
from sde_ray.models.constrained import Constraint
from sde_ray.models.continuous_batch import COMPACT_BELOW, ContinuousBatch
from sde_ray.models.decoding_step import Choose, Ids, IsComplete, NextLogits, OnRows, pad_left, positions_of
from sde_ray.models.kv_cache import can_drop_rows, is_plain_attention, make_kv_cache

BLOCK = 256  # tokens of the vocabulary that are summed together, to draw one without a running sum over all of them
GPU_ROWS = 512  # decoded together, where memory allows


@dataclass(frozen=True)
class Sampling:
    """Draw tokens instead of taking the likeliest. The defaults are the paper's (PAPER.md 1.9)."""

    seed: int
    temperature: float = 0.2
    top_k: int = 40
    top_p: float = 0.9


@torch.inference_mode()
def generate(
    model: torch.nn.Module,
    prompts: Sequence[Ids],
    *,
    eos_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int,
    batch_size: int | None = 32,
    sampling: Sampling | None = None,
    share_prefix: bool = False,
    streams: Sequence[Sequence[int]] | None = None,
    is_complete: IsComplete | None = None,
    on_rows: OnRows | None = None,
    near_tie: float = 0.0,
    constraint: Constraint | None = None,
) -> list[list[int]]:
    """Generate the continuation of each prompt, greedily unless `sampling` is given.

    Args:
        model: a causal language model, with or without an adapter in its layers.
        prompts: token ids, of any lengths.
        eos_token_ids: a row ends at the first of these.
        pad_token_id: fills short rows; masked, so that any id is right.
        max_new_tokens: a row that meets no end token stops here.
        batch_size: rows at a time, or fewer where memory is short; None: 512 on a GPU, 32 on a CPU.
        sampling: draw tokens, reproducibly, instead of taking the likeliest.
        share_prefix: compute the prompts' common prefix, and equal prompts, once. It saves time, but sums in another
            order, so that a last digit (and a near tie) may come out otherwise.
        streams: the seed of each prompt's random stream, when sampling; by default the seed and the prompt's index.
        is_complete: called with a prompt's index and its new tokens after each one; a row for which it is true stops.
        on_rows: told whose rows the model reads next, before each pass; for a model with plain attention, and without
            `share_prefix`.
        near_tie: a prompt that meets two likeliest tokens whose logits are nearer than this is continued again alone.
            Sums in another order move logits by less, so a greedy row then never depends on its neighbours.
        constraint: of these prompts, by the grammar of each.

    Returns:
        The new token ids of each prompt, in the order given, without the end token.
    """
    draws = streams or _streams(sampling, len(prompts))
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        alone = (model, eos_token_ids, pad_token_id, max_new_tokens, sampling)
        return [_generate_alone(*alone, one, draws[n], _only(constraint, n)) for n, one in enumerate(prompts)]
    if not prompts:
        return []
    greedy = _Greedy(near_tie if len(prompts) > 1 else 0.0)
    choose = _Sampler(sampling, draws, max_new_tokens) if sampling else greedy
    settings: dict[str, Any] = {
        "eos_token_ids": set(eos_token_ids),
        "pad_token_id": pad_token_id,
        "max_new_tokens": max_new_tokens,
        "choose": constraint(choose, greedy=sampling is None) if constraint else choose,
        "is_complete": is_complete or (lambda row, tokens: False),
    }
    if is_plain_attention(make_kv_cache(model, 0)):
        settings |= {"batch_size": batch_size or default_batch_size(next(model.parameters()).device)}
        generated = ContinuousBatch(model, prompts, share_prefix=share_prefix, on_rows=on_rows, **settings).run()
    else:
        generated = _in_batches(model, prompts, batch_size or CPU_ROWS, settings)
    return _near_ties_alone(greedy.near_ties(generated), generated, model, prompts, settings, constraint)


def _near_ties_alone(
    ties: Sequence[int],
    generated: list[list[int]],
    model: torch.nn.Module,
    prompts: Sequence[Ids],
    settings: Mapping[str, Any],
    constraint: Constraint | None,
) -> list[list[int]]:
    """What was generated, with these prompts continued once more, each in a batch of its own."""
    names = ("eos_token_ids", "pad_token_id", "max_new_tokens")
    for row in ties:
        is_complete = partial(_with_row, settings["is_complete"], row)
        alone = {**{name: settings[name] for name in names}, "is_complete": is_complete}
        (generated[row],) = generate(model, [prompts[row]], constraint=_only(constraint, row), **alone)
    return generated


def _only(constraint: Constraint | None, row: int) -> Constraint | None:
    return None if constraint is None else constraint.only(row)


def _with_row(is_complete: IsComplete, row: int, _: int, tokens: Ids) -> bool:
    return is_complete(row, tokens)


def default_batch_size(device: torch.device) -> int:
    """The most rows of a batch on a device, where memory does not bound them."""
    return CPU_ROWS if device.type == "cpu" else GPU_ROWS


def _in_batches(model: Any, prompts: Sequence[Ids], size: int, settings: Mapping[str, Any]) -> list[list[int]]:
    """Batches of like length, one after another; one for which memory is short is halved and taken again."""
    rows = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    generated: dict[int, list[int]] = {}
    while rows:
        try:
            generated |= DecodingBatch(model, {row: prompts[row] for row in rows[:size]}, **settings).run()
            rows = rows[size:]
            continue
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        size //= 2  # not in the handler: the exception holds what the batch had allocated
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return [generated[row] for row in range(len(prompts))]


def _streams(sampling: Sampling | None, count: int) -> list[list[int]]:
    return [[sampling.seed if sampling else 0, index] for index in range(count)]


class _Greedy:
    """Takes the likeliest token, and notes where the second was as near as `near_tie`; 0: nowhere."""

    def __init__(self, near_tie: float = 0.0) -> None:
        self.near_tie = near_tie
        self._noted: set[tuple[int, int]] = set()

    def __call__(self, logits: torch.Tensor, rows: Sequence[int], counts: Sequence[int]) -> torch.Tensor:
        """Tokens [rows] from logits [rows, vocabulary]."""
        if not self.near_tie:
            return logits.argmax(-1)
        top = logits.float().topk(2, dim=-1)
        near = (top.values[:, 0] - top.values[:, 1] < self.near_tie).nonzero().flatten()
        self._noted.update((rows[n], counts[n]) for n in near.tolist())
        return top.indices[:, 0]

    def near_ties(self, generated: Sequence[Sequence[int]]) -> list[int]:
        """The prompts that have met one before they ended; a slot that is idle goes on, which means nothing."""
        return sorted({row for row, count in self._noted if count <= len(generated[row])})


class _Sampler:
    """Samples each row's tokens by inverse transform, from the row's own uniform numbers [prompts, new tokens]."""

    def __init__(self, sampling: Sampling, streams: Sequence[Sequence[int]], max_new_tokens: int) -> None:
        self.sampling = sampling
        draws = [np.random.default_rng(list(stream)).random(max_new_tokens) for stream in streams]
        self.uniform = torch.tensor(np.array(draws))

    def __call__(self, logits: torch.Tensor, rows: Sequence[int], counts: Sequence[int]) -> torch.Tensor:
        """Tokens [rows] from logits [rows, vocabulary]. Top-k and top-p never exclude the likeliest token."""
        settings, vocabulary = self.sampling, logits.shape[-1]
        draws = self.uniform[list(rows), list(counts)].to(logits.device)[:, None]
        if not settings.top_k and settings.top_p >= 1:  # nothing is cut off, so nothing need be sorted
            return _inverse_transform(logits.float() / settings.temperature, draws)
        top = logits.float().topk(min(settings.top_k, vocabulary) if settings.top_k else vocabulary, dim=-1)
        probabilities = (top.values / settings.temperature).softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        nucleus = probabilities.masked_fill(before >= settings.top_p, 0.0).double()
        bounds = nucleus.cumsum(-1)
        choice = (bounds <= draws * bounds[:, -1:]).sum(-1, keepdim=True).clamp(max=nucleus.shape[-1] - 1)
        return top.indices.gather(-1, choice).squeeze(-1)


def _inverse_transform(logits: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Tokens [rows] at which the cumulated softmax of logits [rows, vocabulary] passes draws [rows, 1].

    First the block of tokens, then the token in it: a running sum in double precision over a whole vocabulary takes
    as long as a third of a small model.
    """
    rows, vocabulary = logits.shape
    weights = (logits - logits.max(-1, keepdim=True).values).exp_()
    blocks = torch.nn.functional.pad(weights, (0, -vocabulary % BLOCK)).view(rows, -1, BLOCK)
    sums = blocks.sum(-1).double()
    bounds = sums.cumsum(-1)
    targets = draws * bounds[:, -1:]
    number = torch.searchsorted(bounds, targets, right=True).clamp(max=blocks.shape[1] - 1)
    inside = sums.gather(-1, number)
    share = (targets - (bounds.gather(-1, number) - inside)) / inside
    within = blocks[torch.arange(rows, device=logits.device), number.squeeze(-1)].double().cumsum(-1)
    token = torch.searchsorted(within, share * within[:, -1:], right=True).clamp(max=BLOCK - 1)
    return (number * BLOCK + token).squeeze(-1).clamp(max=vocabulary - 1)


def _generate_alone(
    model: Any,
    eos_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int,
    sampling: Sampling | None,
    prompt: Ids,
    stream: Sequence[int],
    constraint: Constraint | None,
) -> list[int]:
    """One prompt by transformers' own `generate`, for models without a key-value cache (state-space models)."""
    ids = torch.tensor([list(prompt)], device=next(model.parameters()).device)
    strategy: dict[str, Any] = {"do_sample": False}
    if sampling:
        torch.manual_seed(int(np.random.default_rng(list(stream)).integers(2**31)))
        strategy = {"do_sample": True, "temperature": sampling.temperature}
        strategy |= {"top_k": sampling.top_k, "top_p": sampling.top_p}
    if constraint is not None:
        length = len(prompt)
        strategy["logits_processor"] = [lambda seen, scores: constraint.allowed(scores, 0, seen[0, length:].tolist())]
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        **strategy,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(eos_token_ids) or None,
        pad_token_id=pad_token_id,
    )
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens[:-1] if tokens and tokens[-1] in eos_token_ids else tokens


class DecodingBatch:
    """Rows being generated together, with their cache, until the last one ends: for caches that no row can join.

    `ids` [rows, length] are the next input, `mask` [rows, all tokens so far], `positions` [rows, length]; `rows[n]` is
    the prompt that the n-th row continues, since finished rows are dropped.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        prompts: Mapping[int, Ids],
        *,
        eos_token_ids: set[int],
        pad_token_id: int,
        max_new_tokens: int,
        choose: Choose,
        is_complete: IsComplete,
    ) -> None:
        self.next_logits, self.eos_token_ids = NextLogits(model), eos_token_ids
        self.max_new_tokens, self.choose, self.is_complete = max_new_tokens, choose, is_complete
        self.device = next(model.parameters()).device
        self.generated: dict[int, list[int]] = {row: [] for row in prompts}
        self.rows = list(prompts)
        self.unfinished = set(self.rows)
        self.cache: Any = make_kv_cache(model, max_new_tokens)
        self.ids, self.mask = pad_left(list(prompts.values()), pad_token_id, self.device)
        self.positions = positions_of(self.mask)

    def run(self) -> dict[int, list[int]]:
        """The new token ids of each prompt."""
        for step in range(self.max_new_tokens):
            logits, self.cache = self.next_logits(self.ids, self.mask, self.positions, self.cache)
            tokens = self.choose(logits, self.rows, [step] * len(self.rows))
            self._append(tokens.tolist())
            if not self.unfinished or step + 1 == self.max_new_tokens:
                break
            self.ids = tokens[:, None]
            self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
            self.positions = self.positions[:, -1:] + 1
            if len(self.unfinished) <= COMPACT_BELOW * len(self.rows) and can_drop_rows(self.cache):
                self._drop_finished()
        return self.generated

    def _append(self, tokens: list[int]) -> None:
        for row, token in zip(self.rows, tokens, strict=True):
            if row in self.unfinished:
                if token in self.eos_token_ids:
                    self.unfinished.remove(row)
                else:
                    self.generated[row].append(token)
                    if self.is_complete(row, self.generated[row]):
                        self.unfinished.remove(row)

    def _drop_finished(self) -> None:
        positions = [n for n, row in enumerate(self.rows) if row in self.unfinished]
        indices = torch.tensor(positions, device=self.device)
        self.rows = [self.rows[n] for n in positions]
        self.ids, self.mask, self.positions = self.ids[indices], self.mask[indices], self.positions[indices]
        self.cache.batch_select_indices(indices)
