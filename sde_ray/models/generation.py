"""Decoding of many prompts: the same greedy tokens as `model.generate`, row by row, in less time; or sampled ones.

Prompts are sorted by length so that a batch has little padding; finished rows leave their batch, their cache with them;
only the last position's logits are computed. Batches are padded on the left, with position ids that count real tokens
only, so that a row's tokens do not depend on its neighbours. Nor do sampled ones: each row draws from a stream of its
own, made of the seed and the prompt's place. Where prompts begin alike (with the same demonstrations, say), `shared`
reads that beginning once for the whole batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sde_ray.models.kv_cache import can_drop_rows, make_kv_cache, supports_prefix_sharing

Ids = Sequence[int]
Choose = Callable[[torch.Tensor, Sequence[int], int], torch.Tensor]
WORTH_SHARING = 32  # tokens of a common beginning, below which reading it apart gains nothing
CROWDED = 0.75  # dropping rows copies the cache, so it waits until no more than this share is unfinished


@dataclass(frozen=True)
class Sampling:
    """Draw tokens instead of taking the likeliest. The defaults are the paper's (PAPER.md 1.9)."""

    seed: int
    temperature: float = 0.2
    top_k: int = 40
    top_p: float = 0.9


@torch.inference_mode()
def decode(
    model: torch.nn.Module,
    prompts: Sequence[Ids],
    *,
    stops: Collection[int],
    pad: int,
    max_new_tokens: int,
    batch_size: int = 32,
    sampling: Sampling | None = None,
    shared: bool = False,
) -> list[list[int]]:
    """The continuation of each prompt, in the order given, without its end token; at most `max_new_tokens` tokens.

    `shared` saves time, but sums in another order, so that a last digit (and a near tie) may come out otherwise.
    """
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return [_alone(model, one, stops, pad, max_new_tokens, sampling, n) for n, one in enumerate(prompts)]
    by_length = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    written: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(prompts), batch_size):
        rows = by_length[start : start + batch_size]
        choose = _Sampler(sampling, rows, max_new_tokens) if sampling else _likeliest
        batch = _Batch(model, [prompts[i] for i in rows], set(stops), pad, max_new_tokens, choose, shared)
        for row, tokens in zip(rows, batch.run(), strict=True):
            written[row] = tokens
    return written


