"""Batched generation: the same greedy tokens as transformers' `generate`, row by row, in less time; or sampled ones.

Prompts are sorted by length so that a batch has little padding; finished rows leave their batch, their cache with them;
only the last position's logits are computed. Batches are padded on the left, with position ids that count real tokens
only, so that a row's tokens do not depend on its neighbours. Nor do sampled ones: each row draws from its own random
stream, seeded by the seed and the prompt's index, or by what the caller names. If prompts begin alike (with the same
demonstrations, say), `share_prefix` computes the keys and values of that prefix once for the whole batch; a prompt that
stands there several times, to be continued in several ways, is read once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from sde_ray.models.kv_cache import can_drop_rows, make_kv_cache, supports_prefix_sharing

Ids = Sequence[int]
# logits [rows, vocabulary], the rows' indices, the step -> tokens [rows]
Choose = Callable[[torch.Tensor, Sequence[int], int], torch.Tensor]
IsComplete = Callable[[int, Ids], bool]  # the prompt's index, its new tokens so far -> whether the rest is of no use
MIN_SHARED_PREFIX = 32  # tokens; a shorter common prefix is not worth a forward pass of its own
BLOCK = 256  # tokens of the vocabulary that are summed together, to draw one without a running sum over all of them
COMPACT_BELOW = 0.75  # dropping rows copies the cache, so it waits until no more than this share is unfinished


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
    batch_size: int = 32,
    sampling: Sampling | None = None,
    share_prefix: bool = False,
    streams: Sequence[Sequence[int]] | None = None,
    is_complete: IsComplete | None = None,
) -> list[list[int]]:
    """Generate the continuation of each prompt, greedily unless `sampling` is given.

    Args:
        model: a causal language model, with or without an adapter in its layers.
        prompts: token ids, of any lengths.
        eos_token_ids: a row ends at the first of these.
        pad_token_id: fills short rows; masked, so that any id is right.
        max_new_tokens: a row that meets no end token stops here.
        batch_size: rows at a time.
        sampling: draw tokens, reproducibly, instead of taking the likeliest.
        share_prefix: compute the prompts' common prefix, and equal prompts, once a batch. It saves time, but sums in
            another order, so that a last digit (and a near tie) may come out otherwise.
        streams: the seed of each prompt's random stream, when sampling; by default the seed and the prompt's index.
        is_complete: called with a prompt's index and its new tokens after each one; a row for which it is true stops.

    Returns:
        The new token ids of each prompt, in the order given, without the end token.
    """
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return [
            _generate_alone(model, prompt, eos_token_ids, pad_token_id, max_new_tokens, sampling, seed)
            for prompt, seed in zip(prompts, streams or _streams(sampling, len(prompts)), strict=True)
        ]
    streams = streams or _streams(sampling, len(prompts))
    by_length = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    generated: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(prompts), batch_size):
        rows = by_length[start : start + batch_size]
        choose = _Sampler(sampling, [streams[i] for i in rows], max_new_tokens) if sampling else _argmax
        inputs = [prompts[i] for i in rows]
        batch = DecodingBatch(model, inputs, set(eos_token_ids), pad_token_id, max_new_tokens, choose, share_prefix)
        if is_complete is not None:
            batch.is_complete = partial(_asked_of, is_complete, rows)
        for row, tokens in zip(rows, batch.run(), strict=True):
            generated[row] = tokens
    return generated


def _streams(sampling: Sampling | None, count: int) -> list[list[int]]:
    return [[sampling.seed if sampling else 0, index] for index in range(count)]


def _asked_of(is_complete: IsComplete, prompts: Sequence[int], row: int, tokens: Ids) -> bool:
    """`is_complete` of a batch's row, which stands for one of all prompts."""
    return is_complete(prompts[row], tokens)


def _argmax(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
    return logits.argmax(-1)


class _Sampler:
    """Samples each row's tokens by inverse transform, from the row's own uniform numbers [prompts, new tokens]."""

    def __init__(self, sampling: Sampling, streams: Sequence[Sequence[int]], max_new_tokens: int) -> None:
        self.sampling = sampling
        draws = [np.random.default_rng(list(stream)).random(max_new_tokens) for stream in streams]
        self.uniform = torch.tensor(np.array(draws))

    def __call__(self, logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
        """Tokens [rows] from logits [rows, vocabulary]. Top-k and top-p never exclude the likeliest token."""
        settings, vocabulary = self.sampling, logits.shape[-1]
        draws = self.uniform[list(rows), step].to(logits.device)[:, None]
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
    prompt: Ids,
    eos_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int,
    sampling: Sampling | None,
    stream: Sequence[int],
) -> list[int]:
    """One prompt by transformers' own `generate`, for models without a key-value cache (state-space models)."""
    ids = torch.tensor([list(prompt)], device=next(model.parameters()).device)
    strategy: dict[str, Any] = {"do_sample": False}
    if sampling:
        torch.manual_seed(int(np.random.default_rng(list(stream)).integers(2**31)))
        strategy = {"do_sample": True, "temperature": sampling.temperature}
        strategy |= {"top_k": sampling.top_k, "top_p": sampling.top_p}
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


def _common_prefix(prompts: Sequence[Ids]) -> int:
    """Length of the prompts' common prefix, at least one token of each left over; 0 if it is not worth sharing."""
    least, most = min(map(tuple, prompts)), max(map(tuple, prompts))  # what these two share, all between them do
    length = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(map(len, prompts)))
    length = min(length, min(map(len, prompts)) - 1)
    return length if len(prompts) > 1 and length >= MIN_SHARED_PREFIX else 0


