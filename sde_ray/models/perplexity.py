"""Perplexity: log-likelihoods, in nats, of prompts and of gold outputs after them; batched.

    likelihoods(model, encoded, pad_token_id=0)  -> [Likelihood(prompt=-310.2, prompt_tokens=118, output=-21.5), ...]

The perplexity of a prompt is exp of the mean over its tokens, the first apart, which nothing precedes; that of an
output is over its own tokens, given the prompt (PAPER.md 1.16). The end token does not count: a model that was not
tuned has no reason to expect it. Per-token values flatter long, predictable outputs (placeholders, JSON), so the total
log-likelihood is kept, too. Rows are sorted by length; neither their neighbours nor the side of the padding matter.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn.functional import cross_entropy

from sde_ray.models.tokenization import TokenizedSample, bos_prefix, pad_token_id

TOKENS_A_BATCH = 4096  # all positions' logits are needed, and a vocabulary may have 150,000 entries
ROWS_A_TURN = 64


@dataclass(frozen=True)
class Likelihood:
    """One sample's log-likelihoods, and over how many tokens they are summed."""

    prompt: float
    prompt_tokens: int
    output: float
    output_tokens: int

    @property
    def prompt_perplexity(self) -> float:
        return math.exp(-self.prompt / self.prompt_tokens) if self.prompt_tokens else 1.0

    @property
    def output_perplexity(self) -> float:
        return math.exp(-self.output / self.output_tokens) if self.output_tokens else 1.0


@torch.inference_mode()
def likelihoods(
    model: torch.nn.Module,
    samples: Sequence[TokenizedSample],
    pad_token_id: int,
    batch_size: int = 32,
    side: Literal["left", "right"] = "right",
) -> list[Likelihood]:
    """Each sample's likelihood, in the order given. Padding on the right needs no mask in a causal model."""
    results: dict[int, Likelihood] = {}
    for batch in _batches(samples, batch_size):
        rows = [_tokens(samples[i]) for i in batch]
        logits, longest = _forward(model, rows, pad_token_id, side), max(map(len, rows))
        for i, row, row_logits in zip(batch, rows, logits, strict=True):
            start = longest - len(row) if side == "left" else 0
            results[i] = _likelihood(row_logits[start : start + len(row) - 1], row, len(samples[i].prompt))
    return [results[i] for i in range(len(samples))]


def _tokens(sample: TokenizedSample) -> tuple[int, ...]:
    return sample.prompt + sample.completion[:-1]


def _batches(samples: Sequence[TokenizedSample], batch_size: int) -> Iterator[list[int]]:
    """Indices by falling length, at most `batch_size` rows and `TOKENS_A_BATCH` padded tokens at a time."""
    batch: list[int] = []
    for i in sorted(range(len(samples)), key=lambda i: -len(_tokens(samples[i]))):
        longest = len(_tokens(samples[batch[0]])) if batch else 0
        if batch and (len(batch) == batch_size or (len(batch) + 1) * longest > TOKENS_A_BATCH):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _forward(model: Any, rows: Sequence[Sequence[int]], pad_token_id: int, side: str) -> torch.Tensor:
    """Logits [rows, length, vocabulary]."""
    device = next(model.parameters()).device
    longest = max(map(len, rows))
    gaps = [longest - len(row) for row in rows]
    if side == "left":
        ids = torch.tensor([[*[pad_token_id] * gap, *row] for gap, row in zip(gaps, rows, strict=True)], device=device)
        mask = torch.tensor([[0] * gap + [1] * len(row) for gap, row in zip(gaps, rows, strict=True)], device=device)
    else:
        ids = torch.tensor([[*row, *[pad_token_id] * gap] for gap, row in zip(gaps, rows, strict=True)], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * gap for gap, row in zip(gaps, rows, strict=True)], device=device)
    inputs = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0), "use_cache": False}
    accepted = inspect.signature(model.forward).parameters
    inputs = {name: value for name, value in inputs.items() if name in accepted}
    logits: torch.Tensor = model(input_ids=ids, **inputs).logits
    return logits


def _likelihood(logits: torch.Tensor, row: Sequence[int], prompt: int) -> Likelihood:
    """From logits [length - 1, vocabulary] of a row; its first `prompt` tokens are the prompt's."""
    targets = torch.tensor(row[1:], device=logits.device, dtype=torch.long)
    values = -cross_entropy(logits.float(), targets, reduction="none").double()
    before = max(0, prompt - 1)
    return Likelihood(float(values[:before].sum()), before, float(values[before:].sum()), len(row) - 1 - before)


def text_perplexities(
    model: torch.nn.Module, tokenizer: Any, texts: Sequence[str], max_length: int, rank: int = 0, workers: int = 1
) -> dict[int, float]:
    """Perplexity of each text alone, its first `max_length` tokens; infinite for one without a predicted token.

    Several workers take turns at batches that do not depend on their number, so neither do the values.

    Returns the perplexities by the texts' places, of those that this worker measured.
    """
    before = bos_prefix(tokenizer)
    ids = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else []
    rows = [(*before, *row)[:max_length] for row in ids]
    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
    measured: dict[int, float] = {}
    for start in range(rank * ROWS_A_TURN, len(order), workers * ROWS_A_TURN):
        turn = order[start : start + ROWS_A_TURN]
        samples = [TokenizedSample(str(i), rows[i], (False,) * len(rows[i]), (0,)) for i in turn if len(rows[i]) > 1]
        values = iter(likelihoods(model, samples, pad_token_id(tokenizer)))
        measured.update((i, next(values).prompt_perplexity if len(rows[i]) > 1 else math.inf) for i in turn)
    return measured