def _likeliest(logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
    return logits.argmax(-1)


class _Sampler:
    """Draws each row's tokens by the inverse of its distribution, from the row's own uniform numbers."""

    def __init__(self, sampling: Sampling, prompts: Sequence[int], max_new_tokens: int) -> None:
        self.sampling = sampling
        draws = [np.random.default_rng([sampling.seed, prompt]).random(max_new_tokens) for prompt in prompts]
        self.uniform = torch.tensor(np.array(draws))

    def __call__(self, logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
        """`rows`: whose logits these are. The likeliest token always stays in the choice."""
        given = self.sampling
        top = logits.float().topk(min(given.top_k, logits.shape[-1]) if given.top_k else logits.shape[-1], dim=-1)
        shares = (top.values / given.temperature).softmax(-1)
        before = shares.cumsum(-1) - shares
        kept = shares.masked_fill(before >= given.top_p, 0.0).double()
        bounds = kept.cumsum(-1)
        drawn = self.uniform[list(rows), step].to(bounds.device)[:, None] * bounds[:, -1:]
        place = (bounds <= drawn).sum(-1, keepdim=True).clamp(max=kept.shape[-1] - 1)
        return top.indices.gather(-1, place).squeeze(-1)


def _alone(
    model: Any,
    prompt: Ids,
    stops: Collection[int],
    pad: int,
    max_new_tokens: int,
    sampling: Sampling | None,
    place: int,
) -> list[int]:
    """One prompt by transformers' own loop, for models whose memory is no key-value cache (state-space models)."""
    ids = torch.tensor([list(prompt)], device=next(model.parameters()).device)
    how: dict[str, Any] = {"do_sample": False}
    if sampling:
        torch.manual_seed(int(np.random.default_rng([sampling.seed, place]).integers(2**31)))
        how = {"do_sample": True, "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        **how,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(stops) or None,
        pad_token_id=pad,
    )
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens[:-1] if tokens and tokens[-1] in stops else tokens


def _common(prompts: Sequence[Ids]) -> int:
    """How many tokens all prompts begin with, at least one of each left over; 0 where it is not worth it."""
    least, most = min(map(tuple, prompts)), max(map(tuple, prompts))  # what these two share, all between them do
    alike = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(map(len, prompts)))
    alike = min(alike, min(map(len, prompts)) - 1)
    return alike if len(prompts) > 1 and alike >= WORTH_SHARING else 0


class _Batch:
    """Rows being written, with their cache, mask and positions. `rows[n]`: whose prompt the n-th row continues."""

    def __init__(
        self,
        model: torch.nn.Module,
        prompts: Sequence[Ids],
        stops: set[int],
        pad: int,
        max_new_tokens: int,
        choose: Choose,
        shared: bool = False,
    ) -> None:
        self.model, self.stops, self.max_new_tokens, self.choose = model, stops, max_new_tokens, choose
        self.device = next(model.parameters()).device
        self.written: list[list[int]] = [[] for _ in prompts]
        self.rows = list(range(len(prompts)))
        self.unfinished = set(self.rows)
        known = inspect.signature(model.forward).parameters
        self.last_logits = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self.takes_positions = "position_ids" in known
        longest = max(map(len, prompts))
        first = _common(prompts) if shared else 0
        self.cache: Any = make_kv_cache(model, max_new_tokens + (longest - first if first else 0))
        first = first if supports_prefix_sharing(self.cache) else 0
        self.mask = torch.zeros(len(prompts), 0, dtype=torch.long, device=self.device)
        if first:
            self._take([prompts[0][:first]], pad, 1)
            self._forward()
            self.cache.batch_select_indices(torch.zeros(len(prompts), dtype=torch.long, device=self.device))
            self.mask = self.mask.expand(len(prompts), -1)
        self._take([prompt[first:] for prompt in prompts], pad, len(prompts))

    def _take(self, prompts: Sequence[Ids], pad: int, rows: int) -> None:
        """Put these ids next in line, padded on the left, behind what the cache already holds."""
        longest = max(map(len, prompts))
        padded = [[*[pad] * (longest - len(prompt)), *prompt] for prompt in prompts]
        self.ids = torch.tensor(padded, device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        own = (torch.arange(longest, device=self.device) >= (longest - lengths)[:, None]).long()
        self.mask = torch.cat([self.mask[:rows], own], dim=1)
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -longest:]

    def run(self) -> list[list[int]]:
        for step in range(self.max_new_tokens):
            tokens = self.choose(self._forward(), self.rows, step)
            self._write(tokens.tolist())
            if not self.unfinished or step + 1 == self.max_new_tokens:
                break
            self.ids = tokens[:, None]
            self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
            self.positions = self.positions[:, -1:] + 1
            if len(self.unfinished) <= CROWDED * len(self.rows) and can_drop_rows(self.cache):
                self._drop_finished()
        return self.written

    def _forward(self) -> torch.Tensor:
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

    def _write(self, tokens: list[int]) -> None:
        for row, token in zip(self.rows, tokens, strict=True):
            if row in self.unfinished:
                if token in self.stops:
                    self.unfinished.remove(row)
                else:
                    self.written[row].append(token)

    def _drop_finished(self) -> None:
        alive = [n for n, row in enumerate(self.rows) if row in self.unfinished]
        kept = torch.tensor(alive, device=self.device)
        self.rows = [self.rows[n] for n in alive]
        self.ids, self.mask, self.positions = self.ids[kept], self.mask[kept], self.positions[kept]
        self.cache.batch_select_indices(kept)