class DecodingBatch:
    """Rows being generated together, with their key-value cache.

    `ids` [rows, length] are the next input, `mask` [rows, all tokens so far], `positions` [rows, length]; `rows[n]` is
    the prompt that the n-th row continues, since finished rows are dropped.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        prompts: Sequence[Ids],
        eos_token_ids: set[int],
        pad_token_id: int,
        max_new_tokens: int,
        choose: Choose,
        share_prefix: bool = False,
    ) -> None:
        self.model, self.eos_token_ids, self.pad_token_id = model, eos_token_ids, pad_token_id
        self.max_new_tokens, self.choose = max_new_tokens, choose
        self.is_complete: IsComplete = lambda row, tokens: False
        self.device = next(model.parameters()).device
        self.generated: list[list[int]] = [[] for _ in prompts]
        self.rows = list(range(len(prompts)))
        self.unfinished = set(self.rows)
        accepted = inspect.signature(model.forward).parameters
        self.last_logits = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self.takes_positions = "position_ids" in accepted
        longest = max(map(len, prompts))
        prefix = _common_prefix(prompts) if share_prefix else 0
        self.cache: Any = make_kv_cache(model, max_new_tokens + (longest - prefix if prefix else 0))
        share_prefix = share_prefix and supports_prefix_sharing(self.cache)
        distinct = list(dict.fromkeys(map(tuple, prompts))) if share_prefix else [tuple(prompt) for prompt in prompts]
        number = {prompt: n for n, prompt in enumerate(distinct)}
        self.copies = [number[tuple(prompt)] for prompt in prompts] if len(distinct) < len(prompts) else []
        self.mask = torch.zeros(len(distinct), 0, dtype=torch.long, device=self.device)
        if prefix and share_prefix and len(distinct) > 1:
            self._set_input([distinct[0][:prefix]])
            self._forward()
            self.cache.batch_select_indices(torch.zeros(len(distinct), dtype=torch.long, device=self.device))
            self.mask = self.mask.expand(len(distinct), -1)
            distinct = [prompt[prefix:] for prompt in distinct]
        self._set_input(distinct)

    def _set_input(self, prompts: Sequence[Ids]) -> None:
        """Make these ids the next input, padded on the left, after what the cache already holds."""
        longest = max(map(len, prompts))
        padded = [[*[self.pad_token_id] * (longest - len(prompt)), *prompt] for prompt in prompts]
        self.ids = torch.tensor(padded, device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        real = (torch.arange(longest, device=self.device) >= (longest - lengths)[:, None]).long()
        self.mask = torch.cat([self.mask[: len(prompts)], real], dim=1)
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -longest:]

    def run(self) -> list[list[int]]:
        """The new token ids of each prompt."""
        for step in range(self.max_new_tokens):
            logits = self._forward() if step else self._copied(self._forward())
            tokens = self.choose(logits, self.rows, step)
            self._append(tokens.tolist())
            if not self.unfinished or step + 1 == self.max_new_tokens:
                break
            self.ids = tokens[:, None]
            self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
            self.positions = self.positions[:, -1:] + 1
            if len(self.unfinished) <= COMPACT_BELOW * len(self.rows) and can_drop_rows(self.cache):
                self._drop_finished()
        return self.generated

    def _copied(self, logits: torch.Tensor) -> torch.Tensor:
        """From one row a prompt to one row a continuation: logits [rows, vocabulary], with the cache and the mask."""
        if not self.copies:
            return logits
        indices = torch.tensor(self.copies, device=self.device)
        self.cache.batch_select_indices(indices)
        self.mask, self.positions = self.mask[indices], self.positions[indices]
        return logits[indices]

    def _forward(self) -> torch.Tensor:
        """Logits [rows, vocabulary] after the input."""
        positions = {"position_ids": self.positions} if self.takes_positions else {}
        out = self.model(
            input_ids=self.ids,
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            **positions,
            **self.last_logits,
        )
        self.cache = out.past_key_values
        return out.logits[:, -1]

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
